//! A model of one channel in a Redis that loses envelopes, connections, logs and its memory, and of a subscriber that
//! checks every word.

use super::super::*;
use super::publication;
use proptest::prelude::*;
use std::collections::HashSet;

#[derive(Debug, Clone, Copy)]
enum Event {
    Publish(u64),
    Arrive,
    EnvelopeIsLost,
    ConnectionIsLost,
    Ask,
    Answer,
    LogIsTrimmed(usize),
    RestartEmpty,
    RestartOlder(u64),
    Backup,
    RestoreBackup,
    AnotherNodeEndsTheEpoch,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1u64..4).prop_map(Event::Publish),
        8 => Just(Event::Arrive),
        2 => Just(Event::EnvelopeIsLost),
        1 => Just(Event::ConnectionIsLost),
        6 => Just(Event::Ask),
        6 => Just(Event::Answer),
        1 => (0usize..6).prop_map(Event::LogIsTrimmed),
        1 => Just(Event::RestartEmpty),
        1 => (1u64..5).prop_map(Event::RestartOlder),
        1 => Just(Event::Backup),
        1 => Just(Event::RestoreBackup),
        1 => Just(Event::AnotherNodeEndsTheEpoch),
    ]
}

/// How many entries of the log one reading brings.
const PART: usize = 3;

/// Room for two publications.
const ROOM: usize = 2 * (PUBLICATION_OVERHEAD + 2);

/// What Redis has of the channel.
#[derive(Clone, Default)]
struct Stored {
    epoch: u64,
    begin: u64,
    top: u64,
    log: Vec<Publication>,
}

struct World {
    epochs: u64,
    stored: Stored,
    backup: Stored,
    last_stamp: u64,
    wire: VecDeque<(Epoch, Vec<Publication>)>,
    track: Track,
    rounds: u64,
    answer: Option<(u64, Reading)>,
    seen: Seen,
    /// Something happened that only the next envelope or connection can tell.
    unheard: bool,
}

impl World {
    fn new() -> Self {
        Self {
            epochs: 0,
            stored: Stored::default(),
            backup: Stored::default(),
            last_stamp: 0,
            wire: VecDeque::new(),
            track: Track::new(1),
            rounds: 1,
            answer: None,
            seen: Seen::default(),
            unheard: false,
        }
    }

    fn epoch(&self) -> Epoch {
        format!("epoch{}", self.stored.epoch).into()
    }

    fn reading(&self, ask: &Ask) -> Reading {
        let log = ask.log_from.map(|from| {
            let newer = self.stored.log.iter().filter(|p| p.offset >= Some(from));
            let publications: Vec<_> = newer.take(PART).cloned().collect();
            let through = match publications.last() {
                Some(last) if publications.len() == PART => last.offset.expect("an offset"),
                _ => self.stored.top,
            };
            Log { publications, through }
        });
        let stamp = self.stored.log.last().map(|p| p.stamp);
        let stored = &self.stored;
        Reading { epoch: self.epoch(), begin: stored.begin, top: stored.top, stamp, has_state: false, log }
    }

    fn disconnect(&mut self) {
        self.unheard = false;
        self.wire.clear();
        self.rounds += 1;
        self.track.lost(self.rounds);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Publish(count) => {
                let first = self.stored.log.len();
                for _ in 0..count {
                    self.stored.top += 1;
                    self.last_stamp += 1;
                    self.stored.log.push(publication(self.stored.top, self.last_stamp));
                }
                self.wire.push_back((self.epoch(), self.stored.log[first..].to_vec()));
                self.unheard = false;
            }
            Event::Arrive => {
                if let Some((epoch, publications)) = self.wire.pop_front() {
                    let step = self.track.arrived(epoch, publications, ROOM - self.track.held_bytes().min(ROOM));
                    self.seen.take(step.out);
                }
            }
            Event::EnvelopeIsLost => self.unheard |= self.wire.pop_front().is_some(),
            Event::ConnectionIsLost => self.disconnect(),
            Event::Ask => {
                if let Some(ask) = self.track.ask() {
                    self.answer = Some((ask.round, self.reading(&ask)));
                }
            }
            Event::Answer => self.answer(),
            Event::LogIsTrimmed(count) => {
                drop(self.stored.log.drain(..count.min(self.stored.log.len().saturating_sub(1))));
            }
            Event::RestartEmpty => {
                self.epochs += 1;
                self.stored = Stored { epoch: self.epochs, ..Stored::default() };
                self.disconnect();
            }
            Event::RestartOlder(by) => {
                self.stored.top = self.stored.top.saturating_sub(by).max(self.stored.begin);
                self.stored.log.retain(|p| p.offset <= Some(self.stored.top));
                self.disconnect();
            }
            Event::Backup => self.backup = self.stored.clone(),
            // A track remembers so many epochs and no more.
            Event::RestoreBackup if self.epochs < PAST_MAX as u64 => {
                self.stored = self.backup.clone();
                self.disconnect();
            }
            Event::RestoreBackup => {}
            Event::AnotherNodeEndsTheEpoch => {
                self.unheard = true;
                self.end_epoch();
            }
        }
    }

    fn end_epoch(&mut self) {
        self.epochs += 1;
        self.stored.epoch = self.epochs;
        self.stored.begin = self.stored.top;
    }

    fn answer(&mut self) {
        let Some((round, reading)) = self.answer.take() else { return };
        let (step, verdict) = self.track.read(round, reading);
        self.seen.take(step.out);
        if let Verdict::Rotate(epoch) = verdict {
            if self.epoch() == epoch {
                self.end_epoch();
            }
            let reading = self.reading(&Ask { round, log_from: None });
            let (step, _) = self.track.read(round, reading);
            self.seen.take(step.out);
        }
    }

    /// All is well again: whatever is still missing must come or be told now.
    fn come_to_rest(&mut self) {
        if self.unheard {
            self.disconnect();
        }
        for _ in 0..1000 {
            if !self.track.is_waiting() && self.wire.is_empty() {
                return;
            }
            self.happen(Event::Answer);
            self.happen(Event::Arrive);
            self.happen(Event::Ask);
            self.happen(Event::Answer);
        }
        panic!("the track reads for ever");
    }
}

#[derive(Default)]
struct Seen {
    /// Where the delivery of this epoch began.
    began_at: u64,
    lost: Vec<(u64, u64)>,
    position: Option<Position>,
    stamps: HashSet<u64>,
    gaps: u64,
}

impl Seen {
    fn take(&mut self, out: Vec<Out>) {
        for out in out {
            match out {
                Out::Opened(position, _) => {
                    self.began_at = position.offset;
                    assert_eq!(self.position.replace(position), None, "opened twice");
                }
                Out::Publications(epoch, publications) => {
                    let position = self.position.as_mut().expect("opened first");
                    assert_eq!(position.epoch, epoch);
                    assert!(!publications.is_empty());
                    for publication in publications {
                        position.offset += 1;
                        assert_eq!(publication.offset, Some(position.offset), "in order and without a hole");
                        assert!(self.stamps.insert(publication.stamp), "delivered twice");
                    }
                }
                Out::Gap(range, next) => {
                    self.gaps += 1;
                    let position = self.position.as_mut().expect("opened first");
                    if let Some((first, last)) = range {
                        assert_eq!((&next.epoch, first, last), (&position.epoch, position.offset + 1, next.offset));
                        assert!(first <= last);
                        self.lost.push((first, last));
                    } else {
                        self.began_at = next.offset;
                        self.lost.clear();
                        assert_ne!(next.epoch, position.epoch, "a gap without a range is a new epoch");
                    }
                    *position = next;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_offset_is_delivered_once_in_order_or_told_as_lost(events in prop::collection::vec(event(), 0..120)) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
        }
        world.come_to_rest();
        let top = Position { epoch: world.epoch(), offset: world.stored.top };
        prop_assert_eq!(world.seen.position.as_ref(), Some(&top));
        for publication in &world.stored.log {
            let offset = publication.offset.expect("an offset");
            let is_told = world.seen.lost.iter().any(|(first, last)| (*first..=*last).contains(&offset));
            let is_due = offset > world.seen.began_at && !is_told;
            prop_assert!(!is_due || world.seen.stamps.contains(&publication.stamp), "{offset} is lost in silence");
        }
    }

    #[test]
    fn while_the_log_holds_everything_nothing_is_told_as_lost(events in prop::collection::vec(event(), 0..120)) {
        let mut world = World::new();
        for event in events {
            let destroys = matches!(event, Event::LogIsTrimmed(_) | Event::RestartEmpty | Event::RestartOlder(_)
                | Event::RestoreBackup | Event::AnotherNodeEndsTheEpoch);
            if !destroys {
                world.happen(event);
            }
        }
        world.come_to_rest();
        prop_assert_eq!(world.seen.gaps, 0);
        prop_assert_eq!(world.seen.stamps.len() as u64, world.stored.top - world.seen.began_at);
    }
}
