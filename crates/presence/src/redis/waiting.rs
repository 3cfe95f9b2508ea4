//! Those who wait until something is written.

use super::turns::{Turns, Urgency};
use crate::Unavailable;
use tokio::sync::oneshot;

/// Tells that what was waited for is written, or why not.
pub(super) type Answer = oneshot::Receiver<Result<(), Unavailable>>;

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// The entry with this turn.
    Written(u64),
    /// Everything up to this turn.
    AllWritten(u64),
}

/// Who waits. Each is answered when its entries are written, refused, or cannot be written now: after every flight, so
/// none stays longer than a flight that brings nothing.
#[derive(Debug, Default)]
pub(super) struct Waiting(Vec<(Until, oneshot::Sender<Result<(), Unavailable>>)>);

impl Waiting {
    pub(super) fn add(&mut self, until: Until) -> Answer {
        let (sender, answer) = oneshot::channel();
        self.0.push((until, sender));
        answer
    }

    /// Answers those whose entries have been written.
    pub(super) fn answer_written(&mut self, turns: &Turns) {
        let first = turns.first(Urgency::Now).unwrap_or(u64::MAX);
        let first_of_all = turns.first(Urgency::Again).unwrap_or(u64::MAX).min(first);
        self.answer(Ok(()), |until| match until {
            Until::Written(turn) => turn < first,
            Until::AllWritten(turn) => turn < first_of_all,
        });
    }

    /// This entry was refused by Redis.
    pub(super) fn refuse(&mut self, turn: u64) {
        self.answer(Err(Unavailable), |until| until == Until::Written(turn));
    }

    /// Nothing can be written now.
    pub(super) fn refuse_all(&mut self) {
        self.answer(Err(Unavailable), |_| true);
    }

    /// Entries written long ago have got turns again: who waits for all, waits for them too.
    pub(super) fn include_up_to(&mut self, last: u64) {
        for (until, _) in &mut self.0 {
            if let Until::AllWritten(turn) = until {
                *turn = last;
            }
        }
    }

    fn answer(&mut self, result: Result<(), Unavailable>, is_meant: impl Fn(Until) -> bool) {
        for (_, sender) in self.0.extract_if(.., |(until, _)| is_meant(*until)) {
            // Who asked may have stopped waiting.
            let _ = sender.send(result);
        }
        if self.0.is_empty() {
            self.0.shrink_to(16);
        }
    }
}
