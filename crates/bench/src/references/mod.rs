//! What the gateway is compared with: servers that speak the same messages, and no more than a scenario needs.
//!
//! Each is started by the harness as a process of its own (`bench reference …`) and says `ready` when it listens.

mod raw;
mod tutorial;

use crate::Fault;
use clap::Subcommand;
use serde::Deserialize;
use std::net::SocketAddr;

/// A server to compare with.
#[derive(Debug, Subcommand)]
pub(crate) enum Reference {
    /// One epoll loop without Redis: everything gathered in a turn leaves in one write a socket.
    Raw {
        #[arg(long)]
        listen: SocketAddr,
        /// One write for each message and socket instead: the bare send loop.
        #[arg(long)]
        each: bool,
    },
    /// What tutorials write with tokio-tungstenite and Redis.
    Tutorial {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        redis: String,
    },
}

impl Reference {
    /// Serves until the process is ended.
    pub(crate) fn serve(&self) -> Result<(), Fault> {
        match self {
            Self::Raw { listen, each } => raw::serve(*listen, *each),
            Self::Tutorial { listen, redis } => tutorial::serve(*listen, redis),
        }
    }
}

/// What a harness that waits for it reads.
fn tell_ready() {
    println!("ready");
}

/// What is understood of the native wire.
#[derive(Debug, Deserialize)]
struct Command<'a> {
    #[serde(rename = "type")]
    kind: Kind,
    channel: String,
    /// What is published.
    #[serde(borrow)]
    data: Option<&'a serde_json::value::RawValue>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Subscribe,
    Publish,
}

impl<'a> Command<'a> {
    fn read(text: &'a [u8]) -> Result<Self, Fault> {
        Ok(serde_json::from_slice(text)?)
    }

    /// What is published, as it was written.
    fn data(&self) -> &'a str {
        self.data.map_or("null", serde_json::value::RawValue::get)
    }
}

/// The answer to a subscription.
const SUBSCRIBED: &str = r#"{"type":"subscribed","id":1}"#;

/// A publication, as long as the gateway's own.
fn publication(channel: &str, client: &str, data: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
    format!(
        r#"{{"type":"publication","channel":"{channel}","time":{now},"from":{{"client":"{client}"}},"data":{data}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generators_commands_are_understood() {
        let command = Command::read(br#"{"type":"subscribe","id":1,"channel":"bench-0"}"#).unwrap();
        assert_eq!((command.kind, command.channel.as_str()), (Kind::Subscribe, "bench-0"));
        let command = Command::read(br#"{"type":"publish","channel":"bench-0","data":"~>abc"}"#).unwrap();
        assert_eq!((&command.kind, command.data()), (&Kind::Publish, r#""~>abc""#));
    }
}
