//! One channel's past: epoch, offsets, publications within size and age, idempotency keys, and the state.

use super::state::State;
use crate::epoch::random_epoch;
use crate::{KEY_TTL, META_TTL, Page, PublishError, Range, Retention, UNUSED_TTL};
use protocol::{Epoch, Position, Publication};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// How many expired keys one call forgets at the most.
const KEYS_PER_SWEEP: usize = 64;

/// One life of a channel.
pub(super) struct ChannelLog {
    epoch: Epoch,
    top: u64,
    publications: VecDeque<Publication>,
    publications_expire: Instant,
    state: State,
    keys: HashMap<String, (Instant, Position)>,
    /// In the order of their expiry, since all live equally long.
    keys_expire: VecDeque<(Instant, String)>,
    expires: Instant,
}

impl ChannelLog {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            epoch: random_epoch().into(),
            top: 0,
            publications: VecDeque::new(),
            publications_expire: now,
            state: State::default(),
            keys: HashMap::new(),
            keys_expire: VecDeque::new(),
            expires: now + UNUSED_TTL,
        }
    }

    pub(super) fn top(&self) -> Position {
        Position { epoch: self.epoch.clone(), offset: self.top }
    }

    /// Where a publication with this key went.
    pub(super) fn position_of(&self, key: &str, now: Instant) -> Option<&Position> {
        self.keys.get(key).filter(|(expires, _)| *expires > now).map(|(_, position)| position)
    }

    /// Gives the publication its offset and keeps it, unless the state has no room for it.
    pub(super) fn append(
        &mut self,
        publication: &mut Publication,
        retention: Retention,
        now: Instant,
    ) -> Result<Position, PublishError> {
        publication.offset = Some(self.top + 1);
        if publication.retain.is_some() && !self.state.take(publication, &retention.state, now) {
            return Err(PublishError::StateFull);
        }
        self.top += 1;
        self.publications.push_back(publication.clone());
        let beyond = self.publications.len().saturating_sub(retention.size as usize);
        self.publications.drain(..beyond);
        self.publications_expire = after(now, retention.ttl);
        self.expires = after(now, META_TTL.max(retention.ttl).max(retention.state.ttl));
        Ok(self.top())
    }

    /// Whether there may be a state.
    pub(super) fn has_state(&self) -> bool {
        !self.state.is_empty()
    }

    pub(super) fn state(&self, now: Instant) -> Page {
        Page { publications: self.state.publications(now), top: self.top() }
    }

    /// Remembers where the publication with this key went.
    pub(super) fn remember(&mut self, key: String, position: Position, now: Instant) {
        self.keys_expire.push_back((now + KEY_TTL, key.clone()));
        self.keys.insert(key, (now + KEY_TTL, position));
    }

    pub(super) fn page(&self, range: Range) -> Page {
        let limit = range.limit as usize;
        let publications = match (range.reverse, range.since) {
            (false, since) => {
                let newer = self.publications.iter().skip_while(|p| p.offset <= since);
                newer.take(limit).cloned().collect()
            }
            (true, None) => self.publications.iter().rev().take(limit).cloned().collect(),
            (true, since) => {
                let older = self.publications.iter().rev().skip_while(|p| p.offset >= since);
                older.take(limit).cloned().collect()
            }
        };
        Page { publications, top: self.top() }
    }

    /// Drops what has expired, a bounded part of it; returns when to look again.
    pub(super) fn sweep(&mut self, now: Instant) -> Instant {
        if self.publications_expire <= now {
            self.publications = VecDeque::new();
        }
        for _ in 0..KEYS_PER_SWEEP {
            let Some((at, key)) = self.keys_expire.pop_front_if(|(at, _)| *at <= now) else { break };
            // A key used again after its expiry lives on.
            if self.keys.get(&key).is_some_and(|(expires, _)| *expires == at) {
                self.keys.remove(&key);
            }
        }
        let log = (!self.publications.is_empty()).then_some(self.publications_expire);
        let key = self.keys_expire.front().map(|(at, _)| *at);
        [log, key, self.state.sweep(now)].into_iter().flatten().fold(self.expires, Instant::min)
    }

    /// Whether nobody has published to it.
    pub(super) fn is_unused(&self) -> bool {
        self.top == 0
    }

    /// It is wanted: it is remembered for as long as one that begins now.
    pub(super) fn live_on(&mut self, now: Instant) {
        self.expires = now + if self.top == 0 { UNUSED_TTL } else { META_TTL };
    }

    #[cfg(test)]
    pub(super) fn publications(&self) -> usize {
        self.publications.len()
    }

    #[cfg(test)]
    pub(super) fn retained(&self) -> usize {
        self.state.len()
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Whether nothing of it is remembered any more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.expires <= now
    }
}

/// A ttl too long for the clock is none at all.
pub(super) fn after(now: Instant, ttl: Duration) -> Instant {
    now.checked_add(ttl).unwrap_or_else(|| now + META_TTL)
}
