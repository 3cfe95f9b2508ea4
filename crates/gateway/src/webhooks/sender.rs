//! Sends what waits, a batch at a time and in order, and again until it is taken or too old.

use super::WebhooksConfig;
use super::queue::{Batch, Queue};
use crate::metrics::Metrics;
use crate::outbound::{Failure, Poster};
use bytes::Bytes;
use link::Backoff;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_CEILING: Duration = Duration::from_secs(10);

/// The labels of the batches' counter.
pub const OUTCOMES: [&str; 4] = ["ok", "late", "unreachable", "status"];

pub(super) struct Sender {
    pub(super) node: String,
    pub(super) config: WebhooksConfig,
    pub(super) poster: Poster,
    pub(super) queue: Arc<Queue>,
    /// Events of the batch that is on its way.
    pub(super) sending: Arc<AtomicUsize>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) count: u64,
    pub(super) is_failing: bool,
}

impl Sender {
    /// Sends until the queue is closed and empty.
    pub(super) async fn run(mut self, done: watch::Sender<bool>) {
        while let Some(mut batch) = self.queue.take().await {
            self.deliver(&mut batch).await;
            self.sending.store(0, Ordering::Relaxed);
            self.measure();
        }
        done.send_replace(true);
    }

    async fn deliver(&mut self, batch: &mut Batch) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING);
        let mut body = self.body(batch);
        loop {
            self.sending.store(batch.events.len(), Ordering::Relaxed);
            self.measure();
            let deadline = Instant::now() + self.config.deadline;
            let failure = match self.poster.post(body.clone(), deadline, ()).await {
                Ok(Ok(answer)) if answer.status.is_success() => return self.taken(batch),
                // Its status counts, however much it says besides.
                Ok(Ok(answer)) => ("status", format!("status {} (redirects are not followed)", answer.status)),
                Ok(Err(Failure::Late)) => ("late", Failure::Late.to_string()),
                Ok(Err(failure)) => ("unreachable", failure.to_string()),
                Err(error) => ("unreachable", error.to_string()),
            };
            self.failed(&failure);
            sleep(backoff.next_delay()).await;
            let expired = batch.expire(self.config.keep);
            if expired > 0 {
                self.metrics.webhook_events.with_label_values(&["missed"]).inc_by(expired);
                if batch.events.is_empty() {
                    // Told with the next one.
                    return self.queue.miss(batch.missed);
                }
                body = self.body(batch);
            }
        }
    }

    fn body(&mut self, batch: &Batch) -> Bytes {
        self.count += 1;
        body(&format!("{}-b{}", self.node, self.count), super::unix_ms(), &self.node, batch)
    }

    fn taken(&mut self, batch: &Batch) {
        self.metrics.webhook_batches.with_label_values(&["ok"]).inc();
        self.metrics.webhook_events.with_label_values(&["sent"]).inc_by(batch.events.len() as u64);
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("the application takes webhooks again");
        }
    }

    /// Logs the first of a row.
    fn failed(&mut self, (outcome, why): &(&str, String)) {
        self.metrics.webhook_batches.with_label_values(&[outcome]).inc();
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(outcome, why, "webhooks are not taken; trying on");
        }
    }

    fn measure(&self) {
        let waiting = self.queue.len() + self.sending.load(Ordering::Relaxed);
        self.metrics.webhook_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }
}

/// A batch as JSON; its events are that already.
pub(super) fn body(id: &str, time_ms: u64, node: &str, batch: &Batch) -> Bytes {
    let head = serde_json::json!({"id": id, "time_ms": time_ms, "node": node, "missed": batch.missed}).to_string();
    let mut body = head.into_bytes();
    body.pop();
    body.extend_from_slice(b",\"events\":[");
    for (index, event) in batch.events.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(event.json.as_bytes());
    }
    body.extend_from_slice(b"]}");
    body.into()
}
