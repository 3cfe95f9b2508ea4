//! The raw relay, `/raw/{channel}`: every message is published to the channel and delivered verbatim, no envelope.
//!
//! There is no room for answers: replies are dropped, and what would be a refusal or a gap is a close with its code.

use super::{Incoming, Messages};
use crate::{Channel, CloseCode, Command, Content, ErrorCode, Outgoing, Payload, Publish, Push, Request, Since};
use bytes::Bytes;

/// What a raw connection was opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// The channel of the path.
    pub channel: Channel,
    /// Whether the sender gets its own messages (`?echo=1`).
    pub echo: bool,
    /// What of the channel's history it gets first.
    pub past: Option<Past>,
}

/// What of the channel's history a raw connection gets before anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Past {
    /// `?since=<offset>` or `?since=<epoch>:<offset>`: everything after that, or nothing at all. After 0, everything kept.
    Since(Since),
    /// `?last=<number>`: so many of the newest, or what is kept of them.
    Last(u64),
}

impl Past {
    /// The value of a `since`.
    pub fn since(value: &str) -> Option<Self> {
        let (epoch, offset) = match value.rsplit_once(':') {
            Some(("", _)) => return None,
            Some((epoch, offset)) => (Some(epoch.into()), offset),
            None => (None, value),
        };
        Some(Self::Since(Since { epoch, offset: number(offset)? }))
    }

    /// The value of a `last`.
    pub fn last(value: &str) -> Option<Self> {
        number(value).map(Self::Last)
    }

    /// Whether what is no longer there was not asked for.
    pub fn is_what_is_kept(&self) -> bool {
        matches!(self, Self::Last(_) | Self::Since(Since { epoch: None, offset: 0 }))
    }
}

/// Digits alone: Rust would also read a plus.
fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

impl Raw {
    /// Every message is a publication.
    pub fn decode(&self, message: Incoming<'_>) -> Request {
        let data = match message {
            Incoming::Text(text) => Payload::text(Bytes::copy_from_slice(text.as_bytes())),
            Incoming::Binary(bytes) => Payload::binary(Bytes::copy_from_slice(bytes)),
        };
        let (channel, echo) = (self.channel.clone(), self.echo);
        let publish = Publish { channel, data, event: None, key: None, retain: None, volatile: false, echo };
        Request { id: None, command: Command::Publish(publish) }
    }
}

/// Writes what a raw client can be told: messages as they are, refusals and gaps as a close, and nothing else.
pub fn encode(outgoing: &Outgoing, out: &mut dyn Messages) {
    match outgoing {
        Outgoing::Push(Push::Publication { publication, .. }) => encode_payload(&publication.data, out),
        Outgoing::Push(Push::Message { data, .. }) => encode_payload(data, out),
        Outgoing::Push(Push::Gap { .. }) => out.close(CloseCode::Gap),
        Outgoing::Push(Push::Unsubscribed { code, .. }) => out.close(close_for(*code)),
        Outgoing::Refused { refusal, .. } => out.close(close_for(refusal.code)),
        Outgoing::Reply { .. } | Outgoing::Push(_) => {}
    }
}

/// Writes a payload as it is: text and JSON as text, binary as binary.
pub fn encode_payload(data: &Payload, out: &mut dyn Messages) {
    match data.content {
        Content::Json | Content::Text => out.text(&mut |buffer| buffer.extend_from_slice(&data.bytes)),
        Content::Binary => out.binary(&data.bytes),
    }
}

/// The close nearest to a refusal, for those who cannot be told it otherwise.
pub fn close_for(code: ErrorCode) -> CloseCode {
    match code {
        ErrorCode::Unauthenticated => CloseCode::Unauthenticated,
        ErrorCode::PermissionDenied | ErrorCode::UnknownChannel => CloseCode::Forbidden,
        ErrorCode::TooLarge => CloseCode::TooBig,
        ErrorCode::RateLimited | ErrorCode::LimitExceeded => CloseCode::RateLimited,
        ErrorCode::Unavailable | ErrorCode::UnknownOutcome => CloseCode::Unavailable,
        ErrorCode::BadRequest => CloseCode::UnsupportedData,
        ErrorCode::UnknownClient
        | ErrorCode::UnknownSession
        | ErrorCode::AlreadySubscribed
        | ErrorCode::NotSubscribed
        | ErrorCode::Internal => CloseCode::Internal,
    }
}
