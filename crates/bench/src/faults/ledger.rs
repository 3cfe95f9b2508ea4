//! What publishers said and were told, and what subscribers saw: the records that the checker compares.

use protocol::{Epoch, Position};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The data of each publication of the harness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Which publisher.
    #[serde(rename = "p")]
    pub(crate) publisher: u32,
    /// Its number with this publisher, from 1.
    #[serde(rename = "s")]
    pub(crate) sequence: u64,
}

/// One channel of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChannelId {
    /// Its number.
    pub(crate) number: u32,
    /// Whether it keeps history; without it a publication is delivered at most once, and what is lost must be told.
    pub(crate) is_kept: bool,
}

impl ChannelId {
    /// The channel's name on the wire.
    pub(crate) fn name(self) -> String {
        if self.is_kept { format!("kept:{}", self.number) } else { format!("live:{}", self.number) }
    }
}

/// What a publisher was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Published; with its position where the channel keeps history.
    Acknowledged(Option<Position>),
    /// It has not been and will not be delivered: the error code.
    Refused(String),
    /// It may have been published: `unknown_outcome`, or the connection broke.
    Unknown,
}

/// One attempt to publish.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// What was published.
    pub(crate) stamp: Stamp,
    /// Where.
    pub(crate) channel: ChannelId,
    /// The node it was sent to, from 0.
    pub(crate) node: usize,
    /// Counts the publisher's connections: within one, what was sent first is published first.
    pub(crate) connection: u32,
    /// Whether it was repeated until its fate was known.
    pub(crate) is_keyed: bool,
    /// When it was sent.
    pub(crate) sent_at: Instant,
    /// When its outcome was known.
    pub(crate) known_at: Instant,
    /// What became of it.
    pub(crate) outcome: Outcome,
}

/// What a subscriber sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The subscription stands; the position that what follows goes on from.
    Subscribed {
        /// Where the channel stands.
        position: Option<Position>,
    },
    /// A publication, and its position where the channel keeps history.
    Publication {
        /// What was published.
        stamp: Stamp,
        /// Its place.
        position: Option<Position>,
    },
    /// The gateway said that something is lost: these offsets, or an unknown number.
    Gap {
        /// The first and the last.
        range: Option<(u64, u64)>,
    },
    /// The subscription was ended by the gateway.
    Ended,
}

/// When a subscriber saw something, and by way of which node.
#[derive(Debug, Clone)]
pub(crate) struct Observation {
    /// When.
    pub(crate) at: Instant,
    /// The node's name, if there was a connection when it was written down.
    pub(crate) node: Option<Arc<str>>,
    /// What.
    pub(crate) seen: Seen,
    /// For a publication: how long it has been on its way since its publisher sent it.
    pub(crate) latency: Option<Duration>,
}

/// What a publication of the harness carries: its stamp, when it was sent, and as many bytes as it is to be large.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cargo {
    /// What is published.
    #[serde(flatten)]
    pub(crate) stamp: Stamp,
    /// When, in microseconds of the run.
    #[serde(rename = "t")]
    pub(crate) sent_us: u64,
    /// Nothing of interest.
    #[serde(rename = "x", default, skip_serializing_if = "String::is_empty")]
    pub(crate) ballast: String,
}

/// All that one subscriber saw of one channel, in order.
#[derive(Debug, Clone)]
pub(crate) struct Witness {
    /// Which subscriber.
    pub(crate) subscriber: usize,
    /// Which channel.
    pub(crate) channel: ChannelId,
    /// What it saw.
    pub(crate) observations: Vec<Observation>,
}

/// The log of a channel as a node gives it at the end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    /// The epoch it counts in.
    pub(crate) epoch: Option<Epoch>,
    /// What is there, by offset.
    pub(crate) entries: Vec<(u64, Stamp)>,
}
