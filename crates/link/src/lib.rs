//! One link to one Redis, or to whichever Redis sentinels name as primary: how to connect, what keys and topics are
//! called, and connections that are re-made for ever.
//!
//! Nothing here knows what is stored or what a channel means. The crates above build on four things:
//! [`KeySpace`] forms every name, [`Lane`] is a supervised connection for pipelines and scripts, [`Link::pool`]
//! serves reads that may wait, and [`Buckets`] count for all nodes. Every connection knows the number of the primary it leads to, and is made anew when
//! another one is named.

pub mod backoff;
pub mod buckets;
pub mod config;
pub mod keys;
pub mod lane;
pub mod metrics;
pub mod pool;
pub mod primary;
mod sentinel;
#[cfg(feature = "testing")]
pub mod testing;

pub use backoff::Backoff;
pub use buckets::{Buckets, Denied};
pub use config::{LinkConfig, LinkTls, SentinelConfig, Way};
pub use keys::KeySpace;
pub use lane::{Lane, LaneError, RedisClock};
pub use metrics::LinkMetrics;
pub use pool::Pool;
pub use primary::{ConnectError, Connected};
pub use sentinel::NoPrimary;

use primary::Primaries;
use redis::AsyncConnectionConfig;
use redis::aio::AsyncPushSender;
use std::sync::Arc;
use std::time::Duration;

/// How long a connection attempt may take before the next one begins.
///
/// An attempt that was made while the network was away hangs until its end, so this and the longest pause between attempts
/// (500 ms) bound how long after the outage a node is back: within 2 s.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a link could not be made. Nothing has been connected yet: a Redis that is down is not among these.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The address cannot be one.
    #[error("redis.url: {0}")]
    Url(#[from] redis::RedisError),
    /// The address, or one of them, cannot be one.
    #[error("redis.url: {0}")]
    Address(#[from] config::AddressError),
    /// The pool refused its settings.
    #[error("redis.url: {0}")]
    Pool(String),
}

/// One Redis, or one primary at a time, and the names used in it. Cheap to clone.
#[derive(Clone)]
pub struct Link {
    primaries: Primaries,
    pool: Pool,
    keys: KeySpace,
    metrics: Arc<LinkMetrics>,
}

impl Link {
    /// Checks the address and prepares to connect; connecting is left to those who need it. With sentinels it must be
    /// called within a tokio runtime, since they are asked from now on.
    pub fn new(config: &LinkConfig, metrics: LinkMetrics) -> Result<Self, LinkError> {
        let metrics = Arc::new(metrics);
        let primaries = Primaries::new(config.place()?, &metrics)?;
        let pool = pool::pool(primaries.clone())?;
        Ok(Self { primaries, pool, keys: KeySpace::new(&config.prefix), metrics })
    }

    /// The names of keys and topics.
    pub fn keys(&self) -> &KeySpace {
        &self.keys
    }

    /// Connections for reads that may wait. Each use costs a round trip more than a lane's, so publishing never uses it.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What this link counts.
    pub fn metrics(&self) -> &Arc<LinkMetrics> {
        &self.metrics
    }

    /// One dedicated RESP3 connection; `on_push` is called in the connection's own task, also when it ends. Whoever holds
    /// it gives it up when [`Link::moves_from`] says so.
    pub async fn connect(&self, on_push: impl AsyncPushSender) -> Result<Connected, ConnectError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            // Deadlines belong to callers: they know what an answer is worth after a while.
            .set_response_timeout(None)
            .set_push_sender(on_push);
        self.primaries.connect(&config).await
    }

    /// The number of the primary that was named last, as [`Connected::primary`].
    pub fn primary(&self) -> u64 {
        self.primaries.present()
    }

    /// Waits until another Redis is primary than the one with this number: for ever, where there is but one Redis.
    ///
    /// A connection to the former primary may go on as if nothing had happened: a replica takes subscriptions too, and
    /// one that was cut off from the sentinels takes publications that will be lost.
    pub async fn moves_from(&self, primary: u64) {
        self.primaries.moves_from(primary).await;
    }

    /// Waits before the next attempt to connect, but no longer than until another primary is known.
    pub async fn pause(&self, backoff: &mut Backoff, primary: u64) {
        tokio::select! {
            () = tokio::time::sleep(backoff.next_delay()) => {}
            () = self.moves_from(primary) => {}
        }
    }
}
