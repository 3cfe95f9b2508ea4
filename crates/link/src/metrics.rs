//! What a link counts.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

/// Counters of one link's connections; `lane` is the name of a connection, from a closed set.
#[derive(Debug, Clone)]
pub struct LinkMetrics {
    /// Commands sent.
    pub commands: IntCounterVec,
    /// Flights of commands that failed or were not answered in time.
    pub errors: IntCounterVec,
    /// Connections made anew after a loss.
    pub reconnects: IntCounterVec,
    /// 1 while the connection stands.
    pub up: IntGaugeVec,
    /// Times that sentinels named another Redis as primary.
    pub failovers: IntCounter,
    /// Scripts loaded again because Redis had forgotten them.
    pub script_reloads: IntCounter,
}

impl LinkMetrics {
    /// Registers the counters.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let by_lane = |name: &str, help: &str| IntCounterVec::new(Opts::new(name, help), &["lane"]);
        let metrics = Self {
            commands: by_lane("redis_commands_total", "Commands sent to Redis")?,
            errors: by_lane("redis_errors_total", "Flights to Redis that failed or were not answered in time")?,
            reconnects: by_lane("redis_reconnects_total", "Redis connections made anew after a loss")?,
            up: IntGaugeVec::new(Opts::new("redis_up", "1 while the Redis connection stands"), &["lane"])?,
            failovers: IntCounter::new("redis_failovers_total", "Times that sentinels named another Redis as primary")?,
            script_reloads: IntCounter::new("redis_script_reloads_total", "Scripts loaded again into Redis")?,
        };
        registry.register(Box::new(metrics.commands.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.reconnects.clone()))?;
        registry.register(Box::new(metrics.up.clone()))?;
        registry.register(Box::new(metrics.failovers.clone()))?;
        registry.register(Box::new(metrics.script_reloads.clone()))?;
        Ok(metrics)
    }
}
