//! This node in the cluster: which of its workers want which channels, and what arrives for whom.

use crate::admission::Admission;
use crate::api::Api;
use crate::auth::Auth;
use crate::budget::Budget;
use crate::cluster_rates::ClusterRates;
use crate::config::Config;
use crate::crowd::Crowd;
use crate::descriptors;
use crate::hooks::Hooks;
use crate::inbox::{Inbox, Item, Ticket};
use crate::local::unix_ms;
use crate::metrics::Metrics;
use crate::outbound;
use crate::places::{Most, Places};
use crate::shedding::{Mode, Shedding};
use crate::webhooks::Webhooks;
use broker::{Broker, Delivery, Health, Sink};
use bytes::Bytes;
use presence::Presence;
use protocol::order::{Order, Whom};
use protocol::{Channel, CloseCode, Position, Text};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
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
        self.router.inboxes.iter().for_each(|inbox| inbox.put(item()));
    }

    /// The connection id that clients see.
    pub fn client_id(&self, connection: u64) -> String {
        format!("{}.{connection:016x}", self.name)
    }
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

/// Whether a worker was the first to want a channel.
#[derive(Debug, PartialEq, Eq)]
pub enum Joined {
    /// It was: the broker has to be asked.
    First,
    /// The channel is already delivered here, or asked for.
    Later,
}

/// Hands deliveries to the workers concerned.
pub struct Router {
    inboxes: Vec<Arc<Inbox>>,
    routes: Mutex<HashMap<Channel, Route>>,
    metrics: Arc<Metrics>,
    revocations: OnceLock<Arc<dyn Revocations>>,
    /// Workers that have yet to look through their connections for revoked ones, as bits.
    reviews: AtomicU64,
}

#[derive(Debug, Default)]
struct Route {
    /// Workers that are delivered to, as bits.
    workers: u64,
    /// Workers that wait for the channel to open.
    waiting: Vec<(usize, Ticket)>,
    is_open: bool,
    position: Option<Position>,
    /// Whether the channel may have a state: a worker that joins later has not seen what was retained before.
    has_state: bool,
    idle_since: Option<Instant>,
}

impl Router {
    /// Routes to these workers.
    pub fn new(inboxes: Vec<Arc<Inbox>>, metrics: Arc<Metrics>) -> Self {
        let (revocations, reviews) = (OnceLock::new(), AtomicU64::new(0));
        Self { inboxes, routes: Mutex::default(), metrics, revocations, reviews }
    }

    /// These are to be told when another node has revoked something.
    fn hears_of(&self, revocations: &Arc<dyn Revocations>) {
        // Set once, by its node.
        let _ = self.revocations.set(revocations.clone());
    }

    /// Something was revoked: every worker is to look through its connections, once for all that has come by then.
    pub fn review(&self) {
        for (worker, inbox) in self.inboxes.iter().enumerate() {
            let bit = 1 << worker;
            if self.reviews.fetch_or(bit, Ordering::AcqRel) & bit == 0 {
                inbox.put(Item::Revoked);
            }
        }
    }

    /// A worker looks now: what is revoked from here on needs another look.
    pub fn begins_review(&self, worker: usize) {
        self.reviews.fetch_and(!(1 << worker), Ordering::AcqRel);
    }

    /// A connection of this node is to be closed.
    pub fn disconnect(&self, connection: u64, code: CloseCode) {
        self.take_order(Order::Disconnect { whom: Whom::Connection(connection), code });
    }

    /// The workers' inboxes.
    pub fn inboxes(&self) -> &[Arc<Inbox>] {
        &self.inboxes
    }

    /// Whether any worker has the channel, or has had it a moment ago.
    pub fn has(&self, channel: &Channel) -> bool {
        lock(&self.routes).contains_key(channel)
    }

    fn join(&self, channel: &Channel, worker: usize, ticket: Ticket) -> Joined {
        let mut routes = lock(&self.routes);
        let Some(route) = routes.get_mut(channel) else {
            let route = Route { waiting: vec![(worker, ticket)], ..Route::default() };
            routes.insert(channel.clone(), route);
            return Joined::First;
        };
        route.idle_since = None;
        if route.is_open {
            route.workers |= 1 << worker;
            self.open(worker, channel, ticket, route);
        } else {
            route.waiting.retain(|(waiting, _)| *waiting != worker);
            route.waiting.push((worker, ticket));
        }
        Joined::Later
    }

    /// True if nobody is left.
    fn leave(&self, channel: &Channel, worker: usize) -> bool {
        let mut routes = lock(&self.routes);
        let Some(route) = routes.get_mut(channel) else { return false };
        route.workers &= !(1 << worker);
        route.waiting.retain(|(waiting, _)| *waiting != worker);
        let is_idle = route.workers == 0 && route.waiting.is_empty();
        if is_idle {
            route.idle_since = Some(Instant::now());
        }
        is_idle
    }

    /// True if the channel has had nobody for that long, and is forgotten.
    fn forget_idle(&self, channel: &Channel, now: Instant, linger: Duration) -> bool {
        let mut routes = lock(&self.routes);
        let is_idle = routes.get(channel).and_then(|r| r.idle_since).is_some_and(|since| since + linger <= now);
        if is_idle {
            routes.remove(channel);
        }
        is_idle
    }

    fn open(&self, worker: usize, channel: &Channel, ticket: Ticket, route: &Route) {
        if let Some(inbox) = self.inboxes.get(worker) {
            let (position, has_state) = (route.position.clone(), route.has_state);
            inbox.put(Item::Opened { channel: channel.clone(), ticket, position, has_state });
        }
    }

    fn opened(&self, channel: &Channel, position: Option<Position>, has_state: bool) {
        let mut routes = lock(&self.routes);
        let Some(route) = routes.get_mut(channel) else { return };
        route.is_open = true;
        route.position = position;
        route.has_state = has_state;
        for (worker, ticket) in std::mem::take(&mut route.waiting) {
            route.workers |= 1 << worker;
            self.open(worker, channel, ticket, route);
        }
    }

    /// The position moves and the delivery is put under one lock, so that a worker that joins misses and repeats nothing.
    fn route(&self, channel: &Channel, position: Option<Position>, delivery: &Arc<Delivery>) {
        let may_change_state = delivery.may_change_state();
        let mut routes = lock(&self.routes);
        let Some(route) = routes.get_mut(channel).filter(|route| route.is_open) else { return };
        if position.is_some() {
            route.position = position;
        }
        route.has_state |= may_change_state;
        let mut workers = route.workers;
        while workers != 0 {
            let worker = workers.trailing_zeros() as usize;
            workers &= workers - 1;
            if self.inboxes.get(worker).is_some_and(|inbox| !inbox.deliver(channel, delivery)) {
                self.metrics.inbox_overflows.inc();
            }
        }
    }

    /// Hands an order to the worker it is for; false if there is none.
    pub fn take_order(&self, order: Order) -> bool {
        let number = match &order {
            Order::Message { connection, .. } | Order::Request { connection, .. } => *connection,
            Order::Answer { ticket, .. } | Order::Response { ticket, .. } => *ticket,
            Order::Disconnect { whom: Whom::Connection(connection), .. } | Order::Prove { connection } => *connection,
            Order::Disconnect { whom: Whom::User(_) | Whom::Channel(_), .. } => {
                self.inboxes.iter().for_each(|inbox| inbox.put(Item::Order(Box::new(order.clone()))));
                return true;
            }
            Order::Revoked => {
                self.revocations.get().inspect(|revocations| revocations.look());
                return true;
            }
        };
        let Some(inbox) = self.inboxes.get(worker_of(number)) else { return false };
        if let Order::Answer { .. } | Order::Response { .. } | Order::Disconnect { .. } = order {
            inbox.put(Item::Order(Box::new(order)));
        } else if !inbox.order(order) {
            // Not taken is not unknown: the sender waits for an answer that does not come, and says so.
            self.metrics.inbox_overflows.inc();
        }
        true
    }

    fn direct(&self, bytes: Bytes) {
        match Order::decode(bytes) {
            Ok(order) => {
                self.take_order(order);
            }
            Err(error) => tracing::warn!(%error, "another node sent an order that cannot be read"),
        }
    }
}

impl Sink for Router {
    fn deliver(&self, delivery: Delivery) {
        let (channel, position) = match &delivery {
            Delivery::Opened { channel, position, has_state } => {
                return self.opened(channel, position.clone(), *has_state);
            }
            Delivery::Direct(bytes) | Delivery::Control(bytes) => return self.direct(bytes.clone()),
            Delivery::Publications { channel, epoch, publications } => {
                let last = publications.iter().rev().find_map(|p| p.offset);
                let position = epoch.clone().zip(last).map(|(epoch, offset)| Position { epoch, offset });
                (channel.clone(), position)
            }
            Delivery::Gap { channel, position, .. } => (channel.clone(), position.clone()),
            Delivery::Membership { channel, .. } => (channel.clone(), None),
        };
        self.route(&channel, position, &Arc::new(delivery));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while it was held is a fault that has been told; what it guards is whole between statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::InboxConfig;

    fn router(workers: usize) -> Router {
        let metrics = Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap());
        let inboxes = (0..workers).map(|_| Arc::new(Inbox::new(InboxConfig::default()))).collect();
        Router::new(inboxes, metrics)
    }

    fn at(offset: u64) -> Option<Position> {
        Some(Position { epoch: "e".into(), offset })
    }

    #[tokio::test]
    async fn a_worker_that_joins_an_open_channel_begins_where_the_others_are() {
        let router = router(2);
        let channel = Channel::new("c").unwrap();
        assert_eq!(router.join(&channel, 0, 1), Joined::First);
        router.deliver(Delivery::Opened { channel: channel.clone(), position: at(5), has_state: false });
        let gap = Delivery::Gap { channel: channel.clone(), range: Some((6, 7)), position: at(7) };
        router.deliver(gap.clone());
        assert_eq!(router.join(&channel, 1, 9), Joined::Later);
        router.deliver(gap);
        let first = router.inboxes()[0].take(Instant::now()).await.items;
        let second = router.inboxes()[1].take(Instant::now()).await.items;
        assert!(matches!(&first[0], Item::Opened { ticket: 1, position, .. } if *position == at(5)));
        assert_eq!(first.len(), 3);
        assert!(matches!(&second[0], Item::Opened { ticket: 9, position, .. } if *position == at(7)));
        assert_eq!(second.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_channel_is_forgotten_only_when_nobody_came_back_for_the_linger() {
        let router = router(1);
        let channel = Channel::new("c").unwrap();
        let linger = Duration::from_secs(5);
        router.join(&channel, 0, 1);
        assert!(router.leave(&channel, 0));
        tokio::time::advance(Duration::from_secs(3)).await;
        router.join(&channel, 0, 2);
        assert!(router.leave(&channel, 0));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(!router.forget_idle(&channel, Instant::now(), linger), "it was used in between");
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(router.forget_idle(&channel, Instant::now(), linger));
        assert_eq!(router.join(&channel, 0, 3), Joined::First);
    }

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
