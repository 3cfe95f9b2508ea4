//! Native sessions without a WebSocket: a GET takes what there is, a POST brings what would be one message.

use crate::commands;
use crate::local::Local;
use crate::local::connection::Connection;
use crate::pipe::{Got, messages};
use crate::polling::{self, Polled, is_same};
use crate::websocket::ServerMessage;
use bytes::Bytes;
use protocol::dialect::{Incoming, json};
use protocol::forward::{Ask, Request, Response};
use protocol::{CloseCode, ErrorCode, Refusal};
use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

/// The longest that a poll is held, whatever the interval of pings: what is in between gives up silent requests sooner or
/// later, most after 30 s or more.
const HOLD_MAX: Duration = Duration::from_secs(25);

/// How long what a POST brings may have to wait for what came before it; less than another node waits for the answer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a poll of this worker is held.
pub fn hold_time(local: &Local) -> Duration {
    local.node.config.worker.ping_interval.min(HOLD_MAX)
}

/// The first array of a session: its name, and what there is already.
pub async fn opened(local: &Rc<Local>, connection: &Rc<Connection>) -> Bytes {
    let secret = connection.state.borrow().polled.as_ref().map(|polled| polled.secret).unwrap_or_default();
    let session = polling::sid(&local.client_id(connection), &secret);
    let wait_ms = u64::try_from(hold_time(local).as_millis()).unwrap_or(u64::MAX);
    let mut opened = Vec::new();
    json::encode_opened(&mut opened, &session, wait_ms);
    // The welcome is there by now, so this waits for nothing.
    let got = polling::hold(local, connection, local.number(), hold_time(local)).await;
    let frames = if let Got::Frames(frames) = got { frames } else { Vec::new() };
    array(std::iter::once(Cow::Owned(opened)).chain(objects(&frames)))
}

/// Frames as the objects that they hold.
fn objects(frames: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    messages(frames).map(|message| match message {
        ServerMessage::Text(text) | ServerMessage::Binary(text) => Cow::Borrowed(text),
        ServerMessage::Close(code) => {
            let mut close = Vec::new();
            json::encode_close(&mut close, code.unwrap_or(CloseCode::Normal.code()));
            Cow::Owned(close)
        }
    })
}

fn array<'a>(objects: impl Iterator<Item = Cow<'a, [u8]>>) -> Bytes {
    let mut body = Vec::new();
    json::encode_array(&mut body, objects);
    body.into()
}

/// A refusal as a response: also for those who hear nothing from a session.
pub fn refused(status: u16, refusal: Refusal) -> Response {
    let mut body = Vec::new();
    json::encode_answer(&mut body, &Err(refusal));
    Response { status, body: body.into() }
}

/// There is no such session.
pub fn unknown() -> Response {
    refused(404, Refusal::unknown_session())
}

/// Carries out a request for a native session of this worker.
pub async fn serve(local: &Rc<Local>, number: u64, request: &Request, turn: u64) -> Response {
    let found = local.connections.borrow().get(&number).cloned();
    let is_its = |connection: &Rc<Connection>| {
        let state = connection.state.borrow();
        state.polled.as_ref().is_some_and(|polled| is_same(&polled.secret, &request.secret))
    };
    let Some(connection) = found.filter(is_its) else { return unknown() };
    match request.ask {
        Ask::Take => take(local, &connection, turn).await,
        // Only what it was closed with is still to be heard.
        _ if connection.has_ended() => unknown(),
        Ask::Say => say(local, &connection, &request.body).await,
        _ => leave(local, &connection),
    }
}

async fn take(local: &Rc<Local>, connection: &Rc<Connection>, turn: u64) -> Response {
    let body = match polling::hold(local, connection, turn, hold_time(local)).await {
        Got::Frames(frames) => {
            with_polled(connection, |polled| polled.answered = Some(turn));
            array(objects(&frames))
        }
        Got::Released(_) => Bytes::from_static(b"[]"),
        Got::Ended => return unknown(),
    };
    Response { status: 200, body }
}

async fn say(local: &Rc<Local>, connection: &Rc<Connection>, body: &[u8]) -> Response {
    let was_posting = with_polled(connection, |polled| std::mem::replace(&mut polled.is_posting, true));
    if was_posting != Some(false) {
        let message = "a session says one thing at a time: wait for the answer to the POST before this one";
        return refused(409, Refusal::new(ErrorCode::LimitExceeded, message));
    }
    let _posting = Posting(connection);
    if !polling::idle(connection, BUSY_TIMEOUT).await {
        let message = "what this session said before is still being carried out; nothing was done";
        return refused(503, Refusal::new(ErrorCode::Unavailable, message));
    }
    if connection.has_ended() {
        return unknown();
    }
    if hear(local, connection, body) {
        Response { status: 204, body: Bytes::new() }
    } else {
        refused(400, Refusal::bad_request("the body is not UTF-8"))
    }
}

/// Takes what would be one message; false if it cannot be one, which ends the session as it ends others.
pub fn hear(local: &Rc<Local>, connection: &Rc<Connection>, body: &[u8]) -> bool {
    local.node.metrics.bytes_in.inc_by(body.len() as u64);
    {
        let now = local.tick();
        let mut state = connection.state.borrow_mut();
        state.times.alive(now, false);
        state.times.spoke = now;
    }
    let Ok(text) = std::str::from_utf8(body) else {
        local.close(connection, CloseCode::InvalidText);
        return false;
    };
    connection.dialect.decode(Incoming::Text(text), &mut |decoded| commands::take(local, connection, decoded));
    true
}

/// The client leaves: a poll that waits is told so, and nobody else is waited for.
fn leave(local: &Rc<Local>, connection: &Rc<Connection>) -> Response {
    let has_poll = connection.socket.pipe().is_some_and(|pipe| pipe.reader().is_some());
    local.close_answered(connection, Some(CloseCode::Normal.code()));
    if !has_poll {
        polling::lose(local, connection);
    }
    Response { status: 204, body: Bytes::new() }
}

fn with_polled<T>(connection: &Connection, run: impl FnOnce(&mut Polled) -> T) -> Option<T> {
    connection.state.borrow_mut().polled.as_mut().map(|polled| run(polled))
}

struct Posting<'a>(&'a Connection);

impl Drop for Posting<'_> {
    fn drop(&mut self) {
        with_polled(self.0, |polled| polled.is_posting = false);
    }
}
