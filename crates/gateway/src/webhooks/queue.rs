//! What waits to be told: bounded in events and bytes, and what did not fit is counted.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// The most bytes of events in one batch; one event may be larger.
const BATCH_BYTES: usize = 1 << 20;

/// What one batch may hold, and what may wait for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) batch: usize,
    pub(super) delay: Duration,
}

/// Events in order.
pub(super) struct Queue {
    limits: Limits,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    events: VecDeque<Waiting>,
    bytes: usize,
    missed: u64,
    is_closing: bool,
}

/// One event that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) since: Instant,
    pub(super) json: Box<str>,
}

/// What is told at once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) events: Vec<Waiting>,
    /// How many events were or may have been lost since the batch before.
    pub(super) missed: u64,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.missed == 0
    }

    /// Lets go of what has waited too long, and counts it; true if that was something.
    pub(super) fn expire(&mut self, keep: Duration) -> u64 {
        let before = self.events.len();
        self.events.retain(|event| event.since.elapsed() < keep);
        let gone = (before - self.events.len()) as u64;
        self.missed += gone;
        gone
    }
}

impl Queue {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, state: Mutex::default(), changed: Notify::new() }
    }

    /// Takes an event; false if there is no room: it counts as missed.
    pub(super) fn push(&self, json: Box<str>) -> bool {
        let mut state = self.state();
        let fits =
            state.events.len() < self.limits.events && state.bytes.saturating_add(json.len()) <= self.limits.bytes;
        if fits {
            state.bytes += json.len();
            state.events.push_back(Waiting { since: Instant::now(), json });
        } else {
            state.missed += 1;
        }
        drop(state);
        self.changed.notify_one();
        fits
    }

    /// So many events are lost, or may be.
    pub(super) fn miss(&self, count: u64) {
        self.state().missed += count;
        self.changed.notify_one();
    }

    /// Nothing more is waited for: what is here leaves at once.
    pub(super) fn close(&self) {
        self.state().is_closing = true;
        self.changed.notify_one();
    }

    pub(super) fn len(&self) -> usize {
        self.state().events.len()
    }

    /// The next batch: full, or as old as it may be. `None` when the queue is closed and empty.
    pub(super) async fn take(&self) -> Option<Batch> {
        loop {
            match self.due() {
                Due::Now(batch) => return Some(batch),
                Due::Never => return None,
                // Whatever is pushed meanwhile is looked at again.
                Due::At(moment) => drop(timeout_at(moment, self.changed.notified()).await),
                Due::Nothing => self.changed.notified().await,
            }
        }
    }

    fn due(&self) -> Due {
        let mut state = self.state();
        let is_full = state.events.len() >= self.limits.batch || state.bytes >= BATCH_BYTES;
        let first = state.events.front().map(|event| event.since + self.limits.delay);
        match first {
            Some(due) if !is_full && !state.is_closing && Instant::now() < due => return Due::At(due),
            None if state.missed == 0 && state.is_closing => return Due::Never,
            None if state.missed == 0 => return Due::Nothing,
            _ => {}
        }
        let mut batch = Batch { missed: std::mem::take(&mut state.missed), ..Batch::default() };
        let mut bytes = 0;
        while let Some(event) = state.events.front() {
            let is_over = bytes + event.json.len() > BATCH_BYTES && !batch.events.is_empty();
            if is_over || batch.events.len() == self.limits.batch {
                break;
            }
            bytes += event.json.len();
            batch.events.extend(state.events.pop_front());
        }
        state.bytes -= bytes;
        debug_assert!(!batch.is_empty());
        Due::Now(batch)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Due {
    Now(Batch),
    At(Instant),
    Nothing,
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { events: 5, bytes: 100, batch: 3, delay: Duration::from_millis(50) };

    fn queue(events: &[&str]) -> Queue {
        let queue = Queue::new(LIMITS);
        for event in events {
            queue.push((*event).into());
        }
        queue
    }

    fn told(batch: Option<Batch>) -> (String, u64) {
        let batch = batch.unwrap();
        (batch.events.iter().map(|event| &*event.json).collect(), batch.missed)
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_leaves_when_it_is_full_or_old() {
        let queue = queue(&["a", "b", "c", "d"]);
        let began = Instant::now();
        assert_eq!(told(queue.take().await), ("abc".to_owned(), 0));
        assert!(began.elapsed().is_zero());
        assert_eq!(told(queue.take().await), ("d".to_owned(), 0));
        assert_eq!(began.elapsed(), LIMITS.delay);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_is_told_as_missed_with_the_next_batch() {
        let by_number = queue(&["a", "b", "c", "d", "e", "f", "g"]);
        assert_eq!(told(by_number.take().await), ("abc".to_owned(), 2));
        assert_eq!(told(by_number.take().await), ("de".to_owned(), 0));
        let long = "x".repeat(60);
        let by_bytes = queue(&[&long, &long]);
        assert_eq!(told(by_bytes.take().await), (long, 1));
        by_bytes.miss(3);
        assert_eq!(told(by_bytes.take().await), (String::new(), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_gives_what_it_has_at_once() {
        let queue = queue(&["a"]);
        let began = Instant::now();
        queue.close();
        assert_eq!(told(queue.take().await), ("a".to_owned(), 0));
        assert_eq!(queue.take().await, None);
        assert!(began.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_too_long_is_missed() {
        let queue = queue(&["a"]);
        tokio::time::advance(Duration::from_secs(9)).await;
        queue.push("b".into());
        let mut batch = queue.take().await.unwrap();
        assert_eq!(batch.expire(Duration::from_secs(10)), 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((batch.expire(Duration::from_secs(10)), batch.missed, batch.events.len()), (1, 1, 1));
    }
}
