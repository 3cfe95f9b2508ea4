//! What one client knows beyond its connections: no sockets, tasks or clocks of its own.
//!
//! It is told what the application wants, what the gateway says and what time it is; it says which frames to send, what
//! to deliver and when to be woken.

mod asks;
mod deliveries;
mod feed;
mod feeds;
mod outbox;
#[cfg(test)]
mod tests;
mod track;

pub(crate) use asks::{Answer, Question};
pub(crate) use deliveries::{Deliveries, Room, Stream};
pub(crate) use feeds::Wanted;
pub(crate) use outbox::{Limits, Outbound};

use crate::SubscribeError;
use crate::backoff::after;
use crate::event::{Event, Message};
use crate::stats::Counters;
use crate::wire::{Command, Incoming, Push, Reply, encode};
use asks::Asks;
use feeds::Feeds;
use outbox::{Outbox, Settled};
use protocol::Channel;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

/// What the gateway takes on the present connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    /// The largest message.
    pub(crate) max_message_bytes: usize,
}

/// What the gateway says that is not for the application but for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The token ends in so many ms.
    Expiring(u64),
    /// The connection will be closed: come back so long after that.
    Reconnect(Duration),
}

/// Numbers for commands, shared by all that make some.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ids(Arc<AtomicU64>);

impl Ids {
    /// From 1 on.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// One client's subscriptions, publications and questions.
#[derive(Debug)]
pub(crate) struct Session {
    ids: Ids,
    link: Option<Link>,
    frames: Vec<String>,
    feeds: Feeds,
    outbox: Outbox,
    asks: Asks,
    deliveries: Deliveries,
    command_timeout: Duration,
}

impl Session {
    pub(crate) fn new(
        ids: Ids,
        limits: Limits,
        command_timeout: Duration,
        counters: Arc<Counters>,
        mut random: fastrand::Rng,
    ) -> Self {
        Self {
            ids,
            link: None,
            frames: Vec::new(),
            feeds: Feeds::new(command_timeout, random.fork()),
            outbox: Outbox::new(limits, random),
            asks: Asks::default(),
            deliveries: Deliveries::new(counters),
            command_timeout,
        }
    }

    /// The application subscribes.
    pub(crate) fn subscribe(&mut self, wanted: Wanted, now: Instant) -> Result<(), SubscribeError> {
        self.feeds.add(wanted)?;
        self.flush(now);
        Ok(())
    }

    /// The application has let go of a subscription.
    pub(crate) fn leave(&mut self, channel: &Channel, serial: u64, now: Instant) {
        if self.feeds.leave(channel, serial) && self.link.is_some() {
            // Without an id: that there was nothing to leave is as good.
            say(&mut self.frames, &Command::Unsubscribe { id: None, channel });
        }
        self.flush(now);
    }

    /// The application publishes.
    pub(crate) fn publish(&mut self, outbound: Outbound, now: Instant) {
        self.outbox.add(outbound, self.link.as_ref());
        self.flush(now);
    }

    /// The application asks.
    pub(crate) fn ask(&mut self, question: Question) {
        self.frames.extend(self.asks.add(question, self.link.as_ref()));
    }

    /// The application wants to read private messages.
    pub(crate) fn set_inbox(&mut self, inbox: Sender<Message>) {
        self.deliveries.set_inbox(inbox);
    }

    /// Shows a new token on the present connection.
    pub(crate) fn show_token(&mut self, token: &str, now: Instant) {
        let id = self.ids.next();
        match encode(&Command::Auth { id: Some(id), token }) {
            Ok(text) => {
                let deadline = after(now, self.command_timeout);
                self.ask(Question { id, text, deadline, answer: Answer::OfToken });
            }
            Err(error) => tracing::error!(%error, "the new token could not be written"),
        }
    }

    /// A connection has been welcomed.
    pub(crate) fn connect(&mut self, link: Link, now: Instant) {
        self.link = Some(link);
        self.feeds.connect();
        self.flush(now);
    }

    /// The connection is lost.
    pub(crate) fn disconnect(&mut self) {
        self.link = None;
        self.frames.clear();
        self.feeds.disconnect();
        self.outbox.disconnect();
        self.asks.disconnect();
    }

    /// It is over: nothing is sent or taken any more, and what waits to be delivered is all that is left.
    pub(crate) fn close(mut self) -> Deliveries {
        self.feeds.close();
        self.outbox.close();
        self.asks.close();
        self.deliveries.close();
        self.deliveries
    }

    /// The gateway says something.
    pub(crate) fn take(&mut self, incoming: Incoming, now: Instant) -> Option<Notice> {
        let notice = match incoming {
            Incoming::Reply { id, reply } => self.take_reply(id, reply, now),
            Incoming::Refused { id: Some(id), refusal } => {
                if self.feeds.has_asked(id) {
                    self.feeds.refuse(id, refusal, &mut self.deliveries, now);
                } else if self.outbox.has_sent(id) {
                    let settled = self.outbox.refuse(id, refusal, now);
                    self.settle(settled);
                } else {
                    self.asks.answer(id, Err(refusal));
                }
                None
            }
            Incoming::Refused { id: None, refusal } => {
                tracing::debug!(%refusal, "the gateway refused something that asked for no answer");
                None
            }
            Incoming::Push(push) => self.take_push(push, now),
        };
        self.flush(now);
        notice
    }

    fn take_reply(&mut self, id: u64, reply: Reply, now: Instant) -> Option<Notice> {
        match reply {
            Reply::Subscribed(reply) if self.feeds.has_asked(id) => {
                self.feeds.accept(id, reply, &self.outbox, &mut self.deliveries, now);
            }
            Reply::Published { position } if self.outbox.has_sent(id) => {
                let settled = self.outbox.take(id, position);
                self.settle(settled);
            }
            reply => self.asks.answer(id, Ok(reply)),
        }
        None
    }

    fn take_push(&mut self, push: Push, now: Instant) -> Option<Notice> {
        let (feeds, deliveries, outbox) = (&mut self.feeds, &mut self.deliveries, &self.outbox);
        match push {
            Push::Publication { channel, publication } => {
                if let Some(feed) = feeds.subscribed(&channel) {
                    feed.take(publication, outbox.silent(&channel), deliveries);
                }
            }
            Push::Gap { channel, from, to, epoch } => {
                if let Some(feed) = feeds.subscribed(&channel) {
                    feed.lose(from, to, epoch, outbox.silent(&channel), deliveries);
                }
            }
            Push::Join { channel, member } => {
                if let Some(feed) = feeds.subscribed(&channel) {
                    feed.tell(Event::Join { member }, deliveries);
                }
            }
            Push::Leave { channel, member, cause } => {
                if let Some(feed) = feeds.subscribed(&channel) {
                    feed.tell(Event::Leave { member, cause }, deliveries);
                }
            }
            Push::Unsubscribed { channel, refusal } => feeds.ended(&channel, refusal, deliveries, now),
            Push::Message(message) => deliveries.message(message),
            Push::Expiring { in_ms } => return Some(Notice::Expiring(in_ms)),
            Push::Reconnect { after, reason } => {
                tracing::debug!(?after, reason, "the gateway is about to close this connection");
                return Some(Notice::Reconnect(after));
            }
            Push::Welcome(_) => tracing::debug!("a connection was welcomed twice"),
        }
        None
    }

    fn settle(&mut self, settled: Option<Settled>) {
        let Some(Settled { channel, position }) = settled else { return };
        let silent = self.outbox.silent(&channel);
        if let Some(feed) = self.feeds.known(&channel) {
            feed.settle(position.as_ref(), silent, &mut self.deliveries);
        }
    }

    /// Does what is to be done by now. An error is a gateway that does not answer.
    pub(crate) fn on_time(&mut self, now: Instant) -> Result<(), &'static str> {
        self.outbox.on_time(now);
        self.asks.on_time(now);
        self.feeds.on_time(now, self.may_read())?;
        self.flush(now);
        Ok(())
    }

    /// When [`Session::on_time`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.outbox.deadline(), self.asks.deadline(), self.feeds.deadline(self.may_read())].into_iter().flatten().min()
    }

    /// What is to be sent.
    pub(crate) fn take_frames(&mut self) -> Vec<String> {
        std::mem::take(&mut self.frames)
    }

    /// Whether nothing that was sent is without an answer.
    pub(crate) fn is_settled(&self) -> bool {
        self.frames.is_empty() && self.asks.is_empty() && self.outbox.is_settled() && self.feeds.is_settled()
    }

    /// Whether the application has read what was there: only then is more read from the gateway.
    pub(crate) fn may_read(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// The stream of the application that has no room.
    pub(crate) fn blocked(&self) -> Option<Stream> {
        self.deliveries.next()
    }

    /// There is room again.
    pub(crate) fn deliver(&mut self, room: Room, now: Instant) {
        self.deliveries.deliver(room);
        if self.may_read() {
            self.feeds.read_again(now);
        }
    }

    fn flush(&mut self, now: Instant) {
        let Some(link) = self.link else { return };
        let (frames, ids) = (&mut self.frames, &self.ids);
        self.feeds.ask(now, ids, |command| say(frames, command));
        self.outbox.flush(&link, now, |text| frames.push(text));
    }
}

/// Queues a command, if it can be written.
fn say(frames: &mut Vec<String>, command: &Command<'_>) -> bool {
    match encode(command) {
        Ok(text) => frames.push(text),
        Err(error) => {
            tracing::error!(%error, "a command could not be written");
            return false;
        }
    }
    true
}
