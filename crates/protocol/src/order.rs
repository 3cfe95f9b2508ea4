//! Orders from node to node, outside any channel: private messages and their answers, and who is to be closed; versioned by
//! their first byte.
//!
//! ```text
//! order          = version(1) kind(1) body
//! kind 1 body    = connection(8) ticket(8) answer_to record     a private message, as a record of `envelope`
//! kind 2 body    = ticket(8) delivered(1)                       its answer
//! kind 3 body    = code(2) whom                                 close connections with this code
//! whom           = 0 connection(8) | 1 user | 2 channel
//! kind 4 body    =                                              something was revoked: look at the list
//! kind 5 body    = connection(8)                                have it show that it lives
//! kind 6 body    = connection(8) ticket(8) answer_to request    for a session there, taken by another node
//! kind 7 body    = ticket(8) response                           what is answered
//! kind 8 body    = ticket(8) limit(2) answer_to user            where is this user
//! kind 9 body    = ticket(8) part                               what one worker knows, as in `whereabouts`
//! ```
//!
//! A node that does not know a kind passes the order over: what must not be missed stands in Redis as well.

use crate::Publication;
use crate::envelope::{EnvelopeError, byte, decode_record, encode_record, put_text, short_text, u64_be};
use crate::text::Text;
use crate::{Channel, CloseCode};
use bytes::{BufMut, Bytes, BytesMut};

/// The version this build writes.
pub const ORDER_VERSION: u8 = 1;

const KIND_MESSAGE: u8 = 1;
const KIND_ANSWER: u8 = 2;
const KIND_DISCONNECT: u8 = 3;
const KIND_REVOKED: u8 = 4;
const KIND_PROVE: u8 = 5;
const KIND_REQUEST: u8 = 6;
const KIND_RESPONSE: u8 = 7;
const KIND_LOCATE: u8 = 8;
const KIND_LOCATED: u8 = 9;

const WHOM_CONNECTION: u8 = 0;
const WHOM_USER: u8 = 1;
const WHOM_CHANNEL: u8 = 2;

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
    /// Close connections.
    Disconnect {
        /// Which.
        whom: Whom,
        /// With what.
        code: CloseCode,
    },
    /// Something was revoked: the list of that is to be looked at now.
    Revoked,
    /// Have a connection show that it lives, or close it soon.
    Prove {
        /// Its number on the node that gets the order.
        connection: u64,
    },
    /// Tell which connections a user has on the node that gets the order: each of its workers answers.
    Locate {
        /// The sender's number for the answers.
        ticket: u64,
        /// How many connections it wants to know of at the most.
        limit: u16,
        /// The node that waits for the answers.
        answer_to: Text,
        /// Whose.
        user: Text,
    },
    /// The answer of one worker to a `Locate`.
    Located {
        /// The number in the question.
        ticket: u64,
        /// What the worker knows; see [`crate::whereabouts`].
        part: Bytes,
    },
}

/// Connections that an order is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// One, by its number on the node that gets the order.
    Connection(u64),
    /// All of a user.
    User(Text),
    /// All that subscribe to a channel.
    Channel(Channel),
}

impl Whom {
    fn decode(bytes: &mut Bytes) -> Result<Self, EnvelopeError> {
        match byte(bytes)? {
            WHOM_CONNECTION => Ok(Self::Connection(u64_be(bytes)?)),
            WHOM_USER => Ok(Self::User(short_text(bytes)?)),
            WHOM_CHANNEL => {
                let channel = Channel::new(&short_text(bytes)?);
                Ok(Self::Channel(channel.map_err(|_| EnvelopeError::Unknown("channel of an order"))?))
            }
            _ => Err(EnvelopeError::Unknown("kind of connections")),
        }
    }

    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Connection(number) => {
                out.put_u8(WHOM_CONNECTION);
                out.put_u64(*number);
            }
            Self::User(user) => {
                out.put_u8(WHOM_USER);
                put_text(out, user);
            }
            Self::Channel(channel) => {
                out.put_u8(WHOM_CHANNEL);
                put_text(out, &channel.as_str().into());
            }
        }
    }
}

/// A code that this build does not know is another build's: it gives the same advice.
fn close_code(code: u16) -> CloseCode {
    let by_advice = if code / 100 == 40 { CloseCode::Disconnected } else { CloseCode::Reset };
    CloseCode::from_code(code).unwrap_or(by_advice)
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
            KIND_DISCONNECT => {
                let code = close_code(u16::from_be_bytes([byte(&mut bytes)?, byte(&mut bytes)?]));
                Ok(Self::Disconnect { whom: Whom::decode(&mut bytes)?, code })
            }
            KIND_REVOKED => Ok(Self::Revoked),
            KIND_PROVE => Ok(Self::Prove { connection: u64_be(&mut bytes)? }),
            KIND_LOCATE => Ok(Self::Locate {
                ticket: u64_be(&mut bytes)?,
                limit: u16::from_be_bytes([byte(&mut bytes)?, byte(&mut bytes)?]),
                answer_to: short_text(&mut bytes)?,
                user: short_text(&mut bytes)?,
            }),
            KIND_LOCATED => Ok(Self::Located { ticket: u64_be(&mut bytes)?, part: bytes }),
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
            Self::Disconnect { whom, code } => {
                out.put_u8(KIND_DISCONNECT);
                out.put_u16(code.code());
                whom.encode(&mut out);
            }
            Self::Revoked => out.put_u8(KIND_REVOKED),
            Self::Prove { connection } => {
                out.put_u8(KIND_PROVE);
                out.put_u64(*connection);
            }
            Self::Locate { ticket, limit, answer_to, user } => {
                out.put_u8(KIND_LOCATE);
                out.put_u64(*ticket);
                out.put_u16(*limit);
                put_text(&mut out, answer_to);
                put_text(&mut out, user);
            }
            Self::Located { ticket, part } => {
                out.put_u8(KIND_LOCATED);
                out.put_u64(*ticket);
                out.put_slice(part);
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
            Order::Disconnect { whom: Whom::Connection(7), code: CloseCode::Replaced },
            Order::Disconnect { whom: Whom::User("ann".into()), code: CloseCode::Disconnected },
            Order::Disconnect { whom: Whom::Channel(Channel::new("chat").unwrap()), code: CloseCode::Reset },
            Order::Revoked,
            Order::Prove { connection: 7 },
            Order::Locate { ticket: 9, limit: 100, answer_to: "n1.a".into(), user: "ann".into() },
            Order::Located { ticket: 9, part: Bytes::from_static(b"part") },
        ] {
            assert_eq!(Order::decode(order.encode()), Ok(order));
        }
    }

    #[test]
    fn a_close_code_of_another_build_keeps_its_advice() {
        let decoded = |code: u16| {
            let mut order = vec![ORDER_VERSION, KIND_DISCONNECT];
            order.extend(code.to_be_bytes());
            order.extend([WHOM_CONNECTION, 0, 0, 0, 0, 0, 0, 0, 7]);
            Order::decode(order.into())
        };
        for (code, known) in [(4099, CloseCode::Disconnected), (4199, CloseCode::Reset), (4003, CloseCode::Forbidden)] {
            assert_eq!(decoded(code), Ok(Order::Disconnect { whom: Whom::Connection(7), code: known }));
        }
    }

    #[test]
    fn an_order_cut_short_or_from_the_future_is_an_error() {
        assert_eq!(Order::decode(Bytes::from_static(&[1, 2, 0])), Err(EnvelopeError::Short));
        assert_eq!(Order::decode(Bytes::from_static(&[9, 2, 0])), Err(EnvelopeError::Version(9)));
        assert_eq!(Order::decode(Bytes::from_static(&[1, 99])), Err(EnvelopeError::Unknown("kind of order")));
    }
}
