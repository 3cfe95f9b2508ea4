//! JSON text to commands: nothing a client sends can do more than earn a `bad_request`.

use super::fields::{self, Field, Fields, Written};
use crate::dialect::{Incoming, Malformed};
use crate::{Command, History, Publish, Refusal, Request, Send, Subscribe};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The most commands in one array: each may be answered, so an array of junk must not be an amplifier.
pub const MAX_BATCH: usize = 256;

/// The `limit` of a `history` that names none.
pub const DEFAULT_HISTORY_LIMIT: u32 = 100;

/// How much of an unknown type is repeated in the answer.
const MAX_ECHO_CHARS: usize = 100;

const TYPES: &str = "auth, subscribe, unsubscribe, publish, send, presence, history, ping";

/// Reads one message: an object, or an array of 1 to [`MAX_BATCH`] of them. Every message yields at least one result.
///
/// An array that is not well-formed to its end, or too long, is refused as a whole; within a well-formed one each
/// command stands for itself.
pub fn decode(message: Incoming<'_>, each: &mut dyn FnMut(Result<Request, Malformed>)) {
    let Incoming::Text(text) = message else {
        return each(Err(malformed(None, "this dialect speaks JSON in text messages, not binary ones")));
    };
    if !begins_with(text, '[') {
        return each(decode_one(text));
    }
    match serde_json::from_str::<Batch<'_>>(text) {
        Ok(Batch(commands)) if commands.is_empty() => {
            each(Err(malformed(None, "an array of commands holds at least one")));
        }
        Ok(Batch(commands)) => commands.into_iter().for_each(|command| each(decode_one(command.get()))),
        Err(error) => each(Err(malformed(None, format!("not an array of commands: {error}")))),
    }
}

/// An array that stops growing at [`MAX_BATCH`].
pub(super) struct Batch<'a>(pub(super) Vec<&'a RawValue>);

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

/// What is left to read of an object that was refused as a whole, for a field given twice.
#[derive(Deserialize)]
#[serde(bound(deserialize = "V: Deserialize<'de>"))]
pub(in crate::dialect) struct OnlyId<V> {
    pub(in crate::dialect) id: Field<V>,
}

fn decode_one(text: &str) -> Result<Request, Malformed> {
    // Looked at here because serde would also take an array of the fields' values for the object.
    if !begins_with(text, '{') {
        return Err(malformed(None, "a command is a JSON object such as {\"type\":\"ping\"}"));
    }
    match serde_json::from_str::<Fields<&RawValue>>(text) {
        Ok(fields) => request(&fields),
        Err(error) => {
            let only = serde_json::from_str::<OnlyId<&RawValue>>(text).ok();
            let id = only.and_then(|only| fields::number(only.id, "id").ok().flatten());
            Err(malformed(id, describe(&error)))
        }
    }
}

/// The request that these fields are, in whatever notation.
pub(in crate::dialect) fn request<'a, V: Written<'a>>(fields: &Fields<V>) -> Result<Request, Malformed> {
    let id = fields::number(fields.id, "id").map_err(|message| malformed(None, message))?;
    let command = command(fields).map_err(|message| malformed(id, message))?;
    if id.is_none() && matches!(&command, Command::Subscribe(subscribe) if subscribe.recover.is_some()) {
        return Err(malformed(None, "`recover` needs an `id`: what was missed comes in the answer"));
    }
    Ok(Request { id, command })
}

pub(super) fn begins_with(text: &str, bracket: char) -> bool {
    text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with(bracket)
}

/// The parser's own words are short: no field has a shape at this point that it could quote.
pub(super) fn describe(error: &serde_json::Error) -> String {
    if error.is_data() { error.to_string() } else { format!("not JSON: {error}") }
}

pub(in crate::dialect) fn malformed(id: Option<u64>, message: impl Into<Cow<'static, str>>) -> Malformed {
    Malformed { id, refusal: Refusal::bad_request(message) }
}

fn command<'a, V: Written<'a>>(fields: &Fields<V>) -> Result<Command, String> {
    let Some(kind) = fields::text(fields.kind, "type")? else {
        return Err(format!("a command has a `type`: one of {TYPES}"));
    };
    command_of_kind(&kind, fields)
}

/// A command whose type is said elsewhere, of the object that holds its fields.
///
/// # Errors
/// What is wrong with it, in words.
pub fn command_of(kind: &str, object: &str) -> Result<Command, String> {
    let fields = serde_json::from_str::<Fields<&RawValue>>(object).map_err(|error| describe(&error))?;
    command_of_kind(kind, &fields)
}

fn command_of_kind<'a, V: Written<'a>>(kind: &str, fields: &Fields<V>) -> Result<Command, String> {
    Ok(match kind {
        "auth" => Command::Auth { token: fields::required(fields.token, "auth", "token")? },
        "subscribe" => Command::Subscribe(Subscribe {
            channel: fields.channel("subscribe")?,
            recover: fields::position(fields.recover, "recover")?,
            members: fields::flag(fields.members, "members")?.unwrap_or(false),
            state: fields::flag(fields.state, "state")?.unwrap_or(true),
            token: fields::text(fields.token, "token")?.map(Cow::into_owned),
        }),
        "unsubscribe" => Command::Unsubscribe { channel: fields.channel("unsubscribe")? },
        "publish" => Command::Publish(publish(fields)?),
        "send" => Command::Send(Send {
            to: fields::required(fields.to, "send", "to")?,
            data: fields.data("send")?,
            event: fields::name(fields.event, "event")?,
        }),
        "presence" => Command::Presence {
            channel: fields.channel("presence")?,
            count_only: fields::flag(fields.count_only, "count_only")?.unwrap_or(false),
        },
        "history" => Command::History(History {
            channel: fields.channel("history")?,
            limit: fields::number(fields.limit, "limit")?.unwrap_or(DEFAULT_HISTORY_LIMIT),
            since: fields::since(fields.since, "since")?,
            reverse: fields::flag(fields.reverse, "reverse")?.unwrap_or(false),
        }),
        "ping" => Command::Ping,
        other => return Err(format!("unknown type `{}`: one of {TYPES}", shorten(other))),
    })
}

pub(super) fn publish<'a, V: Written<'a>>(fields: &Fields<V>) -> Result<Publish, String> {
    Ok(Publish {
        channel: fields.channel("publish")?,
        data: fields.data("publish")?,
        event: fields::name(fields.event, "event")?,
        key: fields::name(fields.key, "key")?,
        retain: fields::name(fields.retain, "retain")?,
        volatile: fields::flag(fields.volatile, "volatile")?.unwrap_or(false),
        echo: fields::flag(fields.echo, "echo")?.unwrap_or(true),
    })
}

fn shorten(text: &str) -> &str {
    text.char_indices().nth(MAX_ECHO_CHARS).map_or(text, |(end, _)| &text[..end])
}
