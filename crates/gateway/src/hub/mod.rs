//! One worker's channels and who of its connections subscribes to them. No locks: a hub lives on one thread.

pub mod fanout;

use crate::policy::Namespace;
use broker::Delivery;
use protocol::{Channel, Position};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;

/// Numbers a worker's requests to be delivered a channel, so that the answer to an old one is not taken for the new.
pub type Ticket = u64;

/// How much a subscriber that reads the log may be held back of what is published meanwhile. Beyond it, it reads again.
const HELD_MAX: usize = 1024;

/// A worker's channels. `S` is a subscriber.
#[derive(Debug)]
pub struct Hub<S> {
    channels: HashMap<Channel, Entry<S>>,
    next_ticket: Ticket,
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
    ahead: Vec<(u32, u64)>,
    arrivals: Vec<Rc<Arrival>>,
}

/// Holds what is published while one subscriber reads the log.
#[derive(Debug, Default)]
pub struct Arrival {
    held: RefCell<Vec<Arc<Delivery>>>,
    overflowed: Cell<bool>,
}

impl Arrival {
    /// Takes what was held; `None` if it was too much to hold.
    pub fn take(&self) -> Option<Vec<Arc<Delivery>>> {
        let held = std::mem::take(&mut *self.held.borrow_mut());
        (!self.overflowed.replace(false)).then_some(held)
    }

    fn hold(&self, delivery: &Arc<Delivery>) {
        let mut held = self.held.borrow_mut();
        if held.len() < HELD_MAX && !self.overflowed.get() {
            held.push(delivery.clone());
        } else {
            self.overflowed.set(true);
            held.clear();
        }
    }
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
        Self { channels: HashMap::new(), next_ticket: 1 }
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
            ahead: Vec::new(),
            arrivals: Vec::new(),
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
            self.ahead.push((index, offset));
        }
        index
    }

    fn detach(&mut self, index: u32) -> Option<S> {
        let last = u32::try_from(self.subscribers.len().checked_sub(1)?).ok()?;
        if index > last {
            return None;
        }
        self.subscribers.swap_remove(index as usize);
        self.ahead.retain(|(place, _)| *place != index);
        for (place, _) in &mut self.ahead {
            if *place == last {
                *place = index;
            }
        }
        self.subscribers.get(index as usize).cloned()
    }

    /// Who subscribes, with how far each is ahead of the live deliveries, if it is.
    pub fn subscribers(&self) -> impl Iterator<Item = (&S, Option<u64>)> {
        let ahead =
            |index: usize| self.ahead.iter().find(|(place, _)| *place as usize == index).map(|(_, offset)| *offset);
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

    /// Begins to hold live deliveries for a subscriber that reads the log.
    pub fn arrive(&mut self) -> Rc<Arrival> {
        let arrival = Rc::new(Arrival::default());
        self.arrivals.push(arrival.clone());
        arrival
    }

    /// Ends that.
    pub fn arrived(&mut self, arrival: &Rc<Arrival>) {
        self.arrivals.retain(|a| !Rc::ptr_eq(a, arrival));
    }

    /// Moves the position past a delivery, and holds it for those who read the log.
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
        self.arrivals.iter().for_each(|arrival| arrival.hold(delivery));
    }

    /// After a fan-out: whoever the live deliveries have caught up with is ahead no more.
    pub fn caught_up(&mut self) {
        let reached = self.position.as_ref().map_or(u64::MAX, |p| p.offset);
        self.ahead.retain(|(_, offset)| *offset > reached);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
