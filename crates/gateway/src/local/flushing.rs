//! Writing to sockets, and what becomes of one that does not take what waits for it: it does without what it may, or it is
//! closed.

use super::Local;
use super::connection::{Connection, State};
use super::timers::ticks;
use crate::outbox::{Dropped, Flushed, Full, Outbox, Shared, Slow};
use crate::session::Phase;
use protocol::CloseCode;
use std::ops::Range;
use std::rc::Rc;

/// Why a client counts as slow: a closed set, so it also serves as a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// More waited for it than may.
    Bound,
    /// All clients together made the node hold more than it may, and this one the most.
    Budget,
    /// It took nothing for too long.
    Stalled,
    /// Its socket took no more, and its channels want only the newest then.
    Behind,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bound, Self::Budget, Self::Stalled, Self::Behind];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Budget => "budget",
            Self::Stalled => "stalled",
            Self::Behind => "behind",
        }
    }
}

impl Local {
    /// Puts a connection's own frames into its outbox.
    pub fn send_frames(&self, connection: &Rc<Connection>, frames: &[u8]) {
        if !frames.is_empty() {
            let frames = self.compressed(connection, frames);
            self.push(connection, |outbox, limit| outbox.push_own(&frames, limit));
        }
    }

    /// Puts a part of frames that many share into a connection's outbox; false if it is too slow for them and now closing.
    pub fn send_shared(&self, connection: &Rc<Connection>, frames: &Rc<Shared>, part: &Range<usize>) -> bool {
        self.push(connection, |outbox, limit| outbox.push_shared(frames, part.clone(), limit))
    }

    fn push(&self, connection: &Rc<Connection>, push: impl Fn(&mut Outbox, usize) -> Result<(), Full>) -> bool {
        let pushed = {
            let mut state = connection.state.borrow_mut();
            if state.ended.is_some() {
                return false;
            }
            let pushed = push(&mut state.outbox, self.node.config.worker.outbox_bytes);
            if state.outbox.is_behind() {
                self.recount(&mut state);
            }
            pushed
        };
        if pushed.is_ok() {
            self.mark_dirty(connection);
            return true;
        }
        self.overflow(connection, push)
    }

    /// More than may wait: writes what the kernel takes, then does without what it may, else without the connection.
    fn overflow(&self, connection: &Rc<Connection>, push: impl Fn(&mut Outbox, usize) -> Result<(), Full>) -> bool {
        let limit = self.node.config.worker.outbox_bytes;
        let is_behind = connection.state.borrow().outbox.is_behind();
        if !is_behind {
            self.try_flush(connection);
            if push(&mut connection.state.borrow_mut().outbox, limit).is_ok() {
                self.mark_dirty(connection);
                return true;
            }
        }
        let fits = {
            let mut state = connection.state.borrow_mut();
            let _ = push(&mut state.outbox, usize::MAX);
            let (dropped, fits) = state.outbox.shed(limit);
            self.note_dropped(&state, dropped, Reason::Bound);
            self.recount(&mut state);
            fits
        };
        match fits {
            Ok(()) => self.mark_dirty(connection),
            Err(Full) => self.close_slow(connection, Reason::Bound),
        }
        fits.is_ok()
    }

    /// Closes a connection that is too slow.
    pub fn close_slow(&self, connection: &Rc<Connection>, reason: Reason) {
        if !connection.has_ended() {
            self.node.metrics.slow(Slow::Close.as_str(), reason.as_str());
        }
        self.close(connection, CloseCode::SlowConsumer);
    }

    /// Writes what waits, as far as the kernel takes it. A broken socket takes nothing any more: its reading task finds that
    /// out as well, and ends the connection.
    pub fn try_flush(&self, connection: &Rc<Connection>) -> Flushed {
        let now = self.recent_tick.get();
        let (was_behind, was_unsent_bytes) = {
            let state = connection.state.borrow();
            (state.outbox.is_behind(), state.unsent_bytes)
        };
        if was_behind {
            let mut state = connection.state.borrow_mut();
            let dropped = state.outbox.conflate();
            self.note_dropped(&state, dropped, Reason::Behind);
        }
        let outcome = connection.flush(now);
        let mut state = connection.state.borrow_mut();
        let (flushed, written) = match outcome {
            Ok(done) => done,
            Err(_) => {
                state.outbox.clear();
                (Flushed::All, Default::default())
            }
        };
        self.writes.set(self.writes.get().wrapping_add(written.calls));
        self.node.metrics.writes.inc_by(written.calls);
        self.node.metrics.bytes_out.inc_by(written.bytes);
        if was_behind && written.bytes > 0 {
            // Its window has opened: somebody reads, even if a ping is still on its way behind all that waited.
            let is_scheduled = state.engine.is_some();
            state.times.alive(now, is_scheduled);
        }
        if was_behind || flushed == Flushed::Blocked || state.unsent_bytes != was_unsent_bytes {
            self.recount(&mut state);
        }
        if flushed == Flushed::All {
            state.drained.take().inspect(|drained| drained.notify_waiters());
            if state.ended.is_none() || connection.socket.try_end() {
                return Flushed::All;
            }
            return Flushed::Blocked;
        }
        let stalls_at = state.outbox.stalled_since().map(|since| since.saturating_add(self.stall_ticks()));
        let needs_timer = state.session.phase != Phase::Closing && stalls_at.is_some_and(|at| at < state.times.due);
        drop(state);
        if needs_timer {
            self.set_timer(connection);
        }
        flushed
    }

    /// How long a socket may take nothing.
    pub(super) fn stall_ticks(&self) -> u32 {
        ticks(self.node.config.worker.outbox_timeout)
    }

    /// Counts publications that a connection does without: each of them, and once each time it falls behind the connection.
    fn note_dropped(&self, state: &State, dropped: Dropped, reason: Reason) {
        let lately = state.outbox.dropped();
        for (slow, count, lately) in
            [(Slow::DropOldest, dropped.drop_oldest, lately.drop_oldest), (Slow::Latest, dropped.latest, lately.latest)]
        {
            if count > 0 {
                self.node.metrics.dropped_publications.with_label_values(&[slow.as_str()]).inc_by(count);
            }
            if count > 0 && count == lately {
                self.node.metrics.slow(slow.as_str(), reason.as_str());
            }
        }
    }

    /// Tells gauge and budget what a connection makes this worker hold now.
    pub fn recount(&self, state: &mut State) {
        let (waits, own) = state.outbox.held();
        let queued = state.waiting.as_ref().map_or(0, |waiting| waiting.bytes);
        let engine = state.engine.as_ref().map_or(0, |engine| engine.held_bytes());
        let held = own + queued + state.reader.held_bytes() + state.unsent_bytes + engine;
        let [waits, held] = [waits, held].map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX));
        let before = state.counted;
        if (waits, held) == (before.waits, before.held) {
            return;
        }
        (state.counted.waits, state.counted.held) = (waits, held);
        self.node.metrics.outbox_bytes.add(i64::from(waits) - i64::from(before.waits));
        self.held.set((self.held.get() + held as usize).saturating_sub(before.held as usize));
    }

    /// Lets go of what waits for the worst of this worker's clients, as far as all clients together are over the budget and
    /// this worker over its share of it.
    pub fn keep_within_budget(&self) {
        self.report_held();
        while self.node.budget.excess(self.index) > 0 {
            let mut offenders: Vec<_> = self.connections.borrow().values().filter_map(offence).collect();
            offenders.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
            if offenders.is_empty() {
                return;
            }
            for (_, connection) in offenders {
                self.relieve(&connection);
                self.report_held();
                if self.node.budget.excess(self.index) == 0 {
                    return;
                }
            }
        }
    }

    /// Lets a connection do without what it may; one that cannot is closed. What waits for the end of this turn is not what
    /// it holds.
    fn relieve(&self, connection: &Rc<Connection>) {
        let is_behind = connection.state.borrow().outbox.is_behind();
        let freed = is_behind && {
            let mut state = connection.state.borrow_mut();
            let before = state.outbox.bytes();
            let mut dropped = state.outbox.conflate();
            if dropped == Dropped::default() {
                dropped = state.outbox.shed_all();
            }
            self.note_dropped(&state, dropped, Reason::Budget);
            self.recount(&mut state);
            before > state.outbox.bytes()
        };
        if !freed {
            self.close_slow(connection, Reason::Budget);
        }
    }

    fn report_held(&self) {
        // In the middle of a turn more is held, which leaves at its end.
        let is_in_turn = self.is_flushing.get() || self.has_dirty();
        let shared = if is_in_turn { self.shared_held.get().min(self.meter.bytes()) } else { self.meter.bytes() };
        self.shared_held.set(shared);
        let change = self.node.budget.report(self.index, self.held.get() + shared);
        if change != 0 {
            self.node.metrics.budget_used_bytes.add(change);
        }
    }
}

/// How bad a connection is, if it makes this worker hold anything and has not been closed already: what waits for it, and
/// once more what of that nobody else waits for.
fn offence(connection: &Rc<Connection>) -> Option<(u32, Rc<Connection>)> {
    let state = connection.state.borrow();
    let bytes = state.counted.waits.saturating_add(state.counted.held);
    (bytes > 0 && state.ended.is_none()).then(|| (bytes, connection.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::SLOW_REASONS;

    #[test]
    fn each_reason_is_counted_by_its_word() {
        assert_eq!(Reason::ALL.map(Reason::as_str), SLOW_REASONS);
    }
}
