//! One link to one Redis: how to connect, what keys and topics are called, and connections that are re-made for ever.
//!
//! Nothing here knows what is stored or what a channel means. The crates above build on three things:
//! [`KeySpace`] forms every name, [`Lane`] is a supervised connection for pipelines and scripts, and [`Link::pool`]
//! serves reads that may wait.

pub mod backoff;
pub mod config;
pub mod keys;
pub mod lane;
pub mod metrics;
#[cfg(feature = "testing")]
pub mod testing;

pub use backoff::Backoff;
pub use config::LinkConfig;
pub use keys::KeySpace;
pub use lane::{Lane, LaneError, RedisClock};
pub use metrics::LinkMetrics;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};
use std::sync::Arc;
use std::time::Duration;

/// How long a connection attempt may take before the next one begins.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections kept for reads: members, counts, histories.
const POOL_SIZE: usize = 8;

/// Why a link could not be made. Nothing has been connected yet: a Redis that is down is not among these.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The address cannot be one.
    #[error("redis.url: {0}")]
    Url(#[from] redis::RedisError),
    /// The pool refused its settings.
    #[error("redis.url: {0}")]
    Pool(String),
}

/// One Redis and the names used in it. Cheap to clone.
#[derive(Clone)]
pub struct Link {
    client: redis::Client,
    pool: deadpool_redis::Pool,
    keys: KeySpace,
    metrics: Arc<LinkMetrics>,
}

impl Link {
    /// Checks the address and prepares to connect; connecting is left to those who need it.
    pub fn new(config: &LinkConfig, metrics: LinkMetrics) -> Result<Self, LinkError> {
        let info = resp3(config.url.as_str().into_connection_info()?);
        let client = redis::Client::open(info.clone())?;
        let manager = deadpool_redis::Manager::new(info).map_err(|e| LinkError::Pool(e.to_string()))?;
        let pool = deadpool_redis::Pool::builder(manager)
            .max_size(POOL_SIZE)
            .runtime(deadpool_redis::Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .build()
            .map_err(|e| LinkError::Pool(e.to_string()))?;
        Ok(Self { client, pool, keys: KeySpace::new(&config.prefix), metrics: Arc::new(metrics) })
    }

    /// The names of keys and topics.
    pub fn keys(&self) -> &KeySpace {
        &self.keys
    }

    /// Connections for reads that may wait. Each use costs a round trip more than a lane's, so publishing never uses it.
    pub fn pool(&self) -> &deadpool_redis::Pool {
        &self.pool
    }

    /// What this link counts.
    pub fn metrics(&self) -> &Arc<LinkMetrics> {
        &self.metrics
    }

    /// One dedicated RESP3 connection; `on_push` is called in the connection's own task, also when it ends.
    pub async fn connect(&self, on_push: impl AsyncPushSender) -> redis::RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            // Deadlines belong to callers: they know what an answer is worth after a while.
            .set_response_timeout(None)
            .set_push_sender(on_push);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }
}

/// RESP3, because only there a lost connection announces itself; TCP_NODELAY, because a turn's commands are one write.
fn resp3(info: ConnectionInfo) -> ConnectionInfo {
    let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let tcp = TcpSettings::default().set_nodelay(true);
    info.set_redis_settings(redis).set_tcp_settings(tcp)
}
