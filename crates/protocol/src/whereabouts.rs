//! Where a user is: what each worker of a node answers to [`crate::Order::Locate`].
//!
//! ```text
//! part       = node parts(1) part(1) count(4) connection*       of one worker; a node has `parts` of them
//! connection = length(4) number(8) since_ms(8) seen_as dialect transport subscriptions(4) channels(2) channel*
//! ```
//! Texts are as in [`crate::envelope`]. A connection carries its length, so that a later field at its end is passed over by
//! readers that do not know it.

use crate::envelope::{EnvelopeError, byte, put_text, short_text, take, u32_be, u64_be};
use crate::text::Text;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The most channels that are named of one connection.
pub const CHANNELS_MAX: usize = 100;

/// The most connections of one part.
pub const CONNECTIONS_MAX: usize = 1000;

/// The largest part: Redis keeps it for every node that is slow to read.
pub const PART_MAX_BYTES: usize = 256 * 1024;

/// What one worker knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The node that answers.
    pub node: Text,
    /// How many parts its answer has, at least one.
    pub parts: u8,
    /// Which of them this is, from 0.
    pub part: u8,
    /// How many connections of the user the worker has.
    pub count: u32,
    /// Those of them that fit.
    pub connections: Vec<Connected>,
}

/// One connection of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// Its number on its node.
    pub number: u64,
    /// Since when it is there, in Unix milliseconds.
    pub since_ms: u64,
    /// The id that others know it by, where that is of a connection that was before it.
    pub seen_as: Option<Text>,
    /// How it speaks, as in metrics.
    pub dialect: Text,
    /// `websocket`, `polling` or `sse`.
    pub transport: Text,
    /// How many channels it is subscribed to.
    pub subscriptions: u32,
    /// Their names, as far as there are not too many.
    pub channels: Vec<Text>,
}

impl Part {
    /// Reads a part.
    ///
    /// # Errors
    /// What it is instead.
    pub fn decode(mut bytes: Bytes) -> Result<Self, EnvelopeError> {
        let node = short_text(&mut bytes)?;
        let (parts, part) = (byte(&mut bytes)?, byte(&mut bytes)?);
        if part >= parts {
            return Err(EnvelopeError::Unknown("part"));
        }
        let count = u32_be(&mut bytes)?;
        let mut connections = Vec::new();
        while bytes.has_remaining() {
            if connections.len() == CONNECTIONS_MAX {
                return Err(EnvelopeError::Unknown("connection too many"));
            }
            let length = u32_be(&mut bytes)? as usize;
            connections.push(Connected::decode(take(&mut bytes, length)?)?);
        }
        Ok(Self { node, parts, part, count, connections })
    }

    /// Writes a part: connections that do not fit are left out, which `count` tells.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64 + 64 * self.connections.len());
        put_text(&mut out, &self.node);
        out.put_u8(self.parts);
        out.put_u8(self.part);
        out.put_u32(self.count);
        for connection in self.connections.iter().take(CONNECTIONS_MAX) {
            let written = connection.encode();
            if out.len() + 4 + written.len() > PART_MAX_BYTES {
                break;
            }
            out.put_u32(u32::try_from(written.len()).unwrap_or(u32::MAX));
            out.put_slice(&written);
        }
        out.freeze()
    }
}

impl Connected {
    /// About what it holds, in bytes.
    pub fn held_bytes(&self) -> usize {
        let texts = [Some(&self.dialect), Some(&self.transport), self.seen_as.as_ref()];
        let texts = texts.into_iter().flatten().chain(&self.channels);
        size_of::<Self>() + texts.map(|text| size_of::<Text>() + text.len()).sum::<usize>()
    }

    fn decode(mut bytes: Bytes) -> Result<Self, EnvelopeError> {
        let (number, since_ms) = (u64_be(&mut bytes)?, u64_be(&mut bytes)?);
        let seen_as = Some(short_text(&mut bytes)?).filter(|id| !id.is_empty());
        let (dialect, transport) = (short_text(&mut bytes)?, short_text(&mut bytes)?);
        let subscriptions = u32_be(&mut bytes)?;
        let count = usize::from(take(&mut bytes, 2)?.get_u16());
        if count > CHANNELS_MAX {
            return Err(EnvelopeError::Unknown("channel too many"));
        }
        let channels = (0..count).map(|_| short_text(&mut bytes)).collect::<Result<_, _>>()?;
        Ok(Self { number, since_ms, seen_as, dialect, transport, subscriptions, channels })
    }

    fn encode(&self) -> BytesMut {
        let mut out = BytesMut::with_capacity(64);
        out.put_u64(self.number);
        out.put_u64(self.since_ms);
        put_text(&mut out, &self.seen_as.clone().unwrap_or_default());
        put_text(&mut out, &self.dialect);
        put_text(&mut out, &self.transport);
        out.put_u32(self.subscriptions);
        let channels = &self.channels[..self.channels.len().min(CHANNELS_MAX)];
        out.put_u16(u16::try_from(channels.len()).unwrap_or(0));
        channels.iter().for_each(|channel| put_text(&mut out, channel));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected(channels: usize) -> Connected {
        Connected {
            number: 7,
            since_ms: 1_763_700_000_000,
            seen_as: None,
            dialect: "json".into(),
            transport: "websocket".into(),
            subscriptions: u32::try_from(channels).unwrap(),
            channels: (0..channels).map(|n| format!("room:{n}").into()).collect(),
        }
    }

    fn part(connections: Vec<Connected>) -> Part {
        Part { node: "n1.a".into(), parts: 2, part: 1, count: u32::try_from(connections.len()).unwrap(), connections }
    }

    #[test]
    fn a_part_survives_the_way_and_one_cut_short_is_none() {
        let moved = Connected { seen_as: Some("n2.b.0100000000000001".into()), ..connected(3) };
        let whole = part(vec![connected(0), moved]);
        let bytes = whole.encode();
        assert_eq!(Part::decode(bytes.clone()), Ok(whole));
        let empty = part(Vec::new()).encode().len();
        let first = empty + 4 + connected(0).encode().len();
        for length in (0..bytes.len()).filter(|length| ![empty, first].contains(length)) {
            assert_eq!(Part::decode(bytes.slice(..length)), Err(EnvelopeError::Short), "{length}");
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_still_counted() {
        let many = part(vec![connected(100); 1000]);
        let bytes = many.encode();
        assert!(bytes.len() <= PART_MAX_BYTES);
        let read = Part::decode(bytes).unwrap();
        assert_eq!(read.count, 1000);
        assert!((100..1000).contains(&read.connections.len()), "{}", read.connections.len());
        let talkative = Part::decode(part(vec![connected(101)]).encode()).unwrap();
        assert_eq!((talkative.connections[0].channels.len(), talkative.connections[0].subscriptions), (100, 101));
    }

    #[test]
    fn a_field_of_a_later_build_is_passed_over_and_a_part_of_none_is_refused() {
        let mut longer = connected(1).encode();
        longer.put_slice(b"later");
        let mut bytes = BytesMut::from(&part(Vec::new()).encode()[..]);
        bytes.put_u32(u32::try_from(longer.len()).unwrap());
        bytes.put_slice(&longer);
        assert_eq!(Part::decode(bytes.freeze()).unwrap().connections, [connected(1)]);
        for (parts, number) in [(0, 0), (2, 2)] {
            let wrong = Part { parts, part: number, ..part(Vec::new()) };
            assert_eq!(Part::decode(wrong.encode()), Err(EnvelopeError::Unknown("part")));
        }
    }
}
