//! A channel's deliveries of one turn to bytes: encoded once for each encoding, shared by all who take everything.

use crate::policy::Namespace;
use crate::websocket::Frames;
use broker::Delivery;
use bytes::Bytes;
use protocol::dialect::Encoding;
use protocol::{Channel, CloseCode, Outgoing, Position, Publication, Push};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Encoded deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Frames, one after another.
    pub frames: Bytes,
    /// How many publications they hold.
    pub publications: u64,
    /// Set when the encoding can only say it by ending the connection.
    pub close: Option<CloseCode>,
    /// What single connections do not get of it: publications they asked no echo of, and their own coming.
    left_out: HashMap<u64, Vec<LeftOut>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct LeftOut {
    bytes: Range<usize>,
    is_publication: bool,
}

impl Encoded {
    /// The parts that a connection gets, as slices of the same bytes, and how many publications they hold.
    pub fn parts(&self, connection: u64) -> (SmallVec<[Bytes; 1]>, u64) {
        let Some(left_out) = self.left_out.get(&connection) else {
            return (SmallVec::from_iter([self.frames.clone()]), self.publications);
        };
        let (mut from, mut publications) = (0, self.publications);
        let mut parts: SmallVec<[Bytes; 1]> = SmallVec::new();
        for out in left_out {
            parts.push(self.frames.slice(from..out.bytes.start));
            from = out.bytes.end;
            publications -= u64::from(out.is_publication);
        }
        parts.push(self.frames.slice(from..));
        parts.retain(|part| !part.is_empty());
        (parts, publications)
    }
}

/// A channel's deliveries of one turn, about to be encoded.
pub struct Turn<'a> {
    /// Which channel.
    pub channel: &'a Channel,
    /// Its rules.
    pub namespace: &'a Namespace,
    /// In order.
    pub deliveries: &'a [Arc<Delivery>],
    /// The number of a connection of this node, of its id.
    pub number_of: &'a dyn Fn(&str) -> Option<u64>,
}

impl Turn<'_> {
    /// Encodes everything, without what a subscriber that is `ahead` has read already.
    pub fn encode(&self, encoding: Encoding, ahead: Option<&Position>) -> Encoded {
        let mut buffer = Vec::new();
        let mut encoded = Encoded::default();
        for delivery in self.deliveries {
            match &**delivery {
                Delivery::Publications { epoch, publications, .. } => {
                    let ahead = ahead.filter(|position| Some(&position.epoch) == epoch.as_ref());
                    for publication in publications {
                        if ahead.zip(publication.offset).is_none_or(|(position, offset)| offset > position.offset) {
                            self.publication(encoding, publication, &mut buffer, &mut encoded);
                        }
                    }
                }
                Delivery::Gap { range, position, .. } if !is_bridged(*range, position.as_ref(), ahead) => {
                    let gap = gap(self.channel, *range, position.as_ref());
                    encoded.close = encoded.close.or(write(encoding, &gap, &mut buffer));
                }
                Delivery::Membership { change, .. } if self.namespace.join_leave => {
                    let start = buffer.len();
                    encoded.close = encoded.close.or(write(encoding, &membership(self.channel, change), &mut buffer));
                    self.leave_out(Some(change.client.as_str()), start..buffer.len(), false, &mut encoded);
                }
                _ => {}
            }
        }
        encoded.frames = buffer.into();
        encoded
    }

    fn publication(&self, encoding: Encoding, publication: &Publication, buffer: &mut Vec<u8>, encoded: &mut Encoded) {
        let start = buffer.len();
        encoding.encode_publication(self.channel, publication, &mut Frames::new(buffer));
        encoded.publications += 1;
        if !publication.echo {
            let client = publication.from.as_ref().map(|from| from.client.as_str());
            self.leave_out(client, start..buffer.len(), true, encoded);
        }
    }

    fn leave_out(&self, client: Option<&str>, bytes: Range<usize>, is_publication: bool, encoded: &mut Encoded) {
        if let Some(number) = client.and_then(self.number_of) {
            encoded.left_out.entry(number).or_default().push(LeftOut { bytes, is_publication });
        }
    }
}

fn write(encoding: Encoding, outgoing: &Outgoing, buffer: &mut Vec<u8>) -> Option<CloseCode> {
    let mut frames = Frames::new(buffer);
    encoding.encode(outgoing, &mut frames);
    frames.close
}

/// Whoever has read past the end of a gap has lost nothing.
fn is_bridged(range: Option<(u64, u64)>, position: Option<&Position>, ahead: Option<&Position>) -> bool {
    let Some(((_, last), (after, ahead))) = range.zip(position.zip(ahead)) else { return false };
    after.epoch == ahead.epoch && last <= ahead.offset
}

fn gap(channel: &Channel, range: Option<(u64, u64)>, position: Option<&Position>) -> Outgoing {
    let epoch = position.map(|p| p.epoch.clone());
    Outgoing::Push(Push::Gap { channel: channel.clone(), range, epoch })
}

fn membership(channel: &Channel, change: &protocol::envelope::Membership) -> Outgoing {
    let (channel, member) = (channel.clone(), change.member.clone());
    Outgoing::Push(match change.left {
        None => Push::Join { channel, member },
        Some(cause) => Push::Leave { channel, member, cause },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::envelope::Membership;
    use protocol::{Member, Origin, Payload};

    fn publication(offset: u64, by: &str, echo: bool) -> Publication {
        let from = Origin { client: by.into(), user: None, info: None };
        let data = Payload::text(offset.to_string());
        Publication {
            offset: Some(offset),
            data,
            event: None,
            retain: None,
            from: Some(from),
            time_ms: 0,
            echo,
            stamp: 0,
        }
    }

    /// The texts a raw subscriber gets.
    fn texts(deliveries: &[Arc<Delivery>], connection: u64, ahead: Option<&Position>) -> (String, u64) {
        let channel = Channel::new("c").unwrap();
        let number_of = |id: &str| id.parse().ok();
        let namespace = Namespace::default();
        let turn = Turn { channel: &channel, namespace: &namespace, deliveries, number_of: &number_of };
        let (parts, publications) = turn.encode(Encoding::Raw, ahead).parts(connection);
        let bytes: Vec<u8> = parts.concat();
        (String::from_utf8_lossy(&bytes).chars().filter(char::is_ascii_digit).collect(), publications)
    }

    fn turn() -> Vec<Arc<Delivery>> {
        let channel = Channel::new("c").unwrap();
        let publications = vec![
            publication(1, "7", false),
            publication(2, "8", true),
            publication(3, "7", false),
            publication(4, "8", false),
        ];
        vec![Arc::new(Delivery::Publications { channel, epoch: Some("e".into()), publications })]
    }

    #[test]
    fn whoever_asked_for_no_echo_gets_the_others_bytes_without_its_own() {
        assert_eq!(texts(&turn(), 9, None), ("1234".into(), 4));
        assert_eq!(texts(&turn(), 7, None), ("24".into(), 2));
        assert_eq!(texts(&turn(), 8, None), ("123".into(), 3));
    }

    #[test]
    fn whoever_is_ahead_gets_only_what_it_has_not_read_and_only_in_that_epoch() {
        let at = |epoch: &str| Position { epoch: epoch.into(), offset: 2 };
        assert_eq!(texts(&turn(), 9, Some(&at("e"))), ("34".into(), 2));
        assert_eq!(texts(&turn(), 7, Some(&at("e"))), ("4".into(), 1));
        assert_eq!(texts(&turn(), 9, Some(&at("other"))), ("1234".into(), 4));
    }

    #[test]
    fn a_client_is_not_told_of_its_own_coming() {
        let channel = Channel::new("c").unwrap();
        let member = Member { user: "ann".into(), clients: 1, info: None };
        let change = Membership { member, client: "7".into(), left: None };
        let deliveries = [Arc::new(Delivery::Membership { channel: channel.clone(), change })];
        let number_of = |id: &str| id.parse().ok();
        let namespace = Namespace::default();
        let turn = Turn { channel: &channel, namespace: &namespace, deliveries: &deliveries, number_of: &number_of };
        let encoded = turn.encode(Encoding::Json, None);
        assert!(encoded.parts(7).0.is_empty());
        assert!(!encoded.parts(8).0.is_empty());
    }
}
