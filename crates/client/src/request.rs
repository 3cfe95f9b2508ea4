//! What applications say when they publish or ask, and what they are answered.

use crate::Invalid;
use crate::event::Publication;
use protocol::dialect::json::MAX_NAME_BYTES;
use protocol::{Position, Since};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::time::Duration;

/// How to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishOptions {
    /// The application's name for what happened, of 1 to 255 bytes.
    pub event: Option<String>,
    /// Makes a repeat harmless: a random one for each publication, of 1 to 255 bytes. It needs a channel with history.
    pub key: Option<String>,
    /// Keeps it in the channel's state as the newest under this key, of 1 to 255 bytes; `null` as data takes the key out. It
    /// needs a channel with history.
    pub retain: Option<String>,
    /// Leaves it out of the channel's history: at most once, and only if there is a connection now.
    pub volatile: bool,
    /// Whether this client gets it too; as a rule it does.
    pub echo: bool,
    /// How long it may take; [`crate::Config::publish_timeout`] if there is none.
    pub timeout: Option<Duration>,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self { event: None, key: None, retain: None, volatile: false, echo: true, timeout: None }
    }
}

impl PublishOptions {
    /// Retained under this key.
    pub fn retained(key: impl Into<String>) -> Self {
        Self { retain: Some(key.into()), ..Self::default() }
    }

    /// With a random key, so that it is repeated where its fate is not known.
    pub fn keyed() -> Self {
        Self { key: Some(format!("{:032x}", fastrand::u128(..))), ..Self::default() }
    }
}

/// A publication that the broker has. That does not say that all have received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its place; absent in channels without history and for volatile ones.
    pub position: Option<Position>,
}

/// What to read of a channel's past.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryOptions {
    /// How many publications at the most; 100 if it does not say.
    pub limit: Option<u32>,
    /// Only what came after this; reversed, before it.
    pub since: Option<Since>,
    /// Newest first.
    pub reverse: bool,
}

/// A channel's past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The channel's newest position; absent in channels without history.
    pub position: Option<Position>,
    /// In the order asked for.
    pub publications: Vec<Publication>,
}

/// A value as JSON.
pub(crate) fn json<T: Serialize + ?Sized>(data: &T) -> Result<Box<RawValue>, Invalid> {
    Ok(to_raw_value(data)?)
}

/// Checks a name that the gateway would refuse as a bad message.
pub(crate) fn name(what: &'static str, name: Option<&str>) -> Result<(), Invalid> {
    match name {
        Some(name) if name.is_empty() || name.len() > MAX_NAME_BYTES => Err(Invalid::Name(what)),
        _ => Ok(()),
    }
}
