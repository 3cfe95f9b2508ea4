//! How many questions one hook may have open, and when it is not asked at all: bounded in number, bytes and patience.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// So many requests in a row without an answer, and nobody waits for another one for [`PAUSE`].
const SILENT_MAX: u32 = 32;

/// How long a hook that does not answer is spared. Then one question finds out whether it does again.
const PAUSE: Duration = Duration::from_secs(1);

/// Who may ask now.
pub(super) struct Gate {
    places: Arc<Semaphore>,
    open: Arc<Open>,
    requests_max: usize,
    bytes_max: usize,
    silence: Mutex<Silence>,
}

#[derive(Default)]
struct Open {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

#[derive(Default)]
struct Silence {
    in_a_row: u32,
    spared_until: Option<Instant>,
}

/// Why a question is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shut {
    /// Too many are.
    Full,
    /// Its turn did not come in time.
    Late,
    /// The hook has not answered for a while.
    Spared,
}

/// A question's place; dropped when it is over.
#[derive(Debug)]
pub(super) struct Pass {
    _place: OwnedSemaphorePermit,
    _waiting: Waiting,
}

#[derive(Debug)]
struct Waiting {
    open: Arc<Open>,
    bytes: usize,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.open.requests.fetch_sub(1, Ordering::Relaxed);
        self.open.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Open")
    }
}

impl Gate {
    /// So many requests at a time; so many more may wait, and all of them hold so many bytes.
    pub(super) fn new(concurrency: usize, queue: usize, bytes_max: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(concurrency.min(Semaphore::MAX_PERMITS))),
            open: Arc::default(),
            requests_max: concurrency.saturating_add(queue),
            bytes_max,
            silence: Mutex::default(),
        }
    }

    /// Waits for a place.
    pub(super) async fn enter(&self, bytes: usize, deadline: Instant) -> Result<Pass, Shut> {
        if self.is_spared(Instant::now()) {
            return Err(Shut::Spared);
        }
        let requests = self.open.requests.fetch_add(1, Ordering::Relaxed);
        let held = self.open.bytes.fetch_add(bytes, Ordering::Relaxed);
        let waiting = Waiting { open: self.open.clone(), bytes };
        if requests >= self.requests_max || held.saturating_add(bytes) > self.bytes_max {
            return Err(Shut::Full);
        }
        let place = timeout_at(deadline, self.places.clone().acquire_owned()).await;
        let place = place.ok().and_then(Result::ok).ok_or(Shut::Late)?;
        // Those before it may have waited in vain.
        if !self.may_ask(Instant::now()) {
            return Err(Shut::Spared);
        }
        Ok(Pass { _place: place, _waiting: waiting })
    }

    /// The hook has said something, whatever it was.
    pub(super) fn answered(&self) {
        *self.silence() = Silence::default();
    }

    /// The hook has said nothing.
    pub(super) fn was_silent(&self, now: Instant) {
        let mut silence = self.silence();
        silence.in_a_row = silence.in_a_row.saturating_add(1);
        if silence.in_a_row >= SILENT_MAX {
            silence.spared_until = Some(now + PAUSE);
        }
    }

    fn is_spared(&self, now: Instant) -> bool {
        self.silence().spared_until.is_some_and(|until| now < until)
    }

    /// Once a pause is over one may ask, and the others wait for what it finds.
    fn may_ask(&self, now: Instant) -> bool {
        let mut silence = self.silence();
        match silence.spared_until {
            Some(until) if now < until => false,
            Some(_) => {
                silence.spared_until = Some(now + PAUSE);
                true
            }
            None => true,
        }
    }

    fn silence(&self) -> MutexGuard<'_, Silence> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn soon() -> Instant {
        Instant::now() + 10 * MS
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_waits_for_its_turn_and_one_too_many_does_not() {
        let gate = Gate::new(1, 1, 100);
        let first = gate.enter(10, soon()).await.unwrap();
        let began = Instant::now();
        let (second, third) = tokio::join!(gate.enter(10, soon()), gate.enter(10, soon()));
        assert_eq!((second.unwrap_err(), third.unwrap_err()), (Shut::Late, Shut::Full));
        assert_eq!(began.elapsed(), 10 * MS);
        drop(first);
        gate.enter(10, soon()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_bounded_in_bytes_and_given_back() {
        let gate = Gate::new(8, 8, 100);
        assert_eq!(gate.enter(101, soon()).await.unwrap_err(), Shut::Full);
        let first = gate.enter(60, soon()).await.unwrap();
        assert_eq!(gate.enter(60, soon()).await.unwrap_err(), Shut::Full);
        drop(first);
        gate.enter(100, soon()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_hook_that_says_nothing_is_spared_until_one_question_is_answered() {
        let gate = Gate::new(8, 8, 100);
        for _ in 0..SILENT_MAX {
            drop(gate.enter(1, soon()).await.unwrap());
            gate.was_silent(Instant::now());
        }
        assert_eq!(gate.enter(1, soon()).await.unwrap_err(), Shut::Spared);
        tokio::time::advance(PAUSE).await;
        let probe = gate.enter(1, soon()).await.unwrap();
        assert_eq!(gate.enter(1, soon()).await.unwrap_err(), Shut::Spared, "one is enough to find out");
        drop(probe);
        gate.answered();
        let both = tokio::join!(gate.enter(1, soon()), gate.enter(1, soon()));
        assert!(both.0.is_ok() && both.1.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_in_between_and_nothing_is_spared() {
        let gate = Gate::new(8, 8, 100);
        for _ in 0..3 * SILENT_MAX {
            gate.was_silent(Instant::now());
            gate.was_silent(Instant::now());
            gate.answered();
        }
        assert!(gate.enter(1, soon()).await.is_ok());
    }
}
