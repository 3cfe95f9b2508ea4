//! Full-jitter backoff: spreads the attempts of many that lost the same thing at the same time.

use std::time::Duration;

/// Delays that grow by doubling up to a ceiling; each is drawn between zero and the present bound.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    ceiling: Duration,
    attempt: u32,
}

impl Backoff {
    /// A backoff whose first bound is `first`.
    pub const fn new(first: Duration, ceiling: Duration) -> Self {
        Self { first, ceiling, attempt: 0 }
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        let bound = self.first.saturating_mul(1 << self.attempt.min(16)).min(self.ceiling);
        self.attempt = self.attempt.saturating_add(1);
        bound.mul_f64(fastrand::f64())
    }

    /// Success: the next failure starts over.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_below_a_bound_that_doubles_up_to_the_ceiling() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(50), ms(1000));
        for bound in [50, 100, 200, 400, 800, 1000, 1000] {
            assert!(backoff.next_delay() <= ms(bound));
        }
        backoff.reset();
        assert!(backoff.next_delay() <= ms(50));
    }
}
