//! Revocations and sessions of a single process: shared by the nodes attached, with the semantics of Redis.

use crate::list::List;
use crate::{
    Claim, Other, Revocation, Revocations, RevokeError, Revoking, Rule, Seats, Sessions, Shown, Unavailable,
    UsersMetrics, unix_ms,
};
use futures_util::future::{BoxFuture, FutureExt, ready};
use protocol::Text;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type OnNews = Arc<dyn Fn() + Send + Sync>;
type OnLost = Arc<dyn Fn(u64) + Send + Sync>;

/// Who hears of something, and what is counted of it there.
type Listener<F> = (F, UsersMetrics);

/// What the nodes of one process share. Cheap to clone.
#[derive(Clone, Default)]
pub struct MemoryUsers(Arc<Mutex<Store>>);

#[derive(Default)]
struct Store {
    revoked: List,
    last_node: u64,
    listeners: HashMap<u64, Listener<OnNews>>,
    /// Connections by user, the oldest first.
    seats: HashMap<Text, Vec<Other>>,
    losers: HashMap<Text, Listener<OnLost>>,
}

impl MemoryUsers {
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One node's revocations; dropping it ends its listening.
pub struct MemoryRevocations {
    users: MemoryUsers,
    node: u64,
    max: usize,
    metrics: UsersMetrics,
}

impl MemoryRevocations {
    /// Attaches a node.
    pub fn attach(users: &MemoryUsers, revoking: Revoking, metrics: UsersMetrics) -> Self {
        let mut store = users.lock();
        store.last_node += 1;
        let node = store.last_node;
        store.listeners.insert(node, (revoking.on_news, metrics.clone()));
        metrics.revocations.set(gauge(store.revoked.len()));
        drop(store);
        Self { users: users.clone(), node, max: revoking.max, metrics }
    }
}

impl Drop for MemoryRevocations {
    fn drop(&mut self) {
        self.users.lock().listeners.remove(&self.node);
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Revocations for MemoryRevocations {
    fn revoke(&self, revocation: Revocation) -> BoxFuture<'static, Result<(), RevokeError>> {
        let mut store = self.users.lock();
        store.revoked.drop_ended(unix_ms());
        // A wider one of a known target takes no further room.
        if store.revoked.len() >= self.max && !store.revoked.has(&revocation.target) {
            self.metrics.revocations_full.inc();
            return ready(Err(RevokeError::Full(self.max))).boxed();
        }
        let is_news = store.revoked.join(&revocation);
        let known = gauge(store.revoked.len());
        let listeners: Vec<_> = store.listeners.values().filter(|_| is_news).cloned().collect();
        drop(store);
        for (on_news, metrics) in listeners {
            metrics.revocations.set(known);
            on_news();
        }
        ready(Ok(())).boxed()
    }

    fn is_revoked(&self, shown: &Shown<'_>) -> bool {
        self.users.lock().revoked.revokes(shown, unix_ms())
    }

    fn is_empty(&self) -> bool {
        self.users.lock().revoked.is_empty()
    }

    fn list(&self, max: usize) -> (Vec<Revocation>, usize) {
        let mut store = self.users.lock();
        store.revoked.drop_ended(unix_ms());
        store.revoked.first(max)
    }

    fn is_read(&self) -> bool {
        true
    }

    fn look(&self) {}
}

/// One node's connections of users; dropping it takes all of them away.
pub struct MemorySessions {
    users: MemoryUsers,
    node: Text,
    rule: Rule,
    metrics: UsersMetrics,
}

impl MemorySessions {
    /// Attaches a node under this name.
    pub fn attach(users: &MemoryUsers, node: &str, seats: Seats, metrics: UsersMetrics) -> Self {
        users.lock().losers.insert(node.into(), (seats.on_lost, metrics.clone()));
        Self { users: users.clone(), node: node.into(), rule: seats.rule, metrics }
    }

    fn leave(&self) {
        let mut store = self.users.lock();
        store.losers.remove(&self.node);
        store.seats.retain(|_, seats| {
            seats.retain(|seat| seat.node != self.node);
            !seats.is_empty()
        });
    }

    fn claim_now(&self, user: &Text, connection: u64) -> Claim {
        let me = Other { node: self.node.clone(), connection };
        let mut store = self.users.lock();
        let seats = store.seats.entry(user.clone()).or_default();
        if seats.contains(&me) {
            return Claim::Granted { replaced: Vec::new() };
        }
        let replaced = match self.rule {
            Rule::Allow => Vec::new(),
            Rule::Limit(limit) if seats.len() >= limit as usize => return Claim::Refused { holders: seats.clone() },
            Rule::Limit(_) => Vec::new(),
            Rule::Newest => std::mem::take(seats),
        };
        seats.push(me);
        self.metrics.sessions.inc();
        let losers: Vec<_> = replaced
            .iter()
            .filter_map(|other| Some((store.losers.get(&other.node)?.clone(), other.connection)))
            .collect();
        drop(store);
        for ((on_lost, metrics), connection) in losers {
            metrics.sessions.dec();
            metrics.lost.inc();
            on_lost(connection);
        }
        Claim::Granted { replaced }
    }
}

impl Drop for MemorySessions {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Sessions for MemorySessions {
    fn claim(&self, user: &Text, connection: u64) -> BoxFuture<'static, Result<Claim, Unavailable>> {
        let claim = self.claim_now(user, connection);
        let outcome = if matches!(claim, Claim::Granted { .. }) { "granted" } else { "refused" };
        self.metrics.claims.with_label_values(&[outcome]).inc();
        ready(Ok(claim)).boxed()
    }

    fn release(&self, user: &Text, connection: u64) {
        let mut store = self.users.lock();
        let Some(seats) = store.seats.get_mut(user) else { return };
        let before = seats.len();
        seats.retain(|seat| seat.connection != connection || seat.node != self.node);
        self.metrics.sessions.sub(gauge(before - seats.len()));
        if seats.is_empty() {
            store.seats.remove(user);
        }
    }

    fn stop(&self) -> BoxFuture<'static, ()> {
        self.leave();
        ready(()).boxed()
    }
}
