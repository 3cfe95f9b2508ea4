//! What may be done in channels, and what a token or a role expressly grants of it.

use crate::pattern::Pattern;
use std::fmt;
use std::str::FromStr;

/// What a client wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Action {
    /// Be delivered the channel's publications.
    Subscribe = 1,
    /// Send to it.
    Publish = 2,
    /// See who is there, and who comes and goes.
    Presence = 4,
    /// Read its log, also to recover.
    History = 8,
    /// Send private messages: not a matter of channels, so a grant of it is for every channel (`*`).
    Send = 16,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Subscribe, Self::Publish, Self::Presence, Self::History, Self::Send];

    /// Its name in configurations and tokens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Presence => "presence",
            Self::History => "history",
            Self::Send => "send",
        }
    }
}

impl FromStr for Action {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|action| action.as_str() == text);
        found.ok_or_else(|| format!("`{text}`: subscribe, publish, presence, history or send"))
    }
}

/// A set of actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Actions(u8);

impl Actions {
    /// Everything.
    pub const ALL: Self = Self(31);

    /// What belongs to having a channel: to be delivered it, to see who is there, and to read its log.
    pub const READ: Self = Self(Action::Subscribe as u8 | Action::Presence as u8 | Action::History as u8);

    /// Whether this is among them.
    pub const fn has(self, action: Action) -> bool {
        self.0 & action as u8 != 0
    }

    /// Reads names; `*` stands for all of them.
    ///
    /// # Errors
    /// Names the word that is no action.
    pub fn of_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut actions = Self::default();
        for word in words {
            actions.0 |= if word == "*" { Self::ALL.0 } else { word.parse::<Action>()? as u8 };
        }
        Ok(actions)
    }

    /// The names of all in it.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Action::ALL.into_iter().filter(move |action| self.has(*action)).map(Action::as_str)
    }
}

impl fmt::Display for Actions {
    /// As a list in TOML or JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.words()).finish()
    }
}

/// What a token grants in some channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Which.
    pub pattern: Pattern,
    /// What.
    pub actions: Actions,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_read_as_they_are_written() {
        for action in Action::ALL {
            let one = Actions::of_words([action.as_str()]).unwrap();
            assert!(Action::ALL.iter().all(|other| one.has(*other) == (*other == action)));
        }
        assert_eq!(Actions::of_words(["*"]), Ok(Actions::ALL));
        assert_eq!(Actions::READ.to_string(), r#"["subscribe", "presence", "history"]"#);
        assert!(Actions::of_words(["publish", "Publish"]).is_err());
    }
}
