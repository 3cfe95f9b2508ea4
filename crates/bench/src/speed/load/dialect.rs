//! How a server is spoken to: what opens a connection, what publishes, and what says that it is ready.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Dialect {
    /// The gateway's own: JSON objects with a type, `subscribe` and `publish` (PROTOCOL.md).
    Native,
    /// Text in, the same text out to everybody who is connected: {channel} in the URL stands for the channel.
    Relay,
    /// Socket.IO 4 over WebSocket: events `subscribe` and `publish` in, `subscribed` and `publication` out.
    SocketIo,
}

/// What comes next while a connection opens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This is said.
    Say(String),
    /// The server is listened to.
    Wait,
    /// It is open.
    Ready,
}

impl Dialect {
    /// What follows the handshake (`heard` is `None`), or something that was heard; who only publishes has no channel.
    pub(super) fn step(self, heard: Option<&[u8]>, channel: Option<&str>) -> Step {
        match (self, heard, channel) {
            (Self::Relay, ..) | (Self::Native, None, None) => Step::Ready,
            (Self::Native, None, Some(channel)) => {
                Step::Say(format!(r#"{{"type":"subscribe","id":1,"channel":"{channel}"}}"#))
            }
            (Self::Native, Some(heard), _) if contains(heard, br#""subscribed""#) => Step::Ready,
            // Engine.IO's open packet is answered by Socket.IO's connect.
            (Self::SocketIo, Some([b'0', ..]), _) => Step::Say("40".to_owned()),
            (Self::SocketIo, Some([b'4', b'0', ..]), None) => Step::Ready,
            (Self::SocketIo, Some([b'4', b'0', ..]), Some(channel)) => {
                Step::Say(format!(r#"42["subscribe","{channel}"]"#))
            }
            (Self::SocketIo, Some(heard), _) if contains(heard, br#""subscribed""#) => Step::Ready,
            _ => Step::Wait,
        }
    }

    /// What publishes a payload that needs no escaping.
    pub(super) fn publish(self, channel: &str, payload: &str) -> String {
        match self {
            Self::Native => format!(r#"{{"type":"publish","channel":"{channel}","data":"{payload}"}}"#),
            Self::Relay => payload.to_owned(),
            Self::SocketIo => format!(r#"42["publish","{channel}","{payload}"]"#),
        }
    }

    /// What a message that carries no publication is answered.
    pub(super) fn answer(self, heard: &[u8]) -> Option<&'static str> {
        (self == Self::SocketIo && heard == b"2").then_some("3")
    }

    /// Whether a message that carries no publication says that something was refused.
    pub(super) fn is_refusal(self, heard: &[u8]) -> bool {
        match self {
            Self::Native => contains(heard, br#""type":"error""#) || contains(heard, br#""type":"gap""#),
            Self::Relay => false,
            Self::SocketIo => heard.starts_with(b"44"),
        }
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
