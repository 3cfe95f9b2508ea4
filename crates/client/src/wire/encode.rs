//! Commands as text: what is at its default is left out.

use protocol::Position;
use serde::Serialize;
use serde_json::value::RawValue;

/// A command. With an `id` it is answered; without one only a refusal is.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Command<'a> {
    Auth {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        token: &'a str,
    },
    Subscribe {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        channel: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        recover: Option<Place<'a>>,
        #[serde(skip_serializing_if = "is_false")]
        members: bool,
        #[serde(skip_serializing_if = "is_true")]
        state: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'a str>,
    },
    Unsubscribe {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        channel: &'a str,
    },
    Publish {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        channel: &'a str,
        data: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        event: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retain: Option<&'a str>,
        #[serde(skip_serializing_if = "is_false")]
        volatile: bool,
        #[serde(skip_serializing_if = "is_true")]
        echo: bool,
    },
    Send {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        to: &'a str,
        data: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        event: Option<&'a str>,
    },
    Presence {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        channel: &'a str,
        #[serde(skip_serializing_if = "is_false")]
        count_only: bool,
    },
    History {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        channel: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<Since<'a>>,
        #[serde(skip_serializing_if = "is_false")]
        reverse: bool,
    },
    Ping {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
    },
}

/// A position.
#[derive(Debug, Serialize)]
pub(crate) struct Place<'a> {
    pub(crate) epoch: &'a str,
    pub(crate) offset: u64,
}

/// Where a reading of the history begins.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Since<'a> {
    Offset(u64),
    Place(Place<'a>),
}

impl<'a> From<&'a Position> for Place<'a> {
    fn from(position: &'a Position) -> Self {
        Self { epoch: &position.epoch, offset: position.offset }
    }
}

impl<'a> From<&'a protocol::Since> for Since<'a> {
    fn from(since: &'a protocol::Since) -> Self {
        match &since.epoch {
            Some(epoch) => Self::Place(Place { epoch, offset: since.offset }),
            None => Self::Offset(since.offset),
        }
    }
}

/// The text of a command.
pub(crate) fn encode(command: &Command<'_>) -> Result<String, serde_json::Error> {
    serde_json::to_string(command)
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_true(value: &bool) -> bool {
    *value
}
