//! A coarse wheel for a worker's deadlines: one entry a connection, looked at when due, no timer each.

/// How fine time is: heartbeats and deadlines are at least seconds, but for the conformance suites' servers.
pub const TICK_MS: u32 = if cfg!(feature = "echo") { 10 } else { 250 };

/// Slots of the wheel: a deadline further away than 128 s is looked at, and set, again on the way.
const SLOTS: usize = 512;

pub use crate::session::Tick;

/// Slots of connection numbers by the tick they are due.
#[derive(Debug)]
pub struct Wheel {
    slots: Vec<Vec<u64>>,
    now: Tick,
}

impl Default for Wheel {
    fn default() -> Self {
        Self { slots: vec![Vec::new(); SLOTS], now: 0 }
    }
}

/// How many ticks a time is, rounded up.
pub fn ticks(duration: std::time::Duration) -> Tick {
    Tick::try_from(duration.as_millis().div_ceil(u128::from(TICK_MS))).unwrap_or(Tick::MAX / 2)
}

impl Wheel {
    /// Has `connection` looked at in tick `due`, or as far towards it as the wheel reaches. Returns that tick.
    pub fn set(&mut self, connection: u64, due: Tick) -> Tick {
        let furthest = self.now + (SLOTS as Tick) - 1;
        let due = due.clamp(self.now + 1, furthest);
        self.slots[due as usize % SLOTS].push(connection);
        due
    }

    /// Goes on to `now` and takes the connections due on the way.
    pub fn advance(&mut self, now: Tick) -> Vec<u64> {
        let mut due = Vec::new();
        // After a long pause of the process each slot is looked at once.
        let steps = now.saturating_sub(self.now).min(SLOTS as Tick);
        for tick in (now - steps + 1)..=now {
            // Taken with its memory: all slots together would keep what thousands of connections need in each of them.
            due.extend(std::mem::take(&mut self.slots[tick as usize % SLOTS]));
        }
        self.now = self.now.max(now);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_looked_at_when_due_and_once() {
        let mut wheel = Wheel::default();
        wheel.set(1, 4);
        wheel.set(2, 8);
        wheel.set(3, 0);
        assert_eq!(wheel.advance(3), [3], "what is overdue comes with the next tick");
        assert_eq!(wheel.advance(8), [1, 2]);
        assert_eq!(wheel.advance(2000), [0u64; 0]);
    }

    #[test]
    fn a_far_deadline_is_looked_at_on_the_way() {
        let mut wheel = Wheel::default();
        let first_look = wheel.set(1, 100_000);
        assert!(first_look < 100_000);
        assert_eq!(wheel.advance(first_look), [1]);
    }

    #[test]
    fn a_pause_of_the_process_loses_none() {
        let mut wheel = Wheel::default();
        for connection in 0..1000 {
            wheel.set(connection, 1 + connection as Tick % 500);
        }
        assert_eq!(wheel.advance(1_000_000).len(), 1000);
    }
}
