//! Who may come in now: one bucket for the whole node, and when those who are turned away should try again.

use crate::limit::{Bucket, Rate};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Those turned away are spread over two seconds at least: a `Retry-After` is whole seconds, and with one second it would
/// be the same for all.
const SPREAD_MIN_S: u32 = 2;

/// And over a minute at most: by then another node has more room than this one.
const SPREAD_MAX_S: u32 = 60;

/// The node's bucket: each handshake that is answered with 101 takes one of it.
#[derive(Debug)]
pub struct Admission {
    rate: Rate,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bucket: Bucket,
    /// How many were turned away and have not been let in since, as far as the rate tells.
    turned_away: f32,
    looked_ms: u32,
}

/// One of the bucket. Dropped without having been [used](Entry::used), it goes back: a handshake that was refused for
/// another reason is no connection.
#[derive(Debug)]
#[must_use]
pub struct Entry<'a>(Option<&'a Admission>);

impl Admission {
    /// A full bucket.
    pub fn new(rate: Rate) -> Self {
        let state = State { bucket: Bucket::full(&rate, 0), turned_away: 0.0, looked_ms: 0 };
        Self { rate, began: Instant::now(), state: Mutex::new(state) }
    }

    /// Lets one in, or says in how many seconds to try again: another number for each, from 1 on, spread over twice the
    /// time that all who were turned away lately need to come in.
    ///
    /// # Errors
    /// When as many have come as may.
    pub fn enter(&self) -> Result<Entry<'_>, u32> {
        self.with(|state, rate, now_ms| {
            if state.bucket.take(rate, now_ms).is_ok() {
                return Ok(Entry(Some(self)));
            }
            let longest = rate.per_second * SPREAD_MAX_S as f32;
            state.turned_away = (state.turned_away + 1.0).min(longest);
            Err(1 + fastrand::u32(..spread_s(state.turned_away, rate)))
        })
    }

    /// How many may come in at this moment.
    pub fn free(&self) -> u32 {
        self.with(|state, rate, now_ms| state.bucket.left(rate, now_ms) as u32)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State, &Rate, u32) -> T) -> T {
        // Wraps after 49 days, as the bucket allows.
        let now_ms = self.began.elapsed().as_millis() as u32;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have read the clock before and come here after.
        let now_ms = if now_ms.wrapping_sub(state.looked_ms) > u32::MAX / 2 { state.looked_ms } else { now_ms };
        let since = Duration::from_millis(u64::from(now_ms.wrapping_sub(state.looked_ms)));
        state.turned_away = (state.turned_away - since.as_secs_f32() * self.rate.per_second).max(0.0);
        state.looked_ms = now_ms;
        act(&mut state, &self.rate, now_ms)
    }
}

/// Twice the time that so many need to come in: within it they arrive about as fast as the rate allows.
fn spread_s(turned_away: f32, rate: &Rate) -> u32 {
    ((2.0 * turned_away / rate.per_second).ceil() as u32).clamp(SPREAD_MIN_S, SPREAD_MAX_S)
}

impl Entry<'_> {
    /// The handshake is answered with 101: it counts.
    pub fn used(mut self) {
        self.0 = None;
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if let Some(admission) = self.0 {
            admission.with(|state, rate, _| state.bucket.give_back(rate));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tokio::time::advance;

    fn admission(rate: &str) -> Admission {
        Admission::new(rate.parse().unwrap())
    }

    fn enter(admission: &Admission) -> bool {
        admission.enter().map(Entry::used).is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn no_second_lets_in_more_than_the_burst_and_the_rate() {
        let admission = admission("200/s burst 50");
        let mut entered: Vec<u32> = Vec::new();
        for millisecond in 0..5000 {
            entered.extend((0..7).filter(|_| enter(&admission)).map(|_| millisecond));
            advance(Duration::from_millis(1)).await;
        }
        for (index, first) in entered.iter().enumerate() {
            let within = entered[index..].iter().take_while(|at| **at < first + 1000).count();
            assert!(within <= 250, "{within} from {first} ms on");
        }
        assert!((1045..=1050).contains(&entered.len()), "{}: it is also used to the full", entered.len());
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_is_refused_for_another_reason_gives_the_place_back() {
        let admission = admission("1/h burst 2");
        for _ in 0..100 {
            drop(admission.enter().unwrap());
        }
        assert_eq!(admission.free(), 2);
        assert!(enter(&admission) && enter(&admission));
        assert!(admission.enter().is_err());
        assert_eq!(admission.free(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_are_turned_away_come_back_spread_over_the_time_they_need() {
        let admission = admission("100/s burst 1");
        assert!(enter(&admission));
        let mut come_back: BTreeMap<u32, usize> = BTreeMap::new();
        for _ in 0..1000 {
            *come_back.entry(admission.enter().unwrap_err()).or_default() += 1;
        }
        let last = *come_back.keys().last().unwrap();
        assert!((17..=20).contains(&last), "1000 need 10 s: {come_back:?}");
        let largest = come_back.values().max().unwrap();
        assert!(*largest < 300, "they come back together: {come_back:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_that_is_over_is_forgotten() {
        let admission = admission("10/s");
        while enter(&admission) {}
        for _ in 0..10_000 {
            assert!((1..=60).contains(&admission.enter().unwrap_err()));
        }
        advance(Duration::from_secs(61)).await;
        while enter(&admission) {}
        assert!((1..=2).contains(&admission.enter().unwrap_err()));
    }
}
