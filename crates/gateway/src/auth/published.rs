//! Keys that an issuer publishes (a JWK set, RFC 7517): fetched ahead of their use, kept while they cannot be fetched anew,
//! and fetched once more, but seldom, when a token names one that is not there.

use super::AuthError;
use super::fetch::{FETCH_TIMEOUT, Source};
use super::keys::{KEYS_MAX, Key};
use crate::metrics::Metrics;
use bytes::Bytes;
use link::Backoff;
use prometheus::{IntCounterVec, IntGauge};
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

/// How soon a failed fetch is tried again.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_CEILING: Duration = Duration::from_secs(30);
const RETRY_LEAST: Duration = Duration::from_millis(250);

/// Where keys are published, and how they are kept.
#[derive(Debug, Clone)]
pub struct PublishedConfig {
    /// Where.
    pub source: Source,
    /// How often they are fetched anew.
    pub refresh: Duration,
    /// How long nobody has them fetched again by a token whose key is unknown.
    pub cooldown: Duration,
}

/// An issuer's published keys.
pub(super) struct Published {
    config: PublishedConfig,
    state: Mutex<State>,
    asked: Notify,
    /// Counts the fetches that have ended.
    finished: watch::Sender<u64>,
    fetches: IntCounterVec,
    count: IntGauge,
}

#[derive(Default)]
struct State {
    keys: Arc<[Key]>,
    is_under_way: bool,
    /// When a token last had them fetched.
    asked_at: Option<Instant>,
    has_failed: bool,
}

impl State {
    fn verdict(&self) -> AuthError {
        if self.has_failed || self.is_under_way {
            AuthError::Unavailable
        } else {
            AuthError::Refused("the token's key is not among those that the issuer publishes")
        }
    }
}

impl Published {
    pub(super) fn new(config: PublishedConfig, metrics: &Metrics) -> Self {
        Self {
            config,
            // Until the first fetch has ended whoever comes waits for it.
            state: Mutex::new(State { is_under_way: true, ..State::default() }),
            asked: Notify::new(),
            finished: watch::Sender::new(0),
            fetches: metrics.key_fetches.clone(),
            count: metrics.published_keys.clone(),
        }
    }

    /// The keys that are there.
    pub(super) fn keys(&self) -> Arc<[Key]> {
        self.state().keys.clone()
    }

    /// What to say of a token whose key is not there: that it may be after a fetch, that it is not, or that nobody knows.
    pub(super) fn verdict(&self) -> AuthError {
        let state = self.state();
        if state.is_under_way || self.may_ask(&state) { AuthError::UnknownKey } else { state.verdict() }
    }

    /// The same, of a token that has been waited for.
    pub(super) fn last_verdict(&self) -> AuthError {
        self.state().verdict()
    }

    fn may_ask(&self, state: &State) -> bool {
        state.asked_at.is_none_or(|at| at.elapsed() >= self.config.cooldown)
    }

    /// Waits for the fetch that is under way, or for one that this begins. One is enough for all who come meanwhile.
    pub(super) async fn ask(&self) {
        let mut finished = self.finished.subscribe();
        {
            let mut state = self.state();
            if !state.is_under_way {
                if !self.may_ask(&state) {
                    return;
                }
                state.is_under_way = true;
                self.asked.notify_one();
            }
            state.asked_at = Some(Instant::now());
        }
        // A fetch has its deadline; a little more is for the task that does it.
        let _ = timeout(FETCH_TIMEOUT + RETRY_FIRST, finished.changed()).await;
    }

    /// Fetches now and then, for ever.
    pub(super) async fn maintain(&self) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING);
        loop {
            self.state().is_under_way = true;
            let fetched = self.config.source.fetch().await.map_err(|error| error.to_string());
            let is_good = self.finish(fetched.and_then(|body| parse(&body)));
            let wait = if is_good {
                backoff.reset();
                // Nodes that were started together do not ask together for ever.
                self.config.refresh.mul_f64(0.9 + 0.2 * fastrand::f64())
            } else {
                backoff.next_delay().max(RETRY_LEAST)
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = self.asked.notified() => {}
            }
        }
    }

    fn finish(&self, fetched: Result<Vec<Key>, String>) -> bool {
        let is_good = fetched.is_ok();
        {
            let mut state = self.state();
            state.is_under_way = false;
            let had_failed = std::mem::replace(&mut state.has_failed, !is_good);
            let kept = state.keys.len();
            match fetched {
                Ok(keys) => {
                    if had_failed || kept == 0 {
                        tracing::info!(keys = keys.len(), "the issuer's keys have been fetched (auth.jwks_url)");
                    }
                    state.keys = keys.into();
                }
                // Once, however long it lasts.
                Err(error) if !had_failed => {
                    tracing::warn!(error, kept, "the issuer's keys cannot be fetched (auth.jwks_url)");
                }
                Err(_) => {}
            }
            self.count.set(i64::try_from(state.keys.len()).unwrap_or(i64::MAX));
        }
        self.fetches.with_label_values(&[if is_good { "ok" } else { "failed" }]).inc();
        self.finished.send_modify(|count| *count += 1);
        is_good
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys of a set that check signatures. A set without any is a failure: an issuer that takes all its keys back is less
/// likely than a page that is not the set.
fn parse(body: &Bytes) -> Result<Vec<Key>, String> {
    let set: Value = serde_json::from_slice(body).map_err(|_| "the answer is not JSON".to_owned())?;
    let Some(Value::Array(keys)) = set.get("keys").cloned() else {
        return Err("the answer is no set of keys (RFC 7517 section 5)".to_owned());
    };
    let keys: Vec<Key> = keys.into_iter().filter_map(Key::from_jwk).collect();
    match keys.len() {
        0 => Err("the set holds no key that the gateway could use".to_owned()),
        n if n > KEYS_MAX => Err(format!("the set holds more than {KEYS_MAX} keys")),
        _ => Ok(keys),
    }
}

/// How many keys a published set holds, for the crate `fuzz`.
///
/// # Errors
/// Why it is no set.
#[cfg(feature = "fuzzing")]
pub fn read_set(body: &Bytes) -> Result<usize, String> {
    parse(body).map(|keys| keys.len())
}

#[cfg(test)]
mod tests;
