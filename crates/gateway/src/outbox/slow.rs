//! What becomes of those who do not keep up.

use std::str::FromStr;

/// What becomes of a subscriber that does not keep up, and of what waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slow {
    /// It is closed (4102) when more waits than may.
    Close,
    /// When more waits than may, the oldest publications go, and a gap tells which.
    DropOldest,
    /// As soon as its socket takes no more, only the newest publication waits (of each key that is retained), and a gap tells
    /// what it stands for.
    Latest,
}

impl Slow {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Close, Self::DropOldest, Self::Latest];

    /// The word for it: a closed set, so it also serves as a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::DropOldest => "drop_oldest",
            Self::Latest => "latest",
        }
    }
}

impl FromStr for Slow {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|slow| slow.as_str() == text);
        known.ok_or_else(|| format!("`{text}`: close, drop_oldest or latest"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::SLOW_POLICIES;

    #[test]
    fn each_is_counted_and_read_by_its_word() {
        assert_eq!(Slow::ALL.map(Slow::as_str), SLOW_POLICIES);
        assert_eq!(Slow::ALL.map(|slow| slow.as_str().parse()), Slow::ALL.map(Ok));
        assert_eq!("fast".parse::<Slow>(), Err("`fast`: close, drop_oldest or latest".to_owned()));
    }
}
