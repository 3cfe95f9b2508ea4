//! Where a connection is in each of its channels, as the one string that a client brings back: its `offset`.
//!
//! A client remembers the last argument of the last event it got, if that is a string. So the string has to say all: it is
//! `channel epoch offset` for each channel, separated by commas; `channel` alone where there are no positions.

use crate::{Channel, Position};

/// The most channels of a connection whose state is recovered: the string goes with every turn.
pub const MAX_TRACKED: usize = 16;

/// What stands in place of positions where more is to come: no client that has it last can be recovered.
pub const INCOMPLETE: &str = "+";

/// One channel's place.
pub type Place = (Channel, Option<Position>);

/// Writes places; [`INCOMPLETE`] if they are too many.
pub fn write(places: &[Place]) -> String {
    if places.len() > MAX_TRACKED {
        return INCOMPLETE.to_owned();
    }
    let mut text = String::new();
    for (channel, position) in places {
        if !text.is_empty() {
            text.push(',');
        }
        push(channel, position.as_ref(), &mut text);
    }
    text
}

/// Writes one place.
pub fn push(channel: &Channel, position: Option<&Position>, text: &mut String) {
    text.push_str(channel);
    if let Some(position) = position {
        text.push(' ');
        text.push_str(&position.epoch);
        text.push(' ');
        text.push_str(&position.offset.to_string());
    }
}

/// Reads places; `None` for what is none, or not all.
pub fn read(text: &str) -> Option<Vec<Place>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let mut places = Vec::new();
    for part in text.split(',') {
        if places.len() == MAX_TRACKED {
            return None;
        }
        let mut words = part.split(' ');
        let channel = Channel::new(words.next()?).ok()?;
        let position = match (words.next(), words.next(), words.next()) {
            (None, ..) => None,
            (Some(epoch), Some(offset), None) if !epoch.is_empty() => {
                Some(Position { epoch: epoch.into(), offset: offset.parse().ok()? })
            }
            _ => return None,
        };
        if text == INCOMPLETE || places.iter().any(|(known, _)| *known == channel) {
            return None;
        }
        places.push((channel, position));
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(channel: &str, position: Option<(&str, u64)>) -> Place {
        let position = position.map(|(epoch, offset)| Position { epoch: epoch.into(), offset });
        (Channel::new(channel).unwrap(), position)
    }

    #[test]
    fn places_are_read_as_they_were_written() {
        let places = [place("lobby", Some(("k3Zq", 42))), place("a:b", None), place("c", Some(("t", 0)))];
        assert_eq!(write(&places), "lobby k3Zq 42,a:b,c t 0");
        assert_eq!(read(&write(&places)).as_deref(), Some(&places[..]));
        assert_eq!((write(&[]), read("")), (String::new(), Some(vec![])));
    }

    #[test]
    fn what_does_not_say_all_is_nothing() {
        let wrong = ["+", "a b", "a b c", "a b 1 2", "a,a", " ", ",", "a  1", "a e -1", "a e 99999999999999999999"];
        for text in wrong {
            assert_eq!(read(text), None, "{text:?}");
        }
        let many: Vec<_> = (0..=MAX_TRACKED).map(|n| place(&format!("c{n}"), None)).collect();
        assert_eq!(write(&many), INCOMPLETE);
        assert_eq!(read(&many.iter().map(|(c, _)| c.to_string()).collect::<Vec<_>>().join(",")), None);
    }
}
