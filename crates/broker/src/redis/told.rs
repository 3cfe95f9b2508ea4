//! Positions that this node has told somebody of, for some minutes: after a loss Redis must still have them.
//!
//! A subscribed channel knows by itself what was delivered. But a publisher may be acknowledged on a node that has no
//! subscriber of the channel, while those of other nodes follow another primary already: only the publisher's node can
//! know that the publication is gone.

use super::positions::{Mark, Reading};
use link::RedisClock;
use protocol::Channel;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// A position is remembered for as long as this at the least, and for twice as long at the most: far longer than a
/// replica that sentinels would promote lags behind.
const PERIOD: Duration = Duration::from_secs(150);

/// Channels that are remembered of one period, which is cut short beyond: about 7 MB.
const CHANNELS: usize = 32_768;

/// After this what could not be looked at is looked at again.
const REST: Duration = Duration::from_secs(1);

/// A position that was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Memo {
    pub(super) mark: Mark,
    /// The primary it is from.
    pub(super) primary: u64,
    pub(super) at: Instant,
}

impl Memo {
    /// Whether the publication there is lost, and nobody has been told. `ended_at_ms` is when, in Redis' own clock, the
    /// epoch before the present one ended.
    pub(super) fn is_lost(&self, reading: &Reading, ended_at_ms: Option<u64>, now: &Present) -> bool {
        if reading.epoch == self.mark.epoch {
            return self.mark.is_ahead_of(reading);
        }
        // The end of its epoch has been told. But a former primary may have gone on in that epoch until this node left it.
        let told_at_ms = now.clock.at_most(self.at);
        self.primary != now.primary && ended_at_ms.is_some_and(|ended_at_ms| told_at_ms >= ended_at_ms)
    }
}

/// Where and when memos are judged.
pub(super) struct Present {
    pub(super) primary: u64,
    pub(super) clock: RedisClock,
}

pub(super) struct Told {
    state: Mutex<State>,
    suspected: Notify,
}

struct State {
    primary: u64,
    recent: HashMap<Channel, Memo>,
    older: HashMap<Channel, Memo>,
    turned_at: Instant,
    suspects: HashMap<Channel, Memo>,
    /// Suspects that could not be looked at, until it is tried again.
    resting: HashMap<Channel, Memo>,
    rest_until: Instant,
}

impl Told {
    pub(super) fn new() -> Self {
        let state = State {
            primary: 0,
            recent: HashMap::new(),
            older: HashMap::new(),
            turned_at: Instant::now(),
            suspects: HashMap::new(),
            resting: HashMap::new(),
            rest_until: Instant::now(),
        };
        Self { state: Mutex::new(state), suspected: Notify::new() }
    }

    /// Somebody is told of a position that a primary gave.
    pub(super) fn note(&self, channel: &Channel, mark: Mark, primary: u64) {
        let memo = Memo { mark, primary, at: Instant::now() };
        let mut state = self.lock();
        let is_late = primary != state.primary;
        if is_late {
            keep(&mut state.suspects, channel, memo.clone());
        }
        state.remember(channel, memo);
        drop(state);
        if is_late {
            self.suspected.notify_one();
        }
    }

    /// A connection was lost, and the one in its place leads to this primary: whatever was told may not be there.
    pub(super) fn suspect_all(&self, primary: u64) {
        let mut state = self.lock();
        let State { primary: present, recent, older, suspects, .. } = &mut *state;
        *present = primary;
        for (channel, memo) in older.iter().chain(recent.iter()) {
            keep(suspects, channel, memo.clone());
        }
        drop(state);
        self.suspected.notify_one();
    }

    /// Waits until there are suspects.
    pub(super) async fn suspicion(&self) {
        loop {
            let rest_until = {
                let mut state = self.lock();
                if !state.suspects.is_empty() {
                    return;
                }
                if !state.resting.is_empty() && state.rest_until <= Instant::now() {
                    state.suspects = std::mem::take(&mut state.resting);
                    return;
                }
                (!state.resting.is_empty()).then_some(state.rest_until)
            };
            let rest = async {
                match rest_until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.suspected.notified() => {}
                () = rest => {}
            }
        }
    }

    /// Whether something could not be looked at and has not been since.
    pub(super) fn has_resting(&self) -> bool {
        !self.lock().resting.is_empty()
    }

    /// Takes some of them.
    pub(super) fn take(&self, max: usize) -> Vec<(Channel, Memo)> {
        let mut state = self.lock();
        let taken: Vec<_> = state.suspects.keys().take(max).cloned().collect();
        taken.into_iter().filter_map(|channel| state.suspects.remove_entry(&channel)).collect()
    }

    /// These could not be looked at: they are suspects again after a rest, but not for more than some minutes in all.
    pub(super) fn put_back(&self, suspects: impl IntoIterator<Item = (Channel, Memo)>) {
        let mut state = self.lock();
        if state.resting.is_empty() {
            state.rest_until = Instant::now() + REST;
        }
        for (channel, memo) in suspects {
            if memo.at.elapsed() < 2 * PERIOD {
                keep(&mut state.resting, &channel, memo);
            }
        }
        drop(state);
        self.suspected.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remember(&mut self, channel: &Channel, memo: Memo) {
        let is_full = self.recent.len() >= CHANNELS && !self.recent.contains_key(channel);
        if is_full || memo.at.saturating_duration_since(self.turned_at) >= PERIOD {
            self.older = std::mem::take(&mut self.recent);
            self.turned_at = memo.at;
        }
        keep(&mut self.recent, channel, memo);
    }
}

/// Of one epoch the furthest position, of several the latest epoch.
fn keep(memos: &mut HashMap<Channel, Memo>, channel: &Channel, memo: Memo) {
    match memos.get_mut(channel) {
        Some(kept) if kept.mark.epoch == memo.mark.epoch && kept.mark.offset > memo.mark.offset => {}
        Some(kept) => *kept = memo,
        None => {
            memos.insert(channel.clone(), memo);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn channel(name: &str) -> Channel {
        Channel::new(name).expect("a channel")
    }

    fn mark(epoch: &str, offset: u64) -> Mark {
        Mark { epoch: epoch.into(), offset, stamp: Some(offset) }
    }

    fn suspects(told: &Told) -> Vec<(String, u64)> {
        let taken = told.take(usize::MAX);
        let mut suspects: Vec<_> = taken.into_iter().map(|(c, memo)| (c.to_string(), memo.mark.offset)).collect();
        suspects.sort();
        suspects
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_told_is_suspected_after_a_loss_and_forgotten_after_some_minutes() {
        let told = Told::new();
        told.note(&channel("a"), mark("e", 7), 0);
        told.note(&channel("a"), mark("e", 6), 0);
        told.note(&channel("b"), mark("e", 9), 0);
        told.note(&channel("b"), mark("f", 1), 0);
        assert_eq!(told.suspicion().now_or_never(), None);
        told.suspect_all(0);
        assert_eq!(told.suspicion().now_or_never(), Some(()));
        assert_eq!(suspects(&told), [("a".into(), 7), ("b".into(), 1)]);
        tokio::time::advance(PERIOD).await;
        told.note(&channel("c"), mark("e", 1), 0);
        told.suspect_all(0);
        assert_eq!(suspects(&told).len(), 3);
        tokio::time::advance(PERIOD).await;
        told.note(&channel("d"), mark("e", 1), 0);
        told.suspect_all(0);
        assert_eq!(suspects(&told), [("c".into(), 1), ("d".into(), 1)]);
    }

    #[tokio::test]
    async fn what_a_former_primary_answered_too_late_is_suspected_at_once() {
        let told = Told::new();
        told.suspect_all(2);
        told.note(&channel("a"), mark("e", 7), 2);
        assert_eq!(told.suspicion().now_or_never(), None);
        told.note(&channel("a"), mark("e", 8), 1);
        assert_eq!(suspects(&told), [("a".into(), 8)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_looked_at_is_suspected_again_after_a_rest_and_not_for_ever() {
        let told = Told::new();
        let begun = Instant::now();
        told.note(&channel("a"), mark("e", 7), 1);
        let mut rests = 0;
        while begun.elapsed() < 2 * PERIOD {
            told.suspicion().await;
            let suspects = told.take(usize::MAX);
            assert_eq!(suspects.len(), 1);
            assert_eq!(begun.elapsed().as_secs(), rests);
            told.put_back(suspects);
            rests += 1;
        }
        assert_eq!(told.suspicion().now_or_never(), None);
        assert!(told.take(usize::MAX).is_empty());
    }

    #[tokio::test]
    async fn many_channels_are_remembered_and_not_all() {
        let told = Told::new();
        for i in 0..3 * CHANNELS {
            told.note(&channel(&i.to_string()), mark("e", 1), 0);
        }
        told.suspect_all(0);
        assert_eq!(suspects(&told).len(), 2 * CHANNELS);
    }
}
