//! Names: of channels, of keys in Redis, and the patterns that they are ruled by.

use crate::cost;
use gateway::pattern::{Pattern, encoded};
use link::KeySpace;
use protocol::Channel;
use protocol::channel::MAX_CHANNEL_BYTES;

pub(super) const WORDS: &[&str] = &["user:", "{user}", "*", ":", "@", "$", "chat:lobby", "\r\nSET x y", "\u{2028}", "\u{7f}", "%3A"];
pub(super) const GOLDEN: &[&str] = &[];

/// One copy of a name that is taken.
const MULTIPLE: u64 = 1;
const BASE_BYTES: u64 = 64;

/// The same text as a channel's name, as a pattern, and as a user's name.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(channel) = cost::within(data.len(), MULTIPLE, BASE_BYTES, || Channel::new(text)) {
        taken(&channel, text);
    }
    if let Ok(pattern) = text.parse::<Pattern>() {
        assert_eq!(pattern.to_string(), text);
    }
    owned(text);
}

fn taken(channel: &Channel, text: &str) {
    assert_eq!(channel.as_str(), text);
    assert!((1..=MAX_CHANNEL_BYTES).contains(&text.len()));
    assert!(!text.contains(['{', '}', '*', ',', ' ', '\0', '\r', '\n']) && !text.starts_with(['@', '$']));
    let keys = KeySpace::new("gw:");
    assert_eq!(keys.channel_of_topic(&keys.topic(channel)), Some(text));
    for key in [keys.meta(channel), keys.log(channel), keys.here(channel)] {
        assert!(key.starts_with(&format!("gw:{{{text}}}:")), "{key}");
    }
    assert!(Pattern::exactly(channel).takes(text));
}

/// A user's own channel is one, is that user's, and nobody else's.
fn owned(user: &str) {
    let name = format!("user:{}", encoded(user));
    let Ok(own) = "user:{user}".parse::<Pattern>() else { unreachable!("a pattern") };
    if user.is_empty() || name.len() > MAX_CHANNEL_BYTES {
        return;
    }
    assert!(Channel::new(&name).is_ok() && own.takes_for(&name, user), "{name}");
    assert!(own.is_foreign(&name, None) && own.is_foreign(&name, Some(&format!("{user}x"))), "{name}");
}
