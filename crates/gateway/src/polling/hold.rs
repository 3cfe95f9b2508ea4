//! One poll at a time: held until there is something to say, and if its client goes meanwhile, so has the session.

use crate::local::Local;
use crate::local::connection::Connection;
use crate::pipe::{Got, Release};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;

/// Gone before it was answered, a poll has taken what nobody got: its session ends, as it does when a stream breaks.
struct Waiting<'a> {
    local: &'a Rc<Local>,
    connection: &'a Rc<Connection>,
    turn: u64,
    is_answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.local.node.metrics.polls_waiting.dec();
        if !self.is_answered {
            abandon(self.local, self.connection, self.turn);
        }
        self.connection.socket.pipe().inspect(|pipe| pipe.end(self.turn));
        // Until now it has waited: that has its next poll be due.
        let now = self.local.tick();
        let mut state = self.connection.state.borrow_mut();
        if state.polled.is_some() {
            state.times.heard = now;
        }
    }
}

/// Polls are the heartbeat of a session, and the answer of one that has to show that it lives; Engine.IO has another one.
fn note_heard(local: &Local, connection: &Connection) {
    let mut state = connection.state.borrow_mut();
    if state.polled.is_some() {
        state.times.alive(local.tick(), false);
    }
}

/// Waits for what a session has to say, at most so long: what there is by then is nothing. `turn` names the poll.
pub async fn hold(local: &Rc<Local>, connection: &Rc<Connection>, turn: u64, time: Duration) -> Got {
    let Some(pipe) = connection.socket.pipe() else { return Got::Ended };
    pipe.begin(turn);
    note_heard(local, connection);
    local.node.metrics.polls_waiting.inc();
    let mut waiting = Waiting { local, connection, turn, is_answered: false };
    local.try_flush(connection);
    let got = timeout(time, pipe.read(turn)).await;
    waiting.is_answered = true;
    got.unwrap_or(Got::Released(Release::Nothing))
}

/// Ends a session as if its stream had broken.
pub fn lose(local: &Rc<Local>, connection: &Rc<Connection>) {
    local.retire(connection);
    connection.task.get().inspect(|task| task.abort());
}

/// A poll that nobody waits for any more. If it has been answered already, nobody has heard that.
pub fn abandon(local: &Rc<Local>, connection: &Rc<Connection>, turn: u64) {
    let is_held = connection.socket.pipe().is_some_and(|pipe| pipe.reader() == Some(turn));
    let answered = connection.state.borrow().polled.as_ref().and_then(|polled| polled.answered);
    if is_held || answered == Some(turn) {
        lose(local, connection);
    }
}

/// A poll that is to be answered now, with nothing if there is nothing.
pub fn release(connection: &Rc<Connection>, turn: u64) {
    connection.socket.pipe().filter(|pipe| pipe.reader() == Some(turn)).inspect(|pipe| pipe.release(Release::Nothing));
}

/// Waits until what a session has been told before is carried out, so that it takes no more than a stream would be read;
/// false if that does not come in time.
pub async fn idle(connection: &Connection, time: Duration) -> bool {
    let busy = connection.state.borrow().waiting.as_ref().map(|waiting| waiting.done.clone());
    match busy {
        Some(done) => timeout(time, done.notified()).await.is_ok(),
        None => true,
    }
}
