//! What a Redis broker may hold in memory.

use crate::UNUSED_TTL;
use std::time::Duration;

/// Bounds of one node's broker.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// Publications that may wait to be sent; more are refused at once.
    pub queue_publications: usize,
    /// Bytes that may wait to be sent; more are refused at once.
    pub queue_bytes: usize,
    /// Bytes, over all channels, that may be held back while missing publications are read; channels beyond it read
    /// again.
    pub held_bytes: usize,
    /// How long a channel is remembered that has been read and never published to.
    pub unused_ttl: Duration,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self { queue_publications: 16_384, queue_bytes: 64 << 20, held_bytes: 64 << 20, unused_ttl: UNUSED_TTL }
    }
}
