//! Channel names: what they may hold, checked once at the edge.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The longest channel name, in bytes of UTF-8.
pub const MAX_CHANNEL_BYTES: usize = 255;

/// A checked channel name, cheap to clone.
///
/// 1 to 255 bytes of UTF-8, without control characters, white space, commas, braces or `*`, and not beginning with
/// `@` or `$` (reserved). Commas separate names in URLs, braces are hash tags in Redis, and a `*` would read as one
/// of the patterns that namespaces are declared with. Other dialects percent-encode their names into this.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(Arc<str>);

/// Why a channel name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// No name at all.
    #[error("a channel name is at least 1 byte long")]
    Empty,
    /// Over [`MAX_CHANNEL_BYTES`].
    #[error("a channel name is at most 255 bytes long")]
    TooLong,
    /// A character that names may not hold.
    #[error("a channel name has no control characters, white space, commas, braces or `*`")]
    Character,
    /// Begins with `@` or `$`.
    #[error("channel names beginning with `@` or `$` are reserved")]
    Reserved,
}

impl Channel {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, ChannelError> {
        if name.is_empty() {
            return Err(ChannelError::Empty);
        }
        if name.len() > MAX_CHANNEL_BYTES {
            return Err(ChannelError::TooLong);
        }
        if name.starts_with(['@', '$']) {
            return Err(ChannelError::Reserved);
        }
        if name.chars().any(forbidden) {
            return Err(ChannelError::Character);
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn forbidden(c: char) -> bool {
    c.is_control() || c.is_whitespace() || matches!(c, ',' | '{' | '}' | '*')
}

impl Deref for Channel {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Channel {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_people_write_them_are_taken() {
        for name in ["a", "chat:lobby", "user/42", "räksmörgås", "a.b-c_d#e", &"x".repeat(255)] {
            assert_eq!(Channel::new(name).map(|c| c.to_string()), Ok(name.to_string()));
        }
    }

    #[test]
    fn each_rule_has_its_own_answer() {
        assert_eq!(Channel::new(""), Err(ChannelError::Empty));
        assert_eq!(Channel::new(&"x".repeat(256)), Err(ChannelError::TooLong));
        assert_eq!(Channel::new("@control"), Err(ChannelError::Reserved));
        assert_eq!(Channel::new("$node"), Err(ChannelError::Reserved));
        for name in ["a b", "a\r\nb", "a\0b", "a,b", "{a}", "*", "news*", "a\u{2028}b", "a\u{85}b"] {
            assert_eq!(Channel::new(name), Err(ChannelError::Character), "{name:?}");
        }
    }
}
