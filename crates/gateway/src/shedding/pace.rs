//! The pace of goodbyes: how many in the next wave, of whom, and how long they stay away. Pure.

use std::time::Duration;

/// How far waves are apart.
pub const WAVE_INTERVAL: Duration = Duration::from_millis(100);

/// Clients of one wave come back spread over this long after their close.
pub const AFTER_MAX_MS: u64 = 1000;

/// Keeps what was too little for a whole connection until the next wave.
#[derive(Debug, Default)]
pub struct Pace {
    credit: f64,
}

impl Pace {
    /// How many of those left go with this wave, so that the last ones go with the last wave and no second has more than
    /// its share of the window.
    pub fn wave(&mut self, left: usize, time_left: Duration) -> usize {
        let waves = time_left.as_millis().div_ceil(WAVE_INTERVAL.as_millis());
        if waves <= 1 {
            return left;
        }
        self.credit += left as f64 / waves as f64;
        let count = (self.credit.floor() as usize).min(left);
        self.credit -= count as f64;
        count
    }
}

/// Divides a number among the workers, each according to what it has.
pub fn shares(count: usize, of: &[usize]) -> Vec<usize> {
    let total: usize = of.iter().sum();
    if total == 0 {
        return vec![0; of.len()];
    }
    let count = count.min(total);
    let exact = |have: usize| count as u128 * have as u128;
    let mut shares: Vec<_> = of.iter().map(|have| (exact(*have) / total as u128) as usize).collect();
    // What rounding has left over, fewer than there are workers, goes to those it took most from.
    let mut by_rest: Vec<_> = (0..of.len()).collect();
    by_rest.sort_by_key(|worker| std::cmp::Reverse(exact(of[*worker]) % total as u128));
    let rest = count - shares.iter().sum::<usize>();
    by_rest.into_iter().take(rest).for_each(|worker| shares[worker] += 1);
    shares
}

/// How much longer than the first the last of so many stays away, so that no more come back in a second than this: where
/// the window is too short for that, they are closed within it all the same, and wait elsewhere.
pub fn longer_away(total: usize, window: Duration, returns_per_second: f64) -> Duration {
    let needed = Duration::try_from_secs_f64(total as f64 / returns_per_second).unwrap_or(Duration::MAX);
    needed.saturating_sub(window)
}

/// How long the one that goes in this place, of so many, stays away at least.
pub fn away(longer_away: Duration, place: usize, of: usize) -> Duration {
    longer_away.mul_f64(place as f64 / of.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The sizes of all waves of a window, if none leaves by itself.
    fn waves(total: usize, window: Duration) -> Vec<usize> {
        let (mut pace, mut left, mut time_left, mut sizes) = (Pace::default(), total, window, Vec::new());
        while !time_left.is_zero() {
            let size = pace.wave(left, time_left);
            left -= size;
            sizes.push(size);
            time_left = time_left.saturating_sub(WAVE_INTERVAL);
        }
        assert_eq!(left, 0, "of {total} over {window:?}");
        sizes
    }

    proptest! {
        #[test]
        fn all_go_in_the_window_and_no_second_has_more_than_its_share(
            total in 0_usize..50_000,
            count in 10_u32..600,
        ) {
            let window = WAVE_INTERVAL * count;
            let sizes = waves(total, window);
            let most = (total as f64 / window.as_secs_f64()).ceil() as usize;
            let busiest = sizes.windows(10).map(|second| second.iter().sum::<usize>()).max().unwrap_or(0);
            prop_assert!(busiest <= most + 1, "{busiest} of {total} over {window:?}");
        }

        #[test]
        fn shares_are_whole_and_as_even_as_can_be(count in 0_usize..100, of in proptest::collection::vec(0_usize..50, 1..9)) {
            let total: usize = of.iter().sum();
            let shares = shares(count, &of);
            prop_assert_eq!(shares.iter().sum::<usize>(), count.min(total));
            for (share, have) in shares.iter().zip(&of) {
                let exact = if total == 0 { 0.0 } else { count.min(total) as f64 * *have as f64 / total as f64 };
                prop_assert!(share <= have && (*share as f64 - exact).abs() < 1.0, "{:?} of {:?}", shares, of);
            }
        }
    }

    #[test]
    fn few_are_spread_over_the_window_too() {
        let sizes = waves(20, Duration::from_secs(20));
        assert!(sizes.iter().all(|size| *size <= 1), "{sizes:?}");
        let first = sizes.iter().position(|size| *size > 0).unwrap();
        assert!(first <= 12 && sizes[150..].iter().sum::<usize>() >= 3, "{sizes:?}");
    }

    #[test]
    fn whoever_leaves_by_himself_makes_the_waves_smaller() {
        let mut pace = Pace::default();
        assert_eq!(pace.wave(1000, Duration::from_secs(10)), 10);
        assert_eq!(pace.wave(495, Duration::from_millis(9900)), 5);
    }

    #[test]
    fn those_for_whom_the_window_is_too_short_stay_away_longer() {
        let seconds = Duration::from_secs;
        assert_eq!(longer_away(40_000, seconds(20), 2000.0), Duration::ZERO);
        let longer = longer_away(100_000, seconds(20), 2000.0);
        assert_eq!(longer, seconds(30));
        // Closed 5000 a second, they come back 2000 a second.
        let back = |place: usize| seconds(20).mul_f64(place as f64 / 100_000.0) + away(longer, place, 100_000);
        assert_eq!((back(0), back(50_000), back(100_000)), (seconds(0), seconds(25), seconds(50)));
    }
}
