//! In what order entries are written.

use protocol::{Channel, Text};
use std::collections::BTreeMap;

/// Which entry: a connection in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) channel: Channel,
    pub(super) client: Text,
}

/// How soon an entry is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// Just stated by its connection.
    Now,
    /// Written once before, and to be made sure of: after all that is new.
    Again,
    /// Refused by Redis: waits for [`Turns::retry`], so that it holds up nobody.
    Later,
}

/// An entry's place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    pub(super) urgency: Urgency,
    pub(super) number: u64,
}

/// The entries that are to be written. Each has one turn at the most, so there are never more than entries.
#[derive(Debug, Default)]
pub(super) struct Turns {
    queue: BTreeMap<Turn, Place>,
    last: u64,
}

impl Turns {
    /// The number of the last turn that was given.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Gives an entry the next turn.
    pub(super) fn draw(&mut self, urgency: Urgency, place: Place) -> Turn {
        self.last += 1;
        let turn = Turn { urgency, number: self.last };
        self.queue.insert(turn, place);
        turn
    }

    /// An entry goes back to where it was before it was taken.
    pub(super) fn put_back(&mut self, turn: Turn, place: Place) {
        self.queue.insert(turn, place);
    }

    pub(super) fn remove(&mut self, turn: Turn) {
        self.queue.remove(&turn);
    }

    /// The next entry that may be written.
    pub(super) fn pop(&mut self) -> Option<(Turn, Place)> {
        let first = self.queue.first_entry().filter(|first| first.key().urgency != Urgency::Later)?;
        Some(first.remove_entry())
    }

    /// The first turn of this urgency.
    pub(super) fn first(&self, urgency: Urgency) -> Option<u64> {
        let first = self.queue.range(Turn { urgency, number: 0 }..).next()?;
        (first.0.urgency == urgency).then_some(first.0.number)
    }

    /// Those that were refused may be written again; returns them with their new turns.
    pub(super) fn retry(&mut self) -> Vec<(Turn, Place)> {
        let refused = self.queue.split_off(&Turn { urgency: Urgency::Later, number: 0 });
        refused.into_values().map(|place| (self.draw(Urgency::Again, place.clone()), place)).collect()
    }
}
