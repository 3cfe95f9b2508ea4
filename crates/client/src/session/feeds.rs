//! All subscriptions of a client: asked for on every connection, a few at a time, and again where a refusal passes.

use super::Ids;
use super::deliveries::Deliveries;
use super::feed::{Asks, Feed, Stage};
use super::outbox::Outbox;
use crate::backoff::{Backoff, after};
use crate::event::Event;
use crate::wire::{Command, Place, Subscribed};
use crate::{Refusal, SubscribeError, SubscriptionToken};
use protocol::{Channel, ErrorCode, Position};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

/// Subscriptions that wait for their answer at a time: a client with many does not run into the gateway's rate limit
/// with all of them.
const WINDOW: usize = 32;

/// The subscriptions, by channel.
#[derive(Debug)]
pub(super) struct Feeds {
    known: HashMap<Channel, Feed>,
    /// In the order they were made; one that has gone meanwhile is passed over.
    to_ask: VecDeque<(Channel, u64)>,
    /// Asked for, by the id of the command.
    asked: HashMap<u64, (Channel, u64)>,
    /// Refused for now, by when to ask again.
    later: BTreeMap<(Instant, u64), Channel>,
    /// Until then nothing is asked for: the gateway says that commands come too fast.
    pause_until: Option<Instant>,
    pace: Backoff,
    /// When the gateway must have answered one of `asked`.
    answer_due: Option<Instant>,
    answer_timeout: Duration,
    random: fastrand::Rng,
}

/// A subscription that an application asks for.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Tells it from others to the same channel.
    pub(crate) serial: u64,
    pub(crate) channel: Channel,
    pub(crate) members: bool,
    pub(crate) state: bool,
    pub(crate) recover: Option<Position>,
    pub(crate) token: Option<SubscriptionToken>,
    pub(crate) stream: Sender<Event>,
}

impl Feeds {
    pub(super) fn new(answer_timeout: Duration, mut random: fastrand::Rng) -> Self {
        Self {
            known: HashMap::new(),
            to_ask: VecDeque::new(),
            asked: HashMap::new(),
            later: BTreeMap::new(),
            pause_until: None,
            pace: Backoff::of_commands(random.fork()),
            answer_due: None,
            answer_timeout,
            random,
        }
    }

    /// Takes a subscription.
    pub(super) fn add(&mut self, wanted: Wanted) -> Result<(), SubscribeError> {
        let Wanted { serial, channel, members, state, recover, token, stream } = wanted;
        if stream.is_closed() {
            // Dropped before it was made, and nobody will let go of it.
            return Ok(());
        }
        if self.known.contains_key(&channel) {
            return Err(SubscribeError::AlreadySubscribed);
        }
        let backoff = Backoff::of_commands(self.random.fork());
        let asks = Asks { members, state, token };
        let feed = Feed::new(serial, asks, recover, stream, backoff);
        self.known.insert(channel.clone(), feed);
        self.to_ask.push_back((channel, serial));
        Ok(())
    }

    /// The application has let go of it. Returns whether the gateway has to be told.
    pub(super) fn leave(&mut self, channel: &Channel, serial: u64) -> bool {
        match self.feed(channel, serial) {
            Some(feed) => {
                let is_known_there = feed.stage != Stage::Waiting;
                self.known.remove(channel);
                is_known_there
            }
            None => false,
        }
    }

    /// A new connection: all are asked for, in the order they were made.
    pub(super) fn connect(&mut self) {
        let mut all: Vec<_> = self.known.iter().map(|(channel, feed)| (channel.clone(), feed.serial)).collect();
        all.sort_by_key(|(_, serial)| *serial);
        self.to_ask = all.into();
    }

    /// Whether nothing was asked that is not answered.
    pub(super) fn is_settled(&self) -> bool {
        self.asked.is_empty()
    }

    /// The connection is lost.
    pub(super) fn disconnect(&mut self) {
        self.known.values_mut().for_each(Feed::disconnect);
        self.to_ask.clear();
        self.asked.clear();
        self.later.clear();
        self.pause_until = None;
        self.answer_due = None;
    }

    /// Nothing more will come: the streams end after what is on its way to them.
    pub(super) fn close(&mut self) {
        self.disconnect();
        self.known.clear();
    }

    /// Asks for what may be asked for now, with numbers from `ids`; `say` is whether a command could be sent.
    pub(super) fn ask(&mut self, now: Instant, ids: &Ids, mut say: impl FnMut(&Command<'_>) -> bool) {
        while self.asked.len() < WINDOW && self.pause_until.is_none() {
            let Some((channel, serial)) = self.to_ask.pop_front() else { return };
            let Some(feed) = self.known.get_mut(&channel).filter(|feed| feed.serial == serial) else { continue };
            let recover = feed.position().map(Place::from);
            let id = ids.next();
            let Asks { members, state, ref token } = feed.asks;
            let token = token.as_ref().map(SubscriptionToken::as_str);
            let command = Command::Subscribe { id: Some(id), channel: &channel, recover, members, state, token };
            if !say(&command) {
                continue;
            }
            feed.stage = Stage::Asked;
            self.asked.insert(id, (channel, serial));
            self.answer_due.get_or_insert(after(now, self.answer_timeout));
        }
    }

    /// Whether this is the answer to one of them.
    pub(super) fn has_asked(&self, id: u64) -> bool {
        self.asked.contains_key(&id)
    }

    pub(super) fn accept(
        &mut self,
        id: u64,
        reply: Subscribed,
        outbox: &Outbox,
        deliveries: &mut Deliveries,
        now: Instant,
    ) {
        self.pace.reset();
        let Some((channel, serial)) = self.answered(id, now) else { return };
        let silent = outbox.silent(&channel);
        if let Some(feed) = self.feed(&channel, serial) {
            feed.accept(reply, silent, deliveries);
        }
    }

    pub(super) fn refuse(&mut self, id: u64, refusal: Refusal, deliveries: &mut Deliveries, now: Instant) {
        let Some((channel, serial)) = self.answered(id, now) else { return };
        let Some(feed) = self.feed(&channel, serial) else { return };
        feed.stage = Stage::Waiting;
        if !refusal.temporary {
            return self.end(&channel, refusal, deliveries);
        }
        tracing::debug!(%channel, %refusal, "a subscription was refused for now");
        if refusal.code == Some(ErrorCode::RateLimited) {
            self.to_ask.push_back((channel, serial));
            let wait = self.pace.next().max(refusal.retry_after.unwrap_or_default());
            self.pause_until = Some(after(now, wait));
        } else {
            let wait = refusal.retry_after.unwrap_or_else(|| feed.backoff.next());
            self.later.insert((after(now, wait), serial), channel);
        }
    }

    /// The gateway has ended a subscription, perhaps only for now.
    pub(super) fn ended(&mut self, channel: &str, refusal: Refusal, deliveries: &mut Deliveries, now: Instant) {
        let Some((channel, feed)) = self.known.get_key_value(channel) else { return };
        if feed.stage != Stage::Subscribed {
            return;
        }
        let channel = channel.clone();
        if !refusal.temporary {
            return self.end(&channel, refusal, deliveries);
        }
        tracing::debug!(%channel, %refusal, "a subscription was ended for now");
        if let Some(feed) = self.known.get_mut(&channel) {
            feed.disconnect();
            let wait = feed.backoff.next();
            self.later.insert((after(now, wait), feed.serial), channel);
        }
    }

    /// A feed that takes pushes.
    pub(super) fn subscribed(&mut self, channel: &str) -> Option<&mut Feed> {
        self.known.get_mut(channel).filter(|feed| feed.stage == Stage::Subscribed)
    }

    /// A feed in whatever stage.
    pub(super) fn known(&mut self, channel: &Channel) -> Option<&mut Feed> {
        self.known.get_mut(channel)
    }

    /// What is to be done by now; an error is a gateway that does not answer.
    pub(super) fn on_time(&mut self, now: Instant, is_read: bool) -> Result<(), &'static str> {
        if self.pause_until.is_some_and(|until| until <= now) {
            self.pause_until = None;
        }
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, serial), channel) = entry.remove_entry();
            self.to_ask.push_back((channel, serial));
        }
        match self.answer_due {
            Some(due) if is_read && due <= now => Err("no answer to a subscription in time"),
            _ => Ok(()),
        }
    }

    pub(super) fn deadline(&self, is_read: bool) -> Option<Instant> {
        let later = self.later.keys().next().map(|(moment, _)| *moment);
        [later, self.pause_until, self.answer_due.filter(|_| is_read)].into_iter().flatten().min()
    }

    /// The gateway is read again: its answers may have waited all the while.
    pub(super) fn read_again(&mut self, now: Instant) {
        if self.answer_due.is_some() {
            self.answer_due = Some(after(now, self.answer_timeout));
        }
    }

    fn answered(&mut self, id: u64, now: Instant) -> Option<(Channel, u64)> {
        let asked = self.asked.remove(&id);
        self.answer_due = if self.asked.is_empty() { None } else { Some(after(now, self.answer_timeout)) };
        asked
    }

    fn feed(&mut self, channel: &Channel, serial: u64) -> Option<&mut Feed> {
        self.known.get_mut(channel).filter(|feed| feed.serial == serial)
    }

    fn end(&mut self, channel: &Channel, refusal: Refusal, deliveries: &mut Deliveries) {
        if let Some(feed) = self.known.remove(channel) {
            feed.end(refusal, deliveries);
        }
    }
}
