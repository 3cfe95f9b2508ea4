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

/// Sockets written before others get their turn: 0.2 to 0.5 ms, so that a large fan-out does not starve pings and accepts.
pub(super) const FLUSH_SLICE: usize = 32;

/// Ends turns: whatever has been gathered by then leaves together, `slice` sockets at a time.
pub(super) async fn end_turns(local: Rc<Local>, slice: usize) {
    let mut writing = Writing::of(slice);
    loop {
        if writing.waiting.is_empty() {
            local.gathered.notified().await;
        } else {
            tokio::task::yield_now().await;
        }
        let began = Instant::now();
        let delivered = std::mem::take(&mut *local.delivered.borrow_mut());
        local.is_flushing.set(true);
        writing.slice(&local);
        // Those who wait now: with those who come meanwhile a busy worker's turn would never end.
        for _ in 0..writing.slices_left() {
            if writing.waiting.is_empty() {
                break;
            }
            // Redis or another worker may share this core: the kernel would let them wait for a tick, 4 ms.
            std::thread::yield_now();
            tokio::task::yield_now().await;
            writing.slice(&local);
        }
        local.is_flushing.set(false);
        local.keep_within_budget();
        observe(&local, &delivered);
        local.node.metrics.turn_seconds.with_label_values(&["end"]).observe(began.elapsed().as_secs_f64());
    }
}

/// The sockets that are to be written. Its lists are kept, or each turn would have to make them as large as its channel.
pub(super) struct Writing {
    slice: usize,
    waiting: VecDeque<Rc<Connection>>,
    newcomers: Vec<Rc<Connection>>,
}

impl Writing {
    pub(super) fn of(slice: usize) -> Self {
        Self { slice, waiting: VecDeque::new(), newcomers: Vec::new() }
    }

    /// Of a slice, how many may be sockets that came last: what is said beside a large fan-out does not wait for its end.
    fn newcomers_max(&self) -> usize {
        self.slice / 2
    }

    /// How many slices write all that wait now, whoever comes meanwhile.
    fn slices_left(&self) -> usize {
        self.waiting.len().div_ceil(self.slice - self.newcomers_max())
    }

    /// Publishes what has been gathered, and writes a little of it.
    pub(super) fn slice(&mut self, local: &Rc<Local>) {
        publish(local);
        local.tell_places();
        local.swap_soon(&mut self.newcomers);
        let first = self.newcomers.len().min(self.newcomers_max());
        self.waiting.extend(self.newcomers.drain(first..));
        local.take_crowd(&mut self.waiting);
        for connection in self.newcomers.drain(..) {
            write(local, &connection);
        }
        let more = self.waiting.len().min(self.slice - first);
        for connection in self.waiting.drain(..more) {
            write(local, &connection);
        }
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
