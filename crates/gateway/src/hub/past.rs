//! Where a channel's past comes from: the replay that its recovering clients share, and the repair of what this worker
//! itself has lost. Both read the log, and hold what is published meanwhile.

use super::replay::{Chunk, Replay, weight};
use super::{Entry, Hub};
use broker::{Delivery, Page};
use protocol::{Channel, Position};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How much is held while the log is read. Beyond it, it is read again.
const HELD_MAX: usize = 1024;
const HELD_MAX_BYTES: usize = 8 << 20;

/// What all replays of a worker may hold together: a quarter of it is one of the largest.
pub(super) const REPLAYS_MAX_BYTES: usize = 64 << 20;

/// Readings of the log begin at multiples of this, so that clients who missed a little more or less share one.
const SINCE_STEP: u64 = 64;

/// Names one reading or repair: what it brings is void if its channel was left and entered again meanwhile.
pub type Errand = u64;

/// A reading of the log for clients that recover.
#[derive(Debug)]
pub struct Reading {
    errand: Errand,
    since: u64,
    /// Whether it goes on from the end of the replay.
    extends: bool,
    held: Held,
    done: Rc<Notify>,
}

impl Reading {
    pub(super) fn hold(&mut self, delivery: &Arc<Delivery>) {
        self.held.hold(delivery);
    }
}

/// A repair that is under way.
#[derive(Debug)]
pub struct Repair {
    errand: Errand,
    held: Held,
}

/// Deliveries that wait for a reading of the log; none any more once they were too many.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) deliveries: Option<Vec<Arc<Delivery>>>,
    bytes: usize,
}

impl Held {
    pub(super) fn nothing() -> Self {
        Self { deliveries: Some(Vec::new()), bytes: 0 }
    }

    pub(super) fn hold(&mut self, delivery: &Arc<Delivery>) {
        if let Delivery::Publications { publications, .. } = &**delivery {
            self.bytes += publications.iter().map(weight).sum::<usize>();
        }
        match &mut self.deliveries {
            Some(held) if held.len() < HELD_MAX && self.bytes <= HELD_MAX_BYTES => held.push(delivery.clone()),
            _ => self.deliveries = None,
        }
    }
}

/// How a client's past is come by.
#[derive(Debug)]
pub enum Recovery {
    /// Here it is, or a part of it.
    Found(Chunk),
    /// Somebody is reading it: wait for this, then ask again.
    Wait(Rc<Notify>),
    /// Nobody is: read the log since this offset, and [`Hub::install`] it.
    Read(Errand, u64),
    /// The channel is not open.
    Closed,
}

/// What was held during a repair.
#[derive(Debug, PartialEq)]
pub enum Repaired {
    /// All of it.
    Held(Vec<Arc<Delivery>>),
    /// It was too much, or has a hole: what is missing now is to be read.
    Spoiled,
    /// The channel was left meanwhile: nobody waits for anything.
    Void,
}

impl<S: Clone> Hub<S> {
    /// What a client at `from` has missed, as much as fits into `max_bytes`; or how to come by it.
    pub fn recover(&mut self, channel: &Channel, from: &Position, max_bytes: usize) -> Recovery {
        let errand = self.next_ticket();
        let Some(entry) = self.entry(channel) else { return Recovery::Closed };
        if let Some(replay) = entry.replay.as_mut().filter(|replay| replay.covers(from)) {
            return Recovery::Found(replay.after(from, max_bytes));
        }
        if let Some(reading) = &entry.reading {
            return Recovery::Wait(reading.done.clone());
        }
        let next_page = entry.replay.as_ref().and_then(|replay| replay.next_page(from));
        let same_epoch = entry.position.as_ref().is_none_or(|p| p.epoch == from.epoch);
        let since = if same_epoch { from.offset - from.offset % SINCE_STEP } else { 0 };
        let (since, extends) = (next_page.unwrap_or(since), next_page.is_some());
        entry.reading = Some(Reading { errand, since, extends, held: Held::nothing(), done: Rc::default() });
        Recovery::Read(errand, since)
    }

    /// Ends a reading: with a page (and whether it is the log's last one), or with nothing if it failed.
    pub fn install(&mut self, channel: &Channel, errand: Errand, page: Option<(Page, bool)>) {
        let Some(entry) = self.entry(channel) else { return };
        let Some(reading) = entry.reading.take_if(|reading| reading.errand == errand) else { return };
        reading.done.notify_waiters();
        let (Some((mut page, is_last)), Some(held)) = (page, reading.held.deliveries) else { return };
        let is_kept = entry.replay.is_some();
        let grown = entry.replay.take_if(|_| reading.extends).and_then(|mut replay| {
            // Too much for one replay: the page stands for itself, and who comes later reads again.
            replay.extend(&mut page, is_last).then_some(replay)
        });
        let mut replay = grown.unwrap_or_else(|| Replay::new(reading.since, page, is_last));
        if held.iter().all(|delivery| replay.append(delivery)) {
            entry.replay = Some(replay);
            if !is_kept {
                self.kept.push(channel.clone());
            }
            self.bound_replays();
        }
    }

    /// Gives up those that were not used for the longest time while all together are too much.
    fn bound_replays(&mut self) {
        let Self { channels, kept, .. } = self;
        let replays = kept.iter().filter_map(|channel| channels.get(channel)?.replay.as_ref().map(|r| (channel, r)));
        let mut by_use: Vec<_> = replays.map(|(channel, replay)| (replay.used(), replay.bytes(), channel)).collect();
        let mut bytes: usize = by_use.iter().map(|(_, bytes, _)| bytes).sum();
        if bytes <= REPLAYS_MAX_BYTES {
            return;
        }
        by_use.sort_by_key(|(used, ..)| *used);
        for (_, its_bytes, channel) in by_use {
            if bytes <= REPLAYS_MAX_BYTES {
                return;
            }
            if let Some(entry) = channels.get_mut(channel) {
                entry.replay = None;
                bytes -= its_bytes;
            }
        }
    }

    /// Forgets what nobody has asked for in a while, and what has served its time.
    pub fn forget_stale(&mut self, now: Instant) {
        let Self { channels, kept, .. } = self;
        kept.retain(|channel| {
            let Some(entry) = channels.get_mut(channel) else { return false };
            entry.replay.take_if(|replay| replay.is_stale(now));
            let has_state = entry.state.keep_fresh(now);
            entry.replay.is_some() || has_state
        });
        self.bound_replays();
    }

    /// The worker has lost deliveries of a channel: from now on live ones are held. Returns from where to read; `None` if
    /// there is nothing to read from.
    pub fn begin_repair(&mut self, channel: &Channel) -> Option<(Errand, Position)> {
        let errand = self.next_ticket();
        let entry = self.entry(channel)?;
        let position = entry.position.clone()?;
        entry.replay = None;
        entry.repair = Some(Repair { errand, held: Held::nothing() });
        Some((errand, position))
    }

    /// Whether this repair is still wanted.
    pub fn is_repairing(&mut self, channel: &Channel, errand: Errand) -> bool {
        self.repair(channel).is_some_and(|repair| repair.errand == errand)
    }

    /// Whether a delivery has to wait for a repair of its channel; then it is held.
    pub fn waits_for_repair(&mut self, channel: &Channel, delivery: &Arc<Delivery>) -> bool {
        let Some(repair) = self.repair(channel) else { return false };
        repair.held.hold(delivery);
        true
    }

    /// A delivery was lost while its channel is being repaired: what is held has a hole. False if no repair is under way.
    pub fn spoil_repair(&mut self, channel: &Channel) -> bool {
        let Some(repair) = self.repair(channel) else { return false };
        repair.held.deliveries = None;
        true
    }

    /// Ends a repair.
    pub fn end_repair(&mut self, channel: &Channel, errand: Errand) -> Repaired {
        let repair = self.entry(channel).and_then(|entry| entry.repair.take_if(|repair| repair.errand == errand));
        match repair.map(|repair| repair.held.deliveries) {
            Some(Some(held)) => Repaired::Held(held),
            Some(None) => Repaired::Spoiled,
            None => Repaired::Void,
        }
    }

    fn repair(&mut self, channel: &Channel) -> Option<&mut Repair> {
        self.entry(channel).and_then(|entry: &mut Entry<S>| entry.repair.as_mut())
    }
}
