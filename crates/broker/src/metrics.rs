//! What a broker counts.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, PullingGauge, Registry};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::{Outcome, PublishError};

/// Counters of one node's broker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BrokerMetrics {
    pub(crate) published: IntCounter,
    pub(crate) unavailable: IntCounter,
    pub(crate) unknown_outcome: IntCounter,
    pub(crate) state_full: IntCounter,
    pub(crate) queue_full: IntCounter,
    pub(crate) flight_entries: Histogram,
    pub(crate) flight_seconds: Histogram,
    pub(crate) call_entries: Histogram,
    pub(crate) envelopes: IntCounter,
    pub(crate) undecodable: IntCounter,
    pub(crate) duplicates: IntCounter,
    pub(crate) gaps: IntCounter,
    pub(crate) repairs: IntCounter,
    pub(crate) held_overflows: IntCounter,
    pub(crate) subscriptions: IntGauge,
    pub(crate) reconnects: IntCounter,
    pub(crate) standstills: IntCounter,
    pub(crate) stale_messages: IntCounter,
    probe: Arc<Mutex<Instant>>,
}

impl BrokerMetrics {
    /// Registers the counters. The age of the last probe counts from now.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let outcomes = IntCounterVec::new(
            Opts::new("broker_publications_total", "Publications of this node by what became of them"),
            &["outcome"],
        )?;
        registry.register(Box::new(outcomes.clone()))?;
        let probe = Arc::new(Mutex::new(Instant::now()));
        register_probe_age(registry, &probe)?;
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help)?);
        Ok(Self {
            published: outcomes.with_label_values(&["published"]),
            unavailable: outcomes.with_label_values(&["unavailable"]),
            unknown_outcome: outcomes.with_label_values(&["unknown_outcome"]),
            state_full: outcomes.with_label_values(&["state_full"]),
            queue_full: counter("broker_queue_full_total", "Publications refused because too many were waiting")?,
            flight_entries: register(registry, flight_entries()?)?,
            flight_seconds: register(registry, flight_seconds()?)?,
            call_entries: register(registry, call_entries()?)?,
            envelopes: counter("broker_envelopes_total", "Envelopes received from the broker")?,
            undecodable: counter("broker_undecodable_total", "Received or logged bytes that no build here can read")?,
            duplicates: counter("broker_duplicates_total", "Publications dropped because they had been delivered")?,
            gaps: counter("broker_gaps_total", "Gaps told to subscribers")?,
            repairs: counter("broker_repairs_total", "Readings of the log for publications that did not arrive")?,
            held_overflows: counter("broker_held_overflows_total", "Times that too much waited for a reading")?,
            subscriptions: register(
                registry,
                IntGauge::new("broker_subscriptions", "Channels this node is delivered")?,
            )?,
            reconnects: counter("broker_subscriber_reconnects_total", "Subscriber connections lost and made anew")?,
            standstills: counter(
                "broker_standstills_total",
                "Times this node found that it had stood still for seconds",
            )?,
            stale_messages: counter("broker_stale_messages_total", "Messages dropped that came while it stood still")?,
            probe,
        })
    }

    pub(crate) fn count(&self, outcome: &Outcome) {
        match outcome {
            Ok(_) => self.published.inc(),
            Err(PublishError::Unavailable) => self.unavailable.inc(),
            Err(PublishError::UnknownOutcome) => self.unknown_outcome.inc(),
            Err(PublishError::StateFull) => self.state_full.inc(),
        }
    }

    pub(crate) fn probe_came_back(&self) {
        *self.probe.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

fn register<C: prometheus::core::Collector + Clone + 'static>(registry: &Registry, it: C) -> prometheus::Result<C> {
    registry.register(Box::new(it.clone()))?;
    Ok(it)
}

/// Read at the moment of a scrape, so that it grows while nothing happens.
fn register_probe_age(registry: &Registry, probe: &Arc<Mutex<Instant>>) -> prometheus::Result<()> {
    let probe = probe.clone();
    let age = PullingGauge::new(
        "broker_probe_age_seconds",
        "Since the last probe came back over the subscriber connection",
        Box::new(move || probe.lock().unwrap_or_else(PoisonError::into_inner).elapsed().as_secs_f64()),
    )?;
    registry.register(Box::new(age))
}

fn flight_entries() -> prometheus::Result<Histogram> {
    entries("broker_flight_publications", "Publications in one write to Redis")
}

fn call_entries() -> prometheus::Result<Histogram> {
    entries("broker_call_publications", "Publications in one call of those: of one channel and retention")
}

fn entries(name: &str, help: &str) -> prometheus::Result<Histogram> {
    let buckets = vec![1.0, 4.0, 16.0, 64.0, 256.0, 1024.0];
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))
}

fn flight_seconds() -> prometheus::Result<Histogram> {
    let buckets = vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
    Histogram::with_opts(
        HistogramOpts::new("broker_flight_seconds", "From a write to Redis to its last answer").buckets(buckets),
    )
}
