//! What an application gets to see: a channel's events, private messages, and the data they carry.

use crate::Refusal;
use bytes::Bytes;
use protocol::{Cause, Epoch, Member, Members, Origin, Position};
use serde::Deserialize;
use serde::de::Error as _;

/// What happens in a channel, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The gateway has taken the subscription: at first, and again after each reconnect.
    Subscribed {
        /// Whether what follows goes on from the last position without a hole. At first there is nothing to go on from,
        /// and this is false.
        recovered: bool,
        /// The position that the following events go on from; absent in channels without history.
        position: Option<Position>,
        /// The channel's state, if [`crate::SubscribeOptions::state`] asked for it: the newest publication of each key that
        /// is retained. It may hold what publications tell once more that follow after a reconnect: [`crate::Retained`]
        /// knows.
        state: Vec<Publication>,
        /// Who is there, if [`crate::SubscribeOptions::members`] asked for it.
        members: Option<Members>,
    },
    /// Something was published.
    Publication(Publication),
    /// Publications do not come: ask [`crate::Client::history`] for those that it names, in case the channel still has them,
    /// or reload from your application what they would have told.
    Gap(Gap),
    /// A user is there who was not.
    Join {
        /// Who.
        member: Member,
    },
    /// A user's last connection is gone.
    Leave {
        /// Who.
        member: Member,
        /// Why; absent if the gateway's word for it is newer than this client.
        cause: Option<Cause>,
    },
    /// The gateway has refused or ended the subscription for good. Nothing follows.
    Unsubscribed(Refusal),
}

/// One publication, live or recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Its place in the channel's order; absent if it is volatile, and in channels without history.
    pub offset: Option<u64>,
    /// When a node took it, in Unix milliseconds.
    pub time_ms: u64,
    /// Who published; absent for the application's backend.
    pub from: Option<Origin>,
    /// The application's name for what happened.
    pub event: Option<String>,
    /// The key it is retained under in the channel's state.
    pub retain: Option<String>,
    /// What was published; a retained `null` takes its key out of the state.
    pub data: Data,
}

/// Publications that this subscription will not bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The first and the last lost offset; absent if it is not known how many are lost.
    pub range: Option<(u64, u64)>,
    /// The last lost offset: what follows goes on after it. Absent where that is not known, and where offsets are not.
    pub to: Option<u64>,
    /// The epoch that the channel's offsets count in now, where it is known.
    pub epoch: Option<Epoch>,
    /// How it was noticed.
    pub cause: GapCause,
}

/// How a gap was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapCause {
    /// The gateway said so in the middle of a connection.
    Told,
    /// After a reconnect, not everything that was missed was still there.
    NotRecovered,
    /// An offset did not follow the one before it, and nobody had said why: a fault of the gateway.
    Jump,
}

/// A private message, from somebody's [`crate::Client::send`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who sent it.
    pub from: Origin,
    /// The application's name for what happened.
    pub event: Option<String>,
    /// What was sent.
    pub data: Data,
}

/// What was published or sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// One JSON value, as the text its publisher wrote.
    Json(String),
    /// Bytes, from a publisher on the raw relay.
    Binary(Bytes),
}

impl Data {
    /// The JSON value as a type of your own. Binary data is an error.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        match self {
            Self::Json(text) => serde_json::from_str(text),
            Self::Binary(_) => Err(serde_json::Error::custom("binary data is not JSON")),
        }
    }

    /// The JSON text, if it is that.
    pub fn as_json(&self) -> Option<&str> {
        match self {
            Self::Json(text) => Some(text),
            Self::Binary(_) => None,
        }
    }
}
