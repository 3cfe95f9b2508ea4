//! Socket.IO connections: what their packets ask for is carried out by the same commands as everything else.

mod enter;
pub mod places;
mod polling;
pub mod removal;
pub mod secrets;

pub use polling::{Answered, serve};

use crate::commands;
use crate::local::Local;
use crate::local::connection::Connection;
use crate::local::ending::Parting;
use crate::local::timers::ticks;
use crate::pipe::Release;
use crate::websocket::Frames;
use protocol::dialect::socketio::engine::{self, Open, Packet};
use protocol::dialect::socketio::{Act, Rules, Violation, connect_error, events};
use protocol::dialect::{Dialect, Incoming, Messages};
use protocol::{Channel, CloseCode, ErrorCode, Refusal, Request};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long a session that its client has ended waits for a poll that was sent beside that, perhaps by way of another node.
const LAST_POLL: Duration = Duration::from_millis(500);

/// What is to be done about a packet; nothing of it is borrowed from the connection any more.
enum Step {
    Answer(String),
    Heard,
    Enter {
        namespace: u8,
        auth: String,
    },
    Nowhere(String),
    Leave(u8),
    Request(Request),
    Refused(events::Refused),
    #[cfg(feature = "echo")]
    Frames(Vec<u8>),
    End,
}

/// The rules of a Socket.IO connection.
pub fn rules(connection: &Connection) -> Option<&Arc<Rules>> {
    match &connection.dialect {
        Dialect::SocketIo(rules) => Some(rules),
        Dialect::Json | Dialect::Polled | Dialect::Events | Dialect::Msgpack | Dialect::Raw(_) => None,
    }
}

/// Takes a message of a WebSocket.
pub fn take_message(local: &Rc<Local>, connection: &Rc<Connection>, message: Incoming<'_>) {
    let taken = match message {
        Incoming::Text(text) => engine::packet(text).and_then(|packet| take(local, connection, packet)),
        Incoming::Binary(bytes) => take(local, connection, Packet::Binary(bytes::Bytes::copy_from_slice(bytes))),
    };
    if let Err(violation) = taken {
        break_off(local, connection, violation);
    }
}

/// What no client of the protocol sends ends its session, as it does elsewhere.
fn break_off(local: &Rc<Local>, connection: &Rc<Connection>, violation: Violation) {
    tracing::debug!(%violation, "a Socket.IO session ends");
    local.node.metrics.bad_messages.inc();
    local.close(connection, CloseCode::ProtocolError);
}

/// Takes one packet.
fn take(local: &Rc<Local>, connection: &Rc<Connection>, packet: Packet<'_>) -> Result<(), Violation> {
    let Some(rules) = rules(connection) else { return Ok(()) };
    let mut steps = Vec::new();
    let taken = {
        let mut state = connection.state.borrow_mut();
        if state.ended.is_some() {
            return Ok(());
        }
        let Some(engine) = &mut state.engine else { return Ok(()) };
        let max_bytes = local.node.config.worker.max_message_bytes;
        #[cfg(feature = "echo")]
        let echo = engine.echo;
        #[cfg(feature = "echo")]
        if let Some(frames) = echoed(echo, &packet) {
            steps.push(Step::Frames(frames));
        }
        #[cfg(feature = "echo")]
        let is_echoed = !steps.is_empty();
        #[cfg(not(feature = "echo"))]
        let is_echoed = false;
        let taken = if is_echoed {
            Ok(())
        } else {
            engine.session.take(rules, packet, max_bytes, &mut |act| {
                #[cfg(feature = "echo")]
                if let (crate::engine::Echo::Events, Act::Event(event)) = (echo, &act) {
                    return steps.extend(echoed_event(rules, event).map(Step::Frames));
                }
                steps.extend(step(rules, act));
            })
        };
        local.recount(&mut state);
        taken
    };
    for step in steps {
        carry_out(local, connection, step);
    }
    taken
}

fn step(rules: &Rules, act: Act<'_>) -> Option<Step> {
    Some(match act {
        Act::Ping(data) => Step::Answer(format!("3{data}")),
        Act::Pong => Step::Heard,
        Act::Connect { namespace, auth } => Step::Enter { namespace, auth: auth.to_owned() },
        Act::ConnectNowhere { name } => Step::Nowhere(name.to_owned()),
        Act::Disconnect { namespace } => Step::Leave(namespace),
        Act::Event(event) => match events::request(rules, &event) {
            Ok(request) => Step::Request(request),
            Err(refused) => Step::Refused(refused),
        },
        // The gateway asks nobody for an answer.
        Act::Acked { .. } => return None,
        Act::Close => Step::End,
    })
}

fn carry_out(local: &Rc<Local>, connection: &Rc<Connection>, step: Step) {
    match step {
        Step::Answer(packet) => say(local, connection, &packet),
        Step::Heard => {
            let mut state = connection.state.borrow_mut();
            state.times.heard = local.tick();
            state.times.pinged = None;
        }
        Step::Enter { namespace, auth } => enter::in_turn(local, connection, namespace, auth),
        Step::Nowhere(name) => {
            frames(local, connection, |out| connect_error(&name, "Invalid namespace", None, out));
            enter::count_failure(local, connection);
        }
        Step::Leave(namespace) => leave_in_turn(local, connection, namespace),
        Step::Request(request) => commands::take(local, connection, Ok(request)),
        Step::Refused(refused) => refuse(local, connection, refused),
        #[cfg(feature = "echo")]
        Step::Frames(frames) => local.send_frames(connection, &frames),
        Step::End => end(local, connection),
    }
}

/// An event that is none of the gateway's costs as much as one that is.
fn refuse(local: &Rc<Local>, connection: &Rc<Connection>, refused: events::Refused) {
    let rate = &local.node.config.worker.rates.messages;
    let taken = connection.state.borrow_mut().buckets.messages.take(rate, local.now_ms());
    let refusal = match taken {
        Ok(()) => refused.refusal,
        Err(_) => Refusal::new(ErrorCode::RateLimited, "events come faster than this connection may send them"),
    };
    local.refuse(connection, "unknown", Some(refused.id), refusal);
}

/// Says one Engine.IO packet.
pub fn say(local: &Rc<Local>, connection: &Rc<Connection>, packet: &str) {
    frames(local, connection, |out| out.text(&mut |buffer| buffer.extend_from_slice(packet.as_bytes())));
}

fn frames(local: &Rc<Local>, connection: &Rc<Connection>, write: impl FnOnce(&mut Frames<'_>)) {
    let mut buffer = Vec::new();
    write(&mut Frames::new(&mut buffer));
    local.send_frames(connection, &buffer);
}

/// The first packet of a session.
pub fn open(local: &Local, connection: &Connection, may_upgrade: bool) -> String {
    let config = &local.node.config.worker;
    let state = connection.state.borrow();
    let secret = state.engine.as_ref().map(|engine| engine.secret).unwrap_or_default();
    let sid = crate::polling::sid(&local.client_id(connection), &secret);
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let max_payload_bytes = config.max_message_bytes as u64;
    Open {
        sid: &sid,
        may_upgrade,
        ping_interval_ms: millis(config.ping_interval),
        ping_timeout_ms: millis(config.ping_timeout),
        max_payload_bytes,
    }
    .packet()
}

/// What it has said before comes first; where too much of that waits there is nothing that it could have entered.
fn leave_in_turn(local: &Rc<Local>, connection: &Rc<Connection>, namespace: u8) {
    let step = Box::new(move |local: &Rc<Local>, connection: &Rc<Connection>| leave(local, connection, namespace));
    if commands::take_step(local, connection, step, 0).is_err() {
        leave(local, connection, namespace);
    }
}

/// The client has left a namespace: its rooms too. The transport stays.
fn leave(local: &Rc<Local>, connection: &Rc<Connection>, namespace: u8) {
    let Some(rules) = rules(connection) else { return };
    let channels: Vec<Channel> = {
        let state = connection.state.borrow();
        let all = state.session.subscriptions().iter().map(|subscription| subscription.channel.clone());
        all.filter(|channel| rules.room(channel).0 == namespace).collect()
    };
    for channel in channels {
        let ended = connection.state.borrow_mut().session.end(&channel);
        if let Some(subscription) = ended {
            local.undo_subscription(connection, &subscription, Parting::Left);
        }
    }
}

/// The client ends the session.
fn end(local: &Rc<Local>, connection: &Rc<Connection>) {
    let has_poll = connection.socket.pipe().map(|pipe| pipe.reader().is_some());
    if let Some(pipe) = connection.socket.pipe() {
        pipe.release(Release::Nothing);
    }
    local.close_answered(connection, Some(1000));
    match has_poll {
        None => {}
        // There is nobody to wait for.
        Some(true) => crate::polling::lose(local, connection),
        Some(false) => {
            if let Some(polling) = connection.state.borrow_mut().engine.as_mut().and_then(|it| it.polling.as_mut()) {
                polling.owes_goodbye = true;
            }
            local.set_phase_end(connection, ticks(LAST_POLL));
        }
    }
}

/// Every Engine.IO message comes back, for the conformance suite.
#[cfg(feature = "echo")]
fn echoed(echo: crate::engine::Echo, packet: &Packet<'_>) -> Option<Vec<u8>> {
    if echo != crate::engine::Echo::Messages {
        return None;
    }
    let mut buffer = Vec::new();
    let mut frames = Frames::new(&mut buffer);
    match packet {
        Packet::Message(text) => frames.text(&mut |buffer| {
            buffer.push(b'4');
            buffer.extend_from_slice(text.as_bytes());
        }),
        Packet::Binary(bytes) => frames.binary(bytes),
        _ => return None,
    }
    Some(buffer)
}

/// `message` comes back as `message-back`, and `message-with-ack` as its own answer.
#[cfg(feature = "echo")]
fn echoed_event(rules: &Rules, event: &protocol::dialect::socketio::Event<'_>) -> Option<Vec<u8>> {
    use protocol::dialect::socketio::encode::write_whole;
    let mut buffer = Vec::new();
    let mut frames = Frames::new(&mut buffer);
    let rest = |name: &str| event.data.strip_prefix(&format!("[\"{name}\"")).map(|rest| rest.trim_start_matches(','));
    if let Some(arguments) = rest("message-with-ack") {
        write_whole(rules, event.namespace, event.ack, &format!("[{arguments}"), event.attachments, &mut frames);
    } else {
        let json = format!("[\"message-back\",{}", rest("message")?);
        write_whole(rules, event.namespace, None, &json, event.attachments, &mut frames);
    }
    Some(buffer)
}
