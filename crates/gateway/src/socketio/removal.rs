//! A session that goes on as a WebSocket: on the worker that has it, which is given the stream, or on another node, which is
//! given the session. Either way nothing is lost and nothing comes twice.

use super::polling::Answered;
use super::{places, rules, take_message};
use crate::commands;
use crate::inbox::{Handover, Said};
use crate::local::Local;
use crate::local::connection::Connection;
use crate::session::Phase;
use crate::socket::Socket;
use crate::websocket::Reader;
use bytes::{BufMut, Bytes, BytesMut};
use protocol::dialect::Incoming;
use protocol::dialect::socketio::positions::Place;
use protocol::forward::Response;
use protocol::{Channel, CloseCode, Position};
use serde::{Deserialize, Serialize};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// How long what is under way may take before a session is handed over.
const QUIET_TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is looked whether all is quiet.
const QUIET_CHECK: Duration = Duration::from_millis(5);

/// How long its member is still shown by the node that it leaves.
const AWAY: Duration = Duration::from_secs(2);

/// A session on its way to another node.
#[derive(Debug, Serialize, Deserialize)]
pub struct Moved {
    /// The id by which others know its sockets.
    pub sid: String,
    /// The last token that it has shown.
    pub token: Option<String>,
    /// The namespaces that it is in.
    pub namespaces: Vec<String>,
    /// Its channels, and up to where it has everything.
    pub places: Vec<(String, Option<(String, u64)>)>,
    /// What waits for it, as frames.
    #[serde(skip)]
    pub frames: Bytes,
}

impl Moved {
    fn encode(&self) -> Option<Bytes> {
        let json = serde_json::to_vec(self).ok()?;
        let mut out = BytesMut::with_capacity(4 + json.len() + self.frames.len());
        out.put_u32(u32::try_from(json.len()).ok()?);
        out.put_slice(&json);
        out.put_slice(&self.frames);
        Some(out.freeze())
    }

    /// Reads a session; `None` for what is none.
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (json, _) = rest.split_at_checked(length)?;
        let moved: Self = serde_json::from_slice(json).ok()?;
        Some(Self { frames: bytes.slice(4 + length..), ..moved })
    }

    /// Its channels, and up to where it has everything.
    pub fn places(&self) -> Vec<Place> {
        let read = |(channel, position): &(String, Option<(String, u64)>)| {
            let position = position.as_ref();
            let position = position.map(|(epoch, offset)| Position { epoch: epoch.as_str().into(), offset: *offset });
            Channel::new(channel).ok().map(|channel| (channel, position))
        };
        self.places.iter().filter_map(read).collect()
    }
}

/// Gives a session to another node: its client goes on there as a WebSocket.
pub(super) async fn hand_over(local: &Rc<Local>, connection: &Rc<Connection>) -> Response {
    set_moving(connection, true);
    let deadline = Instant::now() + QUIET_TIMEOUT;
    while !is_quiet(connection) {
        if Instant::now() >= deadline || connection.has_ended() {
            set_moving(connection, false);
            return Answered::BadRequest.response();
        }
        sleep(QUIET_CHECK).await;
    }
    let Some(body) = pack(local, connection).encode() else { return Answered::BadRequest.response() };
    local.let_go(connection, AWAY);
    Response { status: 200, body }
}

fn set_moving(connection: &Connection, is_moving: bool) {
    if let Some(polling) = connection.state.borrow_mut().engine.as_mut().and_then(|engine| engine.polling.as_mut()) {
        polling.is_moving = is_moving;
    }
}

/// Whether nothing is under way that would be answered here, and nowhere else.
fn is_quiet(connection: &Connection) -> bool {
    let state = connection.state.borrow();
    let is_whole = state.engine.as_ref().is_some_and(|engine| engine.session.held_bytes() == 0);
    state.under_way == 0 && state.waiting.is_none() && state.publishing == 0 && is_whole
}

fn pack(local: &Rc<Local>, connection: &Rc<Connection>) -> Moved {
    let places = local.places_of(connection);
    let position = |position: Position| (position.epoch.to_string(), position.offset);
    let places = places.into_iter().map(|(channel, place)| (channel.to_string(), place.map(position))).collect();
    let sid = local.public_id(connection).to_string();
    let mut state = connection.state.borrow_mut();
    let mut frames = Vec::new();
    // Writing to a vector never blocks.
    let _ = state.outbox.flush(0, |slices| {
        slices.iter().for_each(|slice| frames.extend_from_slice(slice));
        Ok(slices.iter().map(|slice| slice.len()).sum())
    });
    let engine = state.engine.as_ref();
    let token = engine.and_then(|engine| engine.polling.as_ref()).and_then(|polling| polling.shown.clone());
    let entered = engine.map(|engine| engine.session.namespaces().collect::<Vec<_>>()).unwrap_or_default();
    let name = |number: &u8| rules(connection).map(|rules| rules.name_of(*number).to_owned());
    Moved { sid, token, namespaces: entered.iter().filter_map(name).collect(), places, frames: frames.into() }
}

/// Goes on with a session that another node has handed over.
pub fn go_on(local: &Rc<Local>, connection: &Rc<Connection>, moved: &Moved) {
    let Some(rules) = rules(connection) else { return };
    if let Some(engine) = &mut connection.state.borrow_mut().engine {
        moved.namespaces.iter().filter_map(|name| rules.namespace(name)).for_each(|n| engine.session.enter(n));
        engine.has_told_id = !moved.namespaces.is_empty();
    }
    places::take_id(local, connection, &moved.sid);
    local.send_frames(connection, &moved.frames);
    let places = moved.places();
    commands::spawn_alone(local, connection, async move |local, connection| {
        places::go_on(local, connection, 0, places).await;
        local.note_places(connection);
    });
}

/// Gives a session the stream that another worker has tried.
pub fn take_stream(local: &Rc<Local>, handover: Handover) {
    let Handover { connection, stream, reader, messages } = handover;
    // A stream that is dropped is closed: its client opens another session.
    if let Ok(stream) = TcpStream::from_std(stream) {
        take_over(local, connection, Socket::plain(stream), reader, &messages);
    }
}

/// Gives a session its stream: from here on it is a WebSocket.
pub fn take_over(local: &Rc<Local>, number: u64, stream: Socket, reader: Reader, messages: &[Said]) {
    let Some(connection) = local.connections.borrow().get(&number).cloned() else { return };
    {
        let mut state = connection.state.borrow_mut();
        let Some(engine) = state.engine.as_mut().filter(|engine| engine.polling.is_some()) else { return };
        engine.polling = None;
        if state.ended.is_some() {
            return;
        }
        state.reader = reader;
    }
    let Some(pipe) = connection.socket.pipe() else { return };
    pipe.succeed(stream);
    local.mark_dirty(&connection);
    for message in messages {
        take_message(local, &connection, message.as_incoming());
    }
}

/// Ends a connection whose client goes on as the same elsewhere.
pub fn supersede(local: &Rc<Local>, number: u64) {
    let found = local.connections.borrow().get(&number).cloned();
    if let Some(connection) = found.filter(|connection| connection.state.borrow().engine.is_some()) {
        local.close(&connection, CloseCode::Replaced);
    }
}

/// The phase in which a session that has been handed over goes on.
pub fn phase_of(moved: &Moved) -> Phase {
    if moved.namespaces.is_empty() { Phase::Connecting } else { Phase::Ready }
}

impl Said {
    /// As it came.
    pub fn as_incoming(&self) -> Incoming<'_> {
        match self {
            Self::Text(text) => Incoming::Text(text),
            Self::Binary(bytes) => Incoming::Binary(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_survives_the_way_to_another_node() {
        let moved = Moved {
            sid: "n1.a.7".to_owned(),
            token: Some("t".to_owned()),
            namespaces: vec!["/".to_owned(), "/admin".to_owned()],
            places: vec![("lobby".to_owned(), Some(("e".to_owned(), 7))), ("plain".to_owned(), None)],
            frames: Bytes::from_static(b"\x81\x012"),
        };
        let there = Moved::decode(&moved.encode().unwrap()).unwrap();
        assert_eq!((&there.sid, &there.token, &there.namespaces), (&moved.sid, &moved.token, &moved.namespaces));
        assert_eq!((there.places(), there.frames), (moved.places(), moved.frames.clone()));
        assert_eq!(moved.places().len(), 2);
        let bytes = moved.encode().unwrap();
        for length in 0..bytes.len() - 3 {
            assert!(Moved::decode(&bytes.slice(..length)).is_none(), "{length}");
        }
    }
}
