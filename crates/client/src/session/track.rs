//! Where one reader stands in its channel: what it has seen, what its own client published in silence, and what is
//! missing.
//!
//! Publications of one's own with `echo: false` do not come back, so their offsets are holes that nobody else explains.
//! Their answers name the offsets, but may come after younger publications: until then every unanswered one (`silent`, as
//! a number) may account for one missing offset.

use protocol::{Epoch, Position};
use std::collections::BTreeSet;

/// Own offsets that are kept; the oldest are forgotten first, and a hole that they would have explained is then told.
const OWN_MAX: usize = 1000;

/// Offsets, the first and the last.
pub(crate) type Range = (u64, u64);

/// What an offset is to a reader.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is next.
    Next,
    /// It is next, but these before it are missing and nothing explains it.
    After(Range),
    /// It has been seen.
    Before,
    /// It is the client's own, published in silence.
    Own(Option<Range>),
}

/// One reader's place.
#[derive(Debug, Default)]
pub(super) struct Track {
    position: Option<Position>,
    /// How many were lost is not known, so the next offset follows, whatever it is.
    is_loose: bool,
    /// What `own` counts in, while there is no position.
    own_epoch: Option<Epoch>,
    own: BTreeSet<u64>,
    /// Missing, and perhaps own.
    doubtful: BTreeSet<u64>,
}

impl Track {
    pub(super) fn from(position: Option<Position>) -> Self {
        Self { position, ..Self::default() }
    }

    pub(super) fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Whether a history that is now at `newest` is the one read so far.
    pub(super) fn is_within(&self, newest: Option<&Position>) -> bool {
        match (&self.position, newest) {
            // One that has lost its newest part counts the same offsets again: nothing of it is known.
            (Some(seen), Some(newest)) => seen.epoch == newest.epoch && seen.offset <= newest.offset,
            _ => false,
        }
    }

    /// Goes to a position whatever was before it.
    pub(super) fn jump(&mut self, position: Option<Position>) {
        let epoch = position.as_ref().map(|position| &position.epoch);
        if self.epoch() != epoch {
            self.own.clear();
        }
        self.own_epoch = epoch.cloned();
        self.doubtful.clear();
        self.is_loose = false;
        self.position = position;
        self.pass_own();
    }

    /// Takes an offset.
    pub(super) fn see(&mut self, offset: u64, silent: usize) -> Seen {
        let Some(position) = &self.position else { return Seen::Next };
        if offset <= position.offset {
            return Seen::Before;
        }
        let is_own = self.own.contains(&offset);
        let missing = self.reach(offset.saturating_sub(1), silent);
        self.go_to(offset);
        match (is_own, missing) {
            (true, missing) => Seen::Own(missing),
            (false, Some(range)) => Seen::After(range),
            (false, None) => Seen::Next,
        }
    }

    /// Everything up to and including `to` has come. Returns what has not, if nothing explains it.
    pub(super) fn reach(&mut self, to: u64, silent: usize) -> Option<Range> {
        let position = self.position.as_ref()?;
        let from = position.offset.saturating_add(1);
        if to < from {
            return None;
        }
        if self.is_loose {
            self.go_to(to);
            return None;
        }
        let own = u64::try_from(self.own.range(from..=to).count()).unwrap_or(u64::MAX);
        let missing = (to - from).saturating_add(1).saturating_sub(own);
        let doubtful = u64::try_from(self.doubtful.len()).unwrap_or(u64::MAX);
        let told = if missing == 0 {
            None
        } else if missing.saturating_add(doubtful) > u64::try_from(silent).unwrap_or(u64::MAX) {
            let from = self.doubtful.first().copied().unwrap_or(from);
            self.doubtful.clear();
            Some((from, to))
        } else {
            // As few as there are unanswered publications.
            self.doubtful.extend((from..=to).filter(|offset| !self.own.contains(offset)));
            None
        };
        self.go_to(to);
        told
    }

    /// Everything up to and including `to` is done with, seen or told to be lost.
    pub(super) fn go_to(&mut self, to: u64) {
        let Some(position) = &mut self.position else { return };
        position.offset = position.offset.max(to);
        self.is_loose = false;
        self.pass_own();
    }

    /// An unknown number is lost.
    pub(super) fn loosen(&mut self) {
        self.is_loose = true;
    }

    /// An own publication with `echo: false` has this position: it will not come, unless by a recovery.
    pub(super) fn take_own(&mut self, position: &Position) {
        if self.epoch().is_some_and(|epoch| *epoch != position.epoch) {
            if self.position.is_some() {
                return;
            }
            self.own.clear();
        }
        self.own_epoch = Some(position.epoch.clone());
        self.doubtful.remove(&position.offset);
        if self.position.as_ref().is_some_and(|seen| position.offset <= seen.offset) {
            return;
        }
        self.own.insert(position.offset);
        if self.own.len() > OWN_MAX {
            self.own.pop_first();
        }
        self.pass_own();
    }

    /// Of the doubtful, what can no longer be explained by `silent` unanswered publications.
    pub(super) fn settle(&mut self, silent: usize) -> Option<Range> {
        if self.doubtful.len() <= silent {
            return None;
        }
        let range = self.doubtful.first().copied().zip(self.doubtful.last().copied());
        self.doubtful.clear();
        range
    }

    /// The connection is lost, and with it the answers that would have settled the doubts: they stand as its own.
    pub(super) fn disconnect(&mut self) {
        self.doubtful.clear();
    }

    fn epoch(&self) -> Option<&Epoch> {
        self.position.as_ref().map(|position| &position.epoch).or(self.own_epoch.as_ref())
    }

    /// Own publications that would come next do not come.
    fn pass_own(&mut self) {
        let Some(position) = &mut self.position else { return };
        self.own.retain(|offset| *offset > position.offset);
        if self.is_loose {
            return;
        }
        while position.offset.checked_add(1).is_some_and(|next| self.own.remove(&next)) {
            position.offset += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position { epoch: "e1".into(), offset }
    }

    fn track(offset: u64) -> Track {
        Track::from(Some(at(offset)))
    }

    fn offset(track: &Track) -> u64 {
        track.position().unwrap().offset
    }

    #[test]
    fn offsets_that_follow_one_another_are_next_and_others_were_before() {
        let mut track = track(4);
        let seen: Vec<_> = [5, 6, 6, 4, 7].map(|offset| track.see(offset, 0)).into();
        assert_eq!(seen, [Seen::Next, Seen::Next, Seen::Before, Seen::Before, Seen::Next]);
    }

    #[test]
    fn a_hole_that_nothing_explains_is_told_once() {
        let mut track = track(4);
        assert_eq!(track.see(8, 0), Seen::After((5, 7)));
        assert_eq!(track.see(9, 0), Seen::Next);
    }

    #[test]
    fn a_hole_as_large_as_a_number_can_be_is_told_like_any_other() {
        assert_eq!(track(0).see(u64::MAX, 3), Seen::After((1, u64::MAX - 1)));
        assert_eq!(track(u64::MAX).see(u64::MAX, 0), Seen::Before);
    }

    #[test]
    fn own_silent_publications_explain_the_holes_that_they_leave() {
        let mut track = track(4);
        track.take_own(&at(5));
        track.take_own(&at(8));
        assert_eq!(offset(&track), 5, "the one that would come next does not come");
        assert_eq!([6, 7, 9].map(|offset| track.see(offset, 0)), [Seen::Next, Seen::Next, Seen::Next]);
    }

    #[test]
    fn an_own_silent_publication_that_a_recovery_brings_is_known() {
        let mut track = track(4);
        track.take_own(&at(6));
        assert_eq!(track.see(5, 0), Seen::Next);
        assert_eq!(track.see(6, 0), Seen::Before);
        track.take_own(&at(9));
        assert_eq!(track.see(9, 0), Seen::Own(Some((7, 8))), "it explains itself, but not what is missing before it");
    }

    #[test]
    fn while_a_silent_publication_is_unanswered_one_offset_may_be_its() {
        let mut track = track(4);
        assert_eq!(track.see(6, 1), Seen::Next);
        track.take_own(&at(5));
        assert_eq!(track.settle(0), None, "it was");
    }

    #[test]
    fn a_doubt_that_the_answer_does_not_settle_is_told() {
        let mut track = track(4);
        assert_eq!(track.see(6, 1), Seen::Next);
        track.take_own(&at(7));
        assert_eq!(track.settle(0), Some((5, 5)), "its own was another");
        assert_eq!(track.see(8, 0), Seen::Next);
    }

    #[test]
    fn more_missing_than_unanswered_is_told_at_once() {
        let mut track = track(4);
        assert_eq!(track.see(6, 1), Seen::Next);
        assert_eq!(track.see(8, 1), Seen::After((5, 7)));
        assert_eq!(track.settle(0), None, "and not again");
    }

    #[test]
    fn after_a_loss_of_unknown_size_any_offset_follows_once() {
        let mut track = track(4);
        track.loosen();
        assert_eq!([track.see(90, 0), track.see(92, 0)], [Seen::Next, Seen::After((91, 91))]);
    }

    #[test]
    fn own_publications_of_another_epoch_explain_nothing() {
        let mut track = track(4);
        track.take_own(&Position { epoch: "e0".into(), offset: 5 });
        assert_eq!(track.see(6, 0), Seen::After((5, 5)));
    }

    #[test]
    fn own_publications_answered_before_the_subscription_are_remembered_for_it() {
        let mut track = Track::default();
        track.take_own(&at(6));
        track.jump(Some(at(5)));
        assert_eq!(offset(&track), 6);
        let mut other = Track::default();
        other.take_own(&Position { epoch: "e0".into(), offset: 6 });
        other.jump(Some(at(5)));
        assert_eq!(offset(&other), 5, "of another epoch they are forgotten");
    }

    #[test]
    fn a_history_of_another_epoch_or_one_that_went_back_is_not_the_one_that_was_read() {
        let track = track(4);
        assert!(track.is_within(Some(&at(4))));
        assert!(!track.is_within(Some(&at(3))));
        assert!(!track.is_within(Some(&Position { epoch: "e2".into(), offset: 9 })));
        assert!(!track.is_within(None));
    }
}
