//! Presence in Redis: entries in one hash a channel, valid while the lease of their node lives.
//!
//! Each node states what its own connections do in a `ledger`; one task, the `keeper`, holds the lease and writes what
//! the ledger says over a connection of its own, many entries at once. Statements never wait for Redis, and what could
//! not be written is written when it can be.
//!
//! A node that dies leaves its entries behind. Lists do not show them, since its lease is gone; the `reaper` of any other
//! node removes them and tells of users whose last connection died. It needs no more than what is kept here: the hash
//! `nodes` names the nodes, `lease:<node>` says whether one lives, and the set `node:<node>:here` names every channel in
//! which it may have entries (and some in which it has none).
//!
//! A lease may end while its node lives: it stood still, or was cut off. It then goes on under another name (`tenure`), so
//! that what it writes anew cannot be taken for what is being removed. Its joins are told anew if it has been reaped.

mod changes;
mod flight;
mod keeper;
mod lease;
mod ledger;
mod read;
mod reaper;
mod scripts;
mod shared;
mod standing;
mod survey;
mod sweep;
mod tenure;
#[cfg(test)]
mod tests;
mod turns;
mod waiting;
mod walk;

use crate::{ChannelsPage, Cursor, Entry, Living, Presence, PresenceConfig, PresenceMetrics, Unavailable, Watch};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use keeper::Keeper;
use link::Link;
use protocol::{Cause, Channel, Members, Text};
use reaper::Reaper;
use shared::{Pace, Shared};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

/// How long Redis may take to answer one pipeline, and presence to answer one question.
const FLIGHT_DEADLINE: Duration = Duration::from_secs(2);

/// How long a node that stops stays for those who are parting. Whoever has more time than that is left to the others, with a
/// lease that lasts as long.
const LINGER: Duration = Duration::from_secs(10);

/// How long a node that stops tries to remove its entries, once nobody is parting; after that its lease ends them.
const STOP_DEADLINE: Duration = Duration::from_secs(4);

/// One node's presence in Redis. Dropping it ends its tasks and its connection; without [`Presence::stop`] its entries then
/// end with the lease.
pub struct RedisPresence {
    shared: Arc<Shared>,
    keeper: AbortHandle,
    reaper: AbortHandle,
    ended: watch::Receiver<bool>,
}

impl RedisPresence {
    /// Begins to connect and to hold the lease of `node`, which is `<id>.<incarnation>`: a node that starts again must be
    /// a new incarnation. Must be called within a tokio runtime.
    pub fn start(link: Link, node: &str, config: PresenceConfig, metrics: PresenceMetrics) -> Self {
        Self::start_at(link, node, config, metrics, Pace::default())
    }

    fn start_at(link: Link, node: &str, config: PresenceConfig, metrics: PresenceMetrics, pace: Pace) -> Self {
        let shared = Arc::new(Shared::new(link, node, config, metrics, pace));
        let (sender, ended) = watch::channel(false);
        let keeper = tokio::spawn(Keeper::new(shared.clone()).run(sender)).abort_handle();
        let reaper = tokio::spawn(Reaper::new(shared.clone()).run()).abort_handle();
        Self { shared, keeper, reaper, ended }
    }
}

impl Presence for RedisPresence {
    fn join(&self, channel: &Channel, entry: Entry) -> BoxFuture<'static, Result<(), Unavailable>> {
        match self.shared.join(channel, entry) {
            Ok(None) => ready(Ok(())).boxed(),
            Ok(Some(answer)) => async {
                let written = timeout(FLIGHT_DEADLINE, answer).await.or(Err(Unavailable))?;
                written.unwrap_or(Err(Unavailable))
            }
            .boxed(),
            Err(unavailable) => ready(Err(unavailable)).boxed(),
        }
    }

    fn leave(&self, channel: &Channel, client: &Text, cause: Cause) {
        self.shared.ledger().leave(channel, client, cause);
        self.shared.stated.notify_one();
    }

    fn send_away(&self, channel: &Channel, client: &Text, after: Duration) {
        self.shared.ledger().part(channel, client, after);
        self.shared.stated.notify_one();
    }

    fn members(&self, channel: &Channel, list: bool) -> BoxFuture<'static, Result<Members, Unavailable>> {
        let barrier = self.shared.barrier();
        let (shared, channel) = (self.shared.clone(), channel.clone());
        let reading = async move {
            if let Some(all_written) = barrier? {
                all_written.await.or(Err(Unavailable))??;
            }
            read::members(&shared, &channel, list).await
        };
        async { timeout(FLIGHT_DEADLINE, reading).await.unwrap_or(Err(Unavailable)) }.boxed()
    }

    fn channels(
        &self,
        prefix: &str,
        after: Option<Cursor>,
        limit: usize,
    ) -> BoxFuture<'static, Result<ChannelsPage, Unavailable>> {
        let (shared, prefix) = (self.shared.clone(), prefix.to_owned());
        let reading = async move { survey::channels(&shared, &prefix, after, limit).await };
        async { timeout(FLIGHT_DEADLINE, reading).await.unwrap_or(Err(Unavailable)) }.boxed()
    }

    fn describe(&self, about: String) {
        self.shared.describe(about);
    }

    fn nodes(&self) -> BoxFuture<'static, Result<Vec<Living>, Unavailable>> {
        let shared = self.shared.clone();
        let reading = async move { survey::nodes(&shared).await };
        async { timeout(FLIGHT_DEADLINE, reading).await.unwrap_or(Err(Unavailable)) }.boxed()
    }

    fn stop(&self) -> BoxFuture<'static, ()> {
        let all_parted = self.shared.ledger().stop();
        self.shared.stated.notify_one();
        let (mut ended, keeper) = (self.ended.clone(), self.keeper.clone());
        async move {
            let nobody_stays = all_parted.min(Instant::now() + LINGER);
            if timeout_at(nobody_stays + STOP_DEADLINE, ended.wait_for(|ended| *ended)).await.is_err() {
                tracing::warn!("Redis is away: this node's presence ends with its lease");
            }
            keeper.abort();
        }
        .boxed()
    }

    fn watch(&self, watcher: Arc<dyn Watch>) {
        // Told once.
        let _ = self.shared.watcher.set(watcher);
    }

    fn measure(&self) {
        self.shared.measure();
    }

    fn lease_age(&self) -> Option<Duration> {
        self.shared.lease_age()
    }
}

impl Drop for RedisPresence {
    fn drop(&mut self) {
        self.keeper.abort();
        self.reaper.abort();
    }
}
