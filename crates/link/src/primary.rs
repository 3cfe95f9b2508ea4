//! The Redis that is written to: always the same one, or the one that sentinels name at present.

use crate::config::{LinkTls, Place, resp3, tls_address};
use crate::sentinel::{NoPrimary, Present, Sentinels};
use crate::{LinkError, LinkMetrics};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisError, Role,
};
use std::sync::Arc;
use tokio::task::AbortHandle;

/// A connection, and which primary it leads to.
#[derive(Clone)]
pub struct Connected {
    /// The connection.
    pub connection: MultiplexedConnection,
    /// Counts the primaries that sentinels have named, from 1; 0 where there is but one Redis. Connections of different
    /// numbers may lead to different datasets.
    pub primary: u64,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It cannot be reached, or refuses.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The primary that sentinels name cannot be reached, or refuses.
    #[error("the primary {0}: {1}")]
    Primary(ConnectionAddr, RedisError),
    /// It is not known where to.
    #[error(transparent)]
    NoPrimary(#[from] NoPrimary),
    /// Sentinels do not know yet that it has been demoted.
    #[error("{0} is named as primary, and is none")]
    Demoted(ConnectionAddr),
    /// Sentinels named another one meanwhile.
    #[error("another Redis has become primary")]
    Moved,
}

/// Finds the primary. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Primaries {
    Single(Box<redis::Client>),
    Sentinel(Arc<Watched>),
}

/// Sentinels that are asked for as long as somebody is interested.
pub(crate) struct Watched {
    sentinels: Arc<Sentinels>,
    settings: RedisConnectionInfo,
    tls: Option<LinkTls>,
    watch: AbortHandle,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Primaries {
    /// Begins to ask sentinels, where there are any: then it must be called within a tokio runtime.
    pub(crate) fn new(place: Place, metrics: &Arc<LinkMetrics>) -> Result<Self, LinkError> {
        match place {
            Place::Single(info) => {
                let settings = resp3(info.redis_settings());
                Ok(Self::Single(Box::new(redis::Client::open(prepared(info, settings))?)))
            }
            Place::Sentinel { sentinels, primary, master, tls } => {
                let sentinels = Arc::new(Sentinels::new(sentinels, master, metrics.clone())?);
                let watch = tokio::spawn(sentinels.clone().watch()).abort_handle();
                Ok(Self::Sentinel(Arc::new(Watched { sentinels, settings: resp3(&primary), tls, watch })))
            }
        }
    }

    /// How to connect, if there is but one Redis.
    pub(crate) fn single(&self) -> Option<ConnectionInfo> {
        match self {
            Self::Single(client) => Some(client.get_connection_info().clone()),
            Self::Sentinel(_) => None,
        }
    }

    /// The number of the primary that was found last.
    pub(crate) fn present(&self) -> u64 {
        match self {
            Self::Single(_) => 0,
            Self::Sentinel(watched) => watched.sentinels.number(),
        }
    }

    /// Waits until the primary is another one than that with this number.
    pub(crate) async fn moves_from(&self, number: u64) {
        match self {
            Self::Single(_) => std::future::pending().await,
            Self::Sentinel(watched) => watched.sentinels.moves_from(number).await,
        }
    }

    /// Connects to the present primary; the attempt ends when it is no longer that.
    pub(crate) async fn connect(&self, config: &AsyncConnectionConfig) -> Result<Connected, ConnectError> {
        match self {
            Self::Single(client) => {
                let connection = client.get_multiplexed_async_connection_with_config(config).await?;
                Ok(Connected { connection, primary: 0 })
            }
            Self::Sentinel(watched) => {
                let present = watched.sentinels.find().await?;
                tokio::select! {
                    biased;
                    () = watched.sentinels.moves_from(present.number) => Err(ConnectError::Moved),
                    connected = watched.connect_to(present, config) => connected,
                }
            }
        }
    }
}

impl Watched {
    async fn connect_to(&self, present: Present, config: &AsyncConnectionConfig) -> Result<Connected, ConnectError> {
        let Some(named) = present.named else { return Err(ConnectError::Moved) };
        let address = match &self.tls {
            Some(_) => tls_address(named.host, named.port),
            None => ConnectionAddr::Tcp(named.host, named.port),
        };
        let at = |error| ConnectError::Primary(address.clone(), error);
        let info = address.clone().into_connection_info().map_err(at)?;
        let info = self.tls.as_ref().map_or(Ok(info.clone()), |tls| tls.on(info)).map_err(at)?;
        let info = prepared(info, self.settings.clone());
        let client = redis::Client::open(info).map_err(at)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(config).await.map_err(at)?;
        // Sentinels learn of a change a moment later than the server itself.
        match redis::cmd("ROLE").query_async(&mut connection).await.map_err(at)? {
            Role::Primary { .. } => Ok(Connected { connection, primary: present.number }),
            _ => Err(ConnectError::Demoted(address)),
        }
    }
}

/// TCP_NODELAY, because a turn's commands are one write.
fn prepared(info: ConnectionInfo, settings: RedisConnectionInfo) -> ConnectionInfo {
    info.set_redis_settings(settings).set_tcp_settings(TcpSettings::default().set_nodelay(true))
}
