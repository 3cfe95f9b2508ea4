//! Several messages of a native dialect as one: an array of their objects, for clients that have asked for it.

use super::{Dialect, Messages};
use rmp::encode::write_array_len;

/// How the objects of a dialect become an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Array {
    /// A JSON array, as text.
    Json,
    /// A MessagePack array, as bytes.
    Msgpack,
}

impl Array {
    /// The most objects of one.
    pub const MAX_OBJECTS: usize = super::json::MAX_BATCH;

    /// Writes one message of these objects, each of them what the dialect has written as a message of its own.
    pub fn write(self, objects: &[&[u8]], out: &mut dyn Messages) {
        match self {
            Self::Json => out.text(&mut |buffer| {
                for (index, object) in objects.iter().enumerate() {
                    buffer.push(if index == 0 { b'[' } else { b',' });
                    buffer.extend_from_slice(object);
                }
                buffer.push(b']');
            }),
            Self::Msgpack => out.binary_with(&mut |buffer| {
                // Writing to a `Vec` cannot fail.
                let _ = write_array_len(buffer, u32::try_from(objects.len()).unwrap_or(u32::MAX));
                objects.iter().for_each(|object| buffer.extend_from_slice(object));
            }),
        }
    }
}

impl Dialect {
    /// How its messages become arrays; `None` where a message is no object, or its door has its own frames.
    pub const fn array(&self) -> Option<Array> {
        match self {
            Self::Json => Some(Array::Json),
            Self::Msgpack => Some(Array::Msgpack),
            Self::Polled | Self::Events | Self::Raw(_) | Self::SocketIo(_) => None,
        }
    }
}
