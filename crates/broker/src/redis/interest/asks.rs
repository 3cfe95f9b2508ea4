//! What waiting tracks need to read, and what came of it.

use super::super::positions::{Ask, Reading, Verdict};
use super::{Interest, Stand, State, Subscription};
use protocol::{Channel, Epoch};

impl Interest {
    /// Takes what waiting tracks need to read; waits until there is something.
    pub(in crate::redis) async fn take_asks(&self, max: usize) -> Vec<(Channel, Ask)> {
        loop {
            {
                let mut state = self.lock();
                let State { subscriptions, asking, .. } = &mut *state;
                let taken: Vec<_> = asking.iter().take(max).cloned().collect();
                let mut asks = Vec::with_capacity(taken.len());
                for channel in taken {
                    asking.remove(&channel);
                    if let Some(Stand::Positioned(track)) = subscriptions.get_mut(&channel).map(|s| &mut s.stand)
                        && let Some(ask) = track.ask()
                    {
                        asks.push((channel, ask));
                    }
                }
                if !asks.is_empty() {
                    return asks;
                }
            }
            self.asked.notified().await;
        }
    }

    /// A reading failed: it is still needed.
    pub(in crate::redis) fn ask_again(&self, channel: &Channel) {
        let mut state = self.lock();
        let State { subscriptions, asking, .. } = &mut *state;
        let is_needed = |s: &Subscription| s.is_confirmed && matches!(&s.stand, Stand::Positioned(t) if t.is_waiting());
        if subscriptions.get(channel).is_some_and(is_needed) {
            self.ask(asking, channel.clone());
        }
    }

    /// Brings a reading to its track; returns the epoch that must end, if so.
    pub(in crate::redis) fn read(&self, channel: &Channel, round: u64, reading: Reading) -> Option<Epoch> {
        let mut state = self.lock();
        let State { subscriptions, asking, held_bytes, .. } = &mut *state;
        let Stand::Positioned(track) = &mut subscriptions.get_mut(channel)?.stand else { return None };
        *held_bytes -= track.held_bytes();
        let (step, verdict) = track.read(round, reading);
        *held_bytes += track.held_bytes();
        self.deliver(channel, step);
        match verdict {
            Verdict::Live | Verdict::Stale => None,
            Verdict::ReadAgain => {
                self.ask(asking, channel.clone());
                None
            }
            Verdict::Rotate(epoch) => Some(epoch),
        }
    }
}
