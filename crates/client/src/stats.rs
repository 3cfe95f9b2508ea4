//! What a client counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the client was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that were welcomed.
    pub connections: u64,
    /// Publications that came a second time and were dropped.
    pub duplicates: u64,
    /// [`crate::Event::Gap`]s, of whatever cause.
    pub gaps: u64,
    /// Those of them where an offset did not follow the one before it and nobody said why: faults of the gateway.
    pub jumps: u64,
}

/// The same while they are counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) gaps: AtomicU64,
    pub(crate) jumps: AtomicU64,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            connections: read(&self.connections),
            duplicates: read(&self.duplicates),
            gaps: read(&self.gaps),
            jumps: read(&self.jumps),
        }
    }
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
