//! The publishing task: everything that gathered while the last flight was out leaves in one write.

use super::config::BrokerConfig;
use super::flight::{Group, Landing, group};
use super::queue::{Entry, Queue, Ticket};
use super::scripts;
use super::told::Told;
use crate::metrics::BrokerMetrics;
use crate::{Outcome, Publish, PublishError};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use link::{Lane, LaneError, Link};
use redis::ServerError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Bounds of one flight. A thousand appends keep Redis busy for about 3 ms, which others wait for.
const FLIGHT_PUBLICATIONS: usize = 1024;
const FLIGHT_BYTES: usize = 1 << 20;

/// How long a refusal by Redis counts against this node's health, unless a publication succeeds before.
const REFUSAL_COUNTS: Duration = Duration::from_secs(5);

/// Redis refuses every write with these, whatever the channel.
const REFUSES_ALL: [&str; 8] =
    ["OOM", "READONLY", "MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "NOPERM", "BUSY"];

/// The publishing side of one node.
pub(super) struct Publisher {
    queue: Arc<Queue>,
    lane: Arc<Lane>,
    refusal: Arc<Refusal>,
    metrics: BrokerMetrics,
    task: AbortHandle,
}

impl Publisher {
    pub(super) fn start(link: &Link, told: &Arc<Told>, config: &BrokerConfig, metrics: &BrokerMetrics) -> Self {
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
        let task = tokio::spawn(pilot.run()).abort_handle();
        Self { queue, lane, refusal, metrics: metrics.clone(), task }
    }

    /// The connection, for orders that need no queue.
    pub(super) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// Why publications are not taken now, if so.
    pub(super) fn complaint(&self) -> Option<String> {
        if self.lane.is_up() {
            self.refusal.recent()
        } else {
            Some("Redis cannot be reached for publishing".to_owned())
        }
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
        self.task.abort();
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
    /// The last one that any channel would have met.
    of_all: Option<(Instant, String)>,
    logged: Option<Instant>,
}

impl Refusal {
    fn note(&self, channel: &str, error: &ServerError) {
        let (code, detail) = (error.code(), error.details().unwrap_or_default());
        let now = Instant::now();
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Once in a while, not once a publication.
        if noted.logged.is_none_or(|at| now - at > REFUSAL_COUNTS) {
            tracing::warn!(channel, code, detail, "Redis refuses publications");
            noted.logged = Some(now);
        }
        if REFUSES_ALL.contains(&code) {
            noted.of_all = Some((now, format!("Redis refuses publications: {code}")));
        }
    }

    fn is_over(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).of_all = None;
    }

    fn recent(&self) -> Option<String> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.of_all.as_ref().filter(|(at, _)| at.elapsed() <= REFUSAL_COUNTS).map(|(_, reason)| reason.clone())
    }
}
