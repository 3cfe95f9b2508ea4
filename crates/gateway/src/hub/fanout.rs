//! A channel's deliveries of one turn to bytes: encoded once for each encoding, shared by all who take everything.

use crate::outbox::{Mark, Marks, Meter, Shared, Slow};
use crate::policy::Namespace;
use crate::websocket::Frames;
use crate::websocket::deflate::Compressed;
use broker::Delivery;
use protocol::dialect::Encoding;
use protocol::{Channel, CloseCode, Epoch, Outgoing, Position, Publication, Push};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// Encoded deliveries.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// Frames, one after another.
    pub frames: Rc<Shared>,
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
    /// The parts of the frames that a connection gets, and how many publications they hold.
    pub fn parts(&self, connection: u64) -> (SmallVec<[Range<usize>; 1]>, u64) {
        let Some(left_out) = self.left_out.get(&connection) else {
            return (SmallVec::from_iter([self.frames.whole()]), self.publications);
        };
        let (mut from, mut publications) = (0, self.publications);
        let mut parts: SmallVec<[Range<usize>; 1]> = SmallVec::new();
        for out in left_out {
            parts.push(from..out.bytes.start);
            from = out.bytes.end;
            publications -= u64::from(out.is_publication);
        }
        parts.push(from..self.frames.whole().end);
        parts.retain(|part| part.start < part.end);
        (parts, publications)
    }
}

impl Encoded {
    /// The same deliveries in frames that have been compressed: whatever lay at the bounds of a frame lies there still.
    pub fn compressed(&self, compressed: Compressed, meter: &Meter) -> Self {
        let marks = self.frames.marks().map(|marks| marks.moved(|place| compressed.moved(place)));
        let mut left_out = self.left_out.clone();
        for out in left_out.values_mut().flatten() {
            out.bytes = compressed.moved(out.bytes.start)..compressed.moved(out.bytes.end);
        }
        Self { frames: Shared::new(compressed.frames, marks, meter), left_out, ..*self }
    }
}

/// A channel's deliveries of one turn, about to be encoded.
#[derive(Clone, Copy)]
pub struct Turn<'a> {
    /// Which channel.
    pub channel: &'a Channel,
    /// Its rules.
    pub namespace: &'a Namespace,
    /// In order.
    pub deliveries: &'a [Arc<Delivery>],
    /// The number of a connection of this node, of its id.
    pub number_of: &'a dyn Fn(&str) -> Option<u64>,
    /// What the worker holds of such frames.
    pub meter: &'a Meter,
}

/// Deliveries while they are encoded.
struct Draft {
    encoding: Encoding,
    buffer: Vec<u8>,
    marks: Option<Marks>,
    publications: u64,
    close: Option<CloseCode>,
    left_out: HashMap<u64, Vec<LeftOut>>,
}

impl Turn<'_> {
    /// Encodes everything, without what a subscriber that is `ahead` has read already.
    pub fn encode(&self, encoding: &Encoding, ahead: Option<&Position>) -> Encoded {
        let mut draft = self.draft(encoding);
        for delivery in self.deliveries {
            match &**delivery {
                Delivery::Publications { epoch, publications, .. } => {
                    let ahead = ahead.filter(|position| Some(&position.epoch) == epoch.as_ref());
                    epoch.iter().for_each(|epoch| draft.begin_epoch(epoch));
                    for publication in publications {
                        if ahead.zip(publication.offset).is_none_or(|(position, offset)| offset > position.offset) {
                            self.publication(publication, epoch.as_ref(), &mut draft);
                        }
                    }
                }
                Delivery::Gap { range, position, .. } if !is_bridged(*range, position.as_ref(), ahead) => {
                    draft.write(&gap(self.channel, *range, position.as_ref()));
                    draft.begin_anew();
                }
                Delivery::Membership { change, .. } if self.namespace.join_leave => {
                    let bytes = draft.write(&membership(self.channel, change));
                    self.leave_out(Some(change.client.as_str()), bytes, false, &mut draft);
                }
                _ => {}
            }
        }
        let Draft { buffer, marks, publications, close, left_out, .. } = draft;
        // A gap of the broker's ends one that waits before it, even where nothing of this turn may go.
        let marks = marks.filter(|marks| !marks.list.is_empty() || marks.from > 0);
        Encoded { frames: Shared::new(buffer, marks, self.meter), publications, close, left_out }
    }

    fn draft(&self, encoding: &Encoding) -> Draft {
        // Who cannot be told a gap can do without nothing.
        let may_shed = self.namespace.slow != Slow::Close && encoding.tells_gaps();
        let Namespace { slow, history, .. } = self.namespace;
        let marks = may_shed.then(|| Marks {
            channel: self.channel.clone(),
            is_positioned: history.is_some(),
            epoch: None,
            slow: *slow,
            encoding: encoding.clone(),
            from: 0,
            list: Vec::new(),
        });
        Draft {
            encoding: encoding.clone(),
            buffer: Vec::new(),
            marks,
            publications: 0,
            close: None,
            left_out: HashMap::new(),
        }
    }

    fn publication(&self, publication: &Publication, epoch: Option<&Epoch>, draft: &mut Draft) {
        let start = draft.buffer.len();
        draft.encoding.encode_publication(self.channel, epoch, publication, &mut Frames::new(&mut draft.buffer));
        let end = draft.buffer.len();
        draft.publications += 1;
        if let Some(marks) = &mut draft.marks {
            let (offset, retain) = (publication.offset, publication.retain.clone());
            marks.list.push(Mark { start, end, offset, retain });
        }
        if !publication.echo {
            let client = publication.from.as_ref().map(|from| from.client.as_str());
            self.leave_out(client, start..end, true, draft);
        }
    }

    fn leave_out(&self, client: Option<&str>, bytes: Range<usize>, is_publication: bool, draft: &mut Draft) {
        if let Some(number) = client.and_then(self.number_of) {
            draft.left_out.entry(number).or_default().push(LeftOut { bytes, is_publication });
        }
    }
}

impl Draft {
    fn write(&mut self, outgoing: &Outgoing) -> Range<usize> {
        let start = self.buffer.len();
        let mut frames = Frames::new(&mut self.buffer);
        self.encoding.encode(outgoing, &mut frames);
        self.close = self.close.or(frames.close);
        start..self.buffer.len()
    }

    /// What follows counts in this epoch.
    fn begin_epoch(&mut self, epoch: &Epoch) {
        let Some(before) = self.marks.as_ref().map(|marks| &marks.epoch) else { return };
        if before.as_ref().is_some_and(|before| before != epoch) {
            self.begin_anew();
        }
        if let Some(marks) = &mut self.marks {
            marks.epoch.get_or_insert_with(|| epoch.clone());
        }
    }

    /// What has been encoded so far is not done without: a gap has been told, and none may reach across it.
    fn begin_anew(&mut self) {
        if let Some(marks) = &mut self.marks {
            marks.list.clear();
            marks.epoch = None;
            marks.from = self.buffer.len();
        }
    }
}

/// Whoever has read past the end of a gap has lost nothing.
fn is_bridged(range: Option<(u64, u64)>, position: Option<&Position>, ahead: Option<&Position>) -> bool {
    let Some(((_, last), (after, ahead))) = range.zip(position.zip(ahead)) else { return false };
    after.epoch == ahead.epoch && last <= ahead.offset
}

fn gap(channel: &Channel, range: Option<(u64, u64)>, position: Option<&Position>) -> Outgoing {
    let epoch = position.map(|p| p.epoch.clone());
    let (from, to) = (range.map(|(from, _)| from), range.map(|(_, to)| to).or(position.map(|p| p.offset)));
    Outgoing::Push(Push::Gap { channel: channel.clone(), from, to, epoch })
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
        let meter = Meter::default();
        let turn = Turn { channel: &channel, namespace: &namespace, deliveries, number_of: &number_of, meter: &meter };
        let encoded = turn.encode(&Encoding::Raw, ahead);
        let (parts, publications) = encoded.parts(connection);
        let bytes: Vec<u8> = parts.iter().flat_map(|part| &encoded.frames.frames()[part.clone()]).copied().collect();
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
    fn a_gap_alone_ends_one_that_waits_before_it() {
        let channel = Channel::new("c").unwrap();
        let gap = Delivery::Gap { channel: channel.clone(), range: Some((4, 6)), position: None };
        let namespace = Namespace { slow: Slow::Latest, ..Namespace::default() };
        let number_of = |_: &str| None;
        let deliveries = [Arc::new(gap)];
        let meter = Rc::default();
        let turn = Turn {
            channel: &channel,
            namespace: &namespace,
            deliveries: &deliveries,
            number_of: &number_of,
            meter: &meter,
        };
        let encoded = turn.encode(&Encoding::Json, None);
        assert!(encoded.frames.marks().is_some_and(|marks| marks.from > 0));
    }

    #[test]
    fn a_client_is_not_told_of_its_own_coming() {
        let channel = Channel::new("c").unwrap();
        let member = Member { user: "ann".into(), clients: 1, info: None };
        let change = Membership { member, client: "7".into(), left: None };
        let deliveries = [Arc::new(Delivery::Membership { channel: channel.clone(), change })];
        let number_of = |id: &str| id.parse().ok();
        let namespace = Namespace::default();
        let meter = Meter::default();
        let deliveries = &deliveries;
        let turn = Turn { channel: &channel, namespace: &namespace, deliveries, number_of: &number_of, meter: &meter };
        let encoded = turn.encode(&Encoding::Json, None);
        assert!(encoded.parts(7).0.is_empty());
        assert!(!encoded.parts(8).0.is_empty());
    }

    fn marked(namespace: &Namespace, encoding: &Encoding, deliveries: &[Arc<Delivery>]) -> Rc<Shared> {
        let (channel, meter) = (Channel::new("c").unwrap(), Meter::default());
        let number_of = |id: &str| id.parse().ok();
        Turn { channel: &channel, namespace, deliveries, number_of: &number_of, meter: &meter }
            .encode(encoding, None)
            .frames
    }

    /// What each mark marks, as text, and its offset.
    fn marks(shared: &Shared) -> Vec<(String, Option<u64>)> {
        let text = |mark: &Mark| String::from_utf8_lossy(&shared.frames()[mark.start..mark.end]).into_owned();
        shared
            .marks()
            .map(|marks| marks.list.iter().map(|mark| (text(mark), mark.offset)).collect())
            .unwrap_or_default()
    }

    #[test]
    fn only_channels_that_let_go_of_publications_mark_them_and_only_for_those_who_can_be_told() {
        let close = Namespace::default();
        let latest = Namespace { slow: Slow::Latest, ..Namespace::default() };
        assert!(marked(&close, &Encoding::Json, &turn()).marks().is_none());
        assert!(marked(&latest, &Encoding::Raw, &turn()).marks().is_none());
        let shared = marked(&latest, &Encoding::Json, &turn());
        let (texts, offsets): (Vec<_>, Vec<_>) = marks(&shared).into_iter().unzip();
        assert_eq!(offsets, [Some(1), Some(2), Some(3), Some(4)]);
        assert!(texts.iter().all(|text| text.contains("publication") && text.ends_with('}')));
    }

    #[test]
    fn what_comes_before_a_gap_is_not_marked_and_volatile_ones_leave_the_epoch_as_it_is() {
        let latest = Namespace { slow: Slow::Latest, ..Namespace::default() };
        let channel = Channel::new("c").unwrap();
        let of = |epoch: Option<&str>, publications| {
            let (channel, epoch) = (channel.clone(), epoch.map(Epoch::from));
            Arc::new(Delivery::Publications { channel, epoch, publications })
        };
        let volatile = || Publication { offset: None, ..publication(0, "7", true) };
        let position = Some(Position { epoch: "new".into(), offset: 0 });
        let gap = Arc::new(Delivery::Gap { channel: channel.clone(), range: None, position });
        let before = of(Some("old"), vec![publication(8, "7", true)]);
        let after = [of(Some("new"), vec![publication(1, "7", true)]), of(None, vec![volatile()])];
        let shared = marked(&latest, &Encoding::Json, &[&[before, gap], &after[..]].concat());
        let found = shared.marks().unwrap();
        assert_eq!((found.epoch.as_deref(), found.is_positioned), (Some("new"), true));
        assert_eq!(marks(&shared).iter().map(|(_, offset)| *offset).collect::<Vec<_>>(), [Some(1), None]);
        assert_eq!(found.from, found.list[0].start);
        assert!(shared.frames()[..found.from].windows(5).any(|word| word == b"\"gap\""));
    }
}
