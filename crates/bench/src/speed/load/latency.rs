//! How long deliveries took: counted in buckets that are at most 1.6 % wide, so that any number of them fits 30 KiB.

/// Buckets for each power of two.
const STEPS: u64 = 64;

/// Delays in nanoseconds.
#[derive(Debug, Clone)]
pub(super) struct Latency {
    counts: Vec<u64>,
    total: u64,
    longest_ns: u64,
}

impl Latency {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { counts: vec![0; bucket(u64::MAX) + 1], total: 0, longest_ns: 0 }
    }

    /// Counts one.
    pub(super) fn add(&mut self, delay_ns: u64) {
        self.counts[bucket(delay_ns)] += 1;
        self.total += 1;
        self.longest_ns = self.longest_ns.max(delay_ns);
    }

    /// What so many of a thousand do not exceed, in microseconds; 0 if nothing was counted.
    pub(super) fn permille_us(&self, permille: u64) -> f64 {
        let rank = (self.total * permille).div_ceil(1000).max(1);
        let mut seen = 0;
        let reaches = |count: &u64| {
            seen += count;
            seen >= rank
        };
        let found = self.counts.iter().position(reaches);
        found.map_or(0.0, |bucket| upper(bucket).min(self.longest_ns) as f64 / 1000.0)
    }

    /// The longest, in microseconds.
    pub(super) fn longest_us(&self) -> f64 {
        self.longest_ns as f64 / 1000.0
    }
}

/// Exact below 64 ns; above, 64 buckets from each power of two to the next.
fn bucket(delay_ns: u64) -> usize {
    if delay_ns < STEPS {
        return delay_ns as usize;
    }
    let shift = u64::from(delay_ns.ilog2() - STEPS.ilog2());
    ((shift + 1) * STEPS + (delay_ns >> shift) - STEPS) as usize
}

/// The longest delay of a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let (shift, step) = (bucket / STEPS - 1, bucket % STEPS);
    let next = u128::from(STEPS + step + 1) << shift;
    (next - 1).min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_delay_is_within_its_bucket_and_no_bucket_is_wide() {
        let delays = (0..64).flat_map(|power| [1u64 << power, (1 << power) + (1 << power) / 3, (1 << power) - 1]);
        for delay in delays.chain([u64::MAX]) {
            let upper = upper(bucket(delay));
            assert!(upper >= delay, "{delay} is above its bucket, which ends at {upper}");
            assert!(upper - delay <= delay / STEPS, "{delay} is told as {upper}");
        }
    }

    #[test]
    fn percentiles_are_those_of_what_was_counted() {
        let mut latency = Latency::new();
        assert_eq!(latency.permille_us(990), 0.0);
        (1..=1000).for_each(|delay_us| latency.add(delay_us * 1000));
        assert!((latency.permille_us(500) - 500.0).abs() < 10.0);
        assert!((latency.permille_us(990) - 990.0).abs() < 20.0);
        assert_eq!(latency.permille_us(1000), 1000.0);
        assert_eq!(latency.longest_us(), 1000.0);
    }
}
