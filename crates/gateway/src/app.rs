//! The composition root: builds each part once, starts the workers, and stops everything in order.

use crate::about;
use crate::admin::{self, Admin};
use crate::cluster_rates::{ClusterRates, MemoryRates};
use crate::config::Config;
use crate::descriptors;
use crate::drain;
use crate::http;
use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::node::{Node, Router, Shares};
use crate::outbound;
use crate::shedding::{Occasion, Wanted};
use crate::socketio::secrets;
use crate::worker::{self, Start};
use broker::Sink;
use broker::memory::{MemoryBroker, MemoryStore};
use broker::metrics::BrokerMetrics;
use broker::redis::RedisBroker;
use futures_util::future::select_all;
use link::{Buckets, Link, LinkMetrics};
use presence::memory::{MemoryPresence, MemoryRoster};
use presence::metrics::PresenceMetrics;
use presence::redis::RedisPresence;
use prometheus::Registry;
use protocol::CloseCode;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use users::{
    MemoryRevocations, MemorySessions, MemoryUsers, RedisRevocations, RedisSessions, Revoking, Rule, Seats,
    UsersMetrics,
};

/// How long presence may take to be undone at the end: it stays up to 10 s for those who are coming back elsewhere, and has
/// 4 s for the rest.
const PRESENCE_STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// How often a node looks whether it has its broker.
const ISOLATION_CHECK: Duration = Duration::from_secs(1);

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken or may not be used.
    #[error("cannot listen on {address} ({key}): {error}")]
    Listen {
        /// The setting.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// The address of Redis cannot be one.
    #[error(transparent)]
    Link(#[from] link::LinkError),
    /// A metric was declared twice: a fault of this program.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A thread could not be started.
    #[error("cannot start a worker: {0}")]
    Worker(std::io::Error),
}

/// What nodes of one process share when there is no Redis. Usually there is one node, and this is its own.
#[derive(Clone)]
pub struct MemoryCluster {
    store: MemoryStore,
    roster: MemoryRoster,
    users: MemoryUsers,
    rates: MemoryRates,
}

impl Default for MemoryCluster {
    fn default() -> Self {
        let store = MemoryStore::default();
        let topics = store.clone();
        let roster = MemoryRoster::new(Arc::new(move |channel, change| topics.announce(channel, &change)));
        Self { store, roster, users: MemoryUsers::default(), rates: MemoryRates::default() }
    }
}

/// A node that runs.
pub struct Running {
    /// The public port.
    pub public: SocketAddr,
    /// The admin port.
    pub admin: SocketAddr,
    /// The node.
    pub node: Arc<Node>,
    workers: Vec<std::thread::JoinHandle<()>>,
    worker_ends: Vec<oneshot::Receiver<()>>,
    tasks: Vec<AbortHandle>,
}

/// Starts a node. Must be called in a tokio runtime: broker, presence and the admin port live there, sockets on threads
/// of their own.
///
/// # Errors
/// When a port is taken, or the configuration cannot be carried out.
pub async fn start(config: Config, memory: &MemoryCluster) -> Result<Running, StartError> {
    descriptors::raise_limit();
    let registry = Registry::new_custom(Some("gateway".to_owned()), None)?;
    let metrics = Arc::new(Metrics::new(&registry)?);
    let (id, name) = names(config.node_id.as_deref());
    let inboxes: Vec<_> = (0..config.workers).map(|_| Arc::new(Inbox::new(config.inbox))).collect();
    let router = Arc::new(Router::new(inboxes, metrics.clone()));
    let shares = shares(&config, memory, &name, &router, &registry)?;
    let is_outbound = config.hooks.is_used() || config.webhooks.is_some();
    let outbound = is_outbound.then(outbound::Thread::start).transpose().map_err(StartError::Worker)?;
    let node = Arc::new(Node::new(id, name, config, shares, metrics, router, outbound));

    let listen = |key, address| move |error| StartError::Listen { key, address, error };
    let admin_address = node.config.admin_listen;
    let listeners =
        worker::bind(node.config.listen, node.config.workers).map_err(listen("listen", node.config.listen))?;
    let public = listeners[0].local_addr().map_err(listen("listen", node.config.listen))?;
    let admin_listener =
        tokio::net::TcpListener::bind(admin_address).await.map_err(listen("admin.listen", admin_address))?;
    let admin = admin_listener.local_addr().map_err(listen("admin.listen", admin_address))?;

    let (mut workers, mut worker_ends) = (Vec::new(), Vec::new());
    for (index, listener) in listeners.into_iter().enumerate() {
        let node = node.clone();
        let (ended, end) = oneshot::channel();
        let start = Start { index, node, listener, front: http::front, ended };
        workers.push(worker::start(start).map_err(StartError::Worker)?);
        worker_ends.push(end);
    }
    let describing = tokio::spawn(about::describe_forever(node.clone())).abort_handle();
    let mut tasks = vec![
        serve_admin(admin_listener, &node, registry)?,
        sweep(&node),
        watch_isolation(&node),
        keep_keys(&node),
        describing,
        keep_recovery_key(&node),
    ];
    tasks.extend(keep_certificate(&node));
    Ok(Running { public, admin, node, workers, worker_ends, tasks })
}

/// `<id>` and `<id>.<incarnation>`.
fn names(id: Option<&str>) -> (String, String) {
    let chance =
        |length| std::iter::repeat_with(fastrand::alphanumeric).take(length).collect::<String>().to_lowercase();
    let id = id.map_or_else(|| format!("n-{}", chance(8)), str::to_owned);
    let name = format!("{id}.{}", chance(8));
    (id, name)
}

/// What the node shares with the others: in Redis, or in this process.
fn shares(
    config: &Config,
    memory: &MemoryCluster,
    name: &str,
    router: &Arc<Router>,
    registry: &Registry,
) -> Result<Shares, StartError> {
    let sink: Arc<dyn Sink> = router.clone();
    let (revoking, seats) = (revoking(config, router), seats(config, router));
    let metrics = UsersMetrics::new(registry)?;
    let Some(redis) = &config.redis else {
        let users = &memory.users;
        return Ok(Shares {
            broker: Arc::new(MemoryBroker::attach(&memory.store, name, sink)),
            presence: Arc::new(MemoryPresence::attach(&memory.roster, name, config.presence.clone())),
            revocations: Arc::new(MemoryRevocations::attach(users, revoking, metrics.clone())),
            sessions: seats.map(|seats| Arc::new(MemorySessions::attach(users, name, seats, metrics)) as _),
            cluster_rates: Some(ClusterRates::Memory(memory.rates.clone())),
        });
    };
    let link = Link::new(redis, LinkMetrics::new(registry)?)?;
    let broker_metrics = BrokerMetrics::new(registry)?;
    let presence_metrics = PresenceMetrics::new(registry)?;
    let has_rates = config.policy.namespaces().iter().any(|namespace| namespace.rules.needs_cluster());
    Ok(Shares {
        broker: Arc::new(RedisBroker::start(link.clone(), name, sink, &config.broker, broker_metrics)),
        presence: Arc::new(RedisPresence::start(link.clone(), name, config.presence.clone(), presence_metrics)),
        revocations: Arc::new(RedisRevocations::start(&link, revoking, metrics.clone())),
        sessions: seats.map(|seats| Arc::new(RedisSessions::start(&link, name, seats, metrics)) as _),
        cluster_rates: has_rates.then(|| ClusterRates::Redis(Buckets::start(&link))),
    })
}

fn revoking(config: &Config, router: &Arc<Router>) -> Revoking {
    // The router holds whoever calls this.
    let router = Arc::downgrade(router);
    let on_news = move || drop(router.upgrade().inspect(|router| router.review()));
    Revoking { max: config.revocations.max, on_news: Arc::new(on_news) }
}

/// `None` where nobody counts the connections of users.
fn seats(config: &Config, router: &Arc<Router>) -> Option<Seats> {
    let code = match config.sessions {
        Rule::Allow => return None,
        Rule::Limit(_) => CloseCode::TooManySessions,
        Rule::Newest => CloseCode::Replaced,
    };
    let router = Arc::downgrade(router);
    let on_lost = move |connection| drop(router.upgrade().inspect(|router| router.disconnect(connection, code)));
    Some(Seats { rule: config.sessions, lease: config.presence.lease, on_lost: Arc::new(on_lost) })
}

fn serve_admin(
    listener: tokio::net::TcpListener,
    node: &Arc<Node>,
    registry: Registry,
) -> Result<AbortHandle, StartError> {
    let process = Registry::new();
    process.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    let routes = admin::routes(Admin { node: node.clone(), registry, process });
    let serving = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, "the admin port is closed");
        }
    });
    Ok(serving.abort_handle())
}

fn sweep(node: &Arc<Node>) -> AbortHandle {
    let node = node.clone();
    tokio::spawn(async move { node.sweep_forever().await }).abort_handle()
}

fn keep_recovery_key(node: &Arc<Node>) -> AbortHandle {
    let node = node.clone();
    tokio::spawn(async move { secrets::keep_key(&node).await }).abort_handle()
}

fn keep_keys(node: &Arc<Node>) -> AbortHandle {
    let auth = node.auth.clone();
    tokio::spawn(async move { auth.maintain().await }).abort_handle()
}

fn keep_certificate(node: &Arc<Node>) -> Option<AbortHandle> {
    let tls = node.config.tls.clone()?;
    node.metrics.tls_certificate_ends.set(tls.ends_s());
    let metrics = node.metrics.clone();
    Some(tokio::spawn(async move { tls.keep_current(&metrics).await }).abort_handle())
}

/// A node cannot tell whether only it is cut off or Redis is gone. Either way its clients are served nothing, so after the
/// grace they are sent away, at the pace of a drain; if Redis is gone they find no better node, and come back.
fn watch_isolation(node: &Arc<Node>) -> AbortHandle {
    let node = node.clone();
    let watch = async move {
        let grace = node.config.isolation_grace;
        // Counted by looks, not by the clock: a node that stood still has missed nothing.
        let mut without = Duration::ZERO;
        loop {
            sleep(ISOLATION_CHECK).await;
            without = if node.has_broker() { Duration::ZERO } else { without + ISOLATION_CHECK };
            if !grace.is_zero() && without >= grace {
                tracing::warn!(?grace, "without the broker for too long: clients are sent to other nodes");
                let window = node.config.drain.window;
                // Nothing to do where they are being sent away for another reason.
                let _ = drain::begin(&node, Wanted::all(Occasion::Isolation, window));
                // Those who come in spite of that have the grace again.
                sleep(window).await;
                without = Duration::ZERO;
            }
        }
    };
    tokio::spawn(watch).abort_handle()
}

impl Running {
    /// Waits until a worker has ended without being told to: a fault after which the node cannot go on.
    pub async fn failed(&mut self) {
        let (_, _, rest) = select_all(self.worker_ends.drain(..)).await;
        self.worker_ends = rest;
    }

    /// Begins to drain: no new connections, and the clients are told and closed over the window.
    pub fn drain(&self) {
        drain::stop(&self.node);
    }

    /// Waits until the node is told to stop on its admin port.
    pub async fn stopping(&self) {
        self.node.shedding.stopping().await;
    }

    /// Drains, then ends the node: nothing of it stays in Redis.
    pub async fn stop(self) {
        self.drain();
        self.ended().await;
    }

    /// Waits until a draining node has said its goodbyes, then ends it.
    pub async fn ended(self) {
        let workers = self.workers;
        let joined = tokio::task::spawn_blocking(move || {
            workers.into_iter().map(std::thread::JoinHandle::join).filter(Result::is_err).count()
        });
        if joined.await.unwrap_or(1) > 0 {
            tracing::error!("a worker ended by a panic");
        }
        if let Some(sessions) = &self.node.sessions {
            sessions.stop().await;
        }
        // Those who were closed last are coming back elsewhere: until then they are still shown as present.
        if timeout(PRESENCE_STOP_TIMEOUT, self.node.presence.stop()).await.is_err() {
            tracing::warn!("presence could not be undone in time; the node's lease will do it");
        }
        // The last to go: it tells of those who have just left.
        if let Some(webhooks) = &self.node.webhooks {
            webhooks.finish().await;
        }
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}
