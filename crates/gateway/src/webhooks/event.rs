//! What the application is told: one JSON object an event, as HOOKS.md shows them.

use crate::hooks::Shown;
use presence::Change;
use protocol::{Cause, Channel, Origin, Payload, Position};
use serde::Serialize;
use serde_json::value::RawValue;
use std::str::FromStr;

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Somebody is in a channel that nobody was in.
    Occupied = 1,
    /// Nobody is in a channel any more.
    Vacated = 2,
    /// A user came into a channel.
    Joined = 4,
    /// A user left it.
    Left = 8,
    /// A client has published something with an event's name.
    ClientEvent = 16,
    /// A connection may give commands.
    Connected = 32,
    /// Such a connection has ended.
    Disconnected = 64,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Occupied,
        Self::Vacated,
        Self::Joined,
        Self::Left,
        Self::ClientEvent,
        Self::Connected,
        Self::Disconnected,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Occupied => "occupied",
            Self::Vacated => "vacated",
            Self::Joined => "joined",
            Self::Left => "left",
            Self::ClientEvent => "client_event",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
        }
    }
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// Whether this is among them.
    pub const fn has(self, kind: Kind) -> bool {
        self.0 & kind as u8 != 0
    }
}

impl FromStr for Kinds {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut kinds = Self::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == word);
            let names = Kind::ALL.map(Kind::as_str).join(", ");
            kinds.0 |= kind.ok_or_else(|| format!("`{word}` is none of {names}"))? as u8;
        }
        if kinds == Self::default() { Err("names nothing that could be told".to_owned()) } else { Ok(kinds) }
    }
}

/// One event.
#[derive(Debug, Serialize, Default)]
pub(super) struct Event<'a> {
    pub(super) r#type: &'static str,
    pub(super) id: String,
    pub(super) time_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) info: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dialect: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offset: Option<u64>,
    #[serde(flatten)]
    pub(super) payload: Shown<'a>,
}

impl<'a> Event<'a> {
    /// `occupied` or `vacated`.
    pub(super) fn of_channel(channel: &'a Channel) -> Self {
        Self { channel: Some(channel.as_str()), ..Self::default() }
    }

    /// `joined` or `left`.
    pub(super) fn of_member(change: &'a Change) -> Self {
        Self {
            channel: Some(change.channel.as_str()),
            client: Some(&change.client),
            user: Some(&change.user),
            info: change.info.as_deref().and_then(|info| serde_json::from_str(info).ok()),
            cause: change.left.map(|cause| match cause {
                Cause::Left => "left",
                Cause::Lost => "lost",
                Cause::NodeLost => "node_lost",
            }),
            ..Self::default()
        }
    }

    /// `client_event`.
    pub(super) fn of_publication(
        channel: &'a Channel,
        position: Option<&'a Position>,
        from: &'a Origin,
        event: &'a str,
        data: &'a Payload,
    ) -> Self {
        Self {
            channel: Some(channel.as_str()),
            event: Some(event),
            epoch: position.map(|position| &*position.epoch),
            offset: position.map(|position| position.offset),
            payload: Shown::of(data),
            ..Self::of_connection(from, None, None)
        }
    }

    /// `connected` or `disconnected`.
    pub(super) fn of_connection(of: &'a Origin, dialect: Option<&'static str>, cause: Option<&'static str>) -> Self {
        Self {
            client: Some(&of.client),
            user: of.user.as_deref(),
            info: of.info.as_deref().and_then(|info| serde_json::from_str(info).ok()),
            dialect,
            cause,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_by_their_names() {
        let two: Kinds = "joined, vacated".parse().unwrap();
        let has = Kind::ALL.into_iter().filter(|kind| two.has(*kind)).collect::<Vec<_>>();
        assert_eq!(has, [Kind::Vacated, Kind::Joined]);
        assert!("joined,gone".parse::<Kinds>().unwrap_err().contains("`gone` is none of occupied"));
        assert!(" ,".parse::<Kinds>().is_err());
    }
}
