//! A group of channels while it is loaded: whose turn it is, what is in flight, what was counted.

use super::latency::Latency;
use super::stamp::Stamp;
use crate::speed::plan::{GroupOutcome, Pace};

/// An open loop stops when so many seconds' worth of deliveries are owed: the server cannot follow.
const OWED_MAX_S: f64 = 2.0;

/// A group.
pub(super) struct Crowd {
    pace: Pace,
    /// Whose turn it is: channel and publisher, the channels in turn.
    turns: Vec<(usize, usize)>,
    turn: usize,
    subscribers: u32,
    window: Vec<Slot>,
    free: Vec<u32>,
    began_ns: u64,
    published: u64,
    owed: u64,
    counted: Option<Counted>,
    /// The server could not follow.
    pub(super) overloaded: bool,
}

#[derive(Clone, Copy)]
struct Slot {
    id: u32,
    owed: u32,
    sent_ns: u64,
}

struct Counted {
    published: u64,
    deliveries: u64,
    latency: Latency,
}

/// A message that is to be sent now.
pub(super) struct Due {
    /// Where.
    pub(super) channel: usize,
    /// By whom.
    pub(super) publisher: usize,
    /// Its place in the window.
    pub(super) slot: u32,
    /// When it was due.
    pub(super) due_ns: u64,
}

impl Crowd {
    /// So many channels from a number on, with so many subscribers and publishers each.
    pub(super) fn new(pace: Pace, channels: std::ops::Range<usize>, subscribers: u32, publishers: usize) -> Self {
        let turns = (0..publishers).flat_map(|p| channels.clone().map(move |channel| (channel, p))).collect();
        let size = if let Pace::InFlight(size) = pace { size } else { 0 };
        let window = (0..size).map(|id| Slot { id, owed: 0, sent_ns: 0 }).collect();
        let free = (0..size).rev().collect();
        let (turn, owed, counted, overloaded) = (0, 0, None, false);
        let (began_ns, published) = (0, 0);
        Self { pace, turns, turn, subscribers, window, free, began_ns, published, owed, counted, overloaded }
    }

    /// An open loop begins here.
    pub(super) fn begin(&mut self, now_ns: u64) {
        self.began_ns = now_ns;
    }

    /// Counting begins here.
    pub(super) fn count(&mut self) {
        self.counted = Some(Counted { published: self.published, deliveries: 0, latency: Latency::new() });
    }

    /// What was counted; counting ends here.
    pub(super) fn outcome(&mut self) -> GroupOutcome {
        let nothing = || Counted { published: self.published, deliveries: 0, latency: Latency::new() };
        let counted = self.counted.take().unwrap_or_else(nothing);
        GroupOutcome {
            published: self.published - counted.published,
            deliveries: counted.deliveries,
            p50_us: counted.latency.permille_us(500),
            p99_us: counted.latency.permille_us(990),
            longest_us: counted.latency.longest_us(),
        }
    }

    /// Deliveries that have yet to come.
    pub(super) fn owed(&self) -> u64 {
        self.owed
    }

    /// A delivery has come.
    pub(super) fn deliver(&mut self, stamp: &Stamp, now_ns: u64) {
        self.owed = self.owed.saturating_sub(1);
        if let Some(counted) = &mut self.counted {
            counted.deliveries += 1;
            counted.latency.add(now_ns.saturating_sub(stamp.due_ns));
        }
        if self.window.is_empty() {
            return;
        }
        let index = stamp.slot % self.window.len() as u32;
        let slot = &mut self.window[index as usize];
        // A delivery of a message that was given up finds another one in its place.
        if slot.id == stamp.slot && slot.owed > 0 {
            slot.owed -= 1;
            if slot.owed == 0 {
                self.free.push(index);
            }
        }
    }

    /// What is to be sent now, if anything.
    pub(super) fn due(&mut self, now_ns: u64) -> Option<Due> {
        let (slot, due_ns) = match self.pace {
            Pace::Silent => return None,
            Pace::InFlight(size) => {
                let index = self.free.pop()?;
                let slot = &mut self.window[index as usize];
                *slot = Slot { id: slot.id.wrapping_add(size), owed: self.subscribers, sent_ns: now_ns };
                (slot.id, now_ns)
            }
            Pace::PerSecond(rate) => {
                self.overloaded |= self.owed as f64 > rate * f64::from(self.subscribers) * OWED_MAX_S + 1000.0;
                let due_ns = self.next_ns()?;
                if due_ns > now_ns {
                    return None;
                }
                (0, due_ns)
            }
        };
        let (channel, publisher) = self.turns[self.turn];
        self.turn = (self.turn + 1) % self.turns.len();
        self.published += 1;
        self.owed += u64::from(self.subscribers);
        Some(Due { channel, publisher, slot, due_ns })
    }

    /// When an open loop is due next.
    pub(super) fn next_ns(&self) -> Option<u64> {
        match self.pace {
            Pace::PerSecond(rate) if !self.overloaded => {
                Some(self.began_ns + (self.published as f64 / rate * 1e9) as u64)
            }
            _ => None,
        }
    }

    /// Frees the places of messages that do not become complete for so long: they count as lost.
    pub(super) fn give_up(&mut self, now_ns: u64, patience_ns: u64) {
        for (index, slot) in (0..).zip(&mut self.window) {
            if slot.owed > 0 && now_ns.saturating_sub(slot.sent_ns) > patience_ns {
                slot.owed = 0;
                self.free.push(index);
            }
        }
    }
}
