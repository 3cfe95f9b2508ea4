//! A publication, its place in its channel's order, and who it came from.

use crate::{Payload, Text};

/// Names one life of a channel's log: it changes when the log starts anew, so that an offset of an earlier life is
/// never taken for one of the present life.
pub type Epoch = Text;

/// A place in a channel's order: everything up to and including `offset` has been seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The life of the log that `offset` counts in.
    pub epoch: Epoch,
    /// Counts publications from 1; 0 is before the first.
    pub offset: u64,
}

/// Who published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The connection's id.
    pub client: Text,
    /// The user, if not anonymous.
    pub user: Option<Text>,
    /// What the token says of the user: one JSON value as text.
    pub info: Option<Text>,
}

/// One message in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Its place in the channel's order; absent in channels without history and for volatile ones.
    pub offset: Option<u64>,
    /// What was published.
    pub data: Payload,
    /// The application's name for what happened.
    pub event: Option<Text>,
    /// The key it is retained under: the channel's state holds the newest publication of each, 1 to 255 bytes.
    pub retain: Option<Text>,
    /// Who published; absent for the server API.
    pub from: Option<Origin>,
    /// When the publisher's node took it, in Unix milliseconds.
    pub time_ms: u64,
    /// Whether the publisher's own connection gets it too.
    pub echo: bool,
    /// Random: tells two publications apart that bear the same offset after a log went back in time.
    pub stamp: u64,
}

impl Publication {
    /// Whether it takes its key out of the channel's state instead of putting itself there.
    pub fn removes_its_key(&self) -> bool {
        self.retain.is_some() && self.data.is_json_null()
    }
}

/// One user in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The user; an anonymous connection is its own user, named by its connection id.
    pub user: Text,
    /// How many of the user's connections are in the channel.
    pub clients: u64,
    /// What the token says of the user: one JSON value as text.
    pub info: Option<Text>,
}
