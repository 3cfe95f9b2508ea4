//! What an application holds of a channel, and of its private messages.

use crate::event::{Event, Gap, GapCause, Message};
use crate::order::{Leaving, Order};
use protocol::{Channel, Position};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// How to subscribe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Ask who is there: [`Event::Subscribed`] then says so, where the channel keeps presence.
    pub members: bool,
    /// Ask for the channel's state: [`Event::Subscribed`] then brings it, after each reconnect too. [`crate::Retained`] keeps
    /// it up to date.
    pub state: bool,
    /// Go on from a position of an earlier subscription (see [`Subscription::position`]).
    pub recover: Option<Position>,
    /// Its own token, where the channel asks for one.
    pub token: Option<SubscriptionToken>,
    /// How many events may wait to be read. When so many do, this client reads nothing more from the gateway until there
    /// is room.
    pub capacity: usize,
}

/// A token for one channel alone, shown at each attempt. When it has ended so has the subscription, by
/// [`Event::Unsubscribed`] with `unauthenticated`: subscribe again with the next one, from [`Subscription::position`].
#[derive(Clone, PartialEq, Eq)]
pub struct SubscriptionToken(String);

impl SubscriptionToken {
    /// What the gateway's users sign with their key.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SubscriptionToken {
    /// Without the token: options end up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubscriptionToken")
    }
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self { members: false, state: false, recover: None, token: None, capacity: 256 }
    }
}

/// A channel's events, across all reconnects, until this is dropped or [`Event::Unsubscribed`] ends it.
///
/// Read it without long pauses. While more waits than [`SubscribeOptions::capacity`], nothing is read from the gateway:
/// other subscriptions stand still too, and no command is answered. A task that publishes between two reads can so run
/// into the time limit of its own publication. A gateway that has to wait for too long closes the connection; once there
/// is room again, this client comes back and recovers what came meanwhile. Nothing is dropped in silence.
#[derive(Debug)]
pub struct Subscription {
    channel: Channel,
    serial: u64,
    events: mpsc::Receiver<Event>,
    position: Option<Position>,
    leaving: Arc<Leaving>,
    /// Keeps the client's task alive.
    _orders: mpsc::Sender<Order>,
}

impl Subscription {
    pub(crate) fn new(
        channel: Channel,
        serial: u64,
        events: mpsc::Receiver<Event>,
        position: Option<Position>,
        leaving: Arc<Leaving>,
        orders: mpsc::Sender<Order>,
    ) -> Self {
        Self { channel, serial, events, position, leaving, _orders: orders }
    }

    /// The channel.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The next event; `None` once it is over. Dropped half-way nothing is lost.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The position of what has been read so far: kept somewhere, a later client can go on from it with
    /// [`SubscribeOptions::recover`]. Absent before the first event and in channels without history.
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Ends it, as dropping it does.
    pub fn unsubscribe(self) {
        drop(self);
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let event = ready!(self.events.poll_recv(cx));
        if let Some(event) = &event {
            self.follow(event);
        }
        Poll::Ready(event)
    }

    fn follow(&mut self, event: &Event) {
        match event {
            Event::Subscribed { position, .. } => self.position.clone_from(position),
            Event::Publication(publication) => {
                if let (Some(position), Some(offset)) = (&mut self.position, publication.offset) {
                    position.offset = offset;
                }
            }
            // After the others come publications, which say where it goes on.
            Event::Gap(Gap { to, epoch, cause: GapCause::Told, .. }) => {
                let to = to.unwrap_or(0);
                match (&mut self.position, epoch) {
                    (Some(position), epoch) if epoch.as_ref().is_none_or(|epoch| *epoch == position.epoch) => {
                        position.offset = position.offset.max(to);
                    }
                    (position, Some(epoch)) => *position = Some(Position { epoch: epoch.clone(), offset: to }),
                    (_, None) => {}
                }
            }
            _ => {}
        }
    }
}

impl futures_util::Stream for Subscription {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.events.close();
        self.leaving.add(self.channel.clone(), self.serial);
    }
}

/// Private messages, from [`crate::Client::messages`]. What is said of reading a [`Subscription`] holds here too.
#[derive(Debug)]
pub struct Messages {
    messages: mpsc::Receiver<Message>,
}

impl Messages {
    pub(crate) fn new(messages: mpsc::Receiver<Message>) -> Self {
        Self { messages }
    }

    /// The next message; `None` once the client is closed, or somebody else reads them. Dropped half-way nothing is lost.
    pub async fn next(&mut self) -> Option<Message> {
        self.messages.recv().await
    }
}

impl futures_util::Stream for Messages {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.messages.poll_recv(cx)
    }
}
