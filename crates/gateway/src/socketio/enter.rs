//! CONNECT: who enters a namespace, and whether it goes on where it left off.

use super::{frames, places, rules, secrets};
use crate::commands;
use crate::engine::Engine;
use crate::local::Local;
use crate::local::connection::Connection;
use crate::session::Phase;
use protocol::dialect::socketio::{Ask, connect_error, connected, positions};
use protocol::{CloseCode, ErrorCode, Refusal, Request, Subscribe};
use std::rc::Rc;
use std::time::SystemTime;

/// What a client shows with CONNECT.
#[derive(Debug, Default)]
struct Shown {
    token: Option<String>,
    pid: Option<String>,
    offset: Option<String>,
    #[cfg(feature = "echo")]
    all: String,
}

impl Shown {
    fn read(auth: &str) -> Self {
        let shown: serde_json::Value = serde_json::from_str(auth).unwrap_or_default();
        let text = |name: &str| shown.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        Self {
            token: text("token").filter(|token| !token.is_empty()),
            pid: text("pid"),
            offset: text("offset"),
            #[cfg(feature = "echo")]
            all: if auth.is_empty() { "{}".to_owned() } else { auth.to_owned() },
        }
    }
}

/// Lets nobody in before it is known what is being found out of the connection: whose it is, whether the application and
/// the user's other sessions leave it a place.
pub(super) fn in_turn(local: &Rc<Local>, connection: &Rc<Connection>, namespace: u8, auth: String) {
    let bytes = auth.len();
    let step = Box::new(move |local: &Rc<Local>, connection: &Rc<Connection>| {
        // Perhaps its client has left again meanwhile.
        let is_entering = |engine: &Engine| engine.session.namespaces().any(|number| number == namespace);
        let is_wanted = connection.state.borrow().engine.as_deref().is_some_and(is_entering);
        if is_wanted {
            run(local, connection, namespace, &auth);
        }
    });
    if let Err(refusal) = commands::take_step(local, connection, step, bytes) {
        judge(local, connection, namespace, &Shown::default(), Err(refusal));
    }
}

fn run(local: &Rc<Local>, connection: &Rc<Connection>, namespace: u8, auth: &str) {
    let shown = Shown::read(auth);
    #[cfg(feature = "echo")]
    if is_echo(connection) {
        return enter_echo(local, connection, namespace, &shown.all);
    }
    let Some(token) = shown.token.clone() else {
        let allowed = by_handshake(local, connection);
        return judge(local, connection, namespace, &shown, allowed);
    };
    let judged = move |local: &Rc<Local>, connection: &Rc<Connection>, outcome| {
        judge(local, connection, namespace, &shown, outcome);
    };
    commands::identify(local, connection, commands::Asked::Dialect(Box::new(judged)), &token);
}

/// Whoever shows nothing now is who the handshake said, or nobody where that is enough.
fn by_handshake(local: &Rc<Local>, connection: &Rc<Connection>) -> Result<(), Refusal> {
    {
        let mut state = connection.state.borrow_mut();
        if state.session.identity.is_none() && !local.node.config.auth.anonymous {
            let message = "show a token: io(url, { auth: { token } })";
            return Err(Refusal::new(ErrorCode::Unauthenticated, message));
        }
        state.session.phase = Phase::Ready;
    }
    let identity = connection.state.borrow().session.identity.clone();
    local.set_expiry(connection, identity.and_then(|identity| identity.expires_in(SystemTime::now())));
    local.tell_connected(connection);
    Ok(())
}

/// Lets the client in, or says why not.
fn judge(local: &Rc<Local>, connection: &Rc<Connection>, namespace: u8, shown: &Shown, outcome: Result<(), Refusal>) {
    let Err(refusal) = outcome else { return enter(local, connection, namespace, shown) };
    local.node.metrics.refused("connect", refusal.code);
    let name = rules(connection).map_or("/", |rules| rules.name_of(namespace));
    frames(local, connection, |out| connect_error(name, &refusal.message, Some(&refusal), out));
    if let Some(engine) = &mut connection.state.borrow_mut().engine {
        engine.session.leave(namespace);
    }
    count_failure(local, connection);
}

/// The transport stays when a namespace is refused, and the client may try again: so many times.
pub(super) fn count_failure(local: &Rc<Local>, connection: &Rc<Connection>) {
    let count = {
        let mut state = connection.state.borrow_mut();
        state.bad_messages += 1;
        state.bad_messages
    };
    if count >= local.node.config.worker.bad_messages_max {
        local.close(connection, CloseCode::BadMessages);
    }
}

fn enter(local: &Rc<Local>, connection: &Rc<Connection>, namespace: u8, shown: &Shown) {
    local.node.metrics.done("connect");
    if let (Some(token), Some(polling)) =
        (&shown.token, connection.state.borrow_mut().engine.as_mut().and_then(|engine| engine.polling.as_mut()))
    {
        polling.shown = Some(token.clone());
    }
    let Some(rules) = rules(connection).filter(|rules| rules.recovers) else {
        return let_in(local, connection, namespace, None);
    };
    let wanted = shown.pid.clone().zip(shown.offset.as_deref().and_then(positions::read));
    let Some((pid, places)) = wanted.filter(|(_, places)| places.iter().all(|(c, _)| rules.room(c).0 == namespace))
    else {
        return let_in(local, connection, namespace, None);
    };
    commands::spawn_alone(local, connection, async move |local, connection| {
        let outcome = places::recover(local, connection, namespace, &pid, places).await;
        local.node.metrics.session_recovered(outcome);
        if !connection.has_ended() {
            let_in(local, connection, namespace, Some(pid).filter(|_| outcome));
        }
    });
}

/// Tells the client that it is in: with the name that it came with, where it goes on as what it was.
fn let_in(local: &Rc<Local>, connection: &Rc<Connection>, namespace: u8, recovered: Option<String>) {
    let Some(rules) = rules(connection) else { return };
    let sid = local.public_id(connection);
    if let Some(engine) = &mut connection.state.borrow_mut().engine {
        engine.has_told_id = true;
    }
    let is_recovered = recovered.is_some();
    let user = connection.state.borrow().session.identity.as_ref().map(|identity| identity.user.clone());
    let pid = recovered.or_else(|| {
        let key = local.node.recovery_key.get().filter(|_| rules.recovers)?;
        secrets::pid(key, &sid, user.as_deref())
    });
    frames(local, connection, |out| connected(rules, namespace, &sid, pid.as_deref(), out));
    if is_recovered {
        return local.note_places(connection);
    }
    let room = rules.default_room.as_deref().and_then(|room| rules.channel(namespace, room).ok());
    if let Some(channel) = room {
        let subscribe = Subscribe { channel, recover: None, members: false, state: false, token: None };
        let command = protocol::Command::Subscribe(subscribe);
        commands::take(local, connection, Ok(Request { id: Some(Ask::silent(namespace)), command }));
    }
}

#[cfg(feature = "echo")]
fn is_echo(connection: &Connection) -> bool {
    connection.state.borrow().engine.as_ref().is_some_and(|engine| engine.echo != crate::engine::Echo::Off)
}

/// The suite's server lets everybody in, and emits what they have shown.
#[cfg(feature = "echo")]
fn enter_echo(local: &Rc<Local>, connection: &Rc<Connection>, namespace: u8, auth: &str) {
    let Some(rules) = rules(connection) else { return };
    connection.state.borrow_mut().session.phase = Phase::Ready;
    local.set_expiry(connection, None);
    let sid = local.public_id(connection);
    frames(local, connection, |out| connected(rules, namespace, &sid, None, out));
    let json = format!("[\"auth\",{auth}]");
    frames(local, connection, |out| {
        protocol::dialect::socketio::encode::write_whole(rules, namespace, None, &json, &[], out);
    });
}
