//! The dialects: one file each, pure, between a client's bytes and the words of this crate.
//!
//! A dialect reads whole messages (the transport has reassembled and bounded them) and writes messages through
//! [`Messages`], so that the same code serves WebSocket frames, a stream of events or a polling answer.

mod array;
pub mod events;
pub mod json;
pub mod msgpack;
pub mod raw;
pub mod socketio;

pub use array::Array;

use crate::{Channel, CloseCode, Epoch, Outgoing, Refusal, Request};
use socketio::Rules;
use socketio::encode::Tracking;
use std::sync::Arc;

/// A whole message as a transport hands it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// Text, known to be UTF-8.
    Text(&'a str),
    /// Any bytes.
    Binary(&'a [u8]),
}

/// Where a dialect puts what it has written.
pub trait Messages {
    /// One text message, written into the given buffer (which may already hold other messages: append only).
    fn text(&mut self, write: &mut dyn FnMut(&mut Vec<u8>));
    /// One binary message.
    fn binary(&mut self, bytes: &[u8]);
    /// One binary message, written into the given buffer like a text.
    fn binary_with(&mut self, write: &mut dyn FnMut(&mut Vec<u8>));
    /// The end of the connection: this dialect has no other way to say what it was asked to say.
    fn close(&mut self, code: CloseCode);
}

/// What could not be understood: the refusal, and the id of the command where that much could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The id to answer with.
    pub id: Option<u64>,
    /// What was wrong.
    pub refusal: Refusal,
}

/// The dialect of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dialect {
    /// `gateway.v1.json`: the native words as JSON.
    Json,
    /// `/poll`: the native words as JSON, fetched and brought by requests.
    Polled,
    /// `/sse`: see [`events`]. Its clients only listen.
    Events,
    /// `/raw/{channel}`: every message is published to the channel and delivered verbatim.
    /// Boxed: every connection has a dialect, and few have this one.
    Raw(Box<raw::Raw>),
    /// `gateway.v1.msgpack`: the native words as MessagePack.
    Msgpack,
    /// `/socket.io/`: see [`socketio`]. Its messages need what its connection keeps: [`socketio::Session`].
    SocketIo(Arc<Rules>),
}

/// How publications are encoded: connections of the same kind share the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoding {
    /// See [`json`].
    Json,
    /// See [`raw`].
    Raw,
    /// See [`msgpack`].
    Msgpack,
    /// See [`socketio`]: of a connection that is in one channel.
    SocketIo(Arc<Rules>),
    /// Of one that is in several: its positions are told by themselves.
    SocketIoTracked(Arc<Rules>),
    /// See [`events`].
    Events,
}

impl Encoding {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// A dense number, to index a table by.
    pub const fn index(&self) -> usize {
        match self {
            Self::Json => 0,
            Self::Raw => 1,
            Self::Msgpack => 2,
            Self::SocketIo(_) => 3,
            Self::SocketIoTracked(_) => 4,
            Self::Events => 5,
        }
    }

    /// Whether a client can be told that it missed something, and stays.
    pub const fn tells_gaps(&self) -> bool {
        match self {
            Self::Json | Self::Msgpack | Self::SocketIo(_) | Self::SocketIoTracked(_) | Self::Events => true,
            Self::Raw => false,
        }
    }

    /// Writes anything that goes to a client.
    pub fn encode(&self, outgoing: &Outgoing, out: &mut dyn Messages) {
        match self {
            Self::Json => json::encode(outgoing, out),
            Self::Events => events::encode(outgoing, out),
            Self::Raw => raw::encode(outgoing, out),
            Self::Msgpack => msgpack::encode(outgoing, out),
            Self::SocketIo(rules) | Self::SocketIoTracked(rules) => socketio::encode::encode(rules, outgoing, out),
        }
    }

    /// Writes one publication of a live channel; its offset counts in `epoch`.
    pub fn encode_publication(
        &self,
        channel: &Channel,
        epoch: Option<&Epoch>,
        publication: &crate::Publication,
        out: &mut dyn Messages,
    ) {
        let (rules, tracking) = match self {
            Self::Json => return json::encode_publication(channel, publication, out),
            Self::Events => return events::encode_publication(channel, epoch, publication, out),
            Self::Raw => return raw::encode_payload(&publication.data, out),
            Self::Msgpack => return msgpack::encode_publication(channel, publication, out),
            Self::SocketIo(rules) => (rules, Tracking::Whole),
            Self::SocketIoTracked(rules) => (rules, Tracking::Follows),
        };
        socketio::encode::encode_publication(rules, tracking, channel, epoch, publication, out);
    }
}

impl Dialect {
    /// The dialect that a subprotocol names on `/ws`.
    pub fn native(subprotocol: &str) -> Option<Self> {
        [Self::Json, Self::Msgpack].into_iter().find(|dialect| dialect.subprotocol() == subprotocol)
    }

    /// The name of the dialect: a closed set, so it also serves as a metric's label.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Polled => "poll",
            Self::Events => "sse",
            Self::Raw(_) => "raw",
            Self::Msgpack => "msgpack",
            Self::SocketIo(_) => "socketio",
        }
    }

    /// The WebSocket subprotocol that names this dialect (RFC 6455 section 1.9).
    pub const fn subprotocol(&self) -> &'static str {
        match self {
            Self::Json => "gateway.v1.json",
            Self::Raw(_) => "gateway.v1.raw",
            Self::Msgpack => "gateway.v1.msgpack",
            // Their clients offer none.
            Self::SocketIo(_) | Self::Polled | Self::Events => "",
        }
    }

    /// How this dialect's publications are encoded.
    pub fn encoding(&self) -> Encoding {
        match self {
            Self::Json | Self::Polled => Encoding::Json,
            Self::Events => Encoding::Events,
            Self::Raw(_) => Encoding::Raw,
            Self::Msgpack => Encoding::Msgpack,
            Self::SocketIo(rules) => Encoding::SocketIo(rules.clone()),
        }
    }

    /// Reads one message, which may hold several commands; each is handed on in order.
    pub fn decode(&self, message: Incoming<'_>, each: &mut dyn FnMut(Result<Request, Malformed>)) {
        match self {
            Self::Json | Self::Polled => json::decode(message, each),
            Self::Raw(raw) => each(Ok(raw.decode(message))),
            Self::Msgpack => msgpack::decode(message, each),
            // One message may be a part of what is asked: its connection keeps the others. From a stream of events none comes.
            Self::SocketIo(_) | Self::Events => {}
        }
    }
}
