//! Refreshes the keys of channels in which nothing happens, a few at a time.

use protocol::Channel;
use std::time::Duration;
use tokio::time::Instant;

/// The channels whose turn it is to be refreshed.
pub(super) struct Sweep {
    every: Duration,
    begins: Instant,
    rest: Vec<Channel>,
    portion: usize,
}

impl Sweep {
    /// The first sweep begins at a random time, so that nodes started together do not sweep together.
    pub(super) fn new(every: Duration) -> Self {
        let begins = Instant::now() + every.mul_f64(0.5 + fastrand::f64() / 2.0);
        Self { every, begins, rest: Vec::new(), portion: 0 }
    }

    /// The next few channels. Called at each tick; a sweep over all `channels` takes a quarter of its period.
    pub(super) fn next_portion<'a>(
        &mut self,
        now: Instant,
        tick: Duration,
        channels: impl FnOnce() -> Vec<Channel> + 'a,
    ) -> Vec<Channel> {
        if now >= self.begins {
            self.begins = now + self.every;
            self.rest = channels();
            let ticks = (self.every.as_secs_f64() / 4.0 / tick.as_secs_f64()).max(1.0);
            self.portion = (self.rest.len() as f64 / ticks).ceil() as usize;
        }
        let left = self.rest.len() - self.portion.min(self.rest.len());
        let portion = self.rest.split_off(left);
        if self.rest.is_empty() {
            self.rest = Vec::new();
        }
        portion
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sweep_reaches_every_channel_once_a_few_at_each_tick() {
        let (every, tick) = (Duration::from_secs(6 * 3600), Duration::from_secs(2));
        let all: Vec<Channel> = (0..10_000).map(|n| Channel::new(&format!("c{n}")).unwrap()).collect();
        let mut sweep = Sweep::new(every);
        let (mut seen, mut most) = (Vec::new(), 0);
        let end = Instant::now() + every;
        while Instant::now() < end + every / 4 {
            let portion = sweep.next_portion(Instant::now(), tick, || all.clone());
            most = most.max(portion.len());
            seen.extend(portion);
            tokio::time::advance(tick).await;
        }
        assert_eq!(most, 4);
        assert!(seen.len() >= all.len());
        seen.truncate(all.len());
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all.len());
    }
}
