//! What clients ask for, whatever dialect they ask in.

use crate::{Channel, Payload, Position};

/// A command and the number its answer will bear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The client's own number; without one only a refusal is answered.
    pub id: Option<u64>,
    /// What is asked.
    pub command: Command,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Says who one is, or refreshes that.
    Auth {
        /// A signed token.
        token: String,
    },
    /// Joins a channel.
    Subscribe(Subscribe),
    /// Leaves a channel.
    Unsubscribe {
        /// Which.
        channel: Channel,
    },
    /// Sends to all subscribers of a channel.
    Publish(Publish),
    /// Sends to one connection, on whatever node it is.
    Send(Send),
    /// Asks who is in a channel.
    Presence {
        /// Which.
        channel: Channel,
        /// Only how many: O(1).
        count_only: bool,
    },
    /// Reads a channel's log.
    History(History),
    /// Asks for a `pong`.
    Ping,
}

impl Command {
    /// The command's name on the native wire: a closed set, so it also serves as a metric's label.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Auth { .. } => "auth",
            Self::Subscribe(_) => "subscribe",
            Self::Unsubscribe { .. } => "unsubscribe",
            Self::Publish(_) => "publish",
            Self::Send(_) => "send",
            Self::Presence { .. } => "presence",
            Self::History(_) => "history",
            Self::Ping => "ping",
        }
    }
}

/// Joins a channel, perhaps from where the client left off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Which.
    pub channel: Channel,
    /// The last position the client has seen: the answer brings what came after.
    pub recover: Option<Position>,
    /// Whether the answer also lists who is there.
    pub members: bool,
    /// Whether the answer also carries the channel's state, if it has any.
    pub state: bool,
    /// A signed token for this one subscription.
    pub token: Option<String>,
}

/// Sends to all subscribers of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Which.
    pub channel: Channel,
    /// What.
    pub data: Payload,
    /// The application's name for what happened.
    pub event: Option<String>,
    /// Idempotency: within five minutes a repeat with the same key is answered like the first and not delivered again.
    pub key: Option<String>,
    /// Keeps it in the channel's state, as the newest under this key; with `null` as its data the key is taken out.
    pub retain: Option<String>,
    /// At most once, outside the log.
    pub volatile: bool,
    /// Whether the publisher gets its own publication too.
    pub echo: bool,
}

/// Sends to one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// The connection's id.
    pub to: String,
    /// What.
    pub data: Payload,
    /// The application's name for what happened.
    pub event: Option<String>,
}

/// Reads a channel's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Which.
    pub channel: Channel,
    /// How many publications at the most.
    pub limit: u32,
    /// Only what came after (or, reversed, before) this.
    pub since: Option<Since>,
    /// Newest first.
    pub reverse: bool,
}

/// Where a reading of the log begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// The epoch the offset counts in; without it, the present one.
    pub epoch: Option<crate::Epoch>,
    /// Exclusive.
    pub offset: u64,
}
