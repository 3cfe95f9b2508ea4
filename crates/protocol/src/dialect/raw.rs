//! The raw relay, `/raw/{channel}`: every message is published to the channel and delivered verbatim, no envelope.
//!
//! There is no room for answers: replies are dropped, and what would be a refusal or a gap is a close with its code.

use super::{Incoming, Messages};
use crate::{Channel, CloseCode, Command, Content, ErrorCode, Outgoing, Payload, Publish, Push, Request};
use bytes::Bytes;

/// What a raw connection was opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// The channel of the path.
    pub channel: Channel,
    /// Whether the sender gets its own messages (`?echo=1`).
    pub echo: bool,
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

fn close_for(code: ErrorCode) -> CloseCode {
    match code {
        ErrorCode::Unauthenticated => CloseCode::Unauthenticated,
        ErrorCode::PermissionDenied | ErrorCode::UnknownChannel => CloseCode::Forbidden,
        ErrorCode::TooLarge => CloseCode::TooBig,
        ErrorCode::RateLimited | ErrorCode::LimitExceeded => CloseCode::RateLimited,
        ErrorCode::Unavailable | ErrorCode::UnknownOutcome => CloseCode::Unavailable,
        ErrorCode::BadRequest => CloseCode::UnsupportedData,
        ErrorCode::UnknownClient | ErrorCode::AlreadySubscribed | ErrorCode::NotSubscribed | ErrorCode::Internal => {
            CloseCode::Internal
        }
    }
}
