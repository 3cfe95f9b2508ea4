//! How a node's own lease stands, and what that says of the leases of others.

use std::time::Duration;
use tokio::time::Instant;

/// How the lease stands.
#[derive(Debug)]
pub(super) struct Standing {
    started_at: Instant,
    /// When the last renewal that was confirmed was sent, and when it was answered.
    renewed: Option<(Instant, Instant)>,
    /// The connection it was sent over.
    generation: u64,
    /// Since when there has been no sign that anybody's renewals may have been held up.
    steady_since: Instant,
    held_up_after: Duration,
    settled_after: Duration,
}

impl Standing {
    /// `settle_min` is how long at the least a node that has found its Redis leaves the others to find it too.
    pub(super) fn new(lease: Duration, settle_min: Duration) -> Self {
        let now = Instant::now();
        Self {
            started_at: now,
            renewed: None,
            generation: 0,
            steady_since: now,
            // Leases are renewed three times in their life. If two renewals of this node are answered no further apart
            // than this, then Redis has not stood still for long enough to keep a node that lives from its own.
            held_up_after: lease * 2 / 3,
            settled_after: lease.max(settle_min),
        }
    }

    /// A renewal was answered; `was_lost` if the lease had ended before it.
    pub(super) fn renewed(&mut self, sent_at: Instant, generation: u64, was_lost: bool) {
        if was_lost || generation != self.generation || !self.is_fresh() {
            self.steady_since = Instant::now();
        }
        self.renewed = Some((sent_at, Instant::now()));
        self.generation = generation;
    }

    /// Whether a lease that is gone means that its node is dead: not if Redis, the link or this node itself stood still,
    /// for then others may have had no time to renew.
    pub(super) fn may_judge(&self) -> bool {
        self.is_fresh() && self.steady_since.elapsed() >= self.settled_after
    }

    fn is_fresh(&self) -> bool {
        self.renewed.is_some_and(|(_, answered_at)| answered_at.elapsed() < self.held_up_after)
    }

    /// How long ago the lease was last known to hold.
    pub(super) fn age(&self) -> Duration {
        self.renewed.map_or(self.started_at, |(sent_at, _)| sent_at).elapsed()
    }

    /// Whether it has ever held.
    pub(super) fn has_held(&self) -> bool {
        self.renewed.is_some()
    }

    /// The connection that was last prepared.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const SECOND: Duration = Duration::from_secs(1);

    /// Renews every 2 s for so many seconds, and asks each time.
    async fn go_on(standing: &mut Standing, seconds: u32) -> Vec<bool> {
        let mut judged = Vec::new();
        for _ in 0..seconds / 2 {
            advance(2 * SECOND).await;
            standing.renewed(Instant::now(), 1, false);
            judged.push(standing.may_judge());
        }
        judged
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_judged_until_the_link_has_held_for_a_lease() {
        let mut standing = Standing::new(6 * SECOND, SECOND);
        advance(60 * SECOND).await;
        assert!(!standing.may_judge());
        standing.renewed(Instant::now(), 1, true);
        assert_eq!(go_on(&mut standing, 8).await, [false, false, true, true]);
        // A new connection, and a lease that had ended.
        standing.renewed(Instant::now(), 2, false);
        standing.renewed(Instant::now(), 1, false);
        assert_eq!(go_on(&mut standing, 8).await, [false, false, true, true]);
        standing.renewed(Instant::now(), 1, true);
        assert_eq!(go_on(&mut standing, 8).await, [false, false, true, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_judged_after_a_standstill_that_broke_no_connection() {
        let mut standing = Standing::new(6 * SECOND, SECOND);
        standing.renewed(Instant::now(), 1, true);
        assert_eq!(go_on(&mut standing, 6).await, [false, false, true]);
        // Whatever says now that a lease is gone says it after the standstill.
        advance(4 * SECOND).await;
        assert!(!standing.may_judge());
        standing.renewed(Instant::now(), 1, false);
        assert_eq!(go_on(&mut standing, 6).await, [false, false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_lease_leaves_time_to_find_redis_all_the_same() {
        let mut standing = Standing::new(6 * SECOND, 10 * SECOND);
        standing.renewed(Instant::now(), 1, true);
        assert_eq!(go_on(&mut standing, 10).await, [false, false, false, false, true]);
    }
}
