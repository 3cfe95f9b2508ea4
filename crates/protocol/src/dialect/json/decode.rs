//! JSON text to commands: nothing a client sends can do more than earn a `bad_request`.

use crate::dialect::{Incoming, Malformed};
use crate::{Channel, Command, History, Payload, Position, Publish, Refusal, Request, Send, Since, Subscribe, Text};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The most commands in one array: each may be answered, so an array of junk must not be an amplifier.
pub const MAX_BATCH: usize = 256;

/// The deepest nesting of `data`. Many JSON parsers recurse (serde_json stops at 128): what one client publishes must
/// be readable by the others.
pub const MAX_DATA_DEPTH: usize = 100;

/// The longest `event` and idempotency `key`, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The default `limit` of `history`.
const DEFAULT_HISTORY_LIMIT: u32 = 100;

const TYPES: &str = "auth, subscribe, unsubscribe, publish, send, presence, history, ping";

/// Reads one message: an object, or an array of up to [`MAX_BATCH`] of them.
pub fn decode(message: Incoming<'_>, each: &mut dyn FnMut(Result<Request, Malformed>)) {
    let Incoming::Text(text) = message else {
        return each(Err(malformed(None, "this dialect speaks JSON in text messages, not binary ones")));
    };
    if !text.trim_ascii_start().starts_with('[') {
        return each(decode_one(text));
    }
    match serde_json::from_str::<Batch<'_>>(text) {
        Ok(Batch(commands)) => commands.into_iter().for_each(|command| each(decode_one(command.get()))),
        Err(error) => each(Err(malformed(None, format!("not an array of commands: {error}")))),
    }
}

/// An array that stops growing at [`MAX_BATCH`].
struct Batch<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Batch<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Commands;
        impl<'de> Visitor<'de> for Commands {
            type Value = Vec<&'de RawValue>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of commands")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut commands = Vec::new();
                while let Some(command) = seq.next_element()? {
                    if commands.len() == MAX_BATCH {
                        return Err(de::Error::custom(format_args!("more than {MAX_BATCH} commands in one message")));
                    }
                    commands.push(command);
                }
                Ok(commands)
            }
        }
        deserializer.deserialize_seq(Commands).map(Batch)
    }
}

/// A string that borrows from the message where it holds no escapes.
struct Str<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Str<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Str(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Str(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrow)
    }
}

/// Every field that any command has; which ones a command needs is decided by its type.
/// (serde's own tagged enums cannot hold a [`RawValue`].)
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Str<'a>>,
    id: Option<u64>,
    #[serde(borrow)]
    channel: Option<Str<'a>>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<Str<'a>>,
    #[serde(borrow)]
    key: Option<Str<'a>>,
    #[serde(borrow)]
    token: Option<Str<'a>>,
    #[serde(borrow)]
    to: Option<Str<'a>>,
    #[serde(borrow)]
    recover: Option<Place<'a>>,
    #[serde(borrow)]
    since: Option<SinceField<'a>>,
    limit: Option<u32>,
    volatile: Option<bool>,
    echo: Option<bool>,
    members: Option<bool>,
    reverse: Option<bool>,
    count_only: Option<bool>,
    retain: Option<de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Place<'a> {
    #[serde(borrow)]
    epoch: Str<'a>,
    offset: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SinceField<'a> {
    Offset(u64),
    #[serde(borrow)]
    Place(Place<'a>),
}

/// `"data": null` is a payload, not an absent field.
fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct OnlyId {
    id: Option<u64>,
}

fn decode_one(text: &str) -> Result<Request, Malformed> {
    match serde_json::from_str::<Fields<'_>>(text) {
        Ok(fields) => {
            let id = fields.id;
            match command(fields) {
                Ok(command) => Ok(Request { id, command }),
                Err(message) => Err(malformed(id, message)),
            }
        }
        Err(error) => {
            let id = serde_json::from_str::<OnlyId>(text).ok().and_then(|only| only.id);
            Err(malformed(id, describe(&error)))
        }
    }
}

fn describe(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => shorten(&format!("a field has the wrong shape: {error}")),
        _ => shorten(&format!("not JSON: {error}")),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(200).collect()
}

fn malformed(id: Option<u64>, message: impl Into<Cow<'static, str>>) -> Malformed {
    Malformed { id, refusal: Refusal::bad_request(message) }
}

fn command(mut fields: Fields<'_>) -> Result<Command, String> {
    let Some(kind) = fields.kind.take() else {
        return Err(format!("a command has a `type`: one of {TYPES}"));
    };
    Ok(match &*kind.0 {
        "auth" => Command::Auth { token: required(fields.token, "auth", "token")? },
        "subscribe" => Command::Subscribe(Subscribe {
            channel: channel(fields.channel, "subscribe")?,
            recover: fields.recover.as_ref().map(position),
            members: fields.members.unwrap_or(false),
        }),
        "unsubscribe" => Command::Unsubscribe { channel: channel(fields.channel, "unsubscribe")? },
        "publish" => Command::Publish(publish(fields)?),
        "send" => Command::Send(Send {
            to: required(fields.to, "send", "to")?,
            data: data(fields.data, "send")?,
            event: name(fields.event, "event")?,
        }),
        "presence" => Command::Presence {
            channel: channel(fields.channel, "presence")?,
            count_only: fields.count_only.unwrap_or(false),
        },
        "history" => Command::History(History {
            channel: channel(fields.channel, "history")?,
            limit: fields.limit.unwrap_or(DEFAULT_HISTORY_LIMIT),
            since: fields.since.map(since),
            reverse: fields.reverse.unwrap_or(false),
        }),
        "ping" => Command::Ping,
        other => return Err(format!("unknown type `{}`: one of {TYPES}", shorten(other))),
    })
}

fn publish(fields: Fields<'_>) -> Result<Publish, String> {
    if fields.retain.is_some() {
        return Err("`retain` is not known to this gateway: nothing was published".into());
    }
    Ok(Publish {
        channel: channel(fields.channel, "publish")?,
        data: data(fields.data, "publish")?,
        event: name(fields.event, "event")?,
        key: name(fields.key, "key")?,
        volatile: fields.volatile.unwrap_or(false),
        echo: fields.echo.unwrap_or(true),
    })
}

fn position(place: &Place<'_>) -> Position {
    Position { epoch: Text::from(&*place.epoch.0), offset: place.offset }
}

fn since(field: SinceField<'_>) -> Since {
    match field {
        SinceField::Offset(offset) => Since { epoch: None, offset },
        SinceField::Place(place) => Since { epoch: Some(Text::from(&*place.epoch.0)), offset: place.offset },
    }
}

fn required(field: Option<Str<'_>>, kind: &str, name: &str) -> Result<String, String> {
    field.map(|s| s.0.into_owned()).ok_or_else(|| format!("`{kind}` needs `{name}`"))
}

fn channel(field: Option<Str<'_>>, kind: &str) -> Result<Channel, String> {
    let Some(name) = field else { return Err(format!("`{kind}` needs `channel`")) };
    Channel::new(&name.0).map_err(|error| error.to_string())
}

fn name(field: Option<Str<'_>>, what: &str) -> Result<Option<String>, String> {
    match field {
        Some(name) if name.0.is_empty() || name.0.len() > MAX_NAME_BYTES => {
            Err(format!("`{what}` is 1 to {MAX_NAME_BYTES} bytes long"))
        }
        other => Ok(other.map(|s| s.0.into_owned())),
    }
}

fn data(field: Option<&RawValue>, kind: &str) -> Result<Payload, String> {
    let Some(raw) = field else { return Err(format!("`{kind}` needs `data`")) };
    if !depth_within(raw.get().as_bytes(), MAX_DATA_DEPTH) {
        return Err(format!("`data` is nested deeper than {MAX_DATA_DEPTH} levels"));
    }
    Ok(Payload::json(Bytes::copy_from_slice(raw.get().as_bytes())))
}

/// Counts brackets outside strings of well-formed JSON.
fn depth_within(json: &[u8], limit: usize) -> bool {
    if json.len() <= limit {
        return true;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > limit {
                    return false;
                }
            }
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
    }
    true
}
