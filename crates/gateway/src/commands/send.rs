//! `send`: a private message to one connection, on whatever node it is, and the orders that carry it there.

use crate::local::Local;
use crate::local::connection::Connection;
use crate::node::{parse_client_id, worker_of};
use protocol::order::Order;
use protocol::{ErrorCode, Origin, Outgoing, Push, Refusal, Reply, Send};
use std::rc::Rc;
use tokio::sync::oneshot;
use tokio::time::timeout;

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
    let (answer, answered) = oneshot::channel();
    let ticket = local.number();
    local.tickets.borrow_mut().insert(ticket, answer);
    let order = Order::Message {
        connection: number,
        ticket,
        answer_to: local.node.name.as_str().into(),
        message: local.stamp(local.origin(connection), send.data, send.event, true),
    };
    let (local, connection, node) = (local.clone(), connection.clone(), node.to_owned());
    tokio::task::spawn_local(async move {
        let outcome = timeout(super::COMMAND_TIMEOUT, async {
            if !local.node.order(&node, order).await {
                return Ok(false);
            }
            answered.await
        })
        .await;
        local.tickets.borrow_mut().remove(&ticket);
        match outcome {
            Ok(Ok(true)) => {
                local.node.metrics.done("send");
                local.reply(&connection, id, Reply::Sent);
            }
            Ok(Ok(false)) => local.refuse(&connection, "send", id, unknown()),
            Ok(Err(_)) | Err(_) => {
                let refusal = Refusal::new(ErrorCode::UnknownOutcome, "the connection's node did not answer in time");
                local.refuse(&connection, "send", id, refusal);
            }
        }
    });
}

fn unknown() -> Refusal {
    Refusal::new(ErrorCode::UnknownClient, "no connection has this id")
}

/// Carries out an order of another node, or of another worker of this one.
pub fn take_order(local: &Rc<Local>, order: Order) {
    match order {
        Order::Disconnect { whom, code } => local.disconnect(&whom, code),
        Order::Prove { connection } => local.have_prove(connection),
        // The router's own.
        Order::Revoked => {}
        Order::Answer { ticket, delivered } => {
            if let Some(waiting) = local.tickets.borrow_mut().remove(&ticket) {
                // Whoever asked may have given up.
                let _ = waiting.send(delivered);
            }
        }
        Order::Message { connection, ticket, answer_to, message } => {
            debug_assert_eq!(worker_of(connection), local.index);
            let found = local.connections.borrow().get(&connection).cloned().filter(|c| !c.has_ended());
            if let Some(connection) = &found {
                let from = message.from.unwrap_or_else(Origin::default);
                let push = Push::Message { from, data: message.data, event: message.event };
                local.send(connection, &Outgoing::Push(push));
            }
            let answer = Order::Answer { ticket, delivered: found.is_some_and(|c| !c.has_ended()) };
            let local = local.clone();
            tokio::task::spawn_local(async move { local.node.order(&answer_to, answer).await });
        }
    }
}
