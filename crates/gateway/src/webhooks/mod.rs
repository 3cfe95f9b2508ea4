//! What the application is told after it has happened, in batches: who comes and goes, what clients say. The other side of
//! HOOKS.md.

mod event;
mod queue;
mod sender;

pub use event::{Kind, Kinds};
pub use sender::OUTCOMES;

use crate::metrics::Metrics;
use crate::outbound::{Address, Poster, Secret};
use event::Event;
use presence::{Change, Watch};
use protocol::{Channel, Origin, Payload, Position};
use queue::{Limits, Queue};
use sender::Sender;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

/// The largest answer; nothing of it is read but its status.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// How long a node that stops goes on telling what it has to tell.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Where webhooks go, and what may wait for them.
#[derive(Debug, Clone)]
pub struct WebhooksConfig {
    /// Where.
    pub address: Address,
    /// Signs what is sent.
    pub secret: Option<Secret>,
    /// What is told.
    pub kinds: Kinds,
    /// The most events at once.
    pub batch: usize,
    /// How long an event waits for others.
    pub delay: Duration,
    /// By when a batch is answered.
    pub deadline: Duration,
    /// How long an event is tried to be told.
    pub keep: Duration,
    /// Events that may wait.
    pub queue: usize,
    /// Bytes of those.
    pub queue_bytes: usize,
}

/// Tells the application. Nothing here waits for it.
pub struct Webhooks {
    node: String,
    kinds: Kinds,
    queue: Arc<Queue>,
    sending: Arc<AtomicUsize>,
    done: watch::Receiver<bool>,
    count: AtomicU64,
    metrics: Arc<Metrics>,
}

impl Webhooks {
    /// Begins to tell what one node has to tell, by tasks of `runtime`. `node` is `<id>.<incarnation>`: ids of events begin
    /// with it.
    pub fn start(config: &WebhooksConfig, node: &str, metrics: &Arc<Metrics>, runtime: &Handle) -> Arc<Self> {
        let WebhooksConfig { batch, delay, queue, queue_bytes, .. } = *config;
        let queue = Arc::new(Queue::new(Limits { events: queue, bytes: queue_bytes, batch, delay }));
        let sending = Arc::new(AtomicUsize::new(0));
        let (sender, done) = watch::channel(false);
        let (address, secret) = (config.address.clone(), config.secret.clone());
        let sending_task = Sender {
            node: node.to_owned(),
            config: config.clone(),
            poster: Poster::new(address, secret, ANSWER_MAX_BYTES, 1, runtime.clone()),
            queue: queue.clone(),
            sending: sending.clone(),
            metrics: metrics.clone(),
            count: 0,
            is_failing: false,
        };
        runtime.spawn(sending_task.run(sender));
        let (node, metrics) = (node.to_owned(), metrics.clone());
        Arc::new(Self { node, kinds: config.kinds, queue, sending, done, count: AtomicU64::new(0), metrics })
    }

    /// Whether such events are told.
    pub fn tells(&self, kind: Kind) -> bool {
        self.kinds.has(kind)
    }

    /// A client has published something with the name of an event, and the broker has it.
    pub fn client_event(
        &self,
        channel: &Channel,
        position: Option<&Position>,
        from: &Origin,
        event: &str,
        data: &Payload,
    ) {
        self.tell(Kind::ClientEvent, Event::of_publication(channel, position, from, event, data));
    }

    /// A connection may give commands.
    pub fn connected(&self, who: &Origin, dialect: &'static str) {
        self.tell(Kind::Connected, Event::of_connection(who, Some(dialect), None));
    }

    /// It has ended.
    pub fn disconnected(&self, who: &Origin, dialect: &'static str, cause: &'static str) {
        self.tell(Kind::Disconnected, Event::of_connection(who, Some(dialect), Some(cause)));
    }

    /// So many events are lost, or may be.
    pub fn miss(&self, count: u64) {
        self.metrics.webhook_events.with_label_values(&["missed"]).inc_by(count);
        self.queue.miss(count);
    }

    /// Tells what waits, for some seconds at the most.
    pub async fn finish(&self) {
        self.queue.close();
        let mut done = self.done.clone();
        if timeout(FLUSH_TIMEOUT, done.wait_for(|done| *done)).await.is_err() {
            let lost = self.queue.len() + self.sending.load(Ordering::Relaxed);
            self.metrics.webhook_events.with_label_values(&["missed"]).inc_by(lost as u64);
            tracing::warn!(lost, "the node ends, and nobody took these webhooks");
        }
    }

    fn tell(&self, kind: Kind, event: Event<'_>) {
        if !self.tells(kind) {
            return;
        }
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number}", self.node);
        let event = Event { r#type: kind.as_str(), id, time_ms: unix_ms(), ..event };
        let fits = serde_json::to_string(&event).is_ok_and(|json| self.queue.push(json.into()));
        if !fits {
            self.metrics.webhook_events.with_label_values(&["missed"]).inc();
        }
    }
}

impl Watch for Webhooks {
    fn changed(&self, change: Change) {
        let edge = |kind| {
            if change.is_edge {
                self.tell(kind, Event::of_channel(&change.channel));
            }
        };
        if change.left.is_none() {
            edge(Kind::Occupied);
            self.tell(Kind::Joined, Event::of_member(&change));
        } else {
            self.tell(Kind::Left, Event::of_member(&change));
            edge(Kind::Vacated);
        }
    }

    fn in_doubt(&self, writes: u64) {
        let tells = [Kind::Occupied, Kind::Vacated, Kind::Joined, Kind::Left].iter().any(|kind| self.tells(*kind));
        if tells {
            self.miss(writes);
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
