//! Where a channel stands on this node, as a pure state machine: what arrives goes in, what to deliver comes out.
//!
//! A track is *live* while each envelope goes on where the last one ended. When one does not, when the connection was
//! made anew, and before the subscription is opened, it *waits* for a [`Reading`] of the channel's log: what arrives
//! meanwhile is held back, and delivered after what the reading brings.

use protocol::{Epoch, Position, Publication};
use std::collections::VecDeque;

/// What one channel may hold back, in bytes, until it reads again instead.
const HELD_MAX: usize = 1 << 20;

/// What a publication costs while it is held back, besides its payload.
const PUBLICATION_OVERHEAD: usize = 256;

/// How many past epochs a track remembers, to know one that comes back with an old dataset.
const PAST_MAX: usize = 4;

/// A position, and the stamp of the publication there if it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) epoch: Epoch,
    pub(super) offset: u64,
    pub(super) stamp: Option<u64>,
}

impl Mark {
    fn position(&self) -> Position {
        Position { epoch: self.epoch.clone(), offset: self.offset }
    }

    /// Whether Redis now holds an older state of the channel than the one this mark was taken from.
    pub(super) fn is_ahead_of(&self, reading: &Reading) -> bool {
        if reading.top < self.offset {
            return true;
        }
        let here = if reading.top == self.offset {
            reading.stamp
        } else {
            let first = reading.log.as_ref().and_then(|log| log.publications.first());
            first.filter(|p| p.offset == Some(self.offset)).map(|p| p.stamp)
        };
        matches!((self.stamp, here), (Some(seen), Some(here)) if seen != here)
    }

    /// Whether these publications, with consecutive offsets, come from a log in which another publication has this
    /// offset. A repeat of what a reading has brought does not.
    fn is_contradicted_by(&self, publications: &[Publication]) -> bool {
        let first = publications.first().and_then(|p| p.offset).unwrap_or(u64::MAX);
        let here = self.offset.checked_sub(first).and_then(|at| publications.get(usize::try_from(at).ok()?));
        matches!((self.stamp, here), (Some(seen), Some(here)) if seen != here.stamp)
    }
}

/// What Redis says of a channel at one moment.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// The present epoch.
    pub(super) epoch: Epoch,
    /// The offset after which it began.
    pub(super) begin: u64,
    /// The newest offset.
    pub(super) top: u64,
    /// The stamp of the newest publication.
    pub(super) stamp: Option<u64>,
    /// Whether the channel has a state.
    pub(super) has_state: bool,
    /// What the log holds, if it was asked for.
    pub(super) log: Option<Log>,
}

/// A part of the log.
#[derive(Debug, Clone)]
pub(super) struct Log {
    /// From the offset asked for, inclusive, as far as they are still there.
    pub(super) publications: Vec<Publication>,
    /// How far the log has been read: what is missing up to here is lost.
    pub(super) through: u64,
}

/// What a waiting track needs to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    /// Given back with the reading.
    pub(super) round: u64,
    /// Read the log from this offset, inclusive; `None` needs no log.
    pub(super) log_from: Option<u64>,
}

/// What to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Out {
    /// With whether there is a state.
    Opened(Position, bool),
    Publications(Epoch, Vec<Publication>),
    Gap(Option<(u64, u64)>, Position),
}

/// What came of something that arrived.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// To be delivered, in this order.
    pub(super) out: Vec<Out>,
    /// Publications that had been delivered before.
    pub(super) duplicates: u64,
    /// Too much was held back: it was dropped, and will be read.
    pub(super) overflowed: bool,
}

/// What is to be done after a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The track has moved on since it asked; the reading was ignored.
    Stale,
    /// The track is live.
    Live,
    /// It needs another reading.
    ReadAgain,
    /// The log went back in time: this epoch must end, so that no offset counts twice; then read again.
    Rotate(Epoch),
}

#[derive(Debug, Default)]
struct Held {
    envelopes: VecDeque<(Epoch, Vec<Publication>)>,
    bytes: usize,
    overflowed: bool,
    /// How many were held when the reading was asked for: it knows all that they do.
    known: usize,
}

/// One channel's place.
#[derive(Debug)]
pub(super) struct Track {
    round: u64,
    mark: Option<Mark>,
    /// Epochs that have ended here, the latest first.
    past: Vec<Epoch>,
    /// The epoch has changed and the subscribers have not been told.
    renewed: bool,
    /// Something is known to be missing: the next reading needs the log.
    missing: bool,
    waiting: Option<Held>,
}

impl Track {
    /// A subscription that is not open yet. Rounds are never used twice.
    pub(super) fn new(round: u64) -> Self {
        Self { round, mark: None, past: Vec::new(), renewed: false, missing: false, waiting: Some(Held::default()) }
    }

    /// Whether a reading is needed.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether the subscription has been opened.
    pub(super) fn is_open(&self) -> bool {
        self.mark.is_some()
    }

    /// What is held back.
    pub(super) fn held_bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |held| held.bytes)
    }

    /// The connection is lost: whatever was published since may be missing, and readings under way know too little.
    pub(super) fn lost(&mut self, round: u64) {
        self.round = round;
        self.waiting = Some(Held::default());
    }

    /// Where it stands, once it is open.
    pub(super) fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    /// Something came that cannot be read, or that says that the epoch has ended: something may be missing.
    pub(super) fn unreadable(&mut self) {
        if self.waiting.is_none() {
            self.missing = true;
            self.waiting = Some(Held::default());
        } else if let Some(held) = &mut self.waiting {
            held.overflowed = true;
        }
    }

    /// An envelope came. `room` is what may be held back at the most.
    pub(super) fn arrived(&mut self, epoch: Epoch, publications: Vec<Publication>, room: usize) -> Step {
        let mut step = Step::default();
        let rest = match (&mut self.mark, &self.waiting) {
            (Some(mark), None) if mark.epoch == epoch && !mark.is_contradicted_by(&publications) => {
                accept(mark, publications, &mut step)
            }
            _ => publications,
        };
        if !rest.is_empty() {
            self.missing |= self.waiting.is_none();
            let held = self.waiting.get_or_insert_default();
            let bytes = bytes_of(&rest);
            if bytes > room || held.bytes + bytes > HELD_MAX {
                *held = Held { overflowed: true, ..Held::default() };
                step.overflowed = true;
            } else {
                held.bytes += bytes;
                held.envelopes.push_back((epoch, rest));
            }
        }
        step
    }

    /// What to read, if anything.
    pub(super) fn ask(&mut self) -> Option<Ask> {
        let held = self.waiting.as_mut()?;
        held.known = held.envelopes.len();
        let log_from = self.mark.as_ref().filter(|_| self.missing).map(|mark| mark.offset);
        Some(Ask { round: self.round, log_from })
    }

    /// A reading came. It must have been asked for after the subscription was confirmed, or it would know too little.
    pub(super) fn read(&mut self, round: u64, reading: Reading) -> (Step, Verdict) {
        let mut step = Step::default();
        if round != self.round || self.waiting.is_none() {
            return (step, Verdict::Stale);
        }
        let Some(mark) = &mut self.mark else {
            let mark = Mark { epoch: reading.epoch, offset: reading.top, stamp: reading.stamp };
            step.out.push(Out::Opened(mark.position(), reading.has_state));
            self.mark = Some(mark);
            return self.settle(step);
        };
        if self.past.contains(&reading.epoch) {
            return (step, Verdict::Rotate(reading.epoch));
        }
        if reading.epoch != mark.epoch {
            let next = Mark { epoch: reading.epoch.clone(), offset: reading.begin, stamp: None };
            self.past.truncate(PAST_MAX - 1);
            self.past.insert(0, std::mem::replace(mark, next).epoch);
            self.renewed = true;
            self.missing = true;
            if reading.top > reading.begin {
                return (step, Verdict::ReadAgain);
            }
        } else if mark.is_ahead_of(&reading) {
            let epoch = mark.epoch.clone();
            return (step, Verdict::Rotate(epoch));
        }
        if reading.top > mark.offset {
            self.missing = true;
            let Some(log) = reading.log else { return (step, Verdict::ReadAgain) };
            replay(mark, &mut self.renewed, log, reading.top, &mut step);
            if mark.offset < reading.top {
                return (step, Verdict::ReadAgain);
            }
            mark.stamp = reading.stamp;
        }
        if std::mem::take(&mut self.renewed) {
            step.out.push(Out::Gap(None, mark.position()));
        }
        self.settle(step)
    }

    /// The track stands where the reading ended: delivers what was held back.
    fn settle(&mut self, mut step: Step) -> (Step, Verdict) {
        let mut held = self.waiting.take().unwrap_or_default();
        let Some(mark) = &mut self.mark else { return (step, Verdict::Stale) };
        let mut again = std::mem::take(&mut held.overflowed);
        let mut index = 0;
        while let Some((epoch, publications)) = held.envelopes.pop_front() {
            let known = index < held.known;
            index += 1;
            let rest = if epoch == mark.epoch { accept(mark, publications, &mut step) } else { publications };
            // What does not go on from a reading that was made after it came is of an earlier epoch. What came later
            // may be of the next one, or beyond something that is missing: another reading tells.
            if !rest.is_empty() && !known {
                held.envelopes.push_front((epoch, rest));
                again = true;
                break;
            }
        }
        self.missing = again;
        if !again {
            return (step, Verdict::Live);
        }
        held.known = 0;
        held.bytes = held.envelopes.iter().map(|(_, publications)| bytes_of(publications)).sum();
        self.waiting = Some(held);
        (step, Verdict::ReadAgain)
    }
}

fn bytes_of(publications: &[Publication]) -> usize {
    publications.iter().map(|p| p.data.bytes.len() + PUBLICATION_OVERHEAD).sum()
}

/// Delivers what goes on from the mark and drops what lies before it; returns what lies beyond a hole.
fn accept(mark: &mut Mark, mut publications: Vec<Publication>, step: &mut Step) -> Vec<Publication> {
    let seen = publications.iter().take_while(|p| p.offset.unwrap_or(0) <= mark.offset).count();
    publications.drain(..seen);
    step.duplicates += seen as u64;
    if publications.first().and_then(|p| p.offset) == Some(mark.offset + 1) {
        if let Some(last) = publications.last() {
            mark.offset = last.offset.unwrap_or(mark.offset);
            mark.stamp = Some(last.stamp);
        }
        step.out.push(Out::Publications(mark.epoch.clone(), publications));
        return Vec::new();
    }
    publications
}

/// Delivers a part of the log and tells what is missing in it.
fn replay(mark: &mut Mark, renewed: &mut bool, log: Log, top: u64, step: &mut Step) {
    let mut lose = |mark: &mut Mark, through: u64, step: &mut Step| {
        let first = mark.offset + 1;
        let lost = through >= first;
        (mark.offset, mark.stamp) = if lost { (through, None) } else { (mark.offset, mark.stamp) };
        let renewed = std::mem::take(renewed);
        if renewed || lost {
            step.out.push(Out::Gap((!renewed).then_some((first, through)), mark.position()));
        }
    };
    let mut run = Vec::new();
    for publication in log.publications {
        let offset = publication.offset.unwrap_or(0);
        if offset <= mark.offset || offset > top {
            continue;
        }
        let expected = mark.offset + 1 + run.len() as u64;
        if offset != expected {
            let _ = accept(mark, std::mem::take(&mut run), step);
        }
        if run.is_empty() {
            lose(mark, offset - 1, step);
        }
        run.push(publication);
    }
    let _ = accept(mark, run, step);
    lose(mark, log.through.min(top), step);
}

#[cfg(test)]
mod tests;
