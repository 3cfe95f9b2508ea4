//! A session whose client polls: one GET at a time takes what waits, one POST at a time brings what is said.

use super::{break_off, removal, rules};
use crate::auth::AuthError;
use crate::engine::Polling;
use crate::local::Local;
use crate::local::connection::Connection;
use crate::pipe::{Got, Pipe, Release, messages};
use crate::polling::{self, is_same};
use crate::websocket::ServerMessage;
use bytes::Bytes;
use protocol::CloseCode;
use protocol::dialect::socketio::engine::{self, NOOP, Payload};
use protocol::forward::{Ask, Request, Response};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// A poll is held no longer than this beyond the next ping, which ends it anyway.
const HOLD_SLACK: Duration = Duration::from_secs(5);

/// How long a poll is held while its session is about to go on as a WebSocket: its client waits for it.
const UPGRADING_HOLD: Duration = Duration::from_millis(100);

/// How long what a POST brings may have to wait for what came before it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The refusals of Engine.IO, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// Neither polling nor websocket.
    UnknownTransport = 0,
    /// No session of this name.
    UnknownSid = 1,
    /// A session begins with GET.
    BadMethod = 2,
    /// Not what this session takes now.
    BadRequest = 3,
    /// It is somebody else's.
    Forbidden = 4,
    /// Not `EIO=4`.
    BadVersion = 5,
}

impl Answered {
    /// As it is answered.
    pub fn response(self) -> Response {
        let (status, message) = match self {
            Self::UnknownTransport => (400, "Transport unknown"),
            Self::UnknownSid => (400, "Session ID unknown"),
            Self::BadMethod => (400, "Bad handshake method"),
            Self::BadRequest => (400, "Bad request"),
            Self::Forbidden => (403, "Forbidden"),
            Self::BadVersion => (400, "Unsupported protocol version"),
        };
        Response { status, body: format!("{{\"code\":{},\"message\":\"{message}\"}}", self as u8).into() }
    }
}

fn ok(body: impl Into<Bytes>) -> Response {
    Response { status: 200, body: body.into() }
}

/// Carries out a request for a session of Engine.IO on this worker.
pub async fn serve(local: &Rc<Local>, number: u64, request: &Request, turn: u64) -> Response {
    let connection = match find(local, number, request) {
        Ok(connection) => connection,
        Err(refused) => return refused.response(),
    };
    match request.ask {
        Ask::Poll => poll(local, &connection, &request.body, turn).await,
        Ask::Post => post(local, &connection, &request.body).await,
        Ask::Probe if request.body.is_empty() => probe(local, &connection),
        Ask::Probe => {
            unprobe(&connection);
            ok("")
        }
        Ask::Move => removal::hand_over(local, &connection).await,
        Ask::Abandon | Ask::Release | Ask::Supersede | Ask::Take | Ask::Say | Ask::Leave => {
            Answered::BadRequest.response()
        }
    }
}

/// The session that a request is for, if its client has shown what it takes.
fn find(local: &Local, number: u64, request: &Request) -> Result<Rc<Connection>, Answered> {
    let found = local.connections.borrow().get(&number).cloned();
    let connection = found.ok_or(Answered::UnknownSid)?;
    let (shown, ended, has_mail, owes_goodbye) = {
        let state = connection.state.borrow();
        let engine = state.engine.as_ref().ok_or(Answered::UnknownSid)?;
        if !is_same(&engine.secret, &request.secret) {
            return Err(Answered::UnknownSid);
        }
        let Some(polling) = &engine.polling else { return Err(Answered::BadRequest) };
        if polling.is_moving {
            return Err(Answered::BadRequest);
        }
        let owes_goodbye = polling.owes_goodbye && request.ask == Ask::Poll;
        ((polling.token.clone(), polling.user.clone()), state.ended, !state.outbox.is_empty(), owes_goodbye)
    };
    match ended {
        None => {}
        // What it was sent away with is still to be heard.
        Some(CloseCode::Normal) if owes_goodbye => {}
        Some(code) if code.code() >= 4000 && code != CloseCode::PingTimeout && has_mail => {}
        Some(_) => return Err(Answered::UnknownSid),
    }
    let (token, user) = shown;
    if request.token == token {
        return Ok(connection);
    }
    // Another token is as good if it is the same user's: cookies are renewed.
    let identified = request.token.as_deref().map(|token| local.node.auth.identify(token));
    match identified {
        Some(Ok(identity)) if Some(&identity.user) == user.as_ref() => Ok(connection),
        Some(Err(AuthError::UnknownKey | AuthError::Unavailable)) => Err(Answered::BadRequest),
        _ => Err(Answered::Forbidden),
    }
}

fn with_polling<T>(connection: &Connection, run: impl FnOnce(&mut Polling) -> T) -> Option<T> {
    let mut state = connection.state.borrow_mut();
    state.engine.as_mut()?.polling.as_mut().map(|polling| run(polling))
}

/// Waits for what the session has to say.
async fn poll(local: &Rc<Local>, connection: &Rc<Connection>, mark: &Bytes, turn: u64) -> Response {
    let Some(pipe) = connection.socket.pipe() else { return Answered::BadRequest.response() };
    if with_polling(connection, |polling| polling.owes_goodbye) == Some(true) {
        polling::lose(local, connection);
        return ok(NOOP);
    }
    let last = with_polling(connection, |polling| polling.last.take()).flatten();
    if let Some((_, body)) = last.filter(|(of, _)| !mark.is_empty() && of == mark) {
        let repeated = body.clone();
        with_polling(connection, |polling| polling.last = Some((mark.clone(), body)));
        return ok(repeated);
    }
    if pipe.reader().is_some() {
        local.close(connection, CloseCode::ProtocolError);
        return Answered::BadRequest.response();
    }
    let hold = local.node.config.worker.ping_interval + HOLD_SLACK;
    let is_upgrading = is_upgrading(local, connection);
    let hold = if is_upgrading { UPGRADING_HOLD } else { hold };
    let body = match polling::hold(local, connection, turn, hold).await {
        Got::Frames(frames) => payload(&frames),
        Got::Released(Release::Nothing) => NOOP.into(),
        Got::Released(Release::Replaced) | Got::Ended => return Answered::BadRequest.response(),
    };
    if !mark.is_empty() {
        with_polling(connection, |polling| polling.last = Some((mark.clone(), body.clone())));
        local.recount(&mut connection.state.borrow_mut());
    }
    ok(body)
}

/// Frames as the packets of a payload.
fn payload(frames: &[u8]) -> Bytes {
    let mut payload = Payload::default();
    for message in messages(frames) {
        match message {
            ServerMessage::Text(text) => payload.text(text),
            ServerMessage::Binary(bytes) => payload.binary(bytes),
            ServerMessage::Close(_) => payload.text(b"1"),
        }
    }
    if payload.is_empty() { NOOP.into() } else { payload.finish() }
}

/// Takes what a POST brings, once what came before has been carried out.
async fn post(local: &Rc<Local>, connection: &Rc<Connection>, body: &[u8]) -> Response {
    let was_posting = with_polling(connection, |polling| std::mem::replace(&mut polling.is_posting, true));
    if was_posting != Some(false) {
        local.close(connection, CloseCode::ProtocolError);
        return Answered::BadRequest.response();
    }
    let _posting = Posting(connection);
    if !polling::idle(connection, BUSY_TIMEOUT).await {
        return Answered::BadRequest.response();
    }
    if connection.has_ended() || rules(connection).is_none() {
        return Answered::UnknownSid.response();
    }
    local.node.metrics.bytes_in.inc_by(body.len() as u64);
    let taken = engine::payload(body)
        .and_then(|packets| packets.into_iter().try_for_each(|packet| super::take(local, connection, packet)));
    match taken {
        Ok(()) => ok("ok"),
        Err(violation) => {
            break_off(local, connection, violation);
            Answered::BadRequest.response()
        }
    }
}

struct Posting<'a>(&'a Connection);

impl Drop for Posting<'_> {
    fn drop(&mut self) {
        with_polling(self.0, |polling| polling.is_posting = false);
    }
}

/// Somebody wants to go on as a WebSocket: the poll that waits is let go, so that nothing is under way. One at a time.
fn probe(local: &Local, connection: &Rc<Connection>) -> Response {
    if is_upgrading(local, connection) {
        return Answered::BadRequest.response();
    }
    with_polling(connection, |polling| polling.upgrading_since = Some(Instant::now()));
    connection.socket.pipe().inspect(|pipe: &&Pipe| pipe.release(Release::Nothing));
    ok("")
}

/// Whoever wanted to go on as a WebSocket has not: the session polls on.
fn unprobe(connection: &Rc<Connection>) {
    with_polling(connection, |polling| polling.upgrading_since = None);
}

/// Whoever wants to upgrade has so long: should the node that tries it end, its word that it has failed does not come.
fn is_upgrading(local: &Local, connection: &Connection) -> bool {
    let since = with_polling(connection, |polling| polling.upgrading_since).flatten();
    let patience = local.node.config.socketio.upgrade_timeout + HOLD_SLACK;
    since.is_some_and(|since| since.elapsed() < patience)
}
