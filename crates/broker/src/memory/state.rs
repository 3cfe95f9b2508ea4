//! One channel's state: the newest publication of each key that is retained, within its limits.

use super::log::after;
use crate::{STATE_ENTRY_BYTES, StateLimits};
use protocol::envelope::encode_record;
use protocol::{Publication, Text};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// How far apart two looks through the whole state are at least.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct State {
    entries: HashMap<Text, Entry>,
    bytes: u64,
    /// Nothing ends before this.
    sweep_at: Option<Instant>,
}

struct Entry {
    publication: Publication,
    bytes: u64,
    expires: Instant,
}

impl State {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Puts the publication under its key, or takes the key out; false if there is no room for it.
    pub(super) fn take(&mut self, publication: &Publication, limits: &StateLimits, now: Instant) -> bool {
        let Some(key) = &publication.retain else { return true };
        if publication.removes_its_key() {
            self.remove(key);
            return true;
        }
        let bytes = (encode_record(publication).len() + key.len() + STATE_ENTRY_BYTES) as u64;
        if !self.has_room(key, bytes, limits) {
            self.sweep(now);
            if !self.has_room(key, bytes, limits) {
                return false;
            }
        }
        self.remove(key);
        let expires = after(now, limits.ttl);
        self.bytes += bytes;
        self.sweep_at = Some(self.sweep_at.map_or(expires, |at| at.min(expires)));
        self.entries.insert(key.clone(), Entry { publication: publication.clone(), bytes, expires });
        true
    }

    /// Whether it fits: what grows nothing fits always, whatever the limits are now.
    fn has_room(&self, key: &Text, bytes: u64, limits: &StateLimits) -> bool {
        let before = self.entries.get(key).map(|entry| entry.bytes);
        let fits_keys = before.is_some() || self.entries.len() < limits.keys as usize;
        let before = before.unwrap_or(0);
        fits_keys && (bytes <= before || self.bytes - before + bytes <= limits.bytes)
    }

    fn remove(&mut self, key: &Text) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.bytes;
        }
    }

    /// All that has not ended, by offset.
    pub(super) fn publications(&self, now: Instant) -> Vec<Publication> {
        let alive = self.entries.values().filter(|entry| entry.expires > now);
        let mut publications: Vec<_> = alive.map(|entry| entry.publication.clone()).collect();
        publications.sort_unstable_by_key(|publication| publication.offset);
        publications
    }

    /// Drops what has ended; returns when to look again.
    pub(super) fn sweep(&mut self, now: Instant) -> Option<Instant> {
        if self.sweep_at.is_none_or(|at| at > now) {
            return self.sweep_at;
        }
        let bytes = &mut self.bytes;
        self.entries.retain(|_, entry| {
            let is_alive = entry.expires > now;
            *bytes -= if is_alive { 0 } else { entry.bytes };
            is_alive
        });
        let earliest = self.entries.values().map(|entry| entry.expires).min();
        self.sweep_at = earliest.map(|at| at.max(now + SWEEP_INTERVAL));
        self.sweep_at
    }
}
