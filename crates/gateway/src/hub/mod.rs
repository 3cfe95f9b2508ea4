//! One worker's channels and who of its connections subscribes to them. No locks: a hub lives on one thread.

mod entry;
pub mod fanout;
pub mod past;
pub mod replay;
pub mod state;

use crate::inbox::Ticket;
use crate::policy::Namespace;
use past::{Reading, Repair};
use protocol::{Channel, Position};
use replay::Replay;
use state::Standing;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;

/// A worker's channels. `S` is a subscriber.
#[derive(Debug)]
pub struct Hub<S> {
    channels: HashMap<Channel, Entry<S>>,
    last_ticket: Ticket,
    /// Channels that keep a replay or a state for a moment.
    kept: Vec<Channel>,
}

/// One channel on one worker.
#[derive(Debug)]
pub struct Entry<S> {
    /// The channel's rules.
    pub namespace: Arc<Namespace>,
    /// What has been fanned out so far; absent in channels without positions.
    pub position: Option<Position>,
    /// Counts members that came and went.
    pub membership_changes: u64,
    opening: Option<Ticket>,
    opened: Rc<Notify>,
    /// Subscribers, pending ones included: at zero the channel is left.
    interest: u32,
    /// When its subscribers were last handed something, in milliseconds of a clock that wraps.
    handed_ms: u32,
    subscribers: Vec<S>,
    /// Subscribers that are further than the live deliveries: they read the log before those came.
    ahead: HashMap<u32, Position>,
    replay: Option<Replay>,
    state: Standing,
    /// Set while the worker reads what it lost: live deliveries wait for that.
    repair: Option<Repair>,
    /// Set while one of those who recover reads the log for all of them.
    reading: Option<Reading>,
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
        Self { channels: HashMap::new(), last_ticket: 0, kept: Vec::new() }
    }
}

impl<S: Clone> Hub<S> {
    /// One more subscriber is on its way. Returns a ticket if the worker has to ask for the channel.
    pub fn enter(&mut self, channel: &Channel, namespace: &Arc<Namespace>) -> Option<Ticket> {
        if let Some(entry) = self.channels.get_mut(channel) {
            entry.interest += 1;
            return None;
        }
        let ticket = self.next_ticket();
        let entry = Entry {
            namespace: namespace.clone(),
            position: None,
            membership_changes: 0,
            opening: Some(ticket),
            opened: Rc::new(Notify::new()),
            interest: 1,
            handed_ms: 0,
            subscribers: Vec::new(),
            ahead: HashMap::new(),
            replay: None,
            state: Standing::Unknown,
            repair: None,
            reading: None,
        };
        self.channels.insert(channel.clone(), entry);
        Some(ticket)
    }

    /// The same name in the memory that all who are in the channel share; `None` if nobody is.
    pub fn shared_name(&self, channel: &Channel) -> Option<Channel> {
        self.channels.get_key_value(channel).map(|(name, _)| name.clone())
    }

    fn next_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        self.last_ticket
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

    /// The channel is delivered from here on, and may have a state; void if `ticket` is not the last one asked with.
    pub fn open(&mut self, channel: &Channel, ticket: Ticket, position: Option<Position>, has_state: bool) {
        if let Some(entry) = self.channels.get_mut(channel)
            && entry.opening == Some(ticket)
        {
            entry.opening = None;
            entry.position = position;
            entry.state = Standing::new(has_state);
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
}

#[cfg(test)]
mod tests;
