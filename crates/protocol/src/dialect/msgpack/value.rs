//! A value as it is written, and how serde finds the fields of a map in it: by the same names as those of JSON.

use super::reader::{Reader, Token};
use super::to_json;
use crate::Payload;
use crate::dialect::json::{Place, Written};
use serde::de::value::{BorrowedStrDeserializer, Error, MapAccessDeserializer};
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use std::borrow::Cow;
use std::fmt;

/// One value, known to be well-formed to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a>(pub(super) &'a [u8]);

impl<'a> Value<'a> {
    /// The token it is, or that it begins with.
    fn head(self) -> Option<Token<'a>> {
        Reader::new(self.0).token().ok()
    }

    /// The fields of a map.
    pub(super) fn fields<T: Deserialize<'a>>(self) -> Result<T, Error> {
        let mut reader = Reader::new(self.0);
        match reader.token() {
            Ok(Token::Map(_)) => T::deserialize(MapAccessDeserializer::new(Entries(reader))),
            _ => Err(de::Error::custom("not a map")),
        }
    }
}

impl<'a> Written<'a> for Value<'a> {
    fn text(self) -> Result<Cow<'a, str>, Cow<'static, str>> {
        let Some(Token::Text(bytes)) = self.head() else { return Err("is a string".into()) };
        let text = std::str::from_utf8(bytes).map(Cow::Borrowed);
        text.map_err(|error| format!("is not a well-formed string: {error}").into())
    }

    fn number(self) -> Option<u64> {
        match self.head()? {
            Token::Unsigned(number) => Some(number),
            _ => None,
        }
    }

    fn flag(self) -> Option<bool> {
        match self.head()? {
            Token::Bool(flag) => Some(flag),
            _ => None,
        }
    }

    fn is_object(self) -> bool {
        matches!(self.head(), Some(Token::Map(_)))
    }

    fn place(self) -> Option<(Option<Self>, Option<Self>)> {
        let place: Place<Self> = self.fields().ok()?;
        Some((place.epoch, place.offset))
    }

    fn payload(self) -> Result<Payload, String> {
        to_json::payload(self.0)
    }
}

/// The fields of a map that are left.
struct Entries<'a>(Reader<'a>);

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let name = match self.0.token() {
            Ok(Token::Text(name)) => std::str::from_utf8(name).ok(),
            _ => None,
        };
        let name = name.ok_or_else(|| de::Error::custom("the names of a command's fields are strings"))?;
        seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(Value(self.0.value().map_err(de::Error::custom)?))
    }
}

/// A field's value is handed on as it is written.
impl<'de> Deserializer<'de> for Value<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_bytes(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.head() == Some(Token::Nil) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsWritten;
        impl<'de> Visitor<'de> for AsWritten {
            type Value = Value<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Value(bytes))
            }
        }
        deserializer.deserialize_bytes(AsWritten)
    }
}
