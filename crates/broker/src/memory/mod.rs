//! The broker of a single process: a store shared by the nodes attached to it, with the semantics of Redis.
//!
//! Deliveries are made under the store's lock, in the thread that publishes or subscribes.

mod log;
mod state;
mod store;

use crate::{Broker, Health, Note, Outcome, Page, Publish, Range, Sink, Unavailable};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, ready};
use protocol::Channel;
use protocol::envelope::Membership;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{NodeId, Store};
use tokio::time::Instant;

/// What the nodes of one process share. Cheap to clone.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Store>>);

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells every attached node that subscribes to the channel that a user came or went.
    pub fn announce(&self, channel: &Channel, change: &Membership) {
        self.lock().announce(channel, change);
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        // A sink that panicked has missed a delivery; the store itself is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One node attached to a [`MemoryStore`]; dropping it detaches the node.
pub struct MemoryBroker {
    store: MemoryStore,
    node: NodeId,
}

impl MemoryBroker {
    /// Attaches a node under this name. `sink` is called under the store's lock, by whichever thread publishes,
    /// subscribes or announces.
    pub fn attach(store: &MemoryStore, node: &str, sink: Arc<dyn Sink>) -> Self {
        let node = store.lock().attach(node, sink);
        Self { store: store.clone(), node }
    }
}

impl Drop for MemoryBroker {
    fn drop(&mut self) {
        self.store.lock().detach(self.node);
    }
}

impl Broker for MemoryBroker {
    fn publish(&self, batch: Vec<Publish>) -> BoxFuture<'static, Vec<Outcome>> {
        let now = Instant::now();
        let mut store = self.store.lock();
        let outcomes = batch.into_iter().map(|publish| store.publish(publish, now)).collect();
        ready(outcomes).boxed()
    }

    fn subscribe(&self, channel: &Channel, positioned: bool) {
        self.store.lock().subscribe(self.node, channel, positioned, Instant::now());
    }

    fn unsubscribe(&self, channel: &Channel) {
        self.store.lock().unsubscribe(self.node, channel);
    }

    fn history(&self, channel: &Channel, range: Range) -> BoxFuture<'static, Result<Page, Unavailable>> {
        ready(Ok(self.store.lock().history(channel, range, Instant::now()))).boxed()
    }

    fn state(&self, channel: &Channel) -> BoxFuture<'static, Result<Page, Unavailable>> {
        ready(Ok(self.store.lock().state(channel, Instant::now()))).boxed()
    }

    fn direct(&self, node: &str, order: Bytes) -> BoxFuture<'static, Result<bool, Unavailable>> {
        ready(Ok(self.store.lock().direct(node, &order))).boxed()
    }

    fn control(&self, order: Bytes) -> BoxFuture<'static, Result<(), Unavailable>> {
        self.store.lock().control(&order);
        ready(Ok(())).boxed()
    }

    fn note(&self, name: &str, note: Note) -> BoxFuture<'static, Result<Option<String>, Unavailable>> {
        ready(Ok(self.store.lock().note(name, note, Instant::now()))).boxed()
    }

    fn health(&self) -> Health {
        Health::Ready
    }
}
