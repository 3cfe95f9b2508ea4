//! What is wanted, and what the connection has to do about it.

use super::super::positions::Track;
use super::{Interest, Plain, Stand, State, Subscription};
use crate::Delivery;
use protocol::Channel;
use std::collections::HashSet;
use std::sync::MutexGuard;
use tokio::time::Instant;

/// What the connection must do to match what is wanted.
#[derive(Debug, Default)]
pub(in crate::redis) struct Changes {
    pub(in crate::redis) subscribe: Vec<Channel>,
    pub(in crate::redis) unsubscribe: Vec<Channel>,
    /// Wanted anew before the topic was left.
    pub(in crate::redis) kept: Vec<Channel>,
}

impl Interest {
    pub(in crate::redis) fn subscribe(&self, channel: &Channel, positioned: bool) {
        let mut state = self.lock();
        if state.subscriptions.contains_key(channel) {
            return;
        }
        let stand =
            if positioned { Stand::Positioned(Track::new(state.next_round())) } else { Stand::Plain(Plain::New) };
        let subscription = Subscription { channel: channel.clone(), is_confirmed: false, stand };
        state.subscriptions.insert(channel.clone(), subscription);
        self.wants_change(state, channel);
    }

    pub(in crate::redis) fn unsubscribe(&self, channel: &Channel) {
        let mut state = self.lock();
        if let Some(subscription) = state.subscriptions.remove(channel) {
            state.asking.remove(channel);
            if let Stand::Positioned(track) = &subscription.stand {
                state.held_bytes -= track.held_bytes();
                // Its subscribers may come back with what they were delivered, also to another node.
                if let Some(mark) = track.mark() {
                    self.told.note(channel, mark.clone(), state.primary);
                }
            }
            self.wants_change(state, channel);
        }
    }

    fn wants_change(&self, mut state: MutexGuard<'_, State>, channel: &Channel) {
        state.changed.insert(channel.clone());
        self.metrics.subscriptions.set(state.subscriptions.len() as i64);
        drop(state);
        self.changed.notify_one();
    }

    /// A connection is about to be made, and the one before is of no more use. Returns its number.
    pub(in crate::redis) fn begin_connection(&self) -> u64 {
        let mut state = self.lock();
        let State { connection, last_round, subscriptions, changed, asking, held_bytes, .. } = &mut *state;
        *connection += 1;
        *held_bytes = 0;
        asking.clear();
        changed.clear();
        for (channel, subscription) in subscriptions {
            changed.insert(channel.clone());
            subscription.is_confirmed = false;
            match &mut subscription.stand {
                Stand::Plain(plain) if *plain == Plain::Live => *plain = Plain::Lost,
                Stand::Plain(_) => {}
                Stand::Positioned(track) => {
                    *last_round += 1;
                    track.lost(*last_round);
                }
            }
        }
        *connection
    }

    /// The connection that was begun last stands, and leads to this primary.
    pub(in crate::redis) fn connected_to(&self, primary: u64) {
        let mut state = self.lock();
        if state.primary != 0 && state.primary != primary {
            state.moved_at = Some(Instant::now());
        }
        state.primary = primary;
        drop(state);
        self.told.suspect_all(primary);
    }

    /// Takes some of what the connection, on which the topics of `on_wire` are subscribed, must change.
    pub(in crate::redis) fn take_changes(&self, on_wire: &HashSet<Channel>, max: usize) -> Changes {
        let mut state = self.lock();
        let taken: Vec<_> = state.changed.iter().take(max).cloned().collect();
        let mut changes = Changes::default();
        for channel in taken {
            state.changed.remove(&channel);
            match (state.subscriptions.contains_key(&channel), on_wire.contains(&channel)) {
                (true, false) => changes.subscribe.push(channel),
                (false, true) => changes.unsubscribe.push(channel),
                (true, true) => changes.kept.push(channel),
                (false, false) => {}
            }
        }
        changes
    }

    /// Waits until there may be changes to take.
    pub(in crate::redis) async fn changes(&self) {
        self.changed.notified().await;
    }

    /// Redis has confirmed these topics: from here on everything published arrives.
    pub(in crate::redis) fn confirm(&self, channels: &[Channel]) {
        let mut state = self.lock();
        let State { subscriptions, asking, .. } = &mut *state;
        for channel in channels {
            let Some(subscription) = subscriptions.get_mut(channel).filter(|s| !s.is_confirmed) else { continue };
            subscription.is_confirmed = true;
            match &mut subscription.stand {
                Stand::Plain(plain) => self.make_live(channel, plain),
                Stand::Positioned(_) => {
                    asking.insert(channel.clone());
                }
            }
        }
        drop(state);
        self.asked.notify_one();
    }

    /// Tells the subscribers of a channel without positions that it goes on from here.
    pub(super) fn make_live(&self, channel: &Channel, plain: &mut Plain) {
        match std::mem::replace(plain, Plain::Live) {
            Plain::New => {
                self.sink.deliver(Delivery::Opened { channel: channel.clone(), position: None, has_state: false });
            }
            Plain::Lost => {
                self.metrics.gaps.inc();
                self.sink.deliver(Delivery::Gap { channel: channel.clone(), range: None, position: None });
            }
            Plain::Live => {}
        }
    }
}
