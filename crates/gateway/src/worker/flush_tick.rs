//! How long deliveries wait for those that come after them, so that they leave in the same writes: not at all while a worker
//! has time, longer the busier it is with writing.
//!
//! A write costs some 6 us however little it holds, so a worker that writes without a rest serves more by writing less often:
//! where the same sockets are written again and again. One message a second to 50,000 sockets keeps a worker as busy, and
//! nothing is gained if it waits. Only deliveries wait, in the inbox: what is published or answered leaves at the end of its
//! turn as ever.

use std::time::Duration;

/// How busy a worker is when deliveries begin to wait, and when they wait the longest.
const BUSY_FROM: f64 = 0.5;
const BUSY_FULL: f64 = 0.9;

/// With fewer writes a second than this that might have been one with others (an eighth of what a core can do) it is something
/// else that keeps a worker busy.
const REPEATED_PER_SECOND: f64 = 20_000.0;

/// How fast the tick follows. A longer tick makes the worker less busy, which asks for a shorter one: followed at once that
/// would swing.
const SETTLING: Duration = Duration::from_secs(1);

/// Timers are no finer.
const LEAST: Duration = Duration::from_millis(1);

/// A channel that is handed something within so many milliseconds again would gain by a tick: at five times the longest one,
/// a sixth of its writes.
pub(super) fn repeats_within_ms(longest: Duration) -> u32 {
    u32::try_from(5 * longest.as_millis()).unwrap_or(u32::MAX)
}

/// What a worker has done since it was last looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    /// How long that was.
    pub(super) elapsed: Duration,
    /// For how much of it the worker did not rest.
    pub(super) busy: Duration,
    /// Writes to sockets that had been written shortly before.
    pub(super) repeated: u64,
}

/// The tick of one worker.
#[derive(Debug)]
pub(super) struct FlushTick {
    longest: Duration,
    /// Where it is between none and the longest.
    part: f64,
}

impl FlushTick {
    /// None as yet. With a `longest` of zero it stays so.
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, part: 0.0 }
    }

    /// The tick after some more work.
    pub(super) fn after(&mut self, work: Work) -> Duration {
        let elapsed = work.elapsed.as_secs_f64();
        if elapsed > 0.0 {
            let busy = work.busy.as_secs_f64() / elapsed;
            let repeated_per_second = work.repeated as f64 / elapsed;
            let wanted = if repeated_per_second < REPEATED_PER_SECOND {
                0.0
            } else {
                ((busy - BUSY_FROM) / (BUSY_FULL - BUSY_FROM)).clamp(0.0, 1.0)
            };
            let followed = 1.0 - (-elapsed / SETTLING.as_secs_f64()).exp();
            self.part += (wanted - self.part) * followed;
        }
        let tick = self.longest.mul_f64(self.part);
        if tick < LEAST { Duration::ZERO } else { tick }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_millis(10);
    const LOOK: Duration = Duration::from_millis(250);

    fn work(busy: f64, repeated_per_second: f64) -> Work {
        Work { elapsed: LOOK, busy: LOOK.mul_f64(busy), repeated: (repeated_per_second * LOOK.as_secs_f64()) as u64 }
    }

    /// The tick after so many seconds of the same work.
    fn settled(tick: &mut FlushTick, seconds: u32, work: Work) -> Duration {
        (0..seconds * 4).map(|_| tick.after(work)).last().unwrap()
    }

    #[test]
    fn nothing_waits_while_a_worker_is_less_than_half_busy_however_much_it_writes() {
        let mut tick = FlushTick::new(LONGEST);
        assert_eq!(settled(&mut tick, 60, work(0.49, 1e6)), Duration::ZERO);
    }

    #[test]
    fn nothing_waits_while_it_is_something_else_that_keeps_a_worker_busy() {
        let mut tick = FlushTick::new(LONGEST);
        assert_eq!(settled(&mut tick, 60, work(1.0, 19_000.0)), Duration::ZERO);
    }

    #[test]
    fn a_worker_without_rest_comes_to_the_longest_tick_within_seconds_and_back_to_none() {
        let mut tick = FlushTick::new(LONGEST);
        assert!(tick.after(work(1.0, 150_000.0)) < LONGEST / 2, "not at once");
        let full = settled(&mut tick, 5, work(1.0, 150_000.0));
        assert!(full > LONGEST.mul_f64(0.98) && full <= LONGEST, "{full:?}");
        let afterwards = settled(&mut tick, 3, work(0.1, 10_000.0));
        assert_eq!(afterwards, Duration::ZERO);
    }

    #[test]
    fn a_setting_of_zero_lets_nothing_wait() {
        let mut tick = FlushTick::new(Duration::ZERO);
        assert_eq!(settled(&mut tick, 60, work(1.0, 1e6)), Duration::ZERO);
    }

    #[test]
    fn a_look_after_no_time_changes_nothing() {
        let mut tick = FlushTick::new(LONGEST);
        let before = settled(&mut tick, 5, work(0.8, 1e5));
        let none = Work { elapsed: Duration::ZERO, busy: Duration::ZERO, repeated: 0 };
        assert_eq!(tick.after(none), before);
    }

    /// A channel of 1,000 with 200 messages a second: each turn writes 1,000 times, for 6 us each.
    #[test]
    fn it_settles_where_the_work_it_leaves_asks_for_just_that_tick() {
        let mut tick = FlushTick::new(LONGEST);
        let mut present = Duration::ZERO;
        let mut seen = Vec::new();
        for _ in 0..400 {
            let turns_per_second = (1.0 / present.as_secs_f64().max(1e-9)).min(200.0);
            let writes = turns_per_second * 1_000.0;
            present = tick.after(work((writes * 6e-6).min(1.0), writes));
            seen.push(present);
        }
        let (least, most) = (seen[200..].iter().min().unwrap(), seen[200..].iter().max().unwrap());
        assert!(*most - *least < Duration::from_micros(200), "{least:?} to {most:?}");
        assert!(*least > Duration::from_millis(5) && *most < LONGEST, "{least:?} to {most:?}");
    }
}
