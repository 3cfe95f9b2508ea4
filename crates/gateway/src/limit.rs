//! Token buckets: how fast a connection may speak, and how fast connections may come.

use std::time::Duration;

/// A rate as people write it: `100/s burst 200`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Refilled each second.
    pub per_second: f32,
    /// The most that may come at once.
    pub burst: f32,
}

/// One an hour: slower than that, waiting times have no use (and no representation).
const SLOWEST: f32 = 1.0 / 3600.0;

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a rate: write `100/s` or `100/s burst 200`");
        let (rate, burst) = match text.split_once("burst") {
            Some((rate, burst)) => (rate.trim(), Some(burst.trim())),
            None => (text.trim(), None),
        };
        let (count, unit) = rate.split_once('/').ok_or_else(wrong)?;
        let count: f32 = count.trim().parse().map_err(|_| wrong())?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let burst: f32 = burst.map_or(Ok(count), str::parse).map_err(|_| wrong())?;
        let per_second = count / seconds;
        if !(per_second >= SLOWEST && per_second.is_finite() && burst >= 1.0 && burst.is_finite()) {
            return Err(format!("`{text}`: a rate is at least 1/h and a burst at least 1"));
        }
        Ok(Self { per_second, burst })
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/s burst {}", self.per_second, self.burst)
    }
}

/// How fast one connection may do what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Commands.
    pub messages: Rate,
    /// Pings and pongs.
    pub control: Rate,
    /// Channels that nobody else of this node uses.
    pub new_channels: Rate,
}

/// The buckets of one connection for its [`Rates`], and for those of namespaces.
#[derive(Debug)]
pub struct Buckets {
    /// Commands.
    pub messages: Bucket,
    /// Pings and pongs.
    pub control: Bucket,
    /// Channels that nobody else of this node uses.
    pub new_channels: Bucket,
    /// What most connections never meet, so boxed.
    rare: Option<Box<Rare>>,
}

/// The buckets of those who send what is compressed, or publish under rules.
#[derive(Debug, Default)]
struct Rare {
    inflation: Option<Bucket>,
    rules: Vec<(RuleId, Bucket)>,
}

/// A namespace's rule, by its number in the policy.
pub type RuleId = u32;

impl Buckets {
    /// All of them full.
    pub fn full(rates: &Rates, now_ms: u32) -> Self {
        let full = |rate| Bucket::full(rate, now_ms);
        let (messages, control) = (full(&rates.messages), full(&rates.control));
        Self { messages, control, new_channels: full(&rates.new_channels), rare: None }
    }

    /// Takes one of those for messages that grow when they are inflated, whose bucket is full when it is first asked.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take_of_inflation(&mut self, rate: &Rate, now_ms: u32) -> Result<(), Duration> {
        let full = || Bucket::full(rate, now_ms);
        self.rare.get_or_insert_default().inflation.get_or_insert_with(full).take(rate, now_ms)
    }

    /// Takes one of a rule's bucket, which is full when it is first asked.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take_of_rule(&mut self, rule: RuleId, rate: &Rate, now_ms: u32) -> Result<(), Duration> {
        let rules = &mut self.rare.get_or_insert_default().rules;
        let found = rules.iter().position(|(id, _)| *id == rule);
        let at = found.unwrap_or_else(|| {
            // Most publish under one rule.
            rules.reserve_exact(1);
            rules.push((rule, Bucket::full(rate, now_ms)));
            rules.len() - 1
        });
        rules[at].1.take(rate, now_ms)
    }
}

/// What may still be said or come: eight bytes, refilled when asked.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    tokens: f32,
    refilled_ms: u32,
}

impl Bucket {
    /// A full bucket. `now_ms` counts from any fixed moment and may wrap.
    pub fn full(rate: &Rate, now_ms: u32) -> Self {
        Self { tokens: rate.burst, refilled_ms: now_ms }
    }

    /// Takes one, or says how long until there is one.
    pub fn take(&mut self, rate: &Rate, now_ms: u32) -> Result<(), Duration> {
        if self.left(rate, now_ms) >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f32((1.0 - self.tokens) / rate.per_second))
    }

    /// How many could be taken now.
    pub fn left(&mut self, rate: &Rate, now_ms: u32) -> f32 {
        let since_ms = now_ms.wrapping_sub(self.refilled_ms);
        self.refilled_ms = now_ms;
        self.tokens = (self.tokens + since_ms as f32 / 1000.0 * rate.per_second).min(rate.burst);
        self.tokens
    }

    /// Gives back one that was taken and not used.
    pub fn give_back(&mut self, rate: &Rate) {
        self.tokens = (self.tokens + 1.0).min(rate.burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_as_written() {
        assert_eq!("100/s burst 200".parse(), Ok(Rate { per_second: 100.0, burst: 200.0 }));
        assert_eq!("60/m".parse(), Ok(Rate { per_second: 1.0, burst: 60.0 }));
        for wrong in ["", "100", "100/d", "x/s", "0/s", "-1/s", "1/s burst x", "inf/s", "NaN/s", "1e-30/s"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let rate = Rate { per_second: 10.0, burst: 3.0 };
        let start = u32::MAX - 50;
        let mut bucket = Bucket::full(&rate, start);
        for _ in 0..3 {
            assert_eq!(bucket.take(&rate, start), Ok(()));
        }
        assert_eq!(bucket.take(&rate, start).map_err(|wait| wait.as_millis()), Err(100));
        assert_eq!(bucket.take(&rate, start.wrapping_add(100)), Ok(()), "also across the clock's wrap");
        assert!(bucket.take(&rate, start.wrapping_add(150)).is_err());
    }
}
