//! Connections for reads that may wait, kept for the next one as long as they lead to the present primary.

use crate::LinkError;
use crate::primary::{ConnectError, Connected, Primaries};
use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// Connections kept for reads: members, counts, histories.
const POOL_SIZE: usize = 8;

/// How long a reading may wait for a connection, free or new.
const PATIENCE: Duration = Duration::from_secs(2);

/// Connections for reads that may wait.
pub type Pool = managed::Pool<Connections>;

/// Makes the pool's connections, and looks at each before it is used again.
pub struct Connections {
    primaries: Primaries,
    /// Where there is but one Redis, and nobody has to be asked for its address.
    single: Option<deadpool_redis::Manager>,
}

/// A connection of the pool.
pub struct Pooled(Connected);

impl Pooled {
    /// Which primary it leads to, as [`Connected::primary`].
    pub fn primary(&self) -> u64 {
        self.0.primary
    }
}

impl Deref for Pooled {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        &self.0.connection
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        &mut self.0.connection
    }
}

impl managed::Manager for Connections {
    type Type = Pooled;
    type Error = ConnectError;

    async fn create(&self) -> Result<Pooled, ConnectError> {
        let connected = match &self.single {
            Some(manager) => Connected { connection: manager.create().await?, primary: 0 },
            None => self.primaries.connect(&AsyncConnectionConfig::new()).await?,
        };
        Ok(Pooled(connected))
    }

    async fn recycle(&self, pooled: &mut Pooled, metrics: &Metrics) -> RecycleResult<ConnectError> {
        if pooled.primary() != self.primaries.present() {
            return Err(RecycleError::message("another Redis has become primary"));
        }
        match &self.single {
            Some(manager) => manager.recycle(pooled, metrics).await.map_err(|error| match error {
                RecycleError::Message(message) => RecycleError::Message(message),
                RecycleError::Backend(error) => RecycleError::Backend(error.into()),
            }),
            None => {
                redis::cmd("PING").exec_async(&mut **pooled).await.map_err(|error| RecycleError::Backend(error.into()))
            }
        }
    }
}

pub(crate) fn pool(primaries: Primaries) -> Result<Pool, LinkError> {
    let single = primaries.single().map(deadpool_redis::Manager::new).transpose()?;
    Pool::builder(Connections { primaries, single })
        .max_size(POOL_SIZE)
        .runtime(deadpool::Runtime::Tokio1)
        .wait_timeout(Some(PATIENCE))
        .create_timeout(Some(PATIENCE))
        .recycle_timeout(Some(PATIENCE))
        .build()
        .map_err(|e| LinkError::Pool(e.to_string()))
}
