//! One worker's channels and who of its connections subscribes to them. No locks: a hub lives on one thread.

pub mod fanout;
pub mod replay;

use crate::policy::Namespace;
use broker::{Delivery, Page};
use protocol::{Channel, Position};
use replay::{Chunk, Replay};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Numbers a worker's requests to be delivered a channel, so that the answer to an old one is not taken for the new.
pub type Ticket = u64;

/// How many deliveries are held while the log is read. Beyond it, it is read again.
const HELD_MAX: usize = 1024;

/// Readings of the log begin at multiples of this.
const SINCE_STEP: u64 = 64;

/// A worker's channels. `S` is a subscriber.
#[derive(Debug)]
pub struct Hub<S> {
    channels: HashMap<Channel, Entry<S>>,
    next_ticket: Ticket,
    /// Channels with a replay.
    replays: Vec<Channel>,
}

/// One channel on one worker.
#[derive(Debug)]
pub struct Entry<S> {
    /// The channel's rules.
    pub namespace: Arc<Namespace>,
    /// What has been fanned out so far; absent in channels without positions.
    pub position: Option<Position>,
    opening: Option<Ticket>,
    opened: Rc<Notify>,
    /// Subscribers, pending ones included: at zero the channel is left.
    interest: usize,
    subscribers: Vec<S>,
    /// Subscribers that are further than the live deliveries: they read the log before those came.
    ahead: HashMap<u32, u64>,
    replay: Option<Replay>,
    /// Set while the worker reads what it lost: live deliveries wait for that.
    repair: Option<Held>,
    /// Set while one of those who recover reads the log for all of them.
    reading: Option<Reading>,
}

/// A reading of the log that is under way: what is published meanwhile is held.
#[derive(Debug)]
struct Reading {
    since: u64,
    held: Held,
    done: Rc<Notify>,
}

/// Deliveries that wait for a reading of the log; none any more once they were too many.
#[derive(Debug)]
struct Held(Option<Vec<Arc<Delivery>>>);

impl Held {
    fn nothing() -> Self {
        Self(Some(Vec::new()))
    }

    fn hold(&mut self, delivery: &Arc<Delivery>) {
        match &mut self.0 {
            Some(held) if held.len() < HELD_MAX => held.push(delivery.clone()),
            _ => self.0 = None,
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
    Read(u64),
    /// The channel is not open.
    Closed,
}

/// Whether a channel is delivered to this worker.
#[derive(Debug)]
pub enum Opening {
    /// It is.
    Open,
    /// Not yet: wait for this, then look again.
    Wait(Rc<Notify>),
}

impl<S> Default for Hub<S> {
    fn default() -> Self {
        Self { channels: HashMap::new(), next_ticket: 1, replays: Vec::new() }
    }
}

impl<S: Clone> Hub<S> {
    /// One more subscriber is on its way. Returns a ticket if the worker has to ask for the channel.
    pub fn enter(&mut self, channel: &Channel, namespace: &Arc<Namespace>) -> Option<Ticket> {
        if let Some(entry) = self.channels.get_mut(channel) {
            entry.interest += 1;
            return None;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let entry = Entry {
            namespace: namespace.clone(),
            position: None,
            opening: Some(ticket),
            opened: Rc::new(Notify::new()),
            interest: 1,
            subscribers: Vec::new(),
            ahead: HashMap::new(),
            replay: None,
            repair: None,
            reading: None,
        };
        self.channels.insert(channel.clone(), entry);
        Some(ticket)
    }

    /// One subscriber less; true if that was the last, and the worker has to leave the channel.
    pub fn exit(&mut self, channel: &Channel) -> bool {
        let Some(entry) = self.channels.get_mut(channel) else { return false };
        entry.interest -= 1;
        if entry.interest > 0 {
            return false;
        }
        self.channels.remove(channel);
        true
    }

    /// The channel is delivered from here on; void if `ticket` is not the last one asked with.
    pub fn open(&mut self, channel: &Channel, ticket: Ticket, position: Option<Position>) {
        if let Some(entry) = self.channels.get_mut(channel)
            && entry.opening == Some(ticket)
        {
            entry.opening = None;
            entry.position = position;
            entry.opened.notify_waiters();
        }
    }

    /// Whether a channel is open; `None` if nobody asked for it.
    pub fn opening(&self, channel: &Channel) -> Option<Opening> {
        let entry = self.channels.get(channel)?;
        Some(if entry.opening.is_some() { Opening::Wait(entry.opened.clone()) } else { Opening::Open })
    }

    /// An open channel.
    pub fn entry(&mut self, channel: &Channel) -> Option<&mut Entry<S>> {
        self.channels.get_mut(channel).filter(|entry| entry.opening.is_none())
    }

    /// Takes a subscriber off an open channel; returns the one that has its place now.
    pub fn detach(&mut self, channel: &Channel, index: u32) -> Option<S> {
        self.channels.get_mut(channel)?.detach(index)
    }

    /// What a client at `from` has missed, as much as fits into `max_bytes`; or how to come by it.
    pub fn recover(&mut self, channel: &Channel, from: &Position, max_bytes: usize) -> Recovery {
        let Some(entry) = self.channels.get_mut(channel).filter(|entry| entry.opening.is_none()) else {
            return Recovery::Closed;
        };
        if let Some(replay) = entry.replay.as_mut().filter(|replay| replay.covers(from)) {
            return Recovery::Found(replay.after(from, max_bytes));
        }
        if let Some(reading) = &entry.reading {
            return Recovery::Wait(reading.done.clone());
        }
        let same_epoch = entry.position.as_ref().is_none_or(|p| p.epoch == from.epoch);
        // Rounded down, so that clients who missed a little more or less share one reading.
        let since = if same_epoch { from.offset - from.offset % SINCE_STEP } else { 0 };
        entry.reading = Some(Reading { since, held: Held::nothing(), done: Rc::default() });
        Recovery::Read(since)
    }

    /// Ends a reading that [`Recovery::Read`] asked for: with a page, or with nothing if it failed.
    pub fn install(&mut self, channel: &Channel, page: Option<Page>) {
        let Some(entry) = self.channels.get_mut(channel) else { return };
        let Some(reading) = entry.reading.take() else { return };
        reading.done.notify_waiters();
        let (Some(page), Some(held)) = (page, reading.held.0) else { return };
        let mut replay = Replay::new(reading.since, page);
        if held.iter().all(|delivery| replay.append(delivery)) && entry.replay.replace(replay).is_none() {
            self.replays.push(channel.clone());
        }
    }

    /// The worker has lost deliveries of a channel: from now on live ones are held. Returns from where to read; `None` if
    /// there is nothing to read from.
    pub fn begin_repair(&mut self, channel: &Channel) -> Option<Position> {
        let entry = self.entry(channel)?;
        let position = entry.position.clone()?;
        entry.replay = None;
        entry.repair = Some(Held::nothing());
        Some(position)
    }

    /// Whether a delivery has to wait for a repair of its channel; then it is held.
    pub fn waits_for_repair(&mut self, channel: &Channel, delivery: &Arc<Delivery>) -> bool {
        let Some(repair) = self.entry(channel).and_then(|entry| entry.repair.as_mut()) else { return false };
        repair.hold(delivery);
        true
    }

    /// A delivery was lost while its channel is being repaired: what is held has a hole. False if no repair is under way.
    pub fn spoil_repair(&mut self, channel: &Channel) -> bool {
        let Some(repair) = self.entry(channel).and_then(|entry| entry.repair.as_mut()) else { return false };
        repair.0 = None;
        true
    }

    /// Ends a repair. What was held is `None` if it was too much; all is `None` if the channel was left meanwhile.
    pub fn end_repair(&mut self, channel: &Channel) -> Option<Option<Vec<Arc<Delivery>>>> {
        Some(self.entry(channel)?.repair.take()?.0)
    }

    /// Forgets what nobody has asked for in a while.
    pub fn forget_stale_replays(&mut self, now: Instant) {
        let Self { channels, replays, .. } = self;
        replays.retain(|channel| {
            let Some(entry) = channels.get_mut(channel) else { return false };
            if entry.replay.as_ref().is_some_and(|replay| replay.is_stale(now)) {
                entry.replay = None;
            }
            entry.replay.is_some()
        });
    }

    /// How many channels this worker has.
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }
}

impl<S: Clone> Entry<S> {
    /// Adds a subscriber; returns its place. `offset` is how far it has read already, where that is beyond the channel's
    /// position here.
    pub fn attach(&mut self, subscriber: S, offset: Option<u64>) -> u32 {
        let index = u32::try_from(self.subscribers.len()).unwrap_or(u32::MAX);
        self.subscribers.push(subscriber);
        let reached = self.position.as_ref().map_or(0, |p| p.offset);
        if let Some(offset) = offset.filter(|offset| *offset > reached) {
            self.ahead.insert(index, offset);
        }
        index
    }

    fn detach(&mut self, index: u32) -> Option<S> {
        let last = u32::try_from(self.subscribers.len().checked_sub(1)?).ok()?;
        if index > last {
            return None;
        }
        self.subscribers.swap_remove(index as usize);
        self.ahead.remove(&index);
        if let Some(offset) = self.ahead.remove(&last) {
            self.ahead.insert(index, offset);
        }
        self.subscribers.get(index as usize).cloned()
    }

    /// Who subscribes, with how far each is ahead of the live deliveries, if it is.
    pub fn subscribers(&self) -> impl Iterator<Item = (&S, Option<u64>)> {
        let ahead = |index: usize| u32::try_from(index).ok().and_then(|place| self.ahead.get(&place).copied());
        let none_ahead = self.ahead.is_empty();
        self.subscribers.iter().enumerate().map(move |(i, s)| (s, if none_ahead { None } else { ahead(i) }))
    }

    /// How many subscribe.
    pub fn len(&self) -> usize {
        self.subscribers.len()
    }

    /// Whether nobody does.
    pub fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }

    /// What of a delivery is not older than the position: a repair may have brought what was still on its way.
    pub fn fresh(&self, delivery: Arc<Delivery>) -> Option<Arc<Delivery>> {
        let Some(position) = &self.position else { return Some(delivery) };
        let is_new = |offset: Option<u64>| offset.is_none_or(|offset| offset > position.offset);
        match &*delivery {
            Delivery::Publications { channel, epoch: Some(epoch), publications } if *epoch == position.epoch => {
                if publications.iter().all(|p| is_new(p.offset)) {
                    return Some(delivery);
                }
                let publications: Vec<_> = publications.iter().filter(|p| is_new(p.offset)).cloned().collect();
                let (channel, epoch) = (channel.clone(), Some(epoch.clone()));
                (!publications.is_empty()).then(|| Arc::new(Delivery::Publications { channel, epoch, publications }))
            }
            Delivery::Gap { position: Some(to), .. } if to.epoch == position.epoch && !is_new(Some(to.offset)) => None,
            _ => Some(delivery),
        }
    }

    /// Moves the position past a delivery, and keeps it for those who recover.
    pub fn pass(&mut self, delivery: &Arc<Delivery>) {
        match &**delivery {
            Delivery::Publications { epoch: Some(epoch), publications, .. } => {
                if let Some(offset) = publications.iter().rev().find_map(|p| p.offset) {
                    self.position = Some(Position { epoch: epoch.clone(), offset });
                }
            }
            Delivery::Gap { position: Some(position), .. } => {
                // Offsets of another epoch say nothing here.
                if self.position.as_ref().is_some_and(|p| p.epoch != position.epoch) {
                    self.ahead.clear();
                }
                self.position = Some(position.clone());
            }
            _ => {}
        }
        if let Some(replay) = &mut self.replay
            && !replay.append(delivery)
        {
            self.replay = None;
        }
        if let Some(reading) = &mut self.reading {
            reading.held.hold(delivery);
        }
    }

    /// After a fan-out: whoever the live deliveries have caught up with is ahead no more.
    pub fn caught_up(&mut self) {
        let reached = self.position.as_ref().map_or(u64::MAX, |p| p.offset);
        self.ahead.retain(|_, offset| *offset > reached);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Payload, Publication};

    fn channel() -> Channel {
        Channel::new("c").unwrap()
    }

    fn at(offset: u64) -> Option<Position> {
        Some(Position { epoch: "e".into(), offset })
    }

    #[test]
    fn the_answer_to_an_old_request_opens_nothing() {
        let mut hub = Hub::<u32>::default();
        let namespace = Arc::new(Namespace::default());
        let first = hub.enter(&channel(), &namespace).expect("the first asks");
        assert_eq!(hub.enter(&channel(), &namespace), None, "the second need not");
        assert!(!hub.exit(&channel()));
        assert!(hub.exit(&channel()), "the last leaves the channel");
        let second = hub.enter(&channel(), &namespace).expect("a new request");
        hub.open(&channel(), first, at(5));
        assert!(hub.entry(&channel()).is_none());
        hub.open(&channel(), second, at(6));
        assert_eq!(hub.entry(&channel()).and_then(|e| e.position.clone()), at(6));
    }

    #[test]
    fn what_a_repair_has_brought_does_not_come_again() {
        let mut hub = Hub::<u32>::default();
        let ticket = hub.enter(&channel(), &Arc::new(Namespace::default())).unwrap();
        hub.open(&channel(), ticket, at(5));
        let entry = hub.entry(&channel()).unwrap();
        let publications = |offsets: std::ops::Range<u64>| {
            let publications = offsets.map(|offset| Publication {
                offset: Some(offset),
                data: Payload::json("1"),
                event: None,
                from: None,
                time_ms: 0,
                echo: true,
                stamp: 0,
            });
            let (channel, epoch) = (channel(), Some("e".into()));
            Arc::new(Delivery::Publications { channel, epoch, publications: publications.collect() })
        };
        assert_eq!(entry.fresh(publications(3..6)), None);
        assert_eq!(entry.fresh(publications(4..8)), Some(publications(6..8)));
        assert_eq!(entry.fresh(publications(6..8)), Some(publications(6..8)));
        let gap = |to| Arc::new(Delivery::Gap { channel: channel(), range: None, position: at(to) });
        assert_eq!(entry.fresh(gap(5)), None);
        assert_eq!(entry.fresh(gap(6)), Some(gap(6)));
    }

    #[test]
    fn whoever_takes_a_leavers_place_is_told_and_stays_ahead() {
        let mut hub = Hub::<&str>::default();
        let ticket = hub.enter(&channel(), &Arc::new(Namespace::default())).unwrap();
        hub.open(&channel(), ticket, at(5));
        let entry = hub.entry(&channel()).unwrap();
        assert_eq!(entry.attach("a", None), 0);
        assert_eq!(entry.attach("b", Some(4)), 1);
        assert_eq!(entry.attach("c", Some(9)), 2);
        assert_eq!(hub.detach(&channel(), 0), Some("c"));
        let entry = hub.entry(&channel()).unwrap();
        assert_eq!(entry.subscribers().collect::<Vec<_>>(), [(&"c", Some(9)), (&"b", None)]);
        entry.position = at(9);
        entry.caught_up();
        assert_eq!(entry.subscribers().collect::<Vec<_>>(), [(&"c", None), (&"b", None)]);
        assert_eq!(hub.detach(&channel(), 1), None);
        assert_eq!(hub.detach(&channel(), 7), None);
    }
}
