//! Who is in a channel, kept by keys that expire with their node's lease.
//!
//! [`Presence`] is the contract; [`memory`] and [`redis`] keep it, and the same suite of tests runs against both.
//! Nothing here knows a WebSocket, a session or the broker.

mod census;
mod grace;
pub mod memory;
pub mod metrics;
pub mod redis;
mod survey;

pub use memory::{MemoryPresence, MemoryRoster};
pub use metrics::PresenceMetrics;
pub use redis::RedisPresence;
pub use survey::{ChannelsPage, Cursor, Living, NoCursor, Populated};

use futures_util::future::BoxFuture;
use protocol::{Cause, Channel, Members, Text};
use std::sync::Arc;
use std::time::Duration;

/// How presence is kept.
#[derive(Debug, Clone)]
pub struct PresenceConfig {
    /// How long a node's entries outlive its last sign of life. Renewed three times as often.
    pub lease: Duration,
    /// How long a connection that broke is still shown, so that a page reload makes no noise.
    pub grace: Duration,
    /// Channels with more users than this report counts only, and announce nobody. Those with more than ten times as many
    /// connections are not listed either.
    pub members_max: u64,
}

impl PresenceConfig {
    /// Whether a channel is small enough for its members to be named. Its connections count too, because each is read.
    fn can_list(&self, clients: u64, users: u64) -> bool {
        users <= self.members_max && clients <= self.members_max.saturating_mul(10)
    }
}

impl Default for PresenceConfig {
    fn default() -> Self {
        Self { lease: Duration::from_secs(6), grace: Duration::from_secs(2), members_max: 1000 }
    }
}

/// One connection's place in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The connection's id.
    pub client: Text,
    /// Its user; an anonymous connection is its own user.
    pub user: Text,
    /// What the token says of the user: one JSON value as text.
    pub info: Option<Text>,
    /// Whether subscribers are told when the user comes and goes.
    pub announce: bool,
}

/// A user that a write of this node brought into a channel or took out of it, counted over all its connections on all
/// nodes: whatever the channel's size, and whether or not its subscribers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The channel.
    pub channel: Channel,
    /// The user's first connection there, or its last one.
    pub client: Text,
    /// The user; an anonymous connection is its own.
    pub user: Text,
    /// What the token says of the user: one JSON value as text.
    pub info: Option<Text>,
    /// Why the user left; `None` for one that came.
    pub left: Option<Cause>,
    /// Whether nobody was there before, or nobody is there any more.
    pub is_edge: bool,
}

/// Hears of every change that one node's writes have made, the removal of dead nodes' entries among them. It is called
/// with locks held, so it must neither block nor call presence.
pub trait Watch: Send + Sync + 'static {
    /// Exactly one node hears of it: the one whose write it was.
    fn changed(&self, change: Change);

    /// So many writes were not answered; each may have made a change that no node hears of.
    fn in_doubt(&self, writes: u64);
}

/// Presence cannot be read or written now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("presence cannot be reached")]
pub struct Unavailable;

/// Keeps who is in which channel.
///
/// A node states what its own connections do; the rest follows: entries that could not be written are written when that
/// is possible again, and those of a node that dies are removed by the others once its lease has ended, as
/// [`Cause::NodeLost`]. Users are counted over their connections: the
/// first one joins, the last one leaves, and only then are subscribers told (by a membership envelope on the channel's
/// topic, or by the memory presence's announcer).
pub trait Presence: Send + Sync + 'static {
    /// A connection is in a channel from now on. The future tells when all nodes can see it; dropping the future takes
    /// nothing back, and neither does an error: it will be visible once it can be.
    fn join(&self, channel: &Channel, entry: Entry) -> BoxFuture<'static, Result<(), Unavailable>>;

    /// A connection is no longer in a channel: [`Cause::Left`] at once, [`Cause::Lost`] after the grace. Unknown ones are
    /// no error.
    fn leave(&self, channel: &Channel, client: &Text, cause: Cause);

    /// A connection is no longer in a channel because its node has closed it, and has told its client to come back `after`
    /// so long: as [`Cause::Lost`], but the grace begins then.
    fn send_away(&self, channel: &Channel, client: &Text, after: Duration);

    /// Who is in a channel (`list`), or only how many: O(1). Sees every join and leave this node stated before.
    fn members(&self, channel: &Channel, list: bool) -> BoxFuture<'static, Result<Members, Unavailable>>;

    /// Channels that have members on any node, and whose names begin with `prefix`: about `limit` of them, a few more or
    /// fewer. Begins where an earlier answer said that it goes on.
    fn channels(
        &self,
        prefix: &str,
        after: Option<Cursor>,
        limit: usize,
    ) -> BoxFuture<'static, Result<ChannelsPage, Unavailable>>;

    /// What other nodes are told of this one by [`Presence::nodes`], with the next renewal of its lease: text that is not
    /// read here.
    fn describe(&self, about: String);

    /// The nodes that live, this one included, by name.
    fn nodes(&self) -> BoxFuture<'static, Result<Vec<Living>, Unavailable>>;

    /// The node stops: removes its entries at once, those who are parting when their time is up, and then its lease.
    /// Nobody joins after this. The future takes as long as the longest parting; with Redis, up to some 10 s: then the
    /// others remove the rest when its time is up.
    fn stop(&self) -> BoxFuture<'static, ()>;

    /// How long ago the node's lease was last known to hold; `None` where there is no lease to lose.
    fn lease_age(&self) -> Option<Duration>;

    /// Has changes told to somebody from now on; to be called once, before anything is stated.
    fn watch(&self, watcher: Arc<dyn Watch>);

    /// Brings the gauges up to date, the age of the lease above all: to be called before they are read.
    fn measure(&self) {}
}
