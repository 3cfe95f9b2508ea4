//! What presence counts.

use prometheus::{Gauge, IntCounter, IntGauge, Registry};

/// Counters of one node's presence.
#[derive(Debug, Clone)]
pub struct PresenceMetrics {
    /// Entries of this node's own connections.
    pub entries: IntGauge,
    /// Entries that are still to be written or removed.
    pub dirty: IntGauge,
    /// Pipelined writes that were answered.
    pub flushes: IntCounter,
    /// Pipelined writes that were not answered, or in which Redis refused something.
    pub flush_failures: IntCounter,
    /// Seconds since the node's lease was last known to hold, when the metrics were last brought up to date.
    pub lease_age: Gauge,
    /// Times the lease was found gone while the node lived.
    pub leases_lost: IntCounter,
    /// Dead nodes that this one has reaped.
    pub reaped_nodes: IntCounter,
    /// Entries of dead nodes that this one has removed.
    pub reaped_entries: IntCounter,
}

impl PresenceMetrics {
    /// Registers the counters.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            entries: IntGauge::new("presence_entries", "Entries of this node's own connections")?,
            dirty: IntGauge::new("presence_dirty_entries", "Entries still to be written to Redis")?,
            flushes: IntCounter::new("presence_flushes_total", "Pipelined writes that Redis answered")?,
            flush_failures: IntCounter::new(
                "presence_flush_failures_total",
                "Pipelined writes that were not answered, or in which Redis refused something",
            )?,
            lease_age: Gauge::new("presence_lease_age_seconds", "Time since the node's lease was last known to hold")?,
            leases_lost: IntCounter::new("presence_leases_lost_total", "Times the node's lease was found gone")?,
            reaped_nodes: IntCounter::new("presence_reaped_nodes_total", "Dead nodes that this one has reaped")?,
            reaped_entries: IntCounter::new(
                "presence_reaped_entries_total",
                "Entries of dead nodes removed by this one",
            )?,
        };
        registry.register(Box::new(metrics.entries.clone()))?;
        registry.register(Box::new(metrics.dirty.clone()))?;
        registry.register(Box::new(metrics.flushes.clone()))?;
        registry.register(Box::new(metrics.flush_failures.clone()))?;
        registry.register(Box::new(metrics.lease_age.clone()))?;
        registry.register(Box::new(metrics.leases_lost.clone()))?;
        registry.register(Box::new(metrics.reaped_nodes.clone()))?;
        registry.register(Box::new(metrics.reaped_entries.clone()))?;
        Ok(metrics)
    }
}
