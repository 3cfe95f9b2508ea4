//! Requests for a session of another node, as they travel in orders: a client that polls, or goes on as a WebSocket, may
//! come to any node.
//!
//! ```text
//! request  = kind(1) secret(16) token_length(2) token body
//! response = status(2) body
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What proves that a request is for this session, beside its number.
pub type Secret = [u8; 16];

/// What is asked of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ask {
    /// What it has to say; held until there is something. The body is the poll's own mark.
    Poll = 1,
    /// Take this: the body is a payload.
    Post = 2,
    /// Somebody wants to go on as a WebSocket.
    Probe = 3,
    /// Hand the session over: the response holds it.
    Move = 4,
    /// Whoever polled has gone without an answer; the body is the poll's mark.
    Abandon = 5,
    /// It goes on elsewhere, by what its client has shown there.
    Supersede = 6,
    /// What a native session has to say; held until there is something.
    Take = 7,
    /// Take this message of a native session: the body.
    Say = 8,
    /// The client of a native session leaves.
    Leave = 9,
    /// The node that a poll came to stops: it is to be answered, with nothing if there is nothing. The body is the poll's mark.
    Release = 10,
}

impl Ask {
    const ALL: [Self; 10] = [
        Self::Poll,
        Self::Post,
        Self::Probe,
        Self::Move,
        Self::Abandon,
        Self::Supersede,
        Self::Take,
        Self::Say,
        Self::Leave,
        Self::Release,
    ];

    /// Whether it may be held until there is something to say.
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Poll | Self::Take)
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub ask: Ask,
    /// The session's secret, as the client has shown it.
    pub secret: Secret,
    /// The token that came with it in one of a handshake's places.
    pub token: Option<String>,
    /// What belongs to it.
    pub body: Bytes,
}

/// A response: an HTTP status and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 200, or why not.
    pub status: u16,
    /// What is answered.
    pub body: Bytes,
}

impl Request {
    /// Reads a request; `None` for what is none.
    pub fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < 19 {
            return None;
        }
        let kind = bytes.get_u8();
        let ask = Ask::ALL.into_iter().find(|ask| *ask as u8 == kind)?;
        let mut secret = Secret::default();
        bytes.copy_to_slice(&mut secret);
        let length = usize::from(bytes.get_u16());
        if bytes.len() < length {
            return None;
        }
        let token = bytes.split_to(length);
        let token = String::from_utf8(token.to_vec()).ok()?;
        Some(Self { ask, secret, token: Some(token).filter(|token| !token.is_empty()), body: bytes })
    }

    /// Writes a request. A token that is too long for one goes as one that cannot be good.
    pub fn encode(&self) -> Bytes {
        let token = self.token.as_deref().unwrap_or_default();
        let (token, length) = u16::try_from(token.len()).map_or(("?", 1), |length| (token, length));
        let mut out = BytesMut::with_capacity(19 + token.len() + self.body.len());
        out.put_u8(self.ask as u8);
        out.put_slice(&self.secret);
        out.put_u16(length);
        out.put_slice(token.as_bytes());
        out.put_slice(&self.body);
        out.freeze()
    }
}

impl Response {
    /// Reads a response; `None` for what is none.
    pub fn decode(mut bytes: Bytes) -> Option<Self> {
        (bytes.len() >= 2).then(|| Self { status: bytes.get_u16(), body: bytes })
    }

    /// Writes a response.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(2 + self.body.len());
        out.put_u16(self.status);
        out.put_slice(&self.body);
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_responses_survive_the_way() {
        for ask in Ask::ALL {
            for token in [None, Some("t.o.k".to_owned())] {
                let request = Request { ask, secret: [7; 16], token, body: Bytes::from_static(b"4hello") };
                assert_eq!(Request::decode(request.encode()), Some(request));
            }
        }
        let response = Response { status: 400, body: Bytes::from_static(b"no") };
        assert_eq!(Response::decode(response.encode()), Some(response));
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_nothing() {
        let request = Request { ask: Ask::Poll, secret: [7; 16], token: Some("abc".to_owned()), body: Bytes::new() };
        let whole = request.encode();
        for length in 0..whole.len() {
            assert_eq!(Request::decode(whole.slice(..length)), None);
        }
        assert_eq!(Request::decode(Bytes::from(vec![9; 40])), None);
        assert_eq!(Response::decode(Bytes::from_static(b"x")), None);
    }
}
