//! What the callers of one node's presence and its keeper share.

use super::FLIGHT_DEADLINE;
use super::ledger::Ledger;
use super::scripts::Scripts;
use super::standing::Standing;
use super::waiting::Answer;
use crate::{Entry, PresenceConfig, PresenceMetrics, Unavailable, Watch};
use futures_util::FutureExt;
use link::{Lane, LaneError, Link};
use protocol::Channel;
use redis::{Pipeline, ServerErrorKind, Value};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The long times, which tests shorten.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// How long keys outlive their last write: an abandoned deployment leaves nothing behind.
    pub(super) key_ttl: Duration,
    /// How often the keys of quiet channels are refreshed.
    pub(super) sweep_every: Duration,
    /// How long at the least, after a link has recovered, nobody is taken for dead: two nodes that lost the same Redis
    /// find it again up to an attempt to connect (4 s) and a pause (1 s) apart.
    pub(super) settle_min: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            key_ttl: Duration::from_secs(7 * 24 * 3600),
            sweep_every: Duration::from_secs(6 * 3600),
            settle_min: Duration::from_secs(5),
        }
    }
}

/// Why Redis did not do something.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Unanswered(#[from] LaneError),
    #[error("Redis had forgotten the scripts")]
    NoScript,
    #[error("Redis refused: {0}")]
    Refused(String),
}

pub(super) struct Shared {
    pub(super) link: Link,
    pub(super) lane: Lane,
    pub(super) node: String,
    pub(super) config: PresenceConfig,
    pub(super) pace: Pace,
    pub(super) scripts: Scripts,
    pub(super) metrics: PresenceMetrics,
    /// Something was stated.
    pub(super) stated: Notify,
    /// Told of every change that this node's writes made.
    pub(super) watcher: OnceLock<Arc<dyn Watch>>,
    ledger: Mutex<Ledger>,
    /// What the node says of itself.
    about: Mutex<String>,
    standing: Mutex<Standing>,
    /// The node was not found among the nodes.
    is_unlisted: AtomicBool,
}

impl Shared {
    pub(super) fn new(link: Link, node: &str, config: PresenceConfig, metrics: PresenceMetrics, pace: Pace) -> Self {
        Self {
            lane: Lane::start(&link, "presence", super::scripts::ALL),
            node: node.to_owned(),
            scripts: Scripts::new(link.keys().clone(), node, pace.key_ttl, config.members_max),
            ledger: Mutex::new(Ledger::new(config.grace)),
            about: Mutex::default(),
            standing: Mutex::new(Standing::new(config.lease, pace.settle_min)),
            is_unlisted: AtomicBool::new(false),
            stated: Notify::new(),
            watcher: OnceLock::new(),
            link,
            config,
            pace,
            metrics,
        }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node says this of itself from now on.
    pub(super) fn describe(&self, about: String) {
        *self.about.lock().unwrap_or_else(PoisonError::into_inner) = about;
    }

    pub(super) fn about(&self) -> String {
        self.about.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a pipeline; scripts that Redis has forgotten are loaded for the next attempt.
    pub(super) async fn query(&self, pipe: &Pipeline) -> Result<Vec<Value>, Failure> {
        let deadline = Instant::now() + FLIGHT_DEADLINE;
        let answers = self.lane.query(pipe, deadline).await?;
        let is_forgotten = |answer: &Value| matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript));
        if answers.iter().any(is_forgotten) {
            self.lane.reload_scripts(deadline).await?;
            return Err(Failure::NoScript);
        }
        Ok(answers)
    }

    /// Redis is known to be away, as opposed to not found yet by a node that has just started.
    pub(super) fn is_down(&self) -> bool {
        let standing = self.standing();
        !self.lane.is_up() && (standing.has_held() || standing.age() > FLIGHT_DEADLINE)
    }

    /// The lease holds; `was_lost` if it had ended.
    pub(super) fn lease_renewed(&self, sent_at: Instant, generation: u64, was_lost: bool) {
        self.standing().renewed(sent_at, generation, was_lost);
    }

    /// Whether a lease that is gone means that its node is dead. To be asked after the answer that says so.
    pub(super) fn may_judge(&self) -> bool {
        let standing = self.standing();
        let is_same = self.lane.next_connection(standing.generation()).now_or_never().is_none();
        is_same && self.lane.is_up() && standing.may_judge()
    }

    /// The node was not found among the nodes: it is to register again.
    pub(super) fn found_unlisted(&self) {
        self.is_unlisted.store(true, Ordering::Relaxed);
    }

    pub(super) fn take_unlisted(&self) -> bool {
        self.is_unlisted.swap(false, Ordering::Relaxed)
    }

    pub(super) fn lease_age(&self) -> Option<Duration> {
        if self.ledger().is_stopping() {
            return None;
        }
        Some(self.standing().age())
    }

    /// States a join; the answer to wait for, or at once whether it is written.
    pub(super) fn join(&self, channel: &Channel, entry: Entry) -> Result<Option<Answer>, Unavailable> {
        let mut ledger = self.ledger();
        if ledger.is_stopping() {
            return Err(Unavailable);
        }
        let until = ledger.join(channel, entry);
        self.stated.notify_one();
        let Some(until) = until else { return Ok(None) };
        if self.is_down() { Err(Unavailable) } else { Ok(Some(ledger.wait_until(until))) }
    }

    /// The answer to wait for until all nodes see what this one has stated.
    pub(super) fn barrier(&self) -> Result<Option<Answer>, Unavailable> {
        if self.is_down() {
            return Err(Unavailable);
        }
        let prepared = self.standing().generation();
        // A connection that the keeper has not seen yet may lead to a Redis that has lost what was written.
        let is_unprepared = prepared > 0 && self.lane.next_connection(prepared).now_or_never().is_some();
        let mut ledger = self.ledger();
        let is_unprepared = is_unprepared && !ledger.is_stopping();
        let Some(until) = ledger.all_so_far(is_unprepared) else { return Ok(None) };
        self.stated.notify_one();
        Ok(Some(ledger.wait_until(until)))
    }

    /// Brings the metrics up to date.
    pub(super) fn measure(&self) {
        let (entries, dirty) = {
            let ledger = self.ledger();
            (ledger.entries(), ledger.dirty())
        };
        self.metrics.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.metrics.dirty.set(i64::try_from(dirty).unwrap_or(i64::MAX));
        self.metrics.lease_age.set(self.lease_age().unwrap_or_default().as_secs_f64());
    }
}

impl Failure {
    /// The first thing that Redis refused among these answers.
    pub(super) fn first_refused(answers: &[Value]) -> Option<Self> {
        answers.iter().find_map(|answer| match answer {
            Value::ServerError(error) => Some(Self::Refused(error.to_string())),
            _ => None,
        })
    }
}
