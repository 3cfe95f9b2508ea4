//! What all clients together may make this node hold: one bound for the process, kept by its workers without a lock.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Once over the bound, workers go on until this part of it is free, so that they need not begin again at once.
const HEADROOM: usize = 8;

/// The bound, and what each worker holds.
#[derive(Debug)]
pub struct Budget {
    limit_bytes: usize,
    held: Vec<AtomicUsize>,
}

impl Budget {
    /// For so many workers.
    pub fn new(limit_bytes: usize, workers: usize) -> Self {
        Self { limit_bytes, held: (0..workers).map(|_| AtomicUsize::new(0)).collect() }
    }

    /// The bound.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// What all workers hold.
    pub fn held_bytes(&self) -> usize {
        self.held.iter().map(|held| held.load(Ordering::Relaxed)).sum()
    }

    /// A worker says what it holds; returns how that differs from what it said last.
    pub fn report(&self, worker: usize, bytes: usize) -> i64 {
        let before = self.held.get(worker).map_or(0, |held| held.swap(bytes, Ordering::Relaxed));
        bytes as i64 - before as i64
    }

    /// How much a worker is to let go of. Over the bound at least one worker holds more than its share: those who do let go,
    /// until there is headroom or they are well within their share.
    pub fn excess(&self, worker: usize) -> usize {
        let held = self.held_bytes();
        if held <= self.limit_bytes {
            return 0;
        }
        let own = self.held.get(worker).map_or(0, |held| held.load(Ordering::Relaxed));
        let share = self.limit_bytes / self.held.len().max(1);
        if own <= share {
            return 0;
        }
        let goal = |bytes: usize| bytes - bytes / HEADROOM;
        (held - goal(self.limit_bytes)).min(own - goal(share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_the_bound_nobody_lets_go_of_anything() {
        let budget = Budget::new(1000, 2);
        assert_eq!(budget.report(0, 1000), 1000);
        assert_eq!((budget.excess(0), budget.excess(1)), (0, 0));
        assert_eq!(budget.report(0, 400), -600);
        assert_eq!(budget.held_bytes(), 400);
    }

    #[test]
    fn over_the_bound_whoever_holds_more_than_its_share_makes_headroom() {
        let budget = Budget::new(1000, 2);
        budget.report(0, 900);
        budget.report(1, 200);
        assert_eq!((budget.excess(0), budget.excess(1)), (225, 0));
        budget.report(0, 900 - 225);
        assert_eq!((budget.excess(0), budget.excess(1)), (0, 0));
    }

    #[test]
    fn nobody_is_asked_for_more_than_what_is_above_its_share() {
        let budget = Budget::new(1000, 2);
        budget.report(0, 600);
        budget.report(1, 10_000);
        assert_eq!(budget.excess(0), 600 - 438);
        assert_eq!(budget.excess(1), 10_000 - 438);
    }

    #[test]
    fn over_the_bound_somebody_always_acts() {
        for held in [[1001, 0, 0], [334, 334, 334], [500, 501, 0], [0, 0, usize::MAX / 4]] {
            let budget = Budget::new(1000, 3);
            for (worker, bytes) in held.iter().enumerate() {
                budget.report(worker, *bytes);
            }
            assert!((0..3).any(|worker| budget.excess(worker) > 0), "{held:?}");
        }
    }
}
