//! Token buckets by key, for more keys than can be remembered: what one address or one user may do, on the whole node.

use crate::limit::{Bucket, Rate, RuleId};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How many keys are remembered: some 6 MiB with users' names in it, 3 MiB with addresses.
const KEYS_MAX: usize = 65_536;

/// A bucket of the same rate for each key.
///
/// A key is forgotten only for lack of room, and then half of all are: those who have taken least, which for most is
/// nothing that has not been refilled. Whoever is being held back stays so, however many others come: to be forgotten he
/// would have to bring 32,768 who have taken more than he, within the time that his bucket takes to fill.
#[derive(Debug)]
pub struct Crowd<K> {
    rate: Rate,
    keys_max: usize,
    began: Instant,
    buckets: Mutex<HashMap<K, Bucket>>,
}

impl<K: Hash + Eq + Clone> Crowd<K> {
    /// Nobody has taken anything.
    pub fn new(rate: Rate) -> Self {
        Self { rate, keys_max: KEYS_MAX, began: Instant::now(), buckets: Mutex::default() }
    }

    /// Takes one of this key's bucket.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(&self, key: &K) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that it goes forward only. Wraps after 49 days, as buckets allow.
        let now_ms = self.began.elapsed().as_millis() as u32;
        if let Some(bucket) = buckets.get_mut(key) {
            return bucket.take(&self.rate, now_ms);
        }
        if buckets.len() >= self.keys_max {
            forget_half(&mut buckets, &self.rate, now_ms);
        }
        let mut bucket = Bucket::full(&self.rate, now_ms);
        let taken = bucket.take(&self.rate, now_ms);
        buckets.insert(key.clone(), bucket);
        taken
    }
}

impl<K: Hash + Eq> Crowd<K> {
    /// Gives back one that was taken and not used, unless its key was forgotten meanwhile.
    pub fn give_back(&self, key: &K) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(key) {
            bucket.give_back(&self.rate);
        }
    }
}

/// A crowd for each rule of the namespaces, from the first that publishes under it.
#[derive(Debug)]
pub struct RuleCrowds<K>(Mutex<HashMap<RuleId, Arc<Crowd<K>>>>);

impl<K> Default for RuleCrowds<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Clone> RuleCrowds<K> {
    /// Takes one of this key's bucket for a rule.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(&self, rule: RuleId, rate: &Rate, key: &K) -> Result<(), Duration> {
        let crowd = {
            let mut rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            rules.entry(rule).or_insert_with(|| Arc::new(Crowd::new(*rate))).clone()
        };
        crowd.take(key)
    }
}

fn forget_half<K: Hash + Eq>(buckets: &mut HashMap<K, Bucket>, rate: &Rate, now_ms: u32) {
    let mut left: Vec<f32> = buckets.values_mut().map(|bucket| bucket.left(rate, now_ms)).collect();
    let half = left.len() / 2;
    let (_, median, _) = left.select_nth_unstable_by(half, f32::total_cmp);
    let median = *median;
    // Of those who are as the median as many as make half, or a crowd of equals would be forgotten as a whole.
    let mut to_forget = left.len() - half;
    to_forget -= left.iter().filter(|left| **left > median).count();
    buckets.retain(|_, bucket| {
        let left = bucket.left(rate, now_ms);
        let is_forgotten = left > median || (left == median && to_forget > 0);
        if left == median && is_forgotten {
            to_forget -= 1;
        }
        !is_forgotten
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn crowd(rate: &str, keys_max: usize) -> Crowd<u32> {
        Crowd { keys_max, ..Crowd::new(rate.parse().unwrap()) }
    }

    #[tokio::test(start_paused = true)]
    async fn each_has_a_bucket_of_its_own() {
        let crowd = crowd("2/s burst 2", 100);
        assert!(crowd.take(&1).is_ok() && crowd.take(&1).is_ok());
        assert_eq!(crowd.take(&1), Err(Duration::from_millis(500)));
        assert!(crowd.take(&2).is_ok(), "another one's");
        advance(Duration::from_millis(500)).await;
        assert!(crowd.take(&1).is_ok() && crowd.take(&1).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_come_whoever_is_held_back_stays_so() {
        let crowd = crowd("1/m burst 3", 100);
        while crowd.take(&0).is_ok() {}
        for other in 1..10_000 {
            assert_eq!(crowd.take(&other), Ok(()), "newcomers are let in");
            assert!(crowd.buckets.lock().unwrap().len() <= 100);
        }
        assert!(crowd.take(&0).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_crowd_of_equals_half_is_forgotten() {
        let crowd = crowd("1/m burst 1", 100);
        (0..100).for_each(|key| assert!(crowd.take(&key).is_ok()));
        assert!(crowd.take(&100).is_ok());
        assert_eq!(crowd.buckets.lock().unwrap().len(), 51);
        advance(Duration::from_secs(60)).await;
        (0..100).for_each(|key| assert!(crowd.take(&key).is_ok(), "what was forgotten was refilled by now"));
    }
}
