//! Orders from node to node, outside any channel: private messages and their answers, versioned by their first byte.
//!
//! ```text
//! order          = version(1) kind(1) body
//! kind 1 body    = connection(8) ticket(8) answer_to record     a private message, as a record of `envelope`
//! kind 2 body    = ticket(8) delivered(1)                       its answer
//! kind 3 body    = connection(8) ticket(8) answer_to request    for a session there, taken by another node
//! kind 4 body    = ticket(8) response                           what is answered
//! ```

use crate::Publication;
use crate::envelope::{EnvelopeError, byte, decode_record, encode_record, put_text, short_text, u64_be};
use crate::text::Text;
use bytes::{BufMut, Bytes, BytesMut};

/// The version this build writes.
pub const ORDER_VERSION: u8 = 1;

const KIND_MESSAGE: u8 = 1;
const KIND_ANSWER: u8 = 2;
const KIND_REQUEST: u8 = 3;
const KIND_RESPONSE: u8 = 4;

/// What one node asks of another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "orders are read, carried out and dropped one at a time")]
pub enum Order {
    /// Put this into one connection's outbox.
    Message {
        /// The connection's number on the node that gets the order.
        connection: u64,
        /// The sender's number for the answer.
        ticket: u64,
        /// The node that waits for the answer.
        answer_to: Text,
        /// What was sent, and by whom.
        message: Publication,
    },
    /// The answer to a `Message`.
    Answer {
        /// The number in the message.
        ticket: u64,
        /// Whether there is such a connection, and its outbox has the message.
        delivered: bool,
    },
    /// A request for a session on the node that gets the order, which another node has taken: clients that poll come to any.
    Request {
        /// The session's connection.
        connection: u64,
        /// The sender's number for the response.
        ticket: u64,
        /// The node that waits for it.
        answer_to: Text,
        /// What is asked; see [`crate::forward`].
        request: Bytes,
    },
    /// The response to a `Request`.
    Response {
        /// The number in the request.
        ticket: u64,
        /// What is answered; see [`crate::forward`].
        response: Bytes,
    },
}

impl Order {
    /// Reads an order.
    pub fn decode(mut bytes: Bytes) -> Result<Self, EnvelopeError> {
        match byte(&mut bytes)? {
            ORDER_VERSION => {}
            other => return Err(EnvelopeError::Version(other)),
        }
        match byte(&mut bytes)? {
            KIND_MESSAGE => Ok(Self::Message {
                connection: u64_be(&mut bytes)?,
                ticket: u64_be(&mut bytes)?,
                answer_to: short_text(&mut bytes)?,
                message: decode_record(&mut bytes, None)?,
            }),
            KIND_ANSWER => Ok(Self::Answer { ticket: u64_be(&mut bytes)?, delivered: byte(&mut bytes)? != 0 }),
            KIND_REQUEST => Ok(Self::Request {
                connection: u64_be(&mut bytes)?,
                ticket: u64_be(&mut bytes)?,
                answer_to: short_text(&mut bytes)?,
                request: bytes,
            }),
            KIND_RESPONSE => Ok(Self::Response { ticket: u64_be(&mut bytes)?, response: bytes }),
            _ => Err(EnvelopeError::Unknown("kind of order")),
        }
    }

    /// Writes an order.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        out.put_u8(ORDER_VERSION);
        match self {
            Self::Message { connection, ticket, answer_to, message } => {
                out.put_u8(KIND_MESSAGE);
                out.put_u64(*connection);
                out.put_u64(*ticket);
                put_text(&mut out, answer_to);
                out.put_slice(&encode_record(message));
            }
            Self::Answer { ticket, delivered } => {
                out.put_u8(KIND_ANSWER);
                out.put_u64(*ticket);
                out.put_u8(u8::from(*delivered));
            }
            Self::Request { connection, ticket, answer_to, request } => {
                out.put_u8(KIND_REQUEST);
                out.put_u64(*connection);
                out.put_u64(*ticket);
                put_text(&mut out, answer_to);
                out.put_slice(request);
            }
            Self::Response { ticket, response } => {
                out.put_u8(KIND_RESPONSE);
                out.put_u64(*ticket);
                out.put_slice(response);
            }
        }
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Origin, Payload};

    #[test]
    fn orders_survive_the_way_to_another_node() {
        let message = Publication {
            offset: None,
            data: Payload::json("{\"hi\":1}"),
            event: Some("greeting".into()),
            retain: None,
            from: Some(Origin { client: "n1.a.1".into(), user: Some("ann".into()), info: None }),
            time_ms: 1,
            echo: true,
            stamp: 2,
        };
        for order in [
            Order::Message { connection: 7, ticket: 9, answer_to: "n1.a".into(), message },
            Order::Answer { ticket: 9, delivered: true },
            Order::Answer { ticket: 9, delivered: false },
            Order::Request { connection: 7, ticket: 9, answer_to: "n1.a".into(), request: Bytes::from_static(b"poll") },
            Order::Response { ticket: 9, response: Bytes::new() },
        ] {
            assert_eq!(Order::decode(order.encode()), Ok(order));
        }
    }

    #[test]
    fn an_order_cut_short_or_from_the_future_is_an_error() {
        assert_eq!(Order::decode(Bytes::from_static(&[1, 2, 0])), Err(EnvelopeError::Short));
        assert_eq!(Order::decode(Bytes::from_static(&[9, 2, 0])), Err(EnvelopeError::Version(9)));
        assert_eq!(Order::decode(Bytes::from_static(&[1, 9])), Err(EnvelopeError::Unknown("kind of order")));
    }
}
