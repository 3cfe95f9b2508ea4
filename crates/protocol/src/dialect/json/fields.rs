//! The fields of commands: found in one pass over the message, taken apart when their command asks for them.
//!
//! Each stays a slice of the message until then. So a field of the wrong shape does not hide the `id`, its refusal
//! can name it, and no error ever quotes (and copies) what the client sent. MessagePack has the same fields: what differs
//! is how one is [`Written`].

use super::readable;
use crate::{Channel, Payload, Position, Since, Text};
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Display;

/// The longest `event`, idempotency `key` and key to `retain` under, in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// A value as it was written, in JSON or in another notation of the same objects.
pub(in crate::dialect) trait Written<'a>: Copy {
    /// Its text, if it is a string; what is wrong with it, in words that go on from its name.
    fn text(self) -> Result<Cow<'a, str>, Cow<'static, str>>;
    /// Its number, if it is a whole one that is not below zero.
    fn number(self) -> Option<u64>;
    /// Whether it is `true` or `false`, if it is one of them.
    fn flag(self) -> Option<bool>;
    /// Whether it is an object.
    fn is_object(self) -> bool;
    /// Its `epoch` and `offset`, if it is an object that names nothing twice.
    fn place(self) -> Option<(Option<Self>, Option<Self>)>;
    /// The payload it is; what is wrong with it, in words that go on from its name.
    fn payload(self) -> Result<Payload, String>;
}

impl<'a> Written<'a> for &'a RawValue {
    /// Borrowed from the message where it holds no escapes.
    fn text(self) -> Result<Cow<'a, str>, Cow<'static, str>> {
        let written = self.get();
        let Some(inner) = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
            return Err("is a string".into());
        };
        if !inner.contains('\\') {
            return Ok(Cow::Borrowed(inner));
        }
        let parsed = serde_json::from_str::<String>(written).map(Cow::Owned);
        parsed.map_err(|error| format!("is not a well-formed string: {error}").into())
    }

    /// JSON writes whole numbers as Rust does, without a plus or leading zeros.
    fn number(self) -> Option<u64> {
        self.get().parse().ok()
    }

    fn flag(self) -> Option<bool> {
        self.get().parse().ok()
    }

    fn is_object(self) -> bool {
        self.get().starts_with('{')
    }

    fn place(self) -> Option<(Option<Self>, Option<Self>)> {
        // Looked at here because serde would also take an array of the two for the object.
        if !self.is_object() {
            return None;
        }
        let place: Place<Self> = serde_json::from_str(self.get()).ok()?;
        Some((place.epoch, place.offset))
    }

    /// Byte for byte as it was written.
    fn payload(self) -> Result<Payload, String> {
        readable::check_readable(self.get())?;
        Ok(Payload::json(Bytes::copy_from_slice(self.get().as_bytes())))
    }
}

/// The fields of a position.
#[derive(Deserialize)]
#[serde(bound(deserialize = "V: Deserialize<'de>"))]
pub(in crate::dialect) struct Place<V> {
    pub(in crate::dialect) epoch: Field<V>,
    pub(in crate::dialect) offset: Field<V>,
}

/// A field as it was written; `null` reads as absent.
pub(in crate::dialect) type Field<V> = Option<V>;

/// Every field that any command has; which ones a command needs is decided by its type, and others are passed over.
#[derive(Deserialize)]
#[serde(bound(deserialize = "V: Deserialize<'de>"))]
pub(in crate::dialect) struct Fields<V> {
    #[serde(rename = "type")]
    pub(in crate::dialect) kind: Field<V>,
    pub(in crate::dialect) id: Field<V>,
    pub(in crate::dialect) channel: Field<V>,
    #[serde(default, deserialize_with = "even_null")]
    pub(in crate::dialect) data: Field<V>,
    pub(in crate::dialect) event: Field<V>,
    pub(in crate::dialect) key: Field<V>,
    pub(in crate::dialect) token: Field<V>,
    pub(in crate::dialect) to: Field<V>,
    pub(in crate::dialect) recover: Field<V>,
    pub(in crate::dialect) since: Field<V>,
    pub(in crate::dialect) limit: Field<V>,
    pub(in crate::dialect) volatile: Field<V>,
    pub(in crate::dialect) echo: Field<V>,
    pub(in crate::dialect) members: Field<V>,
    pub(in crate::dialect) state: Field<V>,
    pub(in crate::dialect) reverse: Field<V>,
    pub(in crate::dialect) count_only: Field<V>,
    pub(in crate::dialect) retain: Field<V>,
}

/// `"data": null` is a payload, not an absent field.
fn even_null<'de, D: Deserializer<'de>, V: Deserialize<'de>>(deserializer: D) -> Result<Field<V>, D::Error> {
    V::deserialize(deserializer).map(Some)
}

impl<'a, V: Written<'a>> Fields<V> {
    /// The channel that a command of this kind needs.
    pub(super) fn channel(&self, kind: &str) -> Result<Channel, String> {
        let Some(name) = text(self.channel, "channel")? else { return Err(format!("`{kind}` needs `channel`")) };
        Channel::new(&name).map_err(|error| error.to_string())
    }

    /// The payload that a command of this kind needs.
    pub(super) fn data(&self, kind: &str) -> Result<Payload, String> {
        let Some(written) = self.data else { return Err(format!("`{kind}` needs `data`")) };
        written.payload().map_err(|wrong| format!("`data` {wrong}"))
    }
}

/// A string, borrowed from the message where it can be.
pub(super) fn text<'a, V: Written<'a>>(field: Field<V>, name: &str) -> Result<Option<Cow<'a, str>>, String> {
    field.map(|written| written.text().map_err(|wrong| format!("`{name}` {wrong}"))).transpose()
}

/// A string that a command of this kind needs.
pub(super) fn required<'a, V: Written<'a>>(field: Field<V>, kind: &str, name: &str) -> Result<String, String> {
    text(field, name)?.map(Cow::into_owned).ok_or_else(|| format!("`{kind}` needs `{name}`"))
}

/// A short string: an event, a key.
pub(super) fn name<'a, V: Written<'a>>(field: Field<V>, name: &str) -> Result<Option<String>, String> {
    match text(field, name)? {
        Some(text) if text.is_empty() || text.len() > MAX_NAME_BYTES => {
            Err(format!("`{name}` is 1 to {MAX_NAME_BYTES} bytes long"))
        }
        other => Ok(other.map(Cow::into_owned)),
    }
}

/// A whole number.
pub(in crate::dialect) fn number<'a, V: Written<'a>, N>(field: Field<V>, name: &str) -> Result<Option<N>, String>
where
    N: TryFrom<u64> + Bounds,
{
    let read = |written: V| {
        let number = written.number().and_then(|number| N::try_from(number).ok());
        number.ok_or_else(|| whole_number(name, N::MAX))
    };
    field.map(read).transpose()
}

/// The largest number of a type.
pub(in crate::dialect) trait Bounds {
    const MAX: u64;
}

impl Bounds for u64 {
    const MAX: u64 = u64::MAX;
}

impl Bounds for u32 {
    const MAX: u64 = u32::MAX as u64;
}

fn whole_number(name: &str, max: impl Display) -> String {
    format!("`{name}` is a whole number from 0 to {max}")
}

/// `true` or `false`.
pub(super) fn flag<'a, V: Written<'a>>(field: Field<V>, name: &str) -> Result<Option<bool>, String> {
    field.map(|written| written.flag().ok_or_else(|| format!("`{name}` is true or false"))).transpose()
}

/// `{"epoch": ..., "offset": ...}`.
pub(super) fn position<'a, V: Written<'a>>(field: Field<V>, name: &str) -> Result<Option<Position>, String> {
    let Some(written) = field else { return Ok(None) };
    let wrong = || format!("`{name}` is an object with `epoch`, a string, and `offset`, a whole number");
    let (epoch, offset) = written.place().ok_or_else(wrong)?;
    let epoch = text(epoch, "epoch")?.ok_or_else(wrong)?;
    let offset = number(offset, "offset")?.ok_or_else(wrong)?;
    Ok(Some(Position { epoch: Text::from(&*epoch), offset }))
}

/// An offset, or a position.
pub(super) fn since<'a, V: Written<'a>>(field: Field<V>, name: &str) -> Result<Option<Since>, String> {
    if field.is_some_and(V::is_object) {
        let position = position(field, name)?;
        return Ok(position.map(|p| Since { epoch: Some(p.epoch), offset: p.offset }));
    }
    let offset = number(field, name).map_err(|wrong| format!("{wrong}, or an object with `epoch` and `offset`"))?;
    Ok(offset.map(|offset| Since { epoch: None, offset }))
}
