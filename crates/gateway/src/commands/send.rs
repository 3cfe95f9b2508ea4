//! `send`: a private message to one connection, on whatever node it is, and the orders that carry it there.

use crate::local::connection::Connection;
use crate::local::locating::Sought;
use crate::local::{Local, alias_note};
use crate::node::{parse_client_id, worker_of};
use crate::websocket::Frames;
use broker::Note;
use protocol::dialect::Dialect;
use protocol::dialect::socketio::encode;
use protocol::order::Order;
use protocol::{ErrorCode, Outgoing, Publication, Push, Refusal, Reply, Send, Text};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

/// Private messages of one worker that wait for their answer.
const TICKETS_MAX: usize = 65_536;

pub(super) fn run(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, send: Send) {
    let identity = connection.state.borrow().session.identity.clone();
    if let Err(refusal) = local.node.config.policy.allow_send(identity.as_deref()) {
        return local.refuse(connection, "send", id, refusal);
    }
    let Some((node, number)) = parse_client_id(&send.to) else {
        return local.refuse(connection, "send", id, unknown());
    };
    if local.tickets.borrow().len() >= TICKETS_MAX {
        return local.refuse(connection, "send", id, Refusal::unavailable());
    }
    let message = local.stamp(local.origin(connection), send.data, send.event, true);
    let (local, connection, node) = (local.clone(), connection.clone(), node.to_owned());
    connection.state.borrow_mut().publishing += 1;
    tokio::task::spawn_local(async move {
        let outcome = timeout(super::COMMAND_TIMEOUT, deliver_to(&local, &send.to, &node, number, message)).await;
        connection.state.borrow_mut().publishing -= 1;
        match outcome {
            Ok(Some(true)) => {
                local.node.metrics.done("send");
                local.reply(&connection, id, Reply::Sent);
            }
            Ok(Some(false)) => local.refuse(&connection, "send", id, unknown()),
            Ok(None) | Err(_) => {
                let refusal = Refusal::new(ErrorCode::UnknownOutcome, "the connection's node did not answer in time");
                local.refuse(&connection, "send", id, refusal);
            }
        }
    });
}

/// Sends a message to a connection; false when there is none, also by the id that it may go by now.
async fn deliver_to(local: &Rc<Local>, to: &str, node: &str, number: u64, message: Publication) -> Option<bool> {
    if deliver(local, node, number, message.clone()).await? {
        return Some(true);
    }
    let noted = local.node.broker.note(&alias_note(to), Note::Read).await.ok()?;
    match noted.as_deref().and_then(parse_client_id) {
        Some((node, number)) => deliver(local, node, number, message).await,
        None => Some(false),
    }
}

/// `None` if it is not known what has become of it.
async fn deliver(local: &Rc<Local>, node: &str, number: u64, message: Publication) -> Option<bool> {
    let (answer, answered) = oneshot::channel();
    let ticket = local.number();
    local.tickets.borrow_mut().insert(ticket, answer);
    let _waiting = Waiting { local, ticket };
    let answer_to = local.node.name.as_str().into();
    if !local.node.order(node, Order::Message { connection: number, ticket, answer_to, message }).await {
        return Some(false);
    }
    answered.await.ok()
}

/// A message whose answer is waited for.
struct Waiting<'a> {
    local: &'a Local,
    ticket: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.local.tickets.borrow_mut().remove(&self.ticket);
    }
}

fn unknown() -> Refusal {
    Refusal::new(ErrorCode::UnknownClient, "no connection has this id")
}

/// Carries out an order of another node, or of another worker of this one.
pub fn take_order(local: &Rc<Local>, order: Order) {
    match order {
        Order::Disconnect { whom, code } => local.disconnect(&whom, code),
        Order::Prove { connection } => local.have_prove(connection),
        Order::Locate { ticket, limit, answer_to, user } => local.locate(Sought { user, limit, ticket, answer_to }),
        // The router's own.
        Order::Revoked | Order::Located { .. } => {}
        Order::Answer { ticket, delivered } => {
            if let Some(waiting) = local.tickets.borrow_mut().remove(&ticket) {
                // Whoever asked may have given up.
                let _ = waiting.send(delivered);
            }
        }
        // Of sessions, not of commands.
        Order::Request { .. } | Order::Response { .. } => {}
        Order::Message { connection, ticket, answer_to, message } => {
            debug_assert_eq!(worker_of(connection), local.index);
            let moved = local.moved.borrow().get(&connection).map(|(id, _)| id.clone());
            if let Some(id) = moved {
                let local = local.clone();
                tokio::task::spawn_local(
                    async move { follow(&local, &id, connection, ticket, answer_to, message).await },
                );
                return;
            }
            let found = local.connections.borrow().get(&connection).cloned().filter(|c| !c.has_ended());
            let was_told = found.as_ref().is_some_and(|connection| hand_over(local, connection, message));
            let answer = Order::Answer { ticket, delivered: was_told && found.is_some_and(|c| !c.has_ended()) };
            let local = local.clone();
            tokio::task::spawn_local(async move { local.node.order(&answer_to, answer).await });
        }
    }
}

/// How often it is looked where a connection has gone.
const FOLLOW_PAUSE: Duration = Duration::from_millis(20);

/// Sends a message on to where its connection has just gone. Its sender is answered from there, or not in time.
async fn follow(local: &Rc<Local>, id: &str, gone: u64, ticket: u64, answer_to: Text, message: Publication) {
    let deadline = Instant::now() + super::COMMAND_TIMEOUT;
    while Instant::now() < deadline {
        let noted = local.node.broker.note(&alias_note(id), Note::Read).await;
        if let Ok(Some(noted)) = noted
            && noted != local.node.client_id(gone)
            && let Some((node, connection)) = parse_client_id(&noted)
        {
            local.node.order(node, Order::Message { connection, ticket, answer_to, message }).await;
            return;
        }
        sleep(FOLLOW_PAUSE).await;
    }
}

/// Puts a message into a connection's outbox; false for a Socket.IO client that is in no namespace.
fn hand_over(local: &Rc<Local>, connection: &Rc<Connection>, message: Publication) -> bool {
    let Publication { data, event, time_ms, from, .. } = message;
    let from = from.unwrap_or_default();
    let Dialect::SocketIo(rules) = &connection.dialect else {
        local.send(connection, &Outgoing::Push(Push::Message { from, data, event, time_ms }));
        return true;
    };
    let entered = connection.state.borrow().engine.as_ref().and_then(|engine| engine.session.namespaces().next());
    let Some(namespace) = entered else { return false };
    let mut buffer = Vec::new();
    let mut frames = Frames::new(&mut buffer);
    let said = encode::Private { from: &from, data: &data, event: event.as_deref(), time_ms };
    encode::private(rules, namespace, &said, &mut frames);
    local.send_frames(connection, &buffer);
    true
}
