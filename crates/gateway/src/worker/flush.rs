//! The end of a turn: when everything at hand has been handled, what was gathered is published in one batch and each dirty
//! socket is written once, a slice of them at a time, those of a crowd after others.

use super::turn::publish;
use crate::local::connection::Connection;
use crate::local::dirty::Dirty;
use crate::local::{Local, unix_ms};
use crate::outbox::Flushed;
use std::collections::VecDeque;
use std::rc::Rc;
use tokio::time::Instant;

/// Sockets written before others get their turn, about 1 ms: what has come meanwhile is published then, so that Redis and the
/// other nodes have something to do.
const SLICE: usize = 128;

/// The same while a crowd waits, 0.2 to 0.5 ms: it would keep pings, accepts and small channels waiting too often.
pub(super) const CROWD_SLICE: usize = 32;

/// Ends turns: whatever has been gathered by then leaves together, while a crowd waits `crowd_slice` sockets at a time.
pub(super) async fn end_turns(local: Rc<Local>, crowd_slice: usize) {
    let mut writing = Writing::of(crowd_slice);
    loop {
        if writing.is_done() {
            local.gathered.notified().await;
        } else {
            tokio::task::yield_now().await;
        }
        let began = Instant::now();
        let delivered = std::mem::take(&mut *local.delivered.borrow_mut());
        local.is_flushing.set(true);
        writing.slice(&local);
        // Those who wait now: with those who come meanwhile a busy worker's turn would never end.
        let (mut soon, mut crowd) = (writing.soon.len(), writing.crowd.len());
        while soon > 0 || crowd > 0 {
            if !writing.crowd.is_empty() {
                // Redis or another worker may share this core: the kernel would let them wait for a tick, 4 ms.
                std::thread::yield_now();
            }
            tokio::task::yield_now().await;
            let (of_soon, of_crowd) = writing.slice(&local);
            (soon, crowd) = (soon.saturating_sub(of_soon), crowd.saturating_sub(of_crowd));
        }
        local.is_flushing.set(false);
        local.keep_within_budget();
        observe(&local, &delivered);
        local.node.metrics.turn_seconds.with_label_values(&["end"]).observe(began.elapsed().as_secs_f64());
    }
}

/// The sockets that are to be written. Its lists are kept, or each turn would have to make them as large as its channel.
pub(super) struct Writing {
    crowd_slice: usize,
    soon: VecDeque<Rc<Connection>>,
    crowd: VecDeque<Rc<Connection>>,
}

impl Writing {
    pub(super) fn of(crowd_slice: usize) -> Self {
        Self { crowd_slice, soon: VecDeque::new(), crowd: VecDeque::new() }
    }

    /// Whether nobody waits.
    pub(super) fn is_done(&self) -> bool {
        self.soon.is_empty() && self.crowd.is_empty()
    }

    /// Publishes what has been gathered, and writes to a few of those who wait, who has waited longest first: at least half of
    /// them are of a crowd, if one waits. Returns how many were not, and how many were.
    pub(super) fn slice(&mut self, local: &Rc<Local>) -> (usize, usize) {
        publish(local);
        local.tell_places();
        local.take_dirty(&mut self.soon, &mut self.crowd);
        let (size, of_crowd) =
            if self.crowd.is_empty() { (SLICE, 0) } else { (self.crowd_slice, self.crowd_slice.div_ceil(2)) };
        let soon = self.soon.len().min(size - of_crowd.min(self.crowd.len()));
        let crowd = self.crowd.len().min(size - soon);
        for connection in self.soon.drain(..soon).chain(self.crowd.drain(..crowd)) {
            write(local, &connection);
        }
        (soon, crowd)
    }
}

/// Writes what waits for a socket in one call, if the kernel takes it; else a task waits until it takes more.
fn write(local: &Rc<Local>, connection: &Rc<Connection>) {
    let dirty = std::mem::take(&mut connection.state.borrow_mut().dirty);
    if dirty == Dirty::No {
        return;
    }
    if local.try_flush(connection) == Flushed::Blocked {
        connection.state.borrow_mut().is_writing = true;
        tokio::task::spawn_local(write_on(local.clone(), connection.clone()));
    }
}

async fn write_on(local: Rc<Local>, connection: Rc<Connection>) {
    while connection.socket.writable().await.is_ok() {
        if local.try_flush(&connection) == Flushed::All {
            break;
        }
    }
    connection.state.borrow_mut().is_writing = false;
}

/// How long deliveries took: since they reached this node, and since they left the publisher's (by its clock).
fn observe(local: &Local, delivered: &[(Instant, u64)]) {
    let now_ms = unix_ms();
    for (arrived, sent_ms) in delivered {
        local.node.metrics.fanout_seconds.observe(arrived.elapsed().as_secs_f64());
        local.node.metrics.delivery_seconds.observe(now_ms.saturating_sub(*sent_ms) as f64 / 1000.0);
    }
}
