//! JSON text as MessagePack, for payloads and for what tokens say of their users: written straight into the message.

use rmp::encode::{write_bool, write_f64, write_nil, write_sint, write_str, write_uint};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

const ARRAY: Head = Head { fixed: 0x90, two_bytes: 0xdc };
const MAP: Head = Head { fixed: 0x80, two_bytes: 0xde };

/// The most items of which the number stands in the first byte.
const FIXED_MAX: usize = 15;

/// Appends a value. Text that is not JSON (which dialects let nobody publish) is written as a string.
pub(super) fn write_json(buffer: &mut Vec<u8>, json: &[u8]) {
    let start = buffer.len();
    let mut parser = serde_json::Deserializer::from_slice(json);
    if Writer(buffer).deserialize(&mut parser).and_then(|()| parser.end()).is_err() {
        buffer.truncate(start);
        let _ = write_str(buffer, &String::from_utf8_lossy(json));
    }
}

/// What a container begins with: its number of items in the first byte, or in 2 or 4 bytes behind another one.
struct Head {
    fixed: u8,
    two_bytes: u8,
}

impl Head {
    /// Sets the number of items of a container for whose head one byte was left.
    fn set(&self, buffer: &mut Vec<u8>, start: usize, items: usize) {
        if items <= FIXED_MAX {
            buffer[start] = self.fixed | items as u8;
        } else if let Ok(items) = u16::try_from(items) {
            let [high, low] = items.to_be_bytes();
            buffer.splice(start..=start, [self.two_bytes, high, low]);
        } else {
            // No message is so long that this would not hold.
            let [a, b, c, d] = u32::try_from(items).unwrap_or(u32::MAX).to_be_bytes();
            buffer.splice(start..=start, [self.two_bytes + 1, a, b, c, d]);
        }
    }
}

/// Writes the value that it is given to visit. How many items a container has is known at its end only: its head is
/// then set, and moves what is in it only where they are more than 15.
struct Writer<'b>(&'b mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Writer<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Writing to a `Vec` cannot fail.
impl<'de> Visitor<'de> for Writer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        let _ = write_nil(self.0);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        let _ = write_bool(self.0, value);
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        let _ = write_uint(self.0, number);
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        let _ = write_sint(self.0, number);
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        let _ = write_f64(self.0, number);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        let _ = write_str(self.0, text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let (start, mut items) = (self.0.len(), 0);
        self.0.push(ARRAY.fixed);
        while seq.next_element_seed(Writer(self.0))?.is_some() {
            items += 1;
        }
        ARRAY.set(self.0, start, items);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (start, mut fields) = (self.0.len(), 0);
        self.0.push(MAP.fixed);
        while map.next_key_seed(Writer(self.0))?.is_some() {
            map.next_value_seed(Writer(self.0))?;
            fields += 1;
        }
        MAP.set(self.0, start, fields);
        Ok(())
    }
}
