//! Publications between nodes: publish, subscribe, history, and orders from node to node.
//!
//! [`Broker`] is the contract; [`memory`] and [`redis`] keep it, and the same suite of tests runs against both.
//! Nothing here knows a WebSocket, a session or who is present.

mod epoch;
pub mod memory;
pub mod metrics;
pub mod redis;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use protocol::envelope::Membership;
use protocol::{Channel, Epoch, Position, Publication};
use std::time::Duration;
use tokio::time::Instant;

/// How much of a channel's past is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// At least this many publications (a little more may be kept, never less).
    pub size: u32,
    /// The log is dropped this long after its last publication.
    pub ttl: Duration,
    /// And of its state.
    pub state: StateLimits,
}

/// How much of a channel's state is kept: the newest publication of each key that is retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateLimits {
    /// Keys at the most.
    pub keys: u32,
    /// What they and their publications may take together, in bytes.
    pub bytes: u64,
    /// How long a key is kept after it was last published.
    pub ttl: Duration,
}

/// What a key in the state takes beside its name and its record: where it was published, and until when it is kept.
const STATE_ENTRY_BYTES: usize = 16;

/// A publication on its way to a channel.
#[derive(Debug, Clone)]
pub struct Publish {
    /// Where to.
    pub channel: Channel,
    /// What; its `offset` is absent: the broker gives it one. With a key to `retain` it takes its place in the channel's
    /// state in the same moment, or takes the key out ([`Publication::removes_its_key`]).
    pub publication: Publication,
    /// What the log and the state keep; `None` publishes at most once, without an offset, and retains nothing.
    pub retention: Option<Retention>,
    /// Idempotency within [`KEY_TTL`]; needs retention.
    pub key: Option<String>,
    /// Past this it is not delivered any more, and the caller has its answer by then.
    pub deadline: Instant,
}

/// How long an idempotency key is remembered.
pub const KEY_TTL: Duration = Duration::from_secs(300);

/// How long a channel's epoch and offset outlive its last publication.
pub const META_TTL: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a channel's epoch outlives its last reading where nobody has published to it yet: names cost nothing to make
/// up, so they must not cost thirty days of memory. While a node is subscribed it is kept.
pub const UNUSED_TTL: Duration = Duration::from_secs(600);

/// Why a publication was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It has not been and will not be delivered.
    #[error("the broker cannot be reached; nothing was published")]
    Unavailable,
    /// It may or may not have been taken.
    #[error("the broker did not answer in time; repeat with the same key")]
    UnknownOutcome,
    /// It has not been and will not be delivered: the channel's state has no room for its key.
    #[error("the channel's state has no room for this key")]
    StateFull,
}

/// The broker cannot be read from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the broker cannot be reached")]
pub struct Unavailable;

/// Where a publication went, or why not. Channels without retention have no positions.
pub type Outcome = Result<Option<Position>, PublishError>;

/// What part of a channel's log to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Exclusive bound: only what came after this offset or, reversed, before it. `None` begins at the log's end in the
    /// reading direction.
    pub since: Option<u64>,
    /// How many publications at the most.
    pub limit: u32,
    /// Newest first.
    pub reverse: bool,
}

/// A reading of a channel's log, consistent in itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order asked for.
    pub publications: Vec<Publication>,
    /// The newest position at the moment of reading.
    pub top: Position,
}

impl Page {
    /// Whether what was read forwards ends at the log's newest entry. How many were read does not say that: an entry that
    /// cannot be decoded (a newer node's) is left out.
    pub fn reaches_top(&self) -> bool {
        self.publications.last().and_then(|last| last.offset).is_none_or(|offset| offset >= self.top.offset)
    }
}

/// What a broker hands to its node.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivery {
    /// The subscription stands: everything after `position` will be delivered. Absent in channels without positions.
    Opened {
        /// Which.
        channel: Channel,
        /// Where it begins.
        position: Option<Position>,
        /// Whether the channel may have had a state there; if not, it has none until a publication is retained.
        has_state: bool,
    },
    /// Publications in order. Those with offsets go on exactly where the last delivery of the channel ended.
    Publications {
        /// Which.
        channel: Channel,
        /// The epoch of the offsets.
        epoch: Option<Epoch>,
        /// At least one.
        publications: Vec<Publication>,
    },
    /// Publications that can no longer be delivered.
    Gap {
        /// Which.
        channel: Channel,
        /// The first and last lost offset, where they count in the present epoch.
        range: Option<(u64, u64)>,
        /// Where the channel goes on; absent in channels without positions.
        position: Option<Position>,
    },
    /// A user came to a channel or left it.
    Membership {
        /// Which.
        channel: Channel,
        /// Who, and which way.
        change: Membership,
    },
    /// An order to this node alone.
    Direct(Bytes),
    /// An order to all nodes.
    Control(Bytes),
}

impl Delivery {
    /// Whether a channel that had no state may have one after this.
    pub fn may_change_state(&self) -> bool {
        match self {
            Self::Publications { publications, .. } => publications.iter().any(|p| p.retain.is_some()),
            // Nobody knows what was in it.
            Self::Gap { .. } => true,
            _ => false,
        }
    }
}

/// What is done about a note: a short text under a name, for any node to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Read it.
    Read,
    /// Put this in its place.
    Write {
        /// What.
        text: String,
        /// Until when it stands.
        ttl: Duration,
    },
    /// Put this there unless something stands there; in either case it then stands for `ttl`.
    First {
        /// What.
        text: String,
        /// Until when it stands.
        ttl: Duration,
    },
}

/// Takes deliveries. Called in the broker's own tasks, so it must neither block nor call the broker.
pub trait Sink: Send + Sync + 'static {
    /// Takes one delivery; those of one channel come one at a time and in order.
    fn deliver(&self, delivery: Delivery);
}

/// Whether a broker can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It takes publications and delivers.
    Ready,
    /// It delivers, and takes what keeps no history; all else is refused. For people, why.
    Refusing(String),
    /// It does neither; for people, why.
    NotReady(String),
}

/// Carries publications between nodes.
///
/// One order a channel: all nodes are delivered a channel's publications in offset order, the publisher's own included.
/// A subscription begins with one [`Delivery::Opened`]; from there on each offset is delivered exactly once and in
/// order, or covered by exactly one [`Delivery::Gap`].
pub trait Broker: Send + Sync + 'static {
    /// Publishes, in this order; outcomes come in the same order, all of them by the latest deadline of the batch.
    ///
    /// The batch has its place in the queue when this returns, so successive calls keep their order even if their
    /// futures are awaited in another one.
    fn publish(&self, batch: Vec<Publish>) -> BoxFuture<'static, Vec<Outcome>>;

    /// Asks for a channel's deliveries. [`Delivery::Opened`] comes as soon as the broker can be reached: it keeps trying
    /// until [`Broker::unsubscribe`]. `positioned` says whether the channel has retention. Once per channel.
    fn subscribe(&self, channel: &Channel, positioned: bool);

    /// No more deliveries of this channel. A few that were under way may still come.
    fn unsubscribe(&self, channel: &Channel);

    /// Reads a channel's log.
    fn history(&self, channel: &Channel, range: Range) -> BoxFuture<'static, Result<Page, Unavailable>>;

    /// Reads a channel's state: the newest publication of each key, by offset, as of the page's `top`.
    fn state(&self, channel: &Channel) -> BoxFuture<'static, Result<Page, Unavailable>>;

    /// Sends an order to one node; false when no such node listens.
    fn direct(&self, node: &str, order: Bytes) -> BoxFuture<'static, Result<bool, Unavailable>>;

    /// Sends an order to all nodes, this one included.
    fn control(&self, order: Bytes) -> BoxFuture<'static, Result<(), Unavailable>>;

    /// Reads or writes what nodes leave for one another under a name; returns what stands there afterwards.
    fn note(&self, name: &str, note: Note) -> BoxFuture<'static, Result<Option<String>, Unavailable>>;

    /// Whether it can serve.
    fn health(&self) -> Health;
}
