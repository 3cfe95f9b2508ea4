//! What a Socket.IO connection has beside all others: its Engine.IO session, and what its client has shown for it.

use crate::local::connection::Connection;
use crate::websocket::Frames;
use bytes::Bytes;
use protocol::dialect::Dialect;
use protocol::dialect::socketio::{Rules, Session, disconnected};
use protocol::forward::Secret;
use protocol::{CloseCode, Reconnect, Text};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What the operator says about sessions of Engine.IO.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Whether `/socket.io/` is served.
    pub is_enabled: bool,
    /// Namespaces, events, the default room.
    pub rules: Arc<Rules>,
    /// By when a client that wants to go on as a WebSocket must have done so.
    pub upgrade_timeout: Duration,
}

/// One Engine.IO session.
#[derive(Debug)]
pub struct Engine {
    /// Its packets.
    pub session: Session,
    /// Proves that a request is for it.
    pub secret: Secret,
    /// The id by which others know its sockets, where that is of a connection that was before this one.
    pub alias: Option<Text>,
    /// Its client has been told an id.
    pub has_told_id: bool,
    /// While it polls.
    pub polling: Option<Box<Polling>>,
    /// Where its sockets are in their channels has changed, and has yet to be said.
    pub positions_due: bool,
    /// What it is in conformance builds.
    #[cfg(feature = "echo")]
    pub echo: Echo,
}

/// What answers the conformance suites.
#[cfg(feature = "echo")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// The product.
    Off,
    /// Every message comes back.
    Messages,
    /// `message` and `message-with-ack` come back.
    Events,
}

/// A session whose client polls.
#[derive(Debug, Default)]
pub struct Polling {
    /// What its handshake has shown; further requests show the same, or another one of the same user.
    pub token: Option<String>,
    /// The last one it has shown, also with CONNECT: what it is known by on another node.
    pub shown: Option<String>,
    /// Whose the handshake's was.
    pub user: Option<Text>,
    /// A POST is being taken.
    pub is_posting: bool,
    /// Since when somebody wants to go on as a WebSocket.
    pub upgrading_since: Option<Instant>,
    /// It is about to go on elsewhere: nothing further is taken.
    pub is_moving: bool,
    /// Its client has ended it while no poll waited: one that was sent beside that is still on its way, and is answered.
    pub owes_goodbye: bool,
    /// The last answer by its poll's mark: a proxy that lost it on the way asks again.
    pub last: Option<(Bytes, Bytes)>,
}

impl Engine {
    /// A session that has said nothing.
    pub fn new(secret: Secret) -> Self {
        Self {
            session: Session::default(),
            secret,
            alias: None,
            has_told_id: false,
            polling: None,
            positions_due: false,
            #[cfg(feature = "echo")]
            echo: Echo::Off,
        }
    }

    /// What it holds, in bytes.
    pub fn held_bytes(&self) -> usize {
        let polling = self.polling.as_ref();
        let last = polling.and_then(|polling| polling.last.as_ref()).map_or(0, |(_, body)| body.len());
        let token = polling.and_then(|polling| polling.token.as_ref()).map_or(0, String::len);
        self.session.held_bytes() + last + token
    }
}

/// The connections of one worker that are known by other ids than their own.
pub type Aliases = HashMap<Text, u64>;

/// What is said before a close from which clients should not come back by themselves.
pub fn goodbye(connection: &Connection, code: CloseCode, buffer: &mut Vec<u8>) {
    let Dialect::SocketIo(rules) = &connection.dialect else { return };
    let is_final = code.code() >= 4000 && code.reconnect() == Reconnect::Never;
    let state = connection.state.borrow();
    let Some(engine) = state.engine.as_ref().filter(|_| is_final) else { return };
    for namespace in engine.session.namespaces() {
        disconnected(rules, namespace, &mut Frames::new(buffer));
    }
}
