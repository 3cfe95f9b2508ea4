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

/// A session's name: the node, the connection, and the secret.
pub fn sid(client: &str, secret: &Secret) -> String {
    use std::fmt::Write;
    let mut sid = format!("{client}.");
    for byte in secret {
        // Writing to a string cannot fail.
        let _ = write!(sid, "{byte:02x}");
    }
    sid
}

/// The parts of a session's name: the connection's id, and the secret.
pub fn parse_sid(sid: &str) -> Option<(&str, Secret)> {
    let (client, hex) = sid.rsplit_once('.')?;
    if hex.len() != 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut secret = Secret::default();
    for (byte, digits) in secret.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some((client, secret))
}

/// Whether two secrets are the same, in a time that does not say where they differ.
pub fn is_same(one: &Secret, other: &Secret) -> bool {
    one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_s_name_bears_its_connection_and_its_secret() {
        let secret = [0xab; 16];
        let sid = sid("n1.a.0100000000000007", &secret);
        assert_eq!(parse_sid(&sid), Some(("n1.a.0100000000000007", secret)));
        for wrong in ["", "x", "n1.a.01", "n1.zz", &sid[1..sid.len() - 1], &sid.replace("ab", "+b")] {
            assert!(parse_sid(wrong).is_none_or(|(client, _)| client != "n1.a.0100000000000007"), "{wrong}");
        }
        assert!(is_same(&secret, &secret) && !is_same(&secret, &[0; 16]));
    }
}
