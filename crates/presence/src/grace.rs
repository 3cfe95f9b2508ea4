//! Connections that broke and are still shown for a while, in the order in which their time is up.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;
use tokio::time::Instant;

/// Names one parting, so that it can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(NonZeroU64);

/// Those who are parting. Holds as many as were added and neither taken back nor due: one timer serves them all.
#[derive(Debug)]
pub(crate) struct Grace<P> {
    period: Duration,
    // The period is the same for all, so tickets are drawn in the order of their ends.
    parting: BTreeMap<Ticket, (Instant, P)>,
    next: NonZeroU64,
}

impl<P> Grace<P> {
    pub(crate) fn new(period: Duration) -> Self {
        Self { period, parting: BTreeMap::new(), next: NonZeroU64::MIN }
    }

    pub(crate) fn add(&mut self, who: P) -> Ticket {
        let ticket = Ticket(self.next);
        self.next = self.next.saturating_add(1);
        self.parting.insert(ticket, (Instant::now() + self.period, who));
        ticket
    }

    pub(crate) fn take_back(&mut self, ticket: Ticket) {
        self.parting.remove(&ticket);
    }

    /// When the next one's time is up.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.parting.first_key_value().map(|(_, (end, _))| *end)
    }

    /// The next one whose time is up.
    pub(crate) fn pop_ended(&mut self, now: Instant) -> Option<(Ticket, P)> {
        let first = self.parting.first_entry().filter(|first| first.get().0 <= now)?;
        let (ticket, (_, who)) = first.remove_entry();
        Some((ticket, who))
    }

    pub(crate) fn clear(&mut self) {
        self.parting.clear();
    }
}
