//! The state that a subscriber is answered with: from the reading that its channel's subscribers share, or from the broker.

use super::{COMMAND_TIMEOUT, DRAIN_TIMEOUT};
use crate::hub::past::Errand;
use crate::hub::state::{Snapshot, StateAt};
use crate::local::Local;
use crate::local::connection::Connection;
use broker::Page;
use protocol::{Channel, Position, Refusal};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a client may wait for readings, its own and those of others.
const STATE_TIMEOUT: Duration = Duration::from_secs(5);

/// Readings that one client makes: what they bring is of no use while an epoch ends, which the next attempt finds over.
const READS_MAX: u32 = 3;

/// What a subscriber finds at one moment, to be used in the same step of the thread.
pub(super) enum Found {
    /// The channel has no state, or the subscriber asked for none.
    None,
    /// Here it is, and there is room for it in the outbox.
    Here(Rc<Snapshot>),
    /// Something has to be waited for: [`StateOf::prepare`], then look again.
    NotYet,
}

/// One subscriber's view of its channel's state.
pub(super) struct StateOf<'a> {
    local: &'a Local,
    connection: &'a Connection,
    channel: &'a Channel,
    is_wanted: bool,
    deadline: Instant,
    reads_left: Cell<u32>,
}

impl<'a> StateOf<'a> {
    pub(super) fn new(local: &'a Local, connection: &'a Connection, channel: &'a Channel, is_wanted: bool) -> Self {
        let (deadline, reads_left) = (Instant::now() + DRAIN_TIMEOUT, Cell::new(READS_MAX));
        Self { local, connection, channel, is_wanted, deadline, reads_left }
    }

    /// Waits until the state is at hand and the outbox has room for it.
    pub(super) async fn prepare(&self) -> Result<(), Refusal> {
        if !self.is_wanted {
            return Ok(());
        }
        let read_by = self.deadline.min(Instant::now() + STATE_TIMEOUT);
        loop {
            let at = self.local.hub.borrow_mut().state(self.channel);
            match at {
                StateAt::None => return Ok(()),
                StateAt::Here(state) => match self.local.drained(self.connection).filter(|_| !self.has_room(&state)) {
                    Some(drained) => until(self.deadline, drained.notified()).await?,
                    None => return Ok(()),
                },
                StateAt::Wait(done) => until(read_by, done.notified()).await?,
                StateAt::Unread => self.read().await?,
                StateAt::Closed => return Err(Refusal::unavailable()),
            }
        }
    }

    /// What is at hand now.
    pub(super) fn find(&self) -> Found {
        if !self.is_wanted {
            return Found::None;
        }
        match self.local.hub.borrow_mut().state(self.channel) {
            StateAt::None => Found::None,
            StateAt::Here(state) if self.has_room(&state) => Found::Here(state),
            _ => Found::NotYet,
        }
    }

    /// What is at hand now for a subscriber that has recovered up to here. A state that is older, or of another epoch, would
    /// not go with what it has: then it is read anew, and is newer than that.
    pub(super) fn find_for(&self, reached: &Position) -> Found {
        match self.find() {
            Found::Here(state) if state.page.top.epoch != reached.epoch || state.page.top.offset < reached.offset => {
                self.local.hub.borrow_mut().forget_state(self.channel);
                Found::NotYet
            }
            found => found,
        }
    }

    /// An empty outbox takes any state: those are bounded by themselves.
    fn has_room(&self, state: &Snapshot) -> bool {
        let waiting = self.connection.state.borrow().outbox.bytes();
        waiting == 0 || waiting + state.bytes <= self.local.node.config.worker.outbox_bytes / 2
    }

    /// Reads it for all who wait.
    async fn read(&self) -> Result<(), Refusal> {
        let left = self.reads_left.get().checked_sub(1).ok_or_else(Refusal::unavailable)?;
        self.reads_left.set(left);
        let errand = self.local.hub.borrow_mut().begin_state(self.channel).ok_or_else(Refusal::unavailable)?;
        let mut reading = Reading { state: self, errand, page: None };
        self.local.node.metrics.state_reads.inc();
        let read = timeout(COMMAND_TIMEOUT, self.local.node.broker.state(self.channel)).await;
        reading.page = read.ok().and_then(Result::ok);
        if reading.page.is_some() { Ok(()) } else { Err(Refusal::unavailable()) }
    }
}

async fn until(deadline: Instant, told: impl Future<Output = ()>) -> Result<(), Refusal> {
    timeout_at(deadline, told).await.map_err(|_| Refusal::unavailable())
}

/// Ends the reading whatever happens to its reader.
struct Reading<'a, 'b> {
    state: &'a StateOf<'b>,
    errand: Errand,
    page: Option<Page>,
}

impl Drop for Reading<'_, '_> {
    fn drop(&mut self) {
        self.state.local.hub.borrow_mut().install_state(self.state.channel, self.errand, self.page.take());
    }
}
