//! What is counted of revocations and of users' connections.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Counters of one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct UsersMetrics {
    /// Revocations that this node knows.
    pub revocations: IntGauge,
    /// Revocations that were not taken because there were as many as there may be.
    pub revocations_full: IntCounter,
    /// Revocations that Redis had lost and this node has written again.
    pub revocations_restored: IntCounter,
    /// Readings of the whole list.
    pub full_reads: IntCounter,
    /// Readings and writings that failed.
    pub failures: IntCounter,
    /// Connections of this node that count among their users'.
    pub sessions: IntGauge,
    /// Claims by what has come of them: `granted`, `refused`, `unavailable`.
    pub claims: IntCounterVec,
    /// Connections of this node that lost their place.
    pub lost: IntCounter,
}

impl UsersMetrics {
    /// Registers the counters.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            prometheus::Result::Ok(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            prometheus::Result::Ok(gauge)
        };
        let claims = Opts::new("session_claims_total", "Connections that were counted among their user's, by outcome");
        let claims = IntCounterVec::new(claims, &["outcome"])?;
        registry.register(Box::new(claims.clone()))?;
        for outcome in ["granted", "refused", "unavailable"] {
            claims.with_label_values(&[outcome]);
        }
        Ok(Self {
            revocations: gauge("revocations", "Revocations that this node knows")?,
            revocations_full: counter("revocations_full_total", "Revocations refused: as many as there may be")?,
            revocations_restored: counter("revocations_restored_total", "Revocations that Redis had lost")?,
            full_reads: counter("revocation_full_reads_total", "Readings of the whole list of revocations")?,
            failures: counter("users_failures_total", "Failures to read or write revocations and sessions")?,
            sessions: gauge("sessions", "Connections of this node that count among their users'")?,
            claims,
            lost: counter("sessions_lost_total", "Connections of this node that lost their place to others")?,
        })
    }
}
