//! The steady life of a connection: read what has come, carry it out, wait for more; and how all of them are ended.

use crate::commands;
use crate::local::Local;
use crate::local::connection::{Connection, Opened};
use crate::local::deflating::Inflating;
use crate::metrics::Limit;
use crate::session::Phase;
use crate::socketio::{rules, take_message};
use crate::websocket::{Event, Inflate, ReaderLimits, pong_frame};
use protocol::CloseCode;
use protocol::dialect::Dialect;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;

/// One read's worth, shared by all connections of a thread: idle ones keep no buffer.
const SCRATCH_BYTES: usize = 64 * 1024;

/// How long a stopping worker waits for its clients to answer their close.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// Takes over a stream whose handshake is done. `early` is what the client sent right behind it. With `refuse` the
/// connection is closed at once with that code: browsers cannot read why a handshake was refused.
pub fn adopt(local: &Rc<Local>, opened: Opened, early: &[u8], refuse: Option<CloseCode>) -> Rc<Connection> {
    let connection = local.admit(opened);
    let task = tokio::task::spawn_local(live(local.clone(), connection.clone()));
    // Set once, here.
    let _ = connection.task.set(task.abort_handle());
    if let Some(code) = refuse.or(local.stopping.get()) {
        local.close(&connection, code);
        return connection;
    }
    // Since its handshake, perhaps.
    if local.is_revoked(&connection) {
        local.close(&connection, CloseCode::Revoked);
        return connection;
    }
    local.join_shedding(&connection);
    #[cfg(feature = "echo")]
    let has_channel = !connection.is_echo;
    #[cfg(not(feature = "echo"))]
    let has_channel = true;
    if let (Dialect::Raw(raw), true) = (&connection.dialect, has_channel) {
        // All its messages are publications: it has no way to show a token any more, and hears nothing without one.
        if connection.state.borrow().session.phase == Phase::Connecting {
            local.close(&connection, CloseCode::Unauthenticated);
            return connection;
        }
        let raw = raw.clone();
        commands::take_seat(local, &connection, move |local, connection| {
            local.tell_connected(connection);
            commands::subscribe_raw(local, connection, &raw);
        });
    } else {
        commands::take_seat(local, &connection, |local, connection| local.tell_connected(connection));
    }
    feed(local, &connection, early);
    connection
}

/// Takes what came right behind a handshake.
pub fn feed(local: &Rc<Local>, connection: &Rc<Connection>, early: &[u8]) {
    if !early.is_empty() {
        take_bytes(local, connection, &mut early.to_vec());
    }
}

/// Retires the connection however its task ends: at the end of the stream, aborted, or by a panic.
struct Retire {
    local: Rc<Local>,
    connection: Rc<Connection>,
}

impl Drop for Retire {
    fn drop(&mut self) {
        self.local.retire(&self.connection);
    }
}

/// The task of a connection, as small as can be: an idle connection is little else. So it holds each thing once, which the
/// arguments of an `async fn` would not be, and rare waits are boxed.
fn live(local: Rc<Local>, connection: Rc<Connection>) -> impl Future<Output = ()> {
    let retire = Retire { local, connection };
    async move {
        loop {
            let held = retire.connection.state.borrow().waiting.as_ref().map(|waiting| waiting.done.clone());
            if let Some(done) = held {
                Box::pin(async move { done.notified().await }).await;
            }
            if retire.connection.socket.readable().await.is_err() {
                return;
            }
            match read_once(&retire.local, &retire.connection) {
                // A client that always has more to say takes turns with the others.
                Ok(true) => tokio::task::consume_budget().await,
                Ok(false) => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

/// Reads what has come and carries it out; false at the end of the stream.
fn read_once(local: &Rc<Local>, connection: &Rc<Connection>) -> io::Result<bool> {
    SCRATCH.with_borrow_mut(|scratch| {
        let length = connection.socket.try_read(scratch)?;
        local.node.metrics.bytes_in.inc_by(length as u64);
        if length > 0 {
            take_bytes(local, connection, &mut scratch[..length]);
        }
        Ok(length > 0)
    })
}

fn take_bytes(local: &Rc<Local>, connection: &Rc<Connection>, bytes: &mut [u8]) {
    let (mut reader, began) = {
        let mut state = connection.state.borrow_mut();
        if state.ended.is_some() {
            // What a client says after the close does not count; it is read so that the close reaches it (a stream
            // closed over unread data is reset).
            return;
        }
        if state.engine.is_none() {
            state.times.heard = local.tick();
            state.times.pinged = None;
        }
        // Commands need the state while the reader is at work.
        (std::mem::take(&mut state.reader), state.times.message_began)
    };
    let before = reader.unfinished();
    let limits = ReaderLimits { max_message_bytes: local.node.config.worker.max_message_bytes };
    let inflating = Inflating { local, connection };
    let inflate = connection.deflate.map(|_| &inflating as &dyn Inflate);
    let fed = reader.feed(bytes, &limits, inflate, &mut |event| take_event(local, connection, event));
    // A client that always has more to say is rarely between two messages: only the same one counts on.
    let unfinished = reader.unfinished();
    let began = unfinished.map(|_| began.filter(|_| unfinished == before).unwrap_or_else(|| local.tick()));
    {
        let mut state = connection.state.borrow_mut();
        if state.ended.is_none() {
            state.reader = reader;
        }
        local.recount(&mut state);
    }
    match fed {
        Ok(()) => local.note_unfinished(connection, began),
        Err(code) => {
            local.node.metrics.limits.of_close(code);
            local.close(connection, code);
        }
    }
}

fn take_event(local: &Rc<Local>, connection: &Rc<Connection>, event: Event<'_>) {
    match event {
        #[cfg(feature = "echo")]
        Event::Message(message) if connection.is_echo => echo(local, connection, message),
        Event::Message(message) if rules(connection).is_some() => take_message(local, connection, message),
        Event::Message(message) => {
            connection.state.borrow_mut().times.spoke = local.tick();
            connection.dialect.decode(message, &mut |decoded| commands::take(local, connection, decoded));
        }
        Event::Ping(_) | Event::Pong if !takes_control(local, connection) => {}
        Event::Ping(payload) => {
            let mut frame = Vec::new();
            pong_frame(&mut frame, payload);
            local.send_frames(connection, &frame);
        }
        Event::Pong => {}
        Event::Close(code) => local.close_answered(connection, code),
    }
}

/// Control frames cost as much as commands, so there are only as many: beyond that the connection is closed.
fn takes_control(local: &Rc<Local>, connection: &Rc<Connection>) -> bool {
    let rates = &local.node.config.worker.rates;
    let taken = connection.state.borrow_mut().buckets.control.take(&rates.control, local.now_ms());
    if taken.is_err() && !connection.has_ended() {
        local.node.metrics.limits.reached(Limit::ControlFrames);
        local.close(connection, CloseCode::RateLimited);
    }
    taken.is_ok()
}

#[cfg(feature = "echo")]
fn echo(local: &Rc<Local>, connection: &Rc<Connection>, message: protocol::dialect::Incoming<'_>) {
    use protocol::dialect::{Incoming, Messages};
    let mut buffer = Vec::new();
    let mut frames = crate::websocket::Frames::new(&mut buffer);
    match message {
        Incoming::Text(text) => frames.text(&mut |buffer| buffer.extend_from_slice(text.as_bytes())),
        Incoming::Binary(bytes) => frames.binary(bytes),
    }
    local.send_frames(connection, &buffer);
}

/// Closes whatever is left, and waits a little for the clients to hear it.
pub(super) async fn stop(local: &Rc<Local>, code: CloseCode) {
    // Whoever is still in its handshake is told the same.
    local.stopping.set(Some(code));
    let all: Vec<_> = local.connections.borrow().values().cloned().collect();
    for connection in &all {
        local.close(connection, code);
    }
    drop(all);
    let emptied = async {
        while !local.connections.borrow().is_empty() {
            local.emptied.notified().await;
        }
    };
    if timeout(STOP_TIMEOUT, emptied).await.is_err() {
        let left = local.connections.borrow().len();
        tracing::info!(worker = local.index, left, "some clients did not answer their close in time");
    }
}
