//! Connections that ended and are still shown for a while, in the order in which their time is up.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU64;
use std::time::Duration;
use tokio::time::Instant;

/// Names one parting, so that it can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(NonZeroU64);

/// Those who are parting. Holds as many as were added and neither taken back nor due: one timer serves them all.
#[derive(Debug)]
pub(crate) struct Grace<P> {
    period: Duration,
    parting: BTreeMap<(Instant, Ticket), P>,
    ends: HashMap<Ticket, Instant>,
    next: NonZeroU64,
}

impl<P> Grace<P> {
    pub(crate) fn new(period: Duration) -> Self {
        Self { period, parting: BTreeMap::new(), ends: HashMap::new(), next: NonZeroU64::MIN }
    }

    /// Begins a parting; the grace begins after so long.
    pub(crate) fn add(&mut self, who: P, after: Duration) -> Ticket {
        let ticket = Ticket(self.next);
        self.next = self.next.saturating_add(1);
        let end = Instant::now() + after + self.period;
        self.parting.insert((end, ticket), who);
        self.ends.insert(ticket, end);
        ticket
    }

    pub(crate) fn take_back(&mut self, ticket: Ticket) {
        if let Some(end) = self.ends.remove(&ticket) {
            self.parting.remove(&(end, ticket));
        }
    }

    /// When the next one's time is up.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.parting.first_key_value().map(|((end, _), _)| *end)
    }

    /// When nobody is parting any more.
    pub(crate) fn last_end(&self) -> Option<Instant> {
        self.parting.last_key_value().map(|((end, _), _)| *end)
    }

    /// The next one whose time is up.
    pub(crate) fn pop_ended(&mut self, now: Instant) -> Option<(Ticket, P)> {
        let first = self.parting.first_entry().filter(|first| first.key().0 <= now)?;
        let ((_, ticket), who) = first.remove_entry();
        self.ends.remove(&ticket);
        Some((ticket, who))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_is_shown_for_the_grace_after_its_own_time() {
        let seconds = Duration::from_secs;
        let mut grace = Grace::new(seconds(2));
        let began = Instant::now();
        grace.add("sent away", seconds(1));
        grace.add("broke", Duration::ZERO);
        let back = grace.add("back", seconds(60));
        assert_eq!(grace.last_end(), Some(began + seconds(62)));
        grace.take_back(back);
        assert_eq!((grace.next_end(), grace.last_end()), (Some(began + seconds(2)), Some(began + seconds(3))));
        let ended = |grace: &mut Grace<_>, after| grace.pop_ended(began + seconds(after)).map(|(_, who)| who);
        assert_eq!(ended(&mut grace, 1), None);
        assert_eq!(ended(&mut grace, 2), Some("broke"));
        assert_eq!(ended(&mut grace, 2), None);
        assert_eq!(ended(&mut grace, 3), Some("sent away"));
        assert_eq!((grace.next_end(), grace.last_end()), (None, None));
        assert!(grace.ends.is_empty());
    }
}
