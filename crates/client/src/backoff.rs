//! Full-jitter backoff, and moments that cannot overflow.

use std::time::Duration;
use tokio::time::Instant;

/// A connection that lasted this long begins the count anew.
const STABLE: Duration = Duration::from_secs(10);

/// The longest wait: as good as for ever, and no clock overflows with it.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A moment from now.
pub(crate) fn after(now: Instant, wait: Duration) -> Instant {
    now + wait.min(FOREVER)
}

/// Before attempt *n* a random time between 0 and `min(ceiling, first * 2^n)`. Without the randomness all clients of a
/// lost node would come back at one moment, and again at the next.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    ceiling: Duration,
    attempt: u32,
    random: fastrand::Rng,
}

impl Backoff {
    pub(crate) fn new(first: Duration, ceiling: Duration, random: fastrand::Rng) -> Self {
        Self { first, ceiling, attempt: 0, random }
    }

    /// For what is repeated within one connection.
    pub(crate) fn of_commands(random: fastrand::Rng) -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(20), random)
    }

    /// The wait before the next attempt.
    pub(crate) fn next(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.attempt).unwrap_or(u32::MAX);
        let bound = self.first.saturating_mul(factor).min(self.ceiling).min(FOREVER);
        self.attempt = self.attempt.saturating_add(1);
        bound.mul_f64(self.random.f64())
    }

    /// The wait where the gateway has named one, which is already spread over its clients. Somebody who is sent on again
    /// and again also backs off, so that nothing turns in a circle at full speed.
    pub(crate) fn told(&mut self, wait: Duration) -> Duration {
        let is_first = self.attempt == 0;
        let more = self.next();
        if is_first { wait } else { wait.saturating_add(more) }
    }

    /// Takes note of how long a connection has lasted.
    pub(crate) fn lasted(&mut self, time: Duration) {
        if time >= STABLE {
            self.reset();
        }
    }

    /// Begins the count anew.
    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(seed: u64) -> Backoff {
        Backoff::new(Duration::from_millis(500), Duration::from_secs(20), fastrand::Rng::with_seed(seed))
    }

    /// The longest of many waits before each attempt, in ms.
    fn longest() -> Vec<u128> {
        let mut longest = vec![0; 8];
        for seed in 0..2000 {
            let mut backoff = backoff(seed);
            for wait in &mut longest {
                *wait = backoff.next().as_millis().max(*wait);
            }
        }
        longest
    }

    #[test]
    fn waits_reach_up_to_a_bound_that_doubles_until_the_ceiling() {
        let bounds = [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000];
        for (longest, bound) in longest().into_iter().zip(bounds) {
            assert!(longest <= bound, "{longest} is over {bound}");
            assert!(longest >= bound * 9 / 10, "{longest} is far below {bound}");
        }
    }

    #[test]
    fn waits_are_spread_over_the_whole_time_from_zero() {
        let waits: Vec<_> = (0..1000).map(|seed| backoff(seed).next().as_millis()).collect();
        for quarter in 0..4 {
            let within = waits.iter().filter(|wait| **wait / 125 == quarter).count();
            assert!((180..320).contains(&within), "{within} of 1000 in quarter {quarter}");
        }
    }

    #[test]
    fn a_thousand_failures_still_have_a_wait() {
        let mut backoff = backoff(1);
        for _ in 0..1000 {
            assert!(backoff.next() <= Duration::from_secs(20));
        }
    }

    #[test]
    fn only_a_connection_that_lasted_ten_seconds_begins_the_count_anew() {
        let mut backoff = backoff(1);
        backoff.next();
        backoff.lasted(Duration::from_secs(9));
        assert_eq!(backoff.attempt, 1);
        backoff.lasted(Duration::from_secs(10));
        assert_eq!(backoff.attempt, 0);
    }

    #[test]
    fn a_time_that_was_told_is_kept_to_at_first_and_only_lengthened_when_told_again_and_again() {
        let told = Duration::from_millis(1830);
        let mut backoff = backoff(1);
        assert_eq!(backoff.told(told), told);
        assert!((0..10).all(|_| backoff.told(told) > told));
        backoff.reset();
        assert_eq!(backoff.told(told), told);
    }

    #[test]
    fn the_end_of_time_is_a_moment_too() {
        let now = Instant::now();
        assert!(after(now, Duration::MAX) > now);
    }
}
