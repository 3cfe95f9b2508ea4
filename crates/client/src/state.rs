//! How a client is doing.

use std::fmt;
use tokio::time::Instant;

/// What a client is doing about its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// An attempt is being made.
    Connecting,
    /// Commands are answered.
    Connected {
        /// The id of the node at the other end.
        node: String,
        /// The id of this connection, which others may send to.
        client: String,
        /// Whether that is by long polling, since no WebSocket could be opened.
        polls: bool,
    },
    /// There is no connection until the next attempt.
    Waiting {
        /// When that is. It is put off for as long as the application has not read what came before.
        until: Instant,
        /// The close code of the last connection, if it had one.
        code: Option<u16>,
        /// Why the last connection or attempt ended, for people.
        reason: String,
    },
    /// Closed for good: by the application, or because the gateway said to stay away.
    Closed {
        /// The close code, if there was one. A handshake refused with HTTP 401 or 403 counts as 4001 or 4003.
        code: Option<u16>,
        /// Why, for people.
        reason: String,
    },
}

impl State {
    /// Whether commands are answered.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }

    /// Whether it is over.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("connecting"),
            Self::Connected { node, client, polls } => {
                write!(f, "connected to {node} as {client}{}", if *polls { ", by polling" } else { "" })
            }
            Self::Waiting { reason, .. } => write!(f, "waiting: {reason}"),
            Self::Closed { reason, .. } => write!(f, "closed: {reason}"),
        }
    }
}
