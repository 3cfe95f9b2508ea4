//! A channel's recent past, read once and kept for a moment: a storm of clients that come back costs one reading of the
//! log for each channel, not one for each client.

use broker::{Delivery, Page};
use protocol::{Epoch, Position, Publication, Text};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// How long an unused replay is kept.
pub const REPLAY_TTL: Duration = Duration::from_secs(5);

/// Publications of one replay: a page of the log and what has come since.
const PUBLICATIONS_MAX: usize = 4096;

/// And their bytes.
const BYTES_MAX: usize = 16 << 20;

/// What a publication takes beside its payload and names when it is encoded: field names, numbers, frame.
const OVERHEAD_BYTES: usize = 200;

/// About how large a publication is when it is encoded (binary grows by a third as base64).
pub fn weight(publication: &Publication) -> usize {
    let length = |text: Option<&Text>| text.map_or(0, |text| text.len());
    let from = publication.from.as_ref();
    let names = length(publication.event.as_ref())
        + length(publication.retain.as_ref())
        + length(from.map(|f| &f.client))
        + length(from.and_then(|f| f.user.as_ref()))
        + length(from.and_then(|f| f.info.as_ref()));
    publication.data.bytes.len() * 4 / 3 + names + OVERHEAD_BYTES
}

/// What came after some offset, up to where the live deliveries are.
#[derive(Debug)]
pub struct Replay {
    epoch: Epoch,
    /// Everything after this was asked for.
    since: u64,
    publications: VecDeque<Publication>,
    /// The newest position it knows of.
    top: u64,
    /// Whether it goes on to the live deliveries; a long log is read in pages, and only the last one does.
    reaches_live: bool,
    bytes: usize,
    used: Instant,
}

/// A part of what a client missed.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk {
    /// In order.
    pub publications: Vec<Publication>,
    /// Whether nothing is missing between the client's position and these.
    pub is_contiguous: bool,
    /// Where the client is with these.
    pub position: Position,
    /// Whether live deliveries go on from there.
    pub reaches_live: bool,
}

impl Replay {
    /// A page of the log that was asked for `since`, and whether it is the last one.
    pub fn new(since: u64, page: Page, is_last: bool) -> Self {
        Self {
            bytes: page.publications.iter().map(weight).sum(),
            epoch: page.top.epoch,
            since,
            publications: page.publications.into(),
            top: page.top.offset,
            reaches_live: is_last,
            used: Instant::now(),
        }
    }

    /// Whether it can serve a client at this position. An offset of another epoch says nothing, so only a whole log serves.
    pub fn covers(&self, from: &Position) -> bool {
        if from.epoch != self.epoch {
            return self.since == 0;
        }
        let last = self.publications.back().and_then(|p| p.offset);
        from.offset >= self.since && (self.reaches_live || last.is_some_and(|last| from.offset < last))
    }

    /// Whether nobody has used it for a while.
    pub fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) >= REPLAY_TTL
    }

    /// Where the next page has to begin for a client that has read this far; `None` if that is not where this one ends.
    pub fn next_page(&self, from: &Position) -> Option<u64> {
        let last = self.publications.back()?.offset?;
        (!self.reaches_live && from.epoch == self.epoch && from.offset == last).then_some(last)
    }

    /// Goes on with a page of the log that was asked for where this one ends; false when it is of no more use.
    pub fn extend(&mut self, page: &mut Page, is_last: bool) -> bool {
        let bytes: usize = page.publications.iter().map(weight).sum();
        if page.top.epoch != self.epoch
            || self.publications.len() + page.publications.len() > PUBLICATIONS_MAX
            || self.bytes + bytes > BYTES_MAX
        {
            return false;
        }
        self.bytes += bytes;
        self.publications.extend(page.publications.drain(..));
        self.top = page.top.offset;
        self.reaches_live = is_last;
        true
    }

    /// What it holds, in encoded bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When it was last used.
    pub fn used(&self) -> Instant {
        self.used
    }

    /// Goes on with a live delivery; false when it is of no more use.
    pub fn append(&mut self, delivery: &Delivery) -> bool {
        let Delivery::Publications { epoch: Some(epoch), publications, .. } = delivery else {
            return !matches!(delivery, Delivery::Gap { .. });
        };
        if !self.reaches_live || *epoch != self.epoch {
            return *epoch == self.epoch;
        }
        for publication in publications {
            match publication.offset {
                Some(offset) if offset > self.top => {
                    self.bytes += weight(publication);
                    self.publications.push_back(publication.clone());
                    self.top = offset;
                }
                _ => {}
            }
        }
        self.publications.len() <= PUBLICATIONS_MAX && self.bytes <= BYTES_MAX
    }

    /// What comes after `from`, as much as fits into `max_bytes` (at least one publication).
    pub fn after(&mut self, from: &Position, max_bytes: usize) -> Chunk {
        self.used = Instant::now();
        let same_epoch = from.epoch == self.epoch;
        let offset = if same_epoch { from.offset } else { 0 };
        let start = self.publications.partition_point(|p| p.offset.is_none_or(|o| o <= offset));
        let mut bytes = 0;
        let mut publications: Vec<Publication> = Vec::new();
        for publication in self.publications.iter().skip(start) {
            bytes += weight(publication);
            // A hole (an entry of the log that could not be read) ends a part: the next one is not contiguous.
            let has_hole = publications.last().is_some_and(|before| !follows(before, publication));
            if has_hole || (bytes > max_bytes && !publications.is_empty()) {
                break;
            }
            publications.push(publication.clone());
        }
        let begins = publications.first().and_then(|p| p.offset);
        let is_contiguous =
            same_epoch && begins.map_or(offset == self.top, |begins| offset.checked_add(1) == Some(begins));
        let reached = publications.last().and_then(|p| p.offset).unwrap_or(self.top);
        let reaches_live = self.reaches_live && reached == self.top;
        let position = Position { epoch: self.epoch.clone(), offset: reached };
        Chunk { publications, is_contiguous, position, reaches_live }
    }
}

fn follows(before: &Publication, next: &Publication) -> bool {
    before.offset.zip(next.offset).is_some_and(|(before, next)| before.checked_add(1) == Some(next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Channel, Payload};

    fn publication(offset: u64) -> Publication {
        let data = Payload::json(vec![b'1'; 10]);
        Publication {
            offset: Some(offset),
            data,
            event: None,
            retain: None,
            from: None,
            time_ms: 0,
            echo: true,
            stamp: offset,
        }
    }

    fn at(epoch: &str, offset: u64) -> Position {
        Position { epoch: epoch.into(), offset }
    }

    fn replay(since: u64, offsets: std::ops::Range<u64>, top: u64) -> Replay {
        let page = Page { publications: offsets.map(publication).collect(), top: at("e", top) };
        Replay::new(since, page, true)
    }

    fn live(offsets: std::ops::Range<u64>) -> Delivery {
        let channel = Channel::new("c").unwrap();
        Delivery::Publications { channel, epoch: Some("e".into()), publications: offsets.map(publication).collect() }
    }

    fn offsets(chunk: &Chunk) -> Vec<u64> {
        chunk.publications.iter().filter_map(|p| p.offset).collect()
    }

    #[test]
    fn log_and_live_are_one_sequence_and_nothing_comes_twice() {
        let mut replay = replay(2, 3..6, 5);
        assert!(replay.append(&live(4..6)) && replay.append(&live(5..8)));
        let chunk = replay.after(&at("e", 3), usize::MAX);
        assert_eq!(offsets(&chunk), [4, 5, 6, 7]);
        assert!(chunk.is_contiguous && chunk.reaches_live);
        assert_eq!(chunk.position, at("e", 7));
    }

    #[test]
    fn a_client_that_missed_nothing_is_told_so() {
        let chunk = replay(2, 3..6, 5).after(&at("e", 5), usize::MAX);
        assert_eq!((offsets(&chunk).len(), chunk.is_contiguous, chunk.reaches_live), (0, true, true));
    }

    #[test]
    fn what_the_log_no_longer_holds_is_not_bridged() {
        let chunk = replay(2, 5..7, 6).after(&at("e", 2), usize::MAX);
        assert_eq!((offsets(&chunk), chunk.is_contiguous), (vec![5, 6], false));
        assert!(!replay(2, 0..0, 5).after(&at("e", 2), usize::MAX).is_contiguous, "the log is gone, the count is not");
        assert!(!replay(2, 0..0, 5).after(&at("e", 9), usize::MAX).is_contiguous, "the log went back");
        assert!(
            !replay(0, 1..3, 2).after(&at("old", u64::MAX), usize::MAX).is_contiguous,
            "whatever offset is made up"
        );
    }

    #[test]
    fn another_epoch_brings_what_it_holds() {
        let mut replay = replay(0, 1..3, 2);
        assert!(replay.covers(&at("old", 17)));
        let chunk = replay.after(&at("old", 17), usize::MAX);
        assert_eq!((offsets(&chunk), chunk.is_contiguous, chunk.position), (vec![1, 2], false, at("e", 2)));
    }

    #[test]
    fn a_large_past_comes_in_parts() {
        let mut replay = replay(0, 1..6, 5);
        let one = weight(&publication(1));
        let first = replay.after(&at("e", 0), 2 * one);
        assert_eq!((offsets(&first), first.reaches_live), (vec![1, 2], false));
        let second = replay.after(&first.position, 3 * one - 1);
        assert_eq!((offsets(&second), second.is_contiguous, second.reaches_live), (vec![3, 4], true, false));
        let third = replay.after(&second.position, 1);
        assert_eq!((offsets(&third), third.is_contiguous, third.reaches_live), (vec![5], true, true));
    }

    #[test]
    fn an_entry_that_could_not_be_read_is_a_hole_and_not_passed_over() {
        let mut publications: Vec<_> = (1..6).map(publication).collect();
        publications.remove(2);
        let mut replay = Replay::new(0, Page { publications, top: at("e", 6) }, true);
        let first = replay.after(&at("e", 0), usize::MAX);
        assert_eq!((offsets(&first), first.is_contiguous, first.reaches_live), (vec![1, 2], true, false));
        let second = replay.after(&first.position, usize::MAX);
        assert_eq!((offsets(&second), second.is_contiguous, second.reaches_live), (vec![4, 5], false, false));
        let third = replay.after(&second.position, usize::MAX);
        assert_eq!(
            (offsets(&third), third.is_contiguous, third.reaches_live),
            (vec![], false, true),
            "also at the end"
        );
    }

    #[test]
    fn a_page_that_is_not_the_last_serves_only_itself() {
        let page = Page { publications: (1..4).map(publication).collect(), top: at("e", 9) };
        let mut page = Replay::new(0, page, false);
        assert!(page.covers(&at("e", 2)) && !page.covers(&at("e", 3)), "the next page has to be read");
        assert!(!page.after(&at("e", 0), usize::MAX).reaches_live);
        assert!(page.append(&live(10..11)), "what is live does not belong to it, and does it no harm");
        assert_eq!(offsets(&page.after(&at("e", 0), usize::MAX)), [1, 2, 3]);
    }

    #[test]
    fn pages_that_follow_one_another_are_one_past() {
        let page =
            |offsets: std::ops::Range<u64>| Page { publications: offsets.map(publication).collect(), top: at("e", 9) };
        let mut replay = Replay::new(0, page(1..4), false);
        assert_eq!(replay.next_page(&at("e", 2)), None, "it is not at the end of the page");
        assert_eq!((replay.next_page(&at("e", 3)), replay.next_page(&at("other", 3))), (Some(3), None));
        assert!(replay.extend(&mut page(4..7), false) && replay.extend(&mut page(7..10), true));
        let chunk = replay.after(&at("e", 0), usize::MAX);
        assert_eq!((offsets(&chunk), chunk.is_contiguous, chunk.reaches_live), ((1..10).collect(), true, true));
        assert_eq!(replay.next_page(&at("e", 9)), None, "live deliveries go on from there");
        let mut other = Page { publications: vec![], top: at("other", 9) };
        assert!(!replay.extend(&mut other, true));
    }

    #[test]
    fn a_past_grows_no_further_than_its_bounds() {
        let large = |offset| Publication { data: Payload::json(vec![b'1'; BYTES_MAX / 3]), ..publication(offset) };
        let page = |offset| Page { publications: vec![large(offset)], top: at("e", 9) };
        let mut replay = Replay::new(0, page(1), false);
        assert!(replay.extend(&mut page(2), false));
        assert!(!replay.extend(&mut page(3), false));
    }

    #[test]
    fn a_gap_or_another_epoch_ends_it() {
        let channel = Channel::new("c").unwrap();
        assert!(!replay(0, 1..3, 2).append(&Delivery::Gap { channel, range: None, position: None }));
        let mut other = replay(0, 1..3, 2);
        other.epoch = "other".into();
        assert!(!other.append(&live(3..4)));
    }
}
