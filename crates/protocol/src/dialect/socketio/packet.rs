//! Socket.IO 5: the packets inside Engine.IO messages, `<type>[<attachments>-][<namespace>,][<ack>][<json>]`.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The most attachments of one packet: each is waited for, and held until the last one is there.
pub const MAX_ATTACHMENTS: usize = 10;

/// The most arguments of an event.
pub const MAX_ARGUMENTS: usize = 64;

/// Acks are numbered from 0 by clients; a number beyond this is no count.
pub const MAX_ACK: u64 = (1 << 48) - 1;

/// The names that only the two ends themselves may say.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// What no client of the protocol sends: its session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub &'static str);

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `0`: into a namespace.
    Connect,
    /// `1`: out of it.
    Disconnect,
    /// `2`, or `5` with attachments.
    Event,
    /// `3`, or `6` with attachments.
    Ack,
}

/// A packet's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it is.
    pub kind: Kind,
    /// How many binary messages follow.
    pub attachments: usize,
    /// Where; empty for the main one.
    pub namespace: &'a str,
    /// The number of the ack it asks for, or is.
    pub ack: Option<u64>,
    /// JSON that has not been looked at.
    pub data: &'a str,
}

/// Takes a packet apart.
///
/// # Errors
/// When it is none that a client sends.
pub fn packet(text: &str) -> Result<Packet<'_>, Violation> {
    let Some((kind, rest)) = text.split_at_checked(1) else { return Err(Violation("an empty packet")) };
    let (kind, is_binary) = match kind {
        "0" => (Kind::Connect, false),
        "1" => (Kind::Disconnect, false),
        "2" => (Kind::Event, false),
        "3" => (Kind::Ack, false),
        "5" => (Kind::Event, true),
        "6" => (Kind::Ack, true),
        _ => return Err(Violation("not a Socket.IO packet of a client")),
    };
    let (attachments, rest) = if is_binary { attachments(rest)? } else { (0, rest) };
    let (namespace, rest) = namespace(rest);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, data) = rest.split_at(digits);
    let ack = match number {
        "" => None,
        number => Some(number.parse().ok().filter(|ack| *ack <= MAX_ACK).ok_or(Violation("not the number of an ack"))?),
    };
    Ok(Packet { kind, attachments, namespace, ack, data })
}

fn attachments(text: &str) -> Result<(usize, &str), Violation> {
    let (number, rest) = text.split_once('-').ok_or(Violation("attachments without their number"))?;
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let count = number.parse().ok().filter(|_| is_number).ok_or(Violation("not a number of attachments"))?;
    if count > MAX_ATTACHMENTS {
        return Err(Violation("too many attachments"));
    }
    Ok((count, rest))
}

/// A namespace ends with a comma, or with the packet; what its query would be is passed over, as servers do.
fn namespace(text: &str) -> (&str, &str) {
    if !text.starts_with('/') {
        return ("", text);
    }
    let (name, rest) = text.split_once(',').unwrap_or((text, ""));
    (name.split_once('?').map_or(name, |(name, _)| name), rest)
}

/// An event's name and its arguments.
#[derive(Debug)]
pub struct Arguments<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// What was said beside it.
    pub rest: Vec<&'a RawValue>,
}

/// Reads the array of an event.
///
/// # Errors
/// When it is none, or bears a name that clients may not say.
pub fn event(data: &str) -> Result<Arguments<'_>, Violation> {
    let mut all = array(data)?.into_iter();
    let first = all.next().ok_or(Violation("an event without a name"))?;
    let name = name(first.get())?;
    if RESERVED.contains(&&*name) {
        return Err(Violation("a reserved name of an event"));
    }
    Ok(Arguments { name, rest: all.collect() })
}

fn name(written: &str) -> Result<Cow<'_, str>, Violation> {
    if written.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return Ok(Cow::Borrowed(written));
    }
    #[derive(Deserialize)]
    struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
    let Ok(Name(name)) = serde_json::from_str(written) else { return Err(Violation("not the name of an event")) };
    Ok(name)
}

/// Reads an array.
///
/// # Errors
/// When it is none, or longer than [`MAX_ARGUMENTS`] and the name.
pub fn array(data: &str) -> Result<Vec<&RawValue>, Violation> {
    // Looked at here because an array of arguments is never `null`, which would be taken for an absent one elsewhere.
    if !data.starts_with('[') {
        return Err(Violation("not an array"));
    }
    let all: Vec<&RawValue> = serde_json::from_str(data).map_err(|_| Violation("not an array of JSON"))?;
    if all.len() > MAX_ARGUMENTS + 1 {
        return Err(Violation("too many arguments"));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (Kind, usize, &str, Option<u64>, &str) {
        let packet = packet(text).unwrap();
        (packet.kind, packet.attachments, packet.namespace, packet.ack, packet.data)
    }

    #[test]
    fn each_part_is_found_whether_the_others_are_there_or_not() {
        assert_eq!(parts("0"), (Kind::Connect, 0, "", None, ""));
        assert_eq!(parts("0/admin,{\"t\":1}"), (Kind::Connect, 0, "/admin", None, "{\"t\":1}"));
        assert_eq!(parts("0/admin?x=1,"), (Kind::Connect, 0, "/admin", None, ""));
        assert_eq!(parts("1/admin"), (Kind::Disconnect, 0, "/admin", None, ""));
        assert_eq!(parts("21[\"a\"]"), (Kind::Event, 0, "", Some(1), "[\"a\"]"));
        assert_eq!(parts("2/a,7[\"a\"]"), (Kind::Event, 0, "/a", Some(7), "[\"a\"]"));
        assert_eq!(parts("51-/a,7[\"a\"]"), (Kind::Event, 1, "/a", Some(7), "[\"a\"]"));
        assert_eq!(parts("62-0[]"), (Kind::Ack, 2, "", Some(0), "[]"));
    }

    #[test]
    fn what_is_no_packet_ends_the_session() {
        for wrong in ["", "4{}", "7", "abc", "5[\"a\"]", "5-[\"a\"]", "5x-[\"a\"]", "5+1-[]", "511-[\"a\"]", "é"] {
            assert!(packet(wrong).is_err(), "{wrong}");
        }
        assert!(packet("2999999999999999999[\"a\"]").is_err(), "no count reaches so far");
        assert!(packet("5999999999999999999999-[\"a\"]").is_err());
    }

    #[test]
    fn an_event_has_a_name_that_clients_may_say() {
        let read = event("[\"chat message\", 1, {\"a\":[2]}]").unwrap();
        assert_eq!((&*read.name, read.rest.len(), read.rest[1].get()), ("chat message", 2, "{\"a\":[2]}"));
        assert_eq!(event("[7]").unwrap().name, "7");
        assert_eq!(event("[\"a\\u0062\"]").unwrap().name, "ab");
        for wrong in
            ["", "{}", "null", "[]", "[null]", "[{}]", "[\"connect\"]", "[\"disconnecting\"]", "[\"a\"", "[\"a\"]x"]
        {
            assert!(event(wrong).is_err(), "{wrong}");
        }
        let many = |count: usize| format!("[\"a\"{}]", ",1".repeat(count));
        assert!(event(&many(MAX_ARGUMENTS)).is_ok() && event(&many(MAX_ARGUMENTS + 1)).is_err());
    }
}
