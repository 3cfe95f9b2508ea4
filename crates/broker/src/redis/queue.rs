//! The bounded queue of publications that wait to be sent, and the tickets their publishers hold.

use super::config::BrokerConfig;
use crate::{Outcome, Publish, PublishError, Retention};
use bytes::Bytes;
use protocol::envelope::encode_record;
use protocol::{Channel, Publication};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

/// What a queued publication costs besides its record.
const ENTRY_OVERHEAD: usize = 256;

/// The right to decide what becomes of a publication that has not been sent: whoever takes it first, the task that
/// sends it or the publisher whose time is up.
#[derive(Debug, Default)]
pub(super) struct Claim(AtomicBool);

impl Claim {
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// A publication that waits.
pub(super) struct Entry {
    pub(super) channel: Channel,
    pub(super) retention: Option<Retention>,
    pub(super) key: Option<String>,
    /// What it does to the state, as publish.lua is told.
    pub(super) retains: String,
    pub(super) record: Bytes,
    pub(super) stamp: u64,
    pub(super) deadline: Instant,
    claim: Arc<Claim>,
    answer: oneshot::Sender<Outcome>,
}

impl Entry {
    /// A publication on its way, and its publisher's ticket.
    pub(super) fn new(publish: Publish) -> (Self, Ticket) {
        let (answer, outcome) = oneshot::channel();
        let claim = Arc::new(Claim::default());
        let entry = Self {
            retains: retains(&publish.publication),
            record: encode_record(&publish.publication),
            stamp: publish.publication.stamp,
            channel: publish.channel,
            retention: publish.retention,
            key: publish.key,
            deadline: publish.deadline,
            claim: claim.clone(),
            answer,
        };
        (entry, Ticket::Waiting { claim, outcome })
    }

    /// Whether it may be sent; its publisher then waits for the answer, or no longer knows the outcome.
    pub(super) fn claim(&self) -> bool {
        self.claim.take()
    }

    /// Tells the publisher what became of it. One that has left does not mind.
    pub(super) fn answer(self, outcome: Outcome) {
        let _ = self.answer.send(outcome);
    }

    pub(super) fn bytes(&self) -> usize {
        self.record.len() + self.channel.len() + self.retains.len() + ENTRY_OVERHEAD
    }
}

fn retains(publication: &Publication) -> String {
    let sign = if publication.removes_its_key() { '-' } else { '+' };
    publication.retain.as_ref().map_or_else(String::new, |key| format!("{sign}{key}"))
}

/// What a publisher holds until it knows.
pub(super) enum Ticket {
    /// It was never queued.
    Refused,
    Waiting {
        claim: Arc<Claim>,
        outcome: oneshot::Receiver<Outcome>,
    },
}

impl Ticket {
    /// The outcome, by the deadline.
    pub(super) async fn outcome(self, deadline: Instant) -> Outcome {
        let Self::Waiting { claim, outcome } = self else { return Err(PublishError::Unavailable) };
        match timeout_at(deadline, outcome).await {
            Ok(Ok(outcome)) => outcome,
            // Not claimed by the sender: it never will be sent.
            Ok(Err(_)) | Err(_) if claim.take() => Err(PublishError::Unavailable),
            Ok(Err(_)) | Err(_) => Err(PublishError::UnknownOutcome),
        }
    }
}

/// Publications in the order they came.
pub(super) struct Queue {
    publications_max: usize,
    bytes_max: usize,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Queue {
    pub(super) fn new(config: &BrokerConfig) -> Self {
        Self {
            publications_max: config.queue_publications,
            bytes_max: config.queue_bytes,
            waiting: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// Queues a batch in its order, as much of it as there is room for.
    pub(super) fn push(&self, batch: Vec<Publish>) -> Vec<Ticket> {
        let entries: Vec<_> = batch.into_iter().map(Entry::new).collect();
        let mut tickets = Vec::with_capacity(entries.len());
        let mut waiting = self.lock();
        let mut has_room = true;
        for (entry, ticket) in entries {
            let bytes = waiting.bytes + entry.bytes();
            has_room &= waiting.entries.len() < self.publications_max && bytes <= self.bytes_max;
            if has_room {
                waiting.bytes = bytes;
                waiting.entries.push_back(entry);
                tickets.push(ticket);
            } else {
                tickets.push(Ticket::Refused);
            }
        }
        drop(waiting);
        self.arrived.notify_one();
        tickets
    }

    /// Takes what has gathered, in order, up to so many publications and bytes; waits until there is something.
    pub(super) async fn take(&self, publications_max: usize, bytes_max: usize) -> Vec<Entry> {
        loop {
            let taken = self.lock().take(publications_max, bytes_max);
            if !taken.is_empty() {
                return taken;
            }
            self.arrived.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self, publications_max: usize, bytes_max: usize) -> Vec<Entry> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while taken.len() < publications_max {
            // One that is larger than a flight flies alone.
            let fits = |entry: &mut Entry| taken.is_empty() || bytes + entry.bytes() <= bytes_max;
            let Some(entry) = self.entries.pop_front_if(fits) else { break };
            bytes += entry.bytes();
            taken.push(entry);
        }
        self.bytes -= bytes;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Payload;
    use std::time::Duration;

    fn publish(text: &str) -> Publish {
        let data = Payload::text(text.to_owned());
        let publication =
            Publication { offset: None, data, event: None, retain: None, from: None, time_ms: 0, echo: true, stamp: 0 };
        let deadline = Instant::now() + Duration::from_secs(2);
        Publish { channel: Channel::new("c").expect("a channel"), publication, retention: None, key: None, deadline }
    }

    fn queue(queue_publications: usize, queue_bytes: usize) -> Queue {
        Queue::new(&BrokerConfig { queue_publications, queue_bytes, ..BrokerConfig::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_at_once_and_has_room_again_when_it_is_drained() {
        for queue in [queue(2, usize::MAX), queue(usize::MAX, 700)] {
            let tickets = queue.push(vec![publish("1"), publish("2"), publish("3")]);
            let refused: Vec<_> = tickets.iter().map(|t| matches!(t, Ticket::Refused)).collect();
            assert_eq!(refused, [false, false, true]);
            assert_eq!(queue.take(10, usize::MAX).await.len(), 2);
            assert!(matches!(queue.push(vec![publish("4")])[0], Ticket::Waiting { .. }));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flight_is_bounded_and_a_large_publication_flies_alone() {
        let queue = queue(100, usize::MAX);
        let large = "x".repeat(2000);
        let _tickets = queue.push([&large, "1", "2", "3", &large].map(publish).into());
        let mut flights = Vec::new();
        for _ in 0..4 {
            flights.push(queue.take(2, 1000).await.len());
        }
        assert_eq!(flights, [1, 2, 1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn at_its_deadline_only_what_was_sent_has_an_unknown_outcome() {
        let queue = queue(100, usize::MAX);
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut tickets = queue.push(vec![publish("1"), publish("2"), publish("3")]).into_iter();
        let mut entries = queue.take(3, usize::MAX).await.into_iter();
        let (answered, sent, queued) = (entries.next(), entries.next(), entries.next());
        answered.expect("an entry").answer(Ok(None));
        assert!(sent.as_ref().expect("an entry").claim());
        assert_eq!(tickets.next().expect("a ticket").outcome(deadline).await, Ok(None));
        assert_eq!(tickets.next().expect("a ticket").outcome(deadline).await, Err(PublishError::UnknownOutcome));
        assert_eq!(tickets.next().expect("a ticket").outcome(deadline).await, Err(PublishError::Unavailable));
        assert!(!queued.expect("an entry").claim(), "it may not be sent any more");
    }
}
