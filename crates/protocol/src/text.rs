//! UTF-8 text that shares its storage: a slice of a received buffer costs a reference count, not a copy.

use bytes::Bytes;
use std::fmt;
use std::ops::Deref;

/// Checked UTF-8 over [`Bytes`].
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(Bytes);

impl Text {
    /// Takes bytes that must be UTF-8; anything else is refused.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, std::str::Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Self(bytes))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Checked once at construction; `unsafe` is forbidden here, so it is checked again. Twenty bytes: a few ns.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The same storage as bytes.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        // What is formatted has room to spare, which would be kept as long as the text, beside a note of how much it is.
        Self(Bytes::from(text.into_boxed_str().into_boxed_bytes()))
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
