//! One hook: asks its address, holds it to a deadline, and says what became of it.

use super::HooksConfig;
use super::answer::{Answer, Denial};
use super::gate::{Gate, Shut};
use crate::metrics::Metrics;
use crate::outbound::{self, Address, Poster};
use http::StatusCode;
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// At most one failure, and one recovery, is logged in this time: a hook that fails now and then fills no disk.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Where one hook is, and what holds where it gives no answer.
#[derive(Debug, Clone)]
pub struct HookConfig {
    /// Where it is.
    pub address: Address,
    /// Whether no answer is a yes.
    pub allows_on_failure: bool,
}

/// What the application has said.
#[derive(Debug)]
pub(super) enum Verdict<T> {
    /// Yes, and perhaps more.
    Allowed(T),
    /// No.
    Denied(Denial),
}

/// It has said nothing that could be understood, in time; whether that is a yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fallback {
    pub(super) allows: bool,
}

/// What becomes of questions: the labels of their counter.
pub const OUTCOMES: [&str; 8] =
    ["allowed", "denied", "late", "unreachable", "status", "invalid", "overloaded", "spared"];

pub(super) struct Hook {
    name: &'static str,
    poster: Poster,
    gate: Gate,
    deadline: Duration,
    allows_on_failure: bool,
    log: Mutex<Log>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Log {
    is_failing: bool,
    failure_told: Option<Instant>,
}

impl Hook {
    pub(super) fn new(
        name: &'static str,
        config: &HookConfig,
        all: &HooksConfig,
        metrics: &Arc<Metrics>,
        runtime: Handle,
    ) -> Self {
        let poster =
            Poster::new(config.address.clone(), all.secret.clone(), all.answer_max_bytes, all.concurrency, runtime);
        for outcome in OUTCOMES {
            metrics.hooks.with_label_values(&[name, outcome]);
        }
        Self {
            name,
            poster,
            gate: Gate::new(all.concurrency, all.queue, all.queue_bytes),
            deadline: all.deadline,
            allows_on_failure: config.allows_on_failure,
            log: Mutex::default(),
            metrics: metrics.clone(),
        }
    }

    /// Asks; `read` makes what is asked for of an answer that allows, or says what is wrong with it.
    pub(super) async fn ask<T>(
        &self,
        question: &impl Serialize,
        read: impl FnOnce(Answer) -> Result<T, &'static str>,
    ) -> Result<Verdict<T>, Fallback> {
        let began = Instant::now();
        let asked = self.answer(question, began + self.deadline).await;
        let read = |answer: Answer| match answer.denial()? {
            Some(denial) => Ok(Verdict::Denied(denial)),
            None => read(answer).map(Verdict::Allowed),
        };
        let verdict = match asked {
            Ok(Ok(answer)) => read(answer).map_err(|why| ("invalid", why.to_owned())),
            Ok(Err(denial)) => Ok(Verdict::Denied(denial)),
            Err(failure) => Err(failure),
        };
        self.metrics.hook_seconds.with_label_values(&[self.name]).observe(began.elapsed().as_secs_f64());
        let outcome = match &verdict {
            Ok(Verdict::Allowed(_)) => "allowed",
            Ok(Verdict::Denied(_)) => "denied",
            Err((outcome, _)) => outcome,
        };
        self.metrics.hooks.with_label_values(&[self.name, outcome]).inc();
        self.tell(verdict.as_ref().err());
        verdict.map_err(|_| Fallback { allows: self.allows_on_failure })
    }

    /// What came of the request: an answer, a denial by status, or the label of a failure and its cause.
    async fn answer(
        &self,
        question: &impl Serialize,
        deadline: Instant,
    ) -> Result<Result<Answer, Denial>, (&'static str, String)> {
        let body = serde_json::to_vec(question).map_err(|error| ("invalid", error.to_string()))?;
        let pass = self.gate.enter(body.len(), deadline).await.map_err(|shut| match shut {
            Shut::Full => ("overloaded", "more questions wait than may (hooks.queue)".to_owned()),
            Shut::Late => ("late", "those before it took all the time there is (hooks.concurrency)".to_owned()),
            Shut::Spared => ("spared", "it has not answered lately".to_owned()),
        })?;
        let asked = self.poster.post(body.into(), deadline, pass).await;
        let answer = match asked {
            Ok(Ok(answer)) => answer,
            Ok(Err(outbound::Failure::Body)) => {
                self.gate.answered();
                return Err(("invalid", outbound::Failure::Body.to_string()));
            }
            Ok(Err(failure)) => {
                self.gate.was_silent(Instant::now());
                let label = if matches!(failure, outbound::Failure::Late) { "late" } else { "unreachable" };
                return Err((label, failure.to_string()));
            }
            Err(error) => return Err(("unreachable", error.to_string())),
        };
        self.gate.answered();
        match answer.status {
            StatusCode::OK => Answer::read(&answer.body).map(Ok).map_err(|why| ("invalid", why.to_owned())),
            StatusCode::UNAUTHORIZED => Ok(Err(Denial::unauthenticated())),
            StatusCode::FORBIDDEN => Ok(Err(Denial::forbidden())),
            status => Err(("status", format!("status {status} (redirects are not followed)"))),
        }
    }

    /// Logs when it begins to fail and when it is well again, and not each time.
    fn tell(&self, failure: Option<&(&'static str, String)>) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let (hook, was_failing) = (self.name, log.is_failing);
        match failure {
            Some((outcome, why)) if !was_failing => {
                if log.failure_told.is_some_and(|at| at.elapsed() < LOG_EVERY) {
                    return;
                }
                log.is_failing = true;
                log.failure_told = Some(Instant::now());
                let fallback = if self.allows_on_failure { "allow" } else { "deny" };
                tracing::warn!(hook, outcome, why, fallback, "a hook gives no answer");
            }
            None if was_failing => {
                log.is_failing = false;
                tracing::info!(hook, "the hook answers again");
            }
            _ => {}
        }
    }
}
