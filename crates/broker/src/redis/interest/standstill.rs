//! Standstills of this node: a process that was stopped, a machine that was paused.
//!
//! When it goes on, whatever was published meanwhile waits on the subscriber connection, as if it were new. Where there are
//! offsets it is simply late. Elsewhere nobody can tell how old it is, so it is dropped until a probe that was sent after
//! the standstill has come back, and the subscribers are told a gap.

use super::{Interest, Plain, Stand, State};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::sleep;

/// A node that did nothing for so long stood still: as long as a connection may be silent until it is taken for lost.
const STANDSTILL: Duration = Duration::from_secs(4);

/// How often a node notes that it goes on.
const BEAT: Duration = Duration::from_secs(1);

impl Interest {
    /// Beats for ever.
    pub(in crate::redis) async fn keep_beating(&self) {
        loop {
            self.beat();
            sleep(BEAT).await;
        }
    }

    /// Notes that the node goes on, and finds out whether it stood still until now. Whoever is first to do anything after a
    /// standstill finds it out, before anything that came meanwhile is looked at.
    pub(super) fn beat(&self) {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let silent = Duration::from_millis(now_ms.saturating_sub(self.beat_ms.swap(now_ms, Ordering::Relaxed)));
        if silent >= STANDSTILL {
            self.stood_still(silent);
        }
    }

    /// How often the node has stood still.
    pub(in crate::redis) fn standstills(&self) -> u64 {
        self.beat();
        self.metrics.standstills.get()
    }

    fn stood_still(&self, silent: Duration) {
        self.metrics.standstills.inc();
        tracing::warn!(?silent, "this node stood still; what came meanwhile without offsets is dropped");
        let mut state = self.lock();
        state.stale_until = Some(state.last_probe + 1);
        for subscription in state.subscriptions.values_mut() {
            if let Stand::Plain(plain @ Plain::Live) = &mut subscription.stand {
                *plain = Plain::Lost;
            }
        }
        drop(state);
        self.probe_now.notify_one();
    }

    /// A probe with this number is about to be sent.
    pub(in crate::redis) fn begin_probe(&self, number: u64) {
        self.lock().last_probe = number;
    }

    /// Waits until a probe is wanted at once.
    pub(in crate::redis) async fn probe_is_wanted(&self) {
        self.probe_now.notified().await;
    }

    /// A probe came back over a connection: what comes after it was published after it was sent.
    pub(super) fn fresh_from(&self, connection: u64, number: u64) {
        let mut state = self.lock();
        if state.connection != connection || state.stale_until.is_none_or(|until| number < until) {
            return;
        }
        state.stale_until = None;
        let State { subscriptions, .. } = &mut *state;
        for (channel, subscription) in subscriptions.iter_mut().filter(|(_, s)| s.is_confirmed) {
            if let Stand::Plain(plain) = &mut subscription.stand {
                self.make_live(channel, plain);
            }
        }
    }

    /// Counts what is dropped because nobody can tell how old it is.
    pub(super) fn drop_stale(&self, messages: usize) {
        self.metrics.stale_messages.inc_by(messages as u64);
    }
}
