//! What there is in the whole cluster: channels with members, and the nodes that live.

use protocol::{Channel, Text};
use std::fmt;
use std::str::FromStr;

/// A channel that has members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Populated {
    /// Which.
    pub channel: Channel,
    /// Its connections.
    pub clients: u64,
    /// Its users.
    pub users: u64,
}

/// A part of the channels that have members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChannelsPage {
    /// In no order, each once; those that come or go meanwhile may be among them or not.
    pub channels: Vec<Populated>,
    /// Where the next part begins; none: this was the last. A part may be empty and not the last.
    pub next: Option<Cursor>,
}

/// Where a survey of channels goes on: `place.of`. Opaque to whoever asks, and harmless whatever it holds: it neither
/// becomes part of a key nor of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) place: u64,
    pub(crate) of: String,
}

/// A text that is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a cursor that an earlier answer named")]
pub struct NoCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.place, self.of)
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;
    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let (place, of) = text.split_once('.').ok_or(NoCursor)?;
        Ok(Self { place: place.parse().or(Err(NoCursor))?, of: of.to_owned() })
    }
}

/// A node that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Living {
    /// `<id>.<incarnation>`.
    pub node: Text,
    /// What it says of itself: see [`crate::Presence::describe`].
    pub about: Text,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_they_are_written() {
        for text in ["0.n1.a", "18446744073709551615.", "7.chat:räksmörgås"] {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
        for wrong in ["", "7", ".n1", "-1.n1", "x.n1", "18446744073709551616.n1"] {
            assert_eq!(wrong.parse::<Cursor>(), Err(NoCursor), "{wrong}");
        }
    }
}
