//! Whom to believe when several sentinels were asked: pure.

use super::{Named, NoPrimary};

/// What came of asking each sentinel once.
pub(super) struct Round {
    sentinels: usize,
    known: Option<Named>,
    answers: usize,
    best: Option<Named>,
    fault: Option<NoPrimary>,
}

impl Round {
    pub(super) fn new(sentinels: usize, known: Option<Named>) -> Self {
        Self { sentinels, known, answers: 0, best: None, fault: None }
    }

    /// True if nothing that is known speaks against this answer.
    pub(super) fn take(&mut self, answer: Result<Named, NoPrimary>) -> bool {
        let named = match answer {
            Ok(named) => named,
            Err(fault) => {
                if !matches!(self.fault, Some(NoPrimary::Unwatched)) {
                    self.fault = Some(fault);
                }
                return false;
            }
        };
        self.answers += 1;
        let is_known = self.known.as_ref() == Some(&named);
        let is_good = is_known || self.known.as_ref().is_none_or(|known| named.config_epoch > known.config_epoch);
        // Where sentinels of one epoch call the primary by different names, the one that is in use stays.
        if self.best.as_ref().is_none_or(|best| (best.config_epoch, false) < (named.config_epoch, is_known)) {
            self.best = Some(named);
        }
        is_good
    }

    /// The newest answer. One that is older than what is known is believed only if most sentinels have answered: epochs
    /// begin anew when the sentinels are set up anew, but a few that are cut off are merely behind.
    pub(super) fn outcome(self) -> Result<Named, NoPrimary> {
        let nobody = || NoPrimary::Unreachable("there are none".to_owned());
        let best = self.best.ok_or_else(|| self.fault.unwrap_or_else(nobody))?;
        let is_behind = self.known.is_some_and(|known| best.config_epoch < known.config_epoch);
        if is_behind && self.answers * 2 <= self.sentinels {
            return Err(NoPrimary::Behind);
        }
        Ok(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(host: &str, config_epoch: u64) -> Named {
        Named { host: host.into(), port: 1, config_epoch }
    }

    fn dead() -> Result<Named, NoPrimary> {
        Err(NoPrimary::Unreachable("dead".into()))
    }

    fn outcome(known: Option<Named>, answers: Vec<Result<Named, NoPrimary>>) -> Result<Named, NoPrimary> {
        let mut round = Round::new(answers.len(), known);
        for answer in answers {
            round.take(answer);
        }
        round.outcome()
    }

    #[test]
    fn the_newest_answer_wins_whatever_the_order() {
        let (old, new) = (named("old", 3), named("new", 4));
        for known in [None, Some(old.clone()), Some(new.clone())] {
            for answers in [[&old, &new, &old], [&new, &old, &old], [&old, &old, &new]] {
                let answers = answers.into_iter().cloned().map(Ok).collect();
                assert_eq!(outcome(known.clone(), answers), Ok(new.clone()));
            }
        }
    }

    #[test]
    fn a_few_that_are_behind_are_not_believed_and_most_are() {
        let (old, new) = (named("old", 0), named("new", 4));
        let known = Some(new);
        assert_eq!(outcome(known.clone(), vec![Ok(old.clone()), dead(), dead()]), Err(NoPrimary::Behind));
        assert_eq!(outcome(known.clone(), vec![Ok(old.clone()), dead()]), Err(NoPrimary::Behind));
        assert_eq!(outcome(known.clone(), vec![Ok(old.clone()), Ok(old.clone()), dead()]), Ok(old.clone()));
        assert_eq!(outcome(known, vec![Ok(old.clone())]), Ok(old));
    }

    #[test]
    fn who_connects_takes_the_first_answer_that_is_known_or_newer() {
        let (a, b) = (named("a", 4), named("b", 4));
        let is_good = |known: Option<&Named>, answer: &Named| Round::new(3, known.cloned()).take(Ok(answer.clone()));
        assert!(is_good(None, &a) && is_good(Some(&a), &a) && is_good(Some(&a), &named("c", 5)));
        assert!(!is_good(Some(&a), &b) && !is_good(Some(&a), &named("c", 3)));
    }

    #[test]
    fn two_names_for_one_primary_do_not_take_turns() {
        let (a, b) = (named("a", 4), named("b", 4));
        for answers in [vec![Ok(a.clone()), Ok(b.clone())], vec![Ok(b.clone()), Ok(a.clone())]] {
            assert_eq!(outcome(Some(a.clone()), answers), Ok(a.clone()));
        }
        assert_eq!(outcome(Some(a), vec![Ok(b.clone()), Ok(b.clone())]), Ok(b), "nobody says the known one any more");
    }

    #[test]
    fn a_name_that_is_not_watched_is_told_rather_than_a_dead_sentinel() {
        for answers in [vec![dead(), Err(NoPrimary::Unwatched)], vec![Err(NoPrimary::Unwatched), dead()]] {
            assert_eq!(outcome(None, answers), Err(NoPrimary::Unwatched));
        }
        assert_eq!(outcome(Some(named("a", 1)), vec![dead(), dead()]), dead());
    }
}
