//! A channel's state as a reader keeps it: the newest publication of each key.

use crate::event::{Data, Event, GapCause, Publication};
use std::collections::BTreeMap;

/// A channel's state, kept up to date by the [`Event`]s of a subscription that asked for it
/// ([`crate::SubscribeOptions::state`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retained {
    entries: BTreeMap<String, Publication>,
    is_doubtful: bool,
}

impl Retained {
    /// Takes what an event says of the state; returns whether that changed anything.
    pub fn follow(&mut self, event: &Event) -> bool {
        match event {
            Event::Subscribed { state, .. } => {
                let entry = |publication: &Publication| Some((publication.retain.clone()?, publication.clone()));
                self.is_doubtful = false;
                let before = std::mem::replace(&mut self.entries, state.iter().filter_map(entry).collect());
                before != self.entries
            }
            Event::Publication(publication) => self.put(publication),
            Event::Gap(gap) => {
                // One that a reconnect has told comes after the state that it brought.
                self.is_doubtful |= gap.cause != GapCause::NotRecovered;
                if gap.range.is_none() {
                    self.forget_offsets();
                }
                false
            }
            _ => false,
        }
    }

    /// What comes next may count in another epoch, where offsets begin anew: it is newer, whatever its offset.
    fn forget_offsets(&mut self) {
        self.entries.values_mut().for_each(|known| known.offset = None);
    }

    fn put(&mut self, publication: &Publication) -> bool {
        let Some(key) = &publication.retain else { return false };
        // After a reconnect the state may be newer than what is recovered.
        if self.entries.get(key).is_some_and(|known| known.offset >= publication.offset) {
            return false;
        }
        if is_null(&publication.data) {
            return self.entries.remove(key).is_some();
        }
        self.entries.insert(key.clone(), publication.clone());
        true
    }

    /// The newest publication of a key.
    pub fn get(&self, key: &str) -> Option<&Publication> {
        self.entries.get(key)
    }

    /// All of them with their keys, in the keys' order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Publication)> {
        self.entries.iter().map(|(key, publication)| (key.as_str(), publication))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a gap may have held changes that this does not know. The history may still tell them; a new subscription
    /// begins with the whole state.
    pub fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }
}

fn is_null(data: &Data) -> bool {
    data.as_json().is_some_and(|json| json.trim() == "null")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Gap;

    fn publication(offset: u64, retain: Option<&str>, data: &str) -> Publication {
        let (retain, data) = (retain.map(str::to_owned), Data::Json(data.to_owned()));
        Publication { offset: Some(offset), time_ms: 0, from: None, event: None, retain, data }
    }

    fn subscribed(state: Vec<Publication>) -> Event {
        Event::Subscribed { recovered: false, position: None, state, members: None }
    }

    fn offsets(retained: &Retained) -> Vec<(&str, u64)> {
        retained.iter().map(|(key, publication)| (key, publication.offset.unwrap())).collect()
    }

    #[test]
    fn it_begins_with_what_is_there_and_follows_what_comes() {
        let mut retained = Retained::default();
        assert!(retained.follow(&subscribed(vec![publication(3, Some("b"), "1"), publication(5, Some("a"), "2")])));
        assert!(retained.follow(&Event::Publication(publication(6, Some("b"), "3"))));
        assert!(!retained.follow(&Event::Publication(publication(7, None, "4"))));
        assert_eq!(offsets(&retained), [("a", 5), ("b", 6)]);
        assert!(retained.follow(&Event::Publication(publication(8, Some("a"), " null "))));
        assert!(!retained.follow(&Event::Publication(publication(9, Some("a"), "null"))), "it is out already");
        assert_eq!((offsets(&retained), retained.get("a")), (vec![("b", 6)], None));
    }

    #[test]
    fn what_is_recovered_does_not_undo_a_newer_state() {
        let mut retained = Retained::default();
        retained.follow(&subscribed(vec![publication(9, Some("a"), "9")]));
        for old in [publication(5, Some("a"), "5"), publication(6, Some("a"), "null"), publication(9, Some("a"), "9")] {
            assert!(!retained.follow(&Event::Publication(old)));
        }
        assert_eq!(offsets(&retained), [("a", 9)]);
    }

    #[test]
    fn after_a_gap_it_is_doubtful_until_the_next_subscription() {
        let mut retained = Retained::default();
        let gap = |cause| Event::Gap(Gap { range: None, to: None, epoch: None, cause });
        retained.follow(&gap(GapCause::NotRecovered));
        assert!(!retained.is_doubtful());
        retained.follow(&gap(GapCause::Told));
        assert!(retained.is_doubtful());
        assert!(!retained.follow(&subscribed(Vec::new())));
        assert!(!retained.is_doubtful() && retained.is_empty());
    }
}
