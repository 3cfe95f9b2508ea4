//! The fields of commands: found in one pass over the message, taken apart when their command asks for them.
//!
//! Each stays a slice of the message until then. So a field of the wrong shape does not hide the `id`, its refusal
//! can name it, and no error ever quotes (and copies) what the client sent.

use super::readable;
use crate::{Channel, Payload, Position, Since, Text};
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

/// The longest `event`, idempotency `key` and key to `retain` under, in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// A field as it was written; `null` reads as absent.
pub(super) type Field<'a> = Option<&'a RawValue>;

/// Every field that any command has; which ones a command needs is decided by its type, and others are passed over.
#[derive(Deserialize)]
pub(super) struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Field<'a>,
    #[serde(borrow)]
    pub(super) id: Field<'a>,
    #[serde(borrow)]
    pub(super) channel: Field<'a>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    pub(super) data: Field<'a>,
    #[serde(borrow)]
    pub(super) event: Field<'a>,
    #[serde(borrow)]
    pub(super) key: Field<'a>,
    #[serde(borrow)]
    pub(super) token: Field<'a>,
    #[serde(borrow)]
    pub(super) to: Field<'a>,
    #[serde(borrow)]
    pub(super) recover: Field<'a>,
    #[serde(borrow)]
    pub(super) since: Field<'a>,
    #[serde(borrow)]
    pub(super) limit: Field<'a>,
    #[serde(borrow)]
    pub(super) volatile: Field<'a>,
    #[serde(borrow)]
    pub(super) echo: Field<'a>,
    #[serde(borrow)]
    pub(super) members: Field<'a>,
    #[serde(borrow)]
    pub(super) state: Field<'a>,
    #[serde(borrow)]
    pub(super) reverse: Field<'a>,
    #[serde(borrow)]
    pub(super) count_only: Field<'a>,
    #[serde(borrow)]
    pub(super) retain: Field<'a>,
}

/// `"data": null` is a payload, not an absent field.
fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Field<'de>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl Fields<'_> {
    /// The channel that a command of this kind needs.
    pub(super) fn channel(&self, kind: &str) -> Result<Channel, String> {
        let Some(name) = text(self.channel, "channel")? else { return Err(format!("`{kind}` needs `channel`")) };
        Channel::new(&name).map_err(|error| error.to_string())
    }

    /// The payload that a command of this kind needs, byte for byte as it was written.
    pub(super) fn data(&self, kind: &str) -> Result<Payload, String> {
        let Some(raw) = self.data else { return Err(format!("`{kind}` needs `data`")) };
        readable::check_readable(raw.get()).map_err(|wrong| format!("`data` {wrong}"))?;
        Ok(Payload::json(Bytes::copy_from_slice(raw.get().as_bytes())))
    }
}

/// A string, borrowed from the message where it holds no escapes.
pub(super) fn text<'a>(field: Field<'a>, name: &str) -> Result<Option<Cow<'a, str>>, String> {
    let Some(written) = field.map(RawValue::get) else { return Ok(None) };
    let Some(inner) = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Err(format!("`{name}` is a string"));
    };
    if !inner.contains('\\') {
        return Ok(Some(Cow::Borrowed(inner)));
    }
    match serde_json::from_str::<String>(written) {
        Ok(text) => Ok(Some(Cow::Owned(text))),
        Err(error) => Err(format!("`{name}` is not a well-formed string: {error}")),
    }
}

/// A string that a command of this kind needs.
pub(super) fn required(field: Field<'_>, kind: &str, name: &str) -> Result<String, String> {
    text(field, name)?.map(Cow::into_owned).ok_or_else(|| format!("`{kind}` needs `{name}`"))
}

/// A short string: an event, a key.
pub(super) fn name(field: Field<'_>, name: &str) -> Result<Option<String>, String> {
    match text(field, name)? {
        Some(text) if text.is_empty() || text.len() > MAX_NAME_BYTES => {
            Err(format!("`{name}` is 1 to {MAX_NAME_BYTES} bytes long"))
        }
        other => Ok(other.map(Cow::into_owned)),
    }
}

/// A whole number. JSON writes those as Rust does, without a plus or leading zeros.
pub(super) fn number<N: FromStr + Bounds>(field: Field<'_>, name: &str) -> Result<Option<N>, String> {
    let read = |raw: &RawValue| raw.get().parse().map_err(|_| whole_number(name, N::MAX));
    field.map(read).transpose()
}

/// The largest number of a type.
pub(super) trait Bounds {
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
pub(super) fn flag(field: Field<'_>, name: &str) -> Result<Option<bool>, String> {
    let read = |raw: &RawValue| raw.get().parse().map_err(|_| format!("`{name}` is true or false"));
    field.map(read).transpose()
}

/// `{"epoch": ..., "offset": ...}`.
pub(super) fn position(field: Field<'_>, name: &str) -> Result<Option<Position>, String> {
    #[derive(Deserialize)]
    struct Place<'a> {
        #[serde(borrow)]
        epoch: Field<'a>,
        #[serde(borrow)]
        offset: Field<'a>,
    }
    let Some(written) = field.map(RawValue::get) else { return Ok(None) };
    let wrong = || format!("`{name}` is an object with `epoch`, a string, and `offset`, a whole number");
    // Looked at here because serde would also take an array of the two for the object.
    if !written.starts_with('{') {
        return Err(wrong());
    }
    let place: Place<'_> = serde_json::from_str(written).map_err(|_| wrong())?;
    let epoch = text(place.epoch, "epoch")?.ok_or_else(wrong)?;
    let offset = number(place.offset, "offset")?.ok_or_else(wrong)?;
    Ok(Some(Position { epoch: Text::from(&*epoch), offset }))
}

/// An offset, or a position.
pub(super) fn since(field: Field<'_>, name: &str) -> Result<Option<Since>, String> {
    if field.is_some_and(|raw| raw.get().starts_with('{')) {
        let position = position(field, name)?;
        return Ok(position.map(|p| Since { epoch: Some(p.epoch), offset: p.offset }));
    }
    let offset = number(field, name).map_err(|wrong| format!("{wrong}, or an object with `epoch` and `offset`"))?;
    Ok(offset.map(|offset| Since { epoch: None, offset }))
}
