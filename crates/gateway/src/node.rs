//! This node in the cluster: which of its workers want which channels, and what all its parts share.

mod router;

pub use router::{Joined, Router};

use crate::admission::Admission;
use crate::api::Api;
use crate::auth::Auth;
use crate::budget::Budget;
use crate::cluster_rates::ClusterRates;
use crate::config::Config;
use crate::crowd::Crowd;
use crate::descriptors;
use crate::hooks::Hooks;
use crate::inbox::{Item, Ticket};
use crate::local::unix_ms;
use crate::metrics::Metrics;
use crate::outbound;
use crate::places::{Most, Places};
use crate::requests::Requests;
use crate::shedding::{Mode, Shedding};
use crate::webhooks::Webhooks;
use broker::{Broker, Health};
use presence::Presence;
use protocol::order::Order;
use protocol::{Channel, Text};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use users::{Revocations, Sessions};

/// The most workers of a node: the interest in a channel is a set of bits.
pub const MAX_WORKERS: usize = 64;

/// The longest `<id>.<incarnation>`.
const MAX_NAME_BYTES: usize = 80;

/// What all parts of a node share.
pub struct Node {
    /// `<id>.<incarnation>`: a restarted node is another one.
    pub name: String,
    /// `<id>`, shown to clients.
    pub id: String,
    /// Its configuration.
    pub config: Config,
    /// Checks tokens.
    pub auth: Auth,
    /// Serves backends, if there is a key for it.
    pub api: Option<Api>,
    /// When it was started, in Unix milliseconds.
    pub started_at_ms: u64,
    /// Carries publications.
    pub broker: Arc<dyn Broker>,
    /// Keeps members.
    pub presence: Arc<dyn Presence>,
    /// Knows which tokens are revoked.
    pub revocations: Arc<dyn Revocations>,
    /// Counts the connections of each user, where that is asked for.
    pub sessions: Option<Arc<dyn Sessions>>,
    /// Asks the application.
    pub hooks: Hooks,
    /// Tells it; `None`: nothing is told.
    pub webhooks: Option<Arc<Webhooks>>,
    /// Places for connections.
    pub places: Places,
    /// How fast they may come.
    pub admission: Admission,
    /// Handshakes by address, where they are limited.
    pub handshakes: Option<Crowd<IpAddr>>,
    /// Commands by user, where they are limited.
    pub messages_per_user: Option<Crowd<Text>>,
    /// What clients may do who have no connection.
    pub requests: Requests,
    /// What all clients together may make this node hold.
    pub budget: Budget,
    /// What users may publish on all nodes together, where namespaces limit that.
    pub cluster_rates: Option<ClusterRates>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Where deliveries go.
    pub router: Arc<Router>,
    /// Whom it sends away at present.
    pub shedding: Shedding,
    /// The key by which all nodes sign what clients recover their state by, once it is known.
    pub recovery_key: OnceLock<String>,
    /// Held while interest in a channel changes and the broker is told, so that the broker hears it in that order.
    interest: Mutex<VecDeque<(Instant, Channel)>>,
    /// Where requests to the application run.
    _outbound: Option<outbound::Thread>,
}

/// What a node shares with the others of its cluster.
pub struct Shares {
    /// Carries publications.
    pub broker: Arc<dyn Broker>,
    /// Keeps members.
    pub presence: Arc<dyn Presence>,
    /// Knows which tokens are revoked.
    pub revocations: Arc<dyn Revocations>,
    /// Counts the connections of each user, where that is asked for.
    pub sessions: Option<Arc<dyn Sessions>>,
    /// Counts what users publish on all nodes together.
    pub cluster_rates: Option<ClusterRates>,
}

impl Node {
    /// Joins the parts.
    pub fn new(
        id: String,
        name: String,
        config: Config,
        shares: Shares,
        metrics: Arc<Metrics>,
        router: Arc<Router>,
        outbound: Option<outbound::Thread>,
    ) -> Self {
        let Shares { broker, presence, revocations, sessions, cluster_rates } = shares;
        let auth = Auth::new(&config.auth, &metrics).with_revocations(revocations.clone());
        router.hears_of(&revocations);
        let runtime = outbound.as_ref().map(outbound::Thread::handle);
        let hooks = Hooks::new(&config.hooks, &name, &metrics, runtime);
        let told = config.webhooks.as_ref().zip(runtime);
        let webhooks = told.map(|(config, runtime)| Webhooks::start(config, &name, &metrics, runtime));
        if let Some(webhooks) = &webhooks {
            presence.watch(webhooks.clone());
        }
        let api = Api::new(&config.api);
        let shedding = Shedding::new(config.drain, config.workers);
        let limits = &config.worker;
        let shares = descriptors::shares(config.workers);
        let connections_max = limits.connections_max.min(shares.connections);
        let most = Most {
            per_address: limits.connections_per_address_max,
            unfinished_per_address: limits.unfinished_per_address_max,
            per_user: limits.connections_per_user_max,
        };
        let places = Places::new(connections_max, most, shares.refusals);
        let handshakes = limits.handshakes_per_address.map(Crowd::new);
        let messages_per_user = limits.messages_per_user.map(Crowd::new);
        let requests = Requests::new(config.http.requests_max, &limits.rates, config.hooks.http_memory);
        metrics.connections_max.set(i64::try_from(places.total()).unwrap_or(i64::MAX));
        let admission = Admission::new(config.admission_rate);
        let budget = Budget::new(limits.budget_bytes, config.workers);
        metrics.budget_limit_bytes.set(i64::try_from(limits.budget_bytes).unwrap_or(i64::MAX));
        let interest = Mutex::default();
        Self {
            name,
            id,
            config,
            auth,
            api,
            started_at_ms: unix_ms(),
            broker,
            presence,
            revocations,
            sessions,
            hooks,
            webhooks,
            places,
            admission,
            handshakes,
            messages_per_user,
            requests,
            budget,
            cluster_rates,
            metrics,
            router,
            shedding,
            recovery_key: OnceLock::new(),
            interest,
            _outbound: outbound,
        }
    }

    /// Whether the node may take traffic, or why not.
    pub fn readiness(&self) -> Result<(), String> {
        if self.shedding.mode() != Mode::Serving {
            return Err(self.shedding.describe());
        }
        if !self.auth.is_ready() {
            return Err("the issuer's keys have not been fetched yet (auth.jwks_url)".to_owned());
        }
        if !self.revocations.is_read() {
            return Err("the list of revoked tokens has not been read yet".to_owned());
        }
        match self.broker.health() {
            Health::Ready => Ok(()),
            Health::Refusing(reason) | Health::NotReady(reason) => Err(reason),
        }
    }

    /// Whether new connections are of use here. A Redis that refuses what is to be kept still carries all else, and it is
    /// the same for all nodes: nobody is better off elsewhere.
    pub fn takes_connections(&self) -> bool {
        // Before it has read the list once, a node would let in those who are kept out everywhere else.
        self.shedding.mode() == Mode::Serving && self.has_broker() && self.revocations.is_read()
    }

    /// Whether the broker can be reached.
    pub fn has_broker(&self) -> bool {
        !matches!(self.broker.health(), Health::NotReady(_))
    }

    /// A worker wants a channel delivered; its inbox is told from which position on.
    pub fn join(&self, channel: &Channel, worker: usize, ticket: Ticket, positioned: bool) {
        let _order = lock(&self.interest);
        if self.router.join(channel, worker, ticket) == Joined::First {
            self.metrics.channels.inc();
            self.broker.subscribe(channel, positioned);
        }
    }

    /// A worker has no more subscribers of a channel. The node stays subscribed for a while: many come back.
    pub fn leave(&self, channel: &Channel, worker: usize) {
        let mut idle = lock(&self.interest);
        if self.router.leave(channel, worker) {
            idle.push_back((Instant::now() + self.config.subscribe_linger, channel.clone()));
        }
    }

    /// Unsubscribes from channels that nobody came back to.
    pub fn sweep(&self, now: Instant) {
        let mut idle = lock(&self.interest);
        while idle.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, channel)) = idle.pop_front() else { return };
            if self.router.forget_idle(&channel, now, self.config.subscribe_linger) {
                self.metrics.channels.dec();
                self.broker.unsubscribe(&channel);
            }
        }
    }

    /// Sweeps for ever.
    pub async fn sweep_forever(&self) {
        let mut every = tokio::time::interval(Duration::from_millis(500));
        loop {
            let now = every.tick().await;
            self.sweep(now);
        }
    }

    /// Sends an order to a node; false when there is no such node or it cannot be reached.
    pub async fn order(&self, node: &str, order: Order) -> bool {
        if node == self.name {
            return self.router.take_order(order);
        }
        self.broker.direct(node, order.encode()).await.unwrap_or(false)
    }

    /// Puts something into every worker's inbox.
    pub fn tell_workers(&self, item: impl Fn() -> Item) {
        self.router.inboxes().iter().for_each(|inbox| inbox.put(item()));
    }

    /// The connection id that clients see.
    pub fn client_id(&self, connection: u64) -> String {
        client_id(&self.name, connection)
    }
}

/// The connection id of a node's name and the connection's number.
pub fn client_id(node: &str, connection: u64) -> String {
    format!("{node}.{connection:016x}")
}

/// The node's name and the connection's number in a connection id.
pub fn parse_client_id(id: &str) -> Option<(&str, u64)> {
    let (node, number) = id.rsplit_once('.')?;
    let is_hex = number.len() == 16 && number.bytes().all(|b| b.is_ascii_hexdigit());
    // The name forms a topic: nothing that is not a node's name gets that far.
    let is_name =
        node.len() <= MAX_NAME_BYTES && node.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !is_hex || !is_name {
        return None;
    }
    Some((node, u64::from_str_radix(number, 16).ok()?))
}

/// The worker that a connection's number belongs to: its top byte.
pub const fn worker_of(connection: u64) -> usize {
    (connection >> 56) as usize
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while it was held is a fault that has been told; what it guards is whole between statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_ids_name_node_and_connection() {
        assert_eq!(parse_client_id("n1.abc.01000000000000ff"), Some(("n1.abc", 0x0100_0000_0000_00ff)));
        assert_eq!(worker_of(0x0100_0000_0000_00ff), 1);
        for wrong in
            ["", "n1", "n1.abc.12", "n1.abc.+1000000000000ff", "n1.abc.zz000000000000ff", "n 1.abc.01000000000000ff"]
        {
            assert_eq!(parse_client_id(wrong), None, "{wrong}");
        }
    }
}
