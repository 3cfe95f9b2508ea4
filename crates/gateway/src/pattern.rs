//! Which channels a rule is about: a name, or the beginning of names, in which `{user}` may stand for one user.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::str::FromStr;

/// What stands for the user in a pattern.
const USER: &str = "{user}";

/// Channels by name: a name, or the beginning of names and one `*` at the end. `{user}` stands for one part of a name, up to
/// the next `:` or the end, and for a user whose [`encoded`] name is that part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    before: String,
    /// What follows `{user}`, where there is one.
    after: Option<String>,
    open: bool,
}

impl Default for Pattern {
    fn default() -> Self {
        Self { before: String::new(), after: None, open: true }
    }
}

impl FromStr for Pattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, open) = text.strip_suffix('*').map_or((text, false), |name| (name, true));
        let (before, after) = name.split_once(USER).map_or((name, None), |(before, after)| (before, Some(after)));
        if text.is_empty() || [before, after.unwrap_or_default()].iter().any(|part| part.contains(['*', '{', '}'])) {
            return Err(format!("`{text}`: a channel's name, or the beginning of names and one `*` at the end"));
        }
        if before.starts_with(['@', '$']) || name.chars().any(|c| c.is_control() || c.is_whitespace() || c == ',') {
            return Err(format!("`{text}`: no channel has such a name"));
        }
        // Otherwise it would be open where the user's name ends: `ann` would be taken for the beginning of `anna`.
        let ends = after.is_none_or(|after| after.starts_with(':') || (after.is_empty() && !open));
        if !ends || (before.is_empty() && after.is_some()) {
            return Err(format!("`{text}`: {USER} stands behind something, and before `:` or the end"));
        }
        Ok(Self { before: before.to_owned(), after: after.map(str::to_owned), open })
    }
}

impl fmt::Display for Pattern {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.before)?;
        if let Some(after) = &self.after {
            write!(f, "{USER}{after}")?;
        }
        f.write_str(if self.open { "*" } else { "" })
    }
}

impl Pattern {
    /// The one channel of this name.
    pub fn exactly(channel: &protocol::Channel) -> Self {
        Self { before: channel.to_string(), after: None, open: false }
    }

    /// Whether it takes every channel.
    pub fn takes_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a channel is among these, whosever it is.
    pub fn takes(&self, channel: &str) -> bool {
        self.split(channel).is_some()
    }

    /// Whether a channel is among these and, where it is one user's, this user's.
    pub fn takes_for(&self, channel: &str, user: &str) -> bool {
        self.split(channel).is_some_and(|owner| owner.is_none_or(|owner| owner == encoded(user)))
    }

    /// Whether a channel that it takes is one user's, and not this one's.
    pub fn is_foreign(&self, channel: &str, user: Option<&str>) -> bool {
        let Some(Some(owner)) = self.split(channel) else { return false };
        user.is_none_or(|user| owner != encoded(user))
    }

    /// The owner's part of a channel that it takes, where there is one.
    fn split<'a>(&self, channel: &'a str) -> Option<Option<&'a str>> {
        let rest = channel.strip_prefix(&self.before)?;
        let Some(after) = &self.after else { return (self.open || rest.is_empty()).then_some(None) };
        let (owner, rest) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
        let fits = rest.strip_prefix(after.as_str()).is_some_and(|rest| self.open || rest.is_empty());
        (fits && !owner.is_empty()).then_some(Some(owner))
    }
}

/// A user's name as one part of a channel's: what a channel cannot hold, `:` (where a part ends) and `%` are percent-encoded
/// byte for byte, so that no two users have the same.
pub fn encoded(user: &str) -> Cow<'_, str> {
    let is_special = |c: char| c.is_control() || c.is_whitespace() || matches!(c, ',' | '{' | '}' | '*' | ':' | '%');
    if !user.contains(is_special) {
        return Cow::Borrowed(user);
    }
    let mut text = String::with_capacity(user.len() + 8);
    for c in user.chars() {
        if is_special(c) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                // A String takes everything.
                let _ = write!(text, "%{byte:02X}");
            }
        } else {
            text.push(c);
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap_or_else(|fault| panic!("{fault}"))
    }

    #[test]
    fn patterns_take_names_and_beginnings_of_names() {
        let takes = |text: &str, channel: &str| pattern(text).takes(channel);
        assert!(takes("*", "anything"));
        assert!(takes("chat:*", "chat:lobby"));
        assert!(!takes("chat:*", "chatter") && !takes("chat:*", "chat"));
        assert!(takes("news", "news") && !takes("news", "news2"));
    }

    #[test]
    fn what_could_take_no_channel_or_the_wrong_ones_is_no_pattern() {
        for text in
            ["a*b", "", "**", "@a", "$*", "a b", "a,b", "{user}", "{user}:*", "user:{user}*", "user:{user}x", "{room}"]
        {
            assert!(text.parse::<Pattern>().is_err(), "{text:?}");
        }
        assert!("user:{user}:{user}".parse::<Pattern>().is_err());
    }

    #[test]
    fn a_user_s_channels_are_that_user_s() {
        let inbox = pattern("user:{user}");
        assert!(inbox.takes("user:ann") && inbox.takes_for("user:ann", "ann"));
        assert!(!inbox.takes_for("user:anna", "ann") && !inbox.takes_for("user:an", "ann"));
        assert!(!inbox.takes("user:") && !inbox.takes("user:ann:x"));
        assert!(inbox.is_foreign("user:ann", Some("bob")) && inbox.is_foreign("user:ann", None));
        assert!(!inbox.is_foreign("user:ann", Some("ann")));
        let below = pattern("user:{user}:*");
        assert!(below.takes_for("user:ann:mail", "ann") && below.takes_for("user:ann:a:b", "ann"));
        assert!(!below.takes("user:ann") && !below.takes_for("user:ann:mail", "bob"));
        assert!(!pattern("*").is_foreign("user:ann", None));
    }

    #[test]
    fn a_user_s_name_cannot_reach_into_another_s_channels() {
        let below = pattern("user:{user}:*");
        assert!(!below.takes_for("user:ann:mail", "ann:mail"));
        assert!(below.takes_for("user:ann%3Amail:x", "ann:mail"));
        assert!(!below.takes_for("user:ann%3Amail:x", "ann%3Amail"), "a name that looks like another's encoded one");
        assert!(pattern("user:{user}").takes_for("user:a%20b%2A", "a b*"));
    }

    proptest! {
        #[test]
        fn a_pattern_reads_as_it_is_written(text in "[a-z:]{1,8}(\\{user\\}(:[a-z]{0,4})?)?") {
            let of = pattern(&text);
            prop_assert_eq!(of.to_string(), text);
        }

        #[test]
        fn every_user_has_a_channel_and_nobody_else_does(a in "\\PC{1,12}|[a:%{}* ,\\x00]{1,6}", b in "\\PC{1,12}|[a:%{}* ,\\x00]{1,6}") {
            let name = format!("user:{}", encoded(&a));
            prop_assert!(protocol::Channel::new(&name).is_ok(), "{}", name);
            let (own, below) = (pattern("user:{user}"), pattern("user:{user}:*"));
            prop_assert!(own.takes_for(&name, &a));
            prop_assert_eq!(own.takes_for(&name, &b), a == b);
            prop_assert_eq!(below.takes_for(&format!("{name}:x:y"), &b), a == b);
        }

        #[test]
        fn an_open_pattern_takes_what_begins_with_it_and_a_closed_one_itself(
            beginning in "[a-z:]{1,6}", name in "[a-z:]{1,10}"
        ) {
            prop_assert_eq!(pattern(&format!("{beginning}*")).takes(&name), name.starts_with(&beginning));
            prop_assert_eq!(pattern(&beginning).takes(&name), name == beginning);
        }
    }
}
