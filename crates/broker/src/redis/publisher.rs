//! The publishing task: everything that gathered while the last flight was out leaves in one write.

use super::config::BrokerConfig;
use super::flight::{Group, Landing, group};
use super::queue::{Entry, Queue, Ticket};
use super::scripts;
use super::told::Told;
use crate::metrics::BrokerMetrics;
use crate::{Health, Outcome, Publish, PublishError};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use link::{Lane, LaneError, Link};
use redis::{ServerError, Value};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Bounds of one flight. A thousand appends keep Redis busy for about 3 ms, which others wait for.
const FLIGHT_PUBLICATIONS: usize = 1024;
const FLIGHT_BYTES: usize = 1 << 20;

/// How often a node tries whether Redis takes writes: who publishes nothing learns of a full Redis too, and of its end.
const WRITE_PROBE_EVERY: Duration = Duration::from_secs(2);

/// How long the key of that write lives after the node.
const WRITE_PROBE_TTL_MS: u32 = 10_000;

/// How far log lines about refusals are apart at the least.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// Redis refuses every write with these, whatever the channel: what that means for people.
const REFUSES_ALL: [(&str, &str); 8] = [
    ("OOM", "its memory is full"),
    ("READONLY", "it is a replica"),
    ("MISCONF", "it cannot save to disk"),
    ("NOREPLICAS", "it has too few replicas"),
    ("MASTERDOWN", "it has lost its primary"),
    ("CLUSTERDOWN", "its cluster is down"),
    ("NOPERM", "its user may not write"),
    ("BUSY", "a script keeps it busy"),
];

/// The publishing side of one node.
pub(super) struct Publisher {
    queue: Arc<Queue>,
    lane: Arc<Lane>,
    refusal: Arc<Refusal>,
    metrics: BrokerMetrics,
    tasks: [AbortHandle; 2],
}

impl Publisher {
    pub(super) fn start(
        link: &Link,
        node: &str,
        told: &Arc<Told>,
        config: &BrokerConfig,
        metrics: &BrokerMetrics,
    ) -> Self {
        let lane = Arc::new(Lane::start(link, "publish", &[scripts::PUBLISH]));
        let queue = Arc::new(Queue::new(config));
        let refusal = Arc::new(Refusal::default());
        let pilot = Pilot {
            queue: queue.clone(),
            lane: lane.clone(),
            link: link.clone(),
            told: told.clone(),
            refusal: refusal.clone(),
            metrics: metrics.clone(),
        };
        let probing = probe_writes(lane.clone(), refusal.clone(), link.keys().node_probe(node));
        let tasks = [tokio::spawn(pilot.run()), tokio::spawn(probing)].map(|task| task.abort_handle());
        Self { queue, lane, refusal, metrics: metrics.clone(), tasks }
    }

    /// The connection, for orders that need no queue.
    pub(super) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// Whether publications are taken now.
    pub(super) fn health(&self) -> Health {
        if !self.lane.is_up() {
            return Health::NotReady("Redis cannot be reached for publishing".to_owned());
        }
        self.refusal.present().map_or(Health::Ready, Health::Refusing)
    }

    pub(super) fn publish(&self, batch: Vec<Publish>) -> BoxFuture<'static, Vec<Outcome>> {
        let Some(deadline) = batch.iter().map(|publish| publish.deadline).max() else {
            return ready(Vec::new()).boxed();
        };
        let metrics = self.metrics.clone();
        if !self.lane.is_up() {
            metrics.unavailable.inc_by(batch.len() as u64);
            return ready(vec![Err(PublishError::Unavailable); batch.len()]).boxed();
        }
        let tickets = self.queue.push(batch);
        let refused = tickets.iter().filter(|ticket| matches!(ticket, Ticket::Refused)).count();
        metrics.queue_full.inc_by(refused as u64);
        async move {
            let mut outcomes = Vec::with_capacity(tickets.len());
            for ticket in tickets {
                let outcome = ticket.outcome(deadline).await;
                metrics.count(&outcome);
                outcomes.push(outcome);
            }
            outcomes
        }
        .boxed()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Writes, as publications do, and notes whether Redis refuses.
async fn probe_writes(lane: Arc<Lane>, refusal: Arc<Refusal>, key: String) {
    let mut pipe = redis::pipe();
    pipe.cmd("SET").arg(&key).arg(1).arg("PX").arg(WRITE_PROBE_TTL_MS);
    let mut every = tokio::time::interval(WRITE_PROBE_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        match lane.query(&pipe, Instant::now() + WRITE_PROBE_EVERY).await.as_deref() {
            Ok([Value::ServerError(error)]) => refusal.note(&key, error),
            Ok(_) => refusal.is_over(),
            // Then the lane itself is down, and says so.
            Err(_) => {}
        }
    }
}

struct Pilot {
    queue: Arc<Queue>,
    lane: Arc<Lane>,
    link: Link,
    told: Arc<Told>,
    refusal: Arc<Refusal>,
    metrics: BrokerMetrics,
}

impl Pilot {
    async fn run(self) {
        loop {
            let entries = self.queue.take(FLIGHT_PUBLICATIONS, FLIGHT_BYTES).await;
            let groups = group(cleared_for_takeoff(entries));
            if !groups.is_empty() {
                self.fly(groups).await;
            }
        }
    }

    async fn fly(&self, groups: Vec<Group>) {
        let grounded = self.attempt(groups).await;
        if grounded.is_empty() {
            return;
        }
        // Redis has forgotten the script, so it has done nothing: the one case in which sending again repeats nothing.
        let deadline = grounded.iter().filter_map(Group::deadline).max().unwrap_or_else(Instant::now);
        if let Err(error) = self.lane.reload_scripts(deadline).await {
            tracing::warn!(%error, "the publishing script cannot be loaded again");
        }
        for group in self.attempt(grounded).await {
            group.answer(&Err(PublishError::Unavailable));
        }
    }

    /// Sends the groups in one write and answers their publishers; returns those that Redis had no script for.
    async fn attempt(&self, groups: Vec<Group>) -> Vec<Group> {
        let deadline = groups.iter().filter_map(Group::deadline).max().unwrap_or_else(Instant::now);
        let Some(clock) = self.lane.clock() else {
            groups.into_iter().for_each(|group| group.answer(&Err(PublishError::Unavailable)));
            return Vec::new();
        };
        let mut pipe = redis::Pipeline::with_capacity(groups.len());
        for group in &groups {
            pipe.add_command(group.command(self.link.keys(), clock));
            self.metrics.call_entries.observe(group.len() as f64);
        }
        self.metrics.flight_entries.observe(groups.iter().map(Group::len).sum::<usize>() as f64);
        let timer = self.metrics.flight_seconds.start_timer();
        // If it is sent over a later connection, it is looked at once more than it need be.
        let primary = self.lane.primary();
        let answers = self.lane.query(&pipe, deadline).await;
        timer.observe_duration();
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) => {
                let outcome = Err(match error {
                    LaneError::Down => PublishError::Unavailable,
                    LaneError::Unknown(_) => PublishError::UnknownOutcome,
                });
                groups.into_iter().for_each(|group| group.answer(&outcome));
                return Vec::new();
            }
        };
        let mut grounded = Vec::new();
        for (group, answer) in groups.into_iter().zip(answers) {
            match group.land(answer) {
                Landing::Published(newest) => {
                    self.refusal.is_over();
                    if let Some((channel, mark)) = newest {
                        self.told.note(&channel, mark, primary);
                    }
                }
                Landing::Done => {}
                Landing::NoScript(group) => grounded.push(group),
                Landing::Refused(channel, error) => self.refusal.note(&channel, &error),
            }
        }
        grounded
    }
}

/// Leaves out what is too late, and what its publisher has given up.
fn cleared_for_takeoff(entries: Vec<Entry>) -> Vec<Entry> {
    let now = Instant::now();
    let mut cleared = Vec::with_capacity(entries.len());
    for entry in entries {
        if entry.claim() {
            if entry.deadline > now {
                cleared.push(entry);
            } else {
                entry.answer(Err(PublishError::Unavailable));
            }
        }
    }
    cleared
}

/// What Redis itself refuses.
#[derive(Default)]
struct Refusal(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    /// One that any channel would meet, until a write succeeds.
    of_all: Option<String>,
    logged: Option<Instant>,
}

impl Refusal {
    fn note(&self, what: &str, error: &ServerError) {
        let (code, detail) = (error.code(), error.details().unwrap_or_default());
        let now = Instant::now();
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Once in a while, not once a publication.
        if noted.logged.is_none_or(|at| now - at > LOG_EVERY) {
            tracing::warn!(what, code, detail, "Redis refuses publications");
            noted.logged = Some(now);
        }
        if let Some((_, meaning)) = REFUSES_ALL.iter().find(|(known, _)| *known == code) {
            noted.of_all = Some(format!("Redis refuses publications: {meaning} ({code})"));
        }
    }

    fn is_over(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).of_all = None;
    }

    fn present(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).of_all.clone()
    }
}
