//! What a node tells the others of itself, for people who ask any of them.

use crate::node::Node;
use crate::shedding::Mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked at. It travels with the renewals of the node's lease, and only where it has changed.
const EVERY: Duration = Duration::from_secs(1);

/// A node's description of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct About {
    /// Its program's version.
    pub version: String,
    /// When it was started, in Unix milliseconds.
    pub started_at_ms: u64,
    /// Its connections.
    pub connections: u64,
    /// Their subscriptions.
    pub subscriptions: u64,
    /// The channels that it is subscribed to.
    pub channels: u64,
    /// Whether it is drained or stops.
    pub draining: bool,
}

impl About {
    /// As the node is now.
    pub fn of(node: &Node) -> Self {
        let count = |gauge: &prometheus::IntGauge| u64::try_from(gauge.get()).unwrap_or_default();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at_ms: node.started_at_ms,
            connections: node.shedding.open() as u64,
            subscriptions: count(&node.metrics.subscriptions),
            channels: count(&node.metrics.channels),
            draining: node.shedding.mode() != Mode::Serving,
        }
    }
}

/// Keeps the others informed.
pub async fn describe_forever(node: Arc<Node>) {
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        node.presence.describe(serde_json::to_string(&About::of(&node)).unwrap_or_default());
    }
}
