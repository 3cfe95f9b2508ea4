//! Whether JSON that comes from one client can be read by the parsers of all others.
//!
//! A payload travels inside the messages of its subscribers, unparsed. Were it well-formed and yet more than a
//! subscriber's parser takes, that subscriber would lose the whole message; so its publisher is refused instead.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The deepest nesting of `data`. Many JSON parsers recurse (serde_json stops at 128), and a payload travels up to three
/// levels deep itself.
pub const MAX_DATA_DEPTH: usize = 100;

/// A double holds at most 308 digits before the point; longer runs are looked at closely.
const MAX_PLAIN_DIGITS: usize = 300;

/// Takes well-formed JSON that is to travel inside the messages of others: payloads, and what a token says of its user.
///
/// # Errors
/// What the JSON is, in words that go on from its name: nested deeper than [`MAX_DATA_DEPTH`], or beyond some parsers for
/// a number that no double can hold, or a string with half a character (a lone surrogate).
pub fn check_readable(json: &str) -> Result<(), String> {
    match glance(json.as_bytes()) {
        Glance::Plain => Ok(()),
        Glance::Deep => Err(format!("is nested deeper than {MAX_DATA_DEPTH} levels")),
        Glance::Doubtful => match serde_json::from_str::<Strict>(json) {
            Ok(Strict) => Ok(()),
            Err(error) => Err(format!("cannot be read by every JSON parser: {error}")),
        },
    }
}

enum Glance {
    /// Nothing in it that a parser could refuse.
    Plain,
    /// Nested too deep.
    Deep,
    /// Holds a `\u` escape, an exponent or a very long number: rare, and worth parsing.
    Doubtful,
}

/// One pass over well-formed JSON.
fn glance(json: &[u8]) -> Glance {
    let (mut depth, mut digits, mut in_string, mut escaped, mut doubtful) = (0usize, 0usize, false, false, false);
    for &byte in json {
        if in_string {
            match byte {
                _ if escaped => {
                    escaped = false;
                    doubtful |= byte == b'u';
                }
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'0'..=b'9' => digits += 1,
            b'e' | b'E' => doubtful |= digits > 0,
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DATA_DEPTH {
            return Glance::Deep;
        }
        doubtful |= digits > MAX_PLAIN_DIGITS;
        digits = if byte.is_ascii_digit() { digits } else { 0 };
    }
    if doubtful { Glance::Doubtful } else { Glance::Plain }
}

/// Any JSON value, parsed to its last character and not kept.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}
