//! What waits for the application to read: while anything does, nothing more is read from the gateway.

use crate::event::{Event, Gap, GapCause, Message};
use crate::stats::{Counters, count};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{OwnedPermit, Sender};

/// Events and messages that found their stream full, in the order they came. At most what one message of the gateway
/// brought.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    waiting: VecDeque<Delivery>,
    inbox: Option<Sender<Message>>,
    counters: Arc<Counters>,
}

#[derive(Debug)]
enum Delivery {
    Event(Sender<Event>, Event),
    Message(Sender<Message>, Message),
}

/// The stream that the next delivery waits for.
#[derive(Debug)]
pub(crate) enum Stream {
    Events(Sender<Event>),
    Messages(Sender<Message>),
}

/// Room in a stream, or word that its reader is gone.
#[derive(Debug)]
pub(crate) enum Room {
    ForEvent(OwnedPermit<Event>),
    ForMessage(OwnedPermit<Message>),
    Gone,
}

impl Stream {
    /// Waits until the application has read something, or has gone.
    pub(crate) async fn room(self) -> Room {
        match self {
            Self::Events(stream) => stream.reserve_owned().await.map_or(Room::Gone, Room::ForEvent),
            Self::Messages(stream) => stream.reserve_owned().await.map_or(Room::Gone, Room::ForMessage),
        }
    }
}

impl Deliveries {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self { counters, ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What to wait for, if anything waits.
    pub(crate) fn next(&self) -> Option<Stream> {
        self.waiting.front().map(|delivery| match delivery {
            Delivery::Event(stream, _) => Stream::Events(stream.clone()),
            Delivery::Message(stream, _) => Stream::Messages(stream.clone()),
        })
    }

    /// Delivers the next, and all others that find room.
    pub(crate) fn deliver(&mut self, room: Room) {
        match (self.waiting.pop_front(), room) {
            (Some(Delivery::Event(_, event)), Room::ForEvent(permit)) => drop(permit.send(event)),
            (Some(Delivery::Message(_, message)), Room::ForMessage(permit)) => drop(permit.send(message)),
            // Nobody is there to miss it.
            (_, Room::Gone) | (None, _) => {}
            (Some(delivery), _) => self.waiting.push_front(delivery),
        }
        while let Some(delivery) = self.waiting.pop_front() {
            if let Some(full) = delivery.attempt() {
                self.waiting.push_front(full);
                return;
            }
        }
    }

    /// Private messages go here from now on, and no longer where they went before.
    pub(crate) fn set_inbox(&mut self, inbox: Sender<Message>) {
        self.inbox = Some(inbox);
    }

    /// A private message. Without a reader it is passed over.
    pub(crate) fn message(&mut self, message: Message) {
        match &self.inbox {
            Some(inbox) => self.add(Delivery::Message(inbox.clone(), message)),
            None => tracing::debug!("a private message came, and nobody reads them"),
        }
    }

    /// Nothing more will come.
    pub(crate) fn close(&mut self) {
        self.inbox = None;
    }

    fn add(&mut self, delivery: Delivery) {
        // Past one that waits there is no way: the order stays.
        let waits = if self.waiting.is_empty() { delivery.attempt() } else { Some(delivery) };
        self.waiting.extend(waits);
    }
}

impl Delivery {
    /// Hands it over, or gives it back if there is no room.
    fn attempt(self) -> Option<Self> {
        match self {
            Self::Event(stream, event) => match stream.try_send(event) {
                Err(TrySendError::Full(event)) => Some(Self::Event(stream, event)),
                Ok(()) | Err(TrySendError::Closed(_)) => None,
            },
            Self::Message(stream, message) => match stream.try_send(message) {
                Err(TrySendError::Full(message)) => Some(Self::Message(stream, message)),
                Ok(()) | Err(TrySendError::Closed(_)) => None,
            },
        }
    }
}

/// The reader of one channel.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) stream: &'a Sender<Event>,
    pub(super) deliveries: &'a mut Deliveries,
}

impl Reader<'_> {
    /// Hands on an event.
    pub(super) fn tell(&mut self, event: Event) {
        let counters = &self.deliveries.counters;
        if let Event::Gap(Gap { cause, .. }) = &event {
            count(&counters.gaps);
            if *cause == GapCause::Jump {
                count(&counters.jumps);
            }
        }
        self.deliveries.add(Delivery::Event(self.stream.clone(), event));
    }

    /// Takes note of a publication that is not handed on again.
    pub(super) fn drop_duplicate(&mut self) {
        count(&self.deliveries.counters.duplicates);
    }
}
