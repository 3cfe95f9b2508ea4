//! What arrives for this node, handed to the workers concerned: deliveries of channels, orders of other nodes.

use super::{lock, worker_of};
use crate::inbox::{Inbox, Item, Ticket};
use crate::metrics::Metrics;
use crate::whereabouts::Gatherings;
use broker::{Delivery, Sink};
use bytes::Bytes;
use protocol::order::{Order, Whom};
use protocol::whereabouts::Part;
use protocol::{Channel, CloseCode, Position};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::time::Instant;
use users::Revocations;

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
    gatherings: Gatherings,
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
        let (routes, gatherings) = (Mutex::default(), Gatherings::default());
        Self { inboxes, routes, metrics, revocations, gatherings, reviews }
    }

    /// These are to be told when another node has revoked something.
    pub(super) fn hears_of(&self, revocations: &Arc<dyn Revocations>) {
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

    /// What this node asks all others.
    pub fn gatherings(&self) -> &Gatherings {
        &self.gatherings
    }

    /// The workers' inboxes.
    pub fn inboxes(&self) -> &[Arc<Inbox>] {
        &self.inboxes
    }

    /// Whether any worker has the channel, or has had it a moment ago.
    pub fn has(&self, channel: &Channel) -> bool {
        lock(&self.routes).contains_key(channel)
    }

    pub(super) fn join(&self, channel: &Channel, worker: usize, ticket: Ticket) -> Joined {
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
    pub(super) fn leave(&self, channel: &Channel, worker: usize) -> bool {
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
    pub(super) fn forget_idle(&self, channel: &Channel, now: Instant, linger: Duration) -> bool {
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
            Order::Locate { .. } => {
                let taken = self.inboxes.iter().map(|inbox| inbox.order(order.clone()));
                // Who asks is told that not all of this node has answered.
                self.metrics.inbox_overflows.inc_by(taken.filter(|taken| !taken).count() as u64);
                return true;
            }
            Order::Located { ticket, part } => {
                match Part::decode(part.clone()) {
                    Ok(part) => self.gatherings.take(*ticket, part),
                    Err(error) => tracing::warn!(%error, "another node's answer cannot be read"),
                }
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
}
