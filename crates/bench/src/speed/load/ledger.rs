//! What the subscribers of one channel have received: order and loss, in a few bytes for each of them.

use super::stamp::Stamp;
use crate::speed::plan::Damage;

/// The subscribers of a channel.
#[derive(Debug)]
pub(super) struct Ledger {
    publishers: usize,
    /// For each subscriber and publisher, the sequence that comes next.
    next: Vec<u32>,
    seen: Vec<Seen>,
    out_of_order: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    deliveries: u64,
    /// Of everything in the order it came: two subscribers have the same only if they saw the same order.
    digest: u64,
    probed: bool,
}

impl Ledger {
    /// Nobody has received anything.
    pub(super) fn new(subscribers: usize, publishers: usize) -> Self {
        let seen = vec![Seen::default(); subscribers];
        Self { publishers, next: vec![0; subscribers * publishers], seen, out_of_order: 0 }
    }

    /// A subscriber receives a message; false if no publisher of the channel can have sent it.
    pub(super) fn receive(&mut self, subscriber: usize, stamp: &Stamp) -> bool {
        let publisher = usize::from(stamp.publisher);
        if publisher >= self.publishers {
            return false;
        }
        let next = &mut self.next[subscriber * self.publishers + publisher];
        if stamp.sequence < *next {
            self.out_of_order += 1;
        } else {
            *next = stamp.sequence + 1;
        }
        let seen = &mut self.seen[subscriber];
        seen.deliveries += 1;
        let word = u64::from(stamp.sequence) << 16 | u64::from(stamp.publisher);
        // Multiplied by the golden ratio, as hash functions do: the order counts.
        seen.digest = (seen.digest.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        true
    }

    /// A subscriber receives a probe.
    pub(super) fn probe(&mut self, subscriber: usize) {
        self.seen[subscriber].probed = true;
    }

    /// Whether a probe has come to everybody.
    pub(super) fn all_probed(&self) -> bool {
        self.seen.iter().all(|seen| seen.probed)
    }

    /// What went wrong with what was published.
    pub(super) fn damage(&self, published: u64) -> Damage {
        let lost = self.seen.iter().map(|seen| published.saturating_sub(seen.deliveries)).sum();
        let doubled = self.seen.iter().map(|seen| seen.deliveries.saturating_sub(published)).sum();
        // Who has lost something has another digest anyway.
        let mut whole = self.seen.iter().filter(|seen| seen.deliveries == published).map(|seen| seen.digest);
        let first = whole.next();
        let differing = whole.filter(|digest| Some(*digest) != first).count() as u64;
        Damage { lost, doubled, out_of_order: self.out_of_order, differing, ..Damage::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(ledger: &mut Ledger, subscriber: usize, messages: &[(u16, u32)]) {
        for (publisher, sequence) in messages {
            let stamp = Stamp { sequence: *sequence, channel: 0, publisher: *publisher, slot: 0, due_ns: 0 };
            assert!(ledger.receive(subscriber, &stamp));
        }
    }

    #[test]
    fn the_same_in_the_same_order_is_no_damage() {
        let mut ledger = Ledger::new(2, 2);
        (0..2).for_each(|subscriber| receive(&mut ledger, subscriber, &[(0, 0), (1, 0), (0, 1)]));
        assert_eq!(ledger.damage(3), Damage::default());
    }

    #[test]
    fn lost_doubled_and_late_messages_are_counted() {
        let mut ledger = Ledger::new(3, 1);
        receive(&mut ledger, 0, &[(0, 0), (0, 2)]);
        receive(&mut ledger, 1, &[(0, 0), (0, 2), (0, 1)]);
        receive(&mut ledger, 2, &[(0, 0), (0, 1), (0, 2), (0, 2)]);
        let damage = ledger.damage(3);
        assert_eq!((damage.lost, damage.doubled, damage.out_of_order), (1, 1, 2));
    }

    #[test]
    fn two_orders_of_two_publishers_differ() {
        let mut ledger = Ledger::new(2, 2);
        receive(&mut ledger, 0, &[(0, 0), (1, 0)]);
        receive(&mut ledger, 1, &[(1, 0), (0, 0)]);
        assert_eq!(ledger.damage(2), Damage { differing: 1, ..Damage::default() });
    }

    #[test]
    fn a_message_of_nobody_is_told() {
        let stamp = Stamp { sequence: 0, channel: 0, publisher: 1, slot: 0, due_ns: 0 };
        assert!(!Ledger::new(1, 1).receive(0, &stamp));
    }
}
