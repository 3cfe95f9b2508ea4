//! What clients publish: opaque bytes with a content type, never parsed on the way.

use bytes::Bytes;

/// What the bytes of a payload are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Content {
    /// One JSON value, as text.
    Json = 0,
    /// UTF-8 text.
    Text = 1,
    /// Any bytes.
    Binary = 2,
}

impl Content {
    /// The content type with this number in an envelope.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Json),
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            _ => None,
        }
    }
}

/// A payload as its publisher sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// What the bytes are.
    pub content: Content,
    /// The bytes. JSON is known to be well-formed, text to be UTF-8: dialects check on the way in.
    pub bytes: Bytes,
}

impl Payload {
    /// A JSON value, as text that is known to be one.
    pub fn json(bytes: impl Into<Bytes>) -> Self {
        Self { content: Content::Json, bytes: bytes.into() }
    }

    /// Whether it is the JSON value `null`.
    pub fn is_json_null(&self) -> bool {
        self.content == Content::Json && self.bytes[..] == *b"null"
    }

    /// UTF-8 text.
    pub fn text(text: impl Into<Bytes>) -> Self {
        Self { content: Content::Text, bytes: text.into() }
    }

    /// Any bytes.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self { content: Content::Binary, bytes: bytes.into() }
    }
}
