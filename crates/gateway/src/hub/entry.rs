//! One channel on one worker: who takes its place, who leaves it, and how deliveries move it on.

use super::Entry;
use broker::Delivery;
use protocol::Position;
use std::sync::Arc;

impl<S: Clone> Entry<S> {
    /// Adds a subscriber; returns its place. `read_up_to` is how far it has read already, where that may be beyond the
    /// channel's position here.
    pub fn attach(&mut self, subscriber: S, read_up_to: Option<&Position>) -> u32 {
        let index = u32::try_from(self.subscribers.len()).unwrap_or(u32::MAX);
        self.subscribers.push(subscriber);
        let reached = self.position.as_ref().map_or(0, |p| p.offset);
        if let Some(position) = read_up_to.filter(|position| position.offset > reached) {
            self.ahead.insert(index, position.clone());
        }
        index
    }

    /// Up to where the subscriber at this place has everything; absent in channels without positions.
    pub fn position_of(&self, index: u32) -> Option<Position> {
        self.ahead.get(&index).or(self.position.as_ref()).cloned()
    }

    pub(super) fn detach(&mut self, index: u32) -> Option<S> {
        let last = u32::try_from(self.subscribers.len().checked_sub(1)?).ok()?;
        if index > last {
            return None;
        }
        self.subscribers.swap_remove(index as usize);
        self.ahead.remove(&index);
        if let Some(position) = self.ahead.remove(&last) {
            self.ahead.insert(index, position);
        }
        self.subscribers.get(index as usize).cloned()
    }

    /// Who subscribes, with how far each is ahead of the live deliveries, if it is.
    pub fn subscribers(&self) -> impl Iterator<Item = (&S, Option<&Position>)> {
        let ahead = |index: usize| u32::try_from(index).ok().and_then(|place| self.ahead.get(&place));
        let none_ahead = self.ahead.is_empty();
        self.subscribers.iter().enumerate().map(move |(i, s)| (s, if none_ahead { None } else { ahead(i) }))
    }

    /// Whether nobody subscribes.
    pub fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }

    /// What of a delivery goes on from the position: a repair may have brought what was still on its way. The broker tells
    /// a new epoch by a gap, so publications of another one are stragglers of the old.
    pub fn fresh(&self, delivery: Arc<Delivery>) -> Option<Arc<Delivery>> {
        let Some(position) = &self.position else { return Some(delivery) };
        let is_new = |offset: Option<u64>| offset.is_none_or(|offset| offset > position.offset);
        match &*delivery {
            Delivery::Publications { epoch: Some(epoch), .. } if *epoch != position.epoch => None,
            Delivery::Publications { channel, epoch: Some(epoch), publications } => {
                if publications.iter().all(|p| is_new(p.offset)) {
                    return Some(delivery);
                }
                let publications: Vec<_> = publications.iter().filter(|p| is_new(p.offset)).cloned().collect();
                let (channel, epoch) = (channel.clone(), Some(epoch.clone()));
                (!publications.is_empty()).then(|| Arc::new(Delivery::Publications { channel, epoch, publications }))
            }
            Delivery::Gap { position: Some(to), .. } if to.epoch == position.epoch && !is_new(Some(to.offset)) => None,
            _ => Some(delivery),
        }
    }

    /// Moves the position past a delivery, and keeps it for those who recover.
    pub fn pass(&mut self, delivery: &Arc<Delivery>) {
        match &**delivery {
            Delivery::Publications { epoch: Some(epoch), publications, .. } => {
                if let Some(offset) = publications.iter().rev().find_map(|p| p.offset) {
                    self.position = Some(Position { epoch: epoch.clone(), offset });
                }
            }
            Delivery::Gap { position: Some(position), .. } => self.position = Some(position.clone()),
            Delivery::Membership { .. } => self.membership_changes += 1,
            _ => {}
        }
        self.state.pass(delivery);
        if let Some(replay) = &mut self.replay
            && !replay.append(delivery)
        {
            self.replay = None;
        }
        if let Some(reading) = &mut self.reading {
            reading.hold(delivery);
        }
    }

    /// The subscribers are handed something at this time; true if they were within `window_ms` before it.
    pub fn hand(&mut self, now_ms: u32, window_ms: u32) -> bool {
        let before = std::mem::replace(&mut self.handed_ms, now_ms);
        now_ms.wrapping_sub(before) < window_ms
    }

    /// After a fan-out: whoever the live deliveries have caught up with is ahead no more, nor is who was ahead in an epoch
    /// that has ended.
    pub fn caught_up(&mut self) {
        let Some(reached) = &self.position else { return };
        self.ahead.retain(|_, position| position.epoch == reached.epoch && position.offset > reached.offset);
    }
}
