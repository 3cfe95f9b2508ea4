//! Requests for a session, wherever it is: on this worker, on another one, or on another node, by its topic.

use super::polling::{self, Answered};
use super::removal;
use crate::local::Local;
use crate::node::worker_of;
use bytes::Bytes;
use protocol::forward::{Ask, Request, Response};
use protocol::order::Order;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Requests of one worker that wait for another one's response.
const WAITING_MAX: usize = 65_536;

/// How long anything but a poll may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(12);

/// Asks a session.
pub async fn call(local: &Rc<Local>, node: &str, number: u64, request: Request) -> Response {
    let turn = local.number();
    if is_here(local, node, number) {
        return serve(local, number, request, turn).await;
    }
    if local.responses.borrow().len() >= WAITING_MAX {
        return Response { status: 503, body: Bytes::new() };
    }
    let (answer, answered) = oneshot::channel();
    local.responses.borrow_mut().insert(turn, answer);
    let worker = &local.node.config.worker;
    let is_poll = request.ask == Ask::Poll;
    let patience = if is_poll { worker.ping_interval + worker.ping_timeout + CALL_TIMEOUT } else { CALL_TIMEOUT };
    let mut asked = Asked { local, node: node.to_owned(), number, turn, abandons: is_poll.then(|| request.clone()) };
    let order = Order::Request {
        connection: number,
        ticket: turn,
        answer_to: local.node.name.as_str().into(),
        request: request.encode(),
    };
    if !local.node.order(node, order).await {
        asked.abandons = None;
        return Answered::UnknownSid.response();
    }
    let response = timeout(patience, answered).await;
    match response {
        Ok(Ok(response)) => {
            asked.abandons = None;
            response
        }
        Ok(Err(_)) | Err(_) => Response { status: 503, body: Bytes::new() },
    }
}

/// Tells a session something that needs no response.
pub async fn tell(local: &Rc<Local>, node: &str, number: u64, request: &Request) {
    let answer_to = local.node.name.as_str().into();
    let order = Order::Request { connection: number, ticket: 0, answer_to, request: request.encode() };
    // Nobody there is as good as done.
    local.node.order(node, order).await;
}

fn is_here(local: &Local, node: &str, number: u64) -> bool {
    node == local.node.name && worker_of(number) == local.index
}

/// A request under way. A poll whose client has gone is told to its session: it has lost what it is answered.
struct Asked<'a> {
    local: &'a Rc<Local>,
    node: String,
    number: u64,
    turn: u64,
    abandons: Option<Request>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.local.responses.borrow_mut().remove(&self.turn);
        let Some(request) = self.abandons.take() else { return };
        let body = Bytes::copy_from_slice(&self.turn.to_be_bytes());
        let (local, node, number) = (self.local.clone(), std::mem::take(&mut self.node), self.number);
        tokio::task::spawn_local(async move {
            tell(&local, &node, number, &Request { ask: Ask::Abandon, body, ..request }).await;
        });
    }
}

/// Carries out a request, or takes a response.
pub fn take_order(local: &Rc<Local>, order: Order) {
    match order {
        Order::Request { connection, ticket, answer_to, request } => {
            let Some(request) = Request::decode(request) else { return };
            let local = local.clone();
            tokio::task::spawn_local(async move {
                let needs_none = matches!(request.ask, Ask::Abandon | Ask::Supersede);
                let response = serve(&local, connection, request, ticket).await;
                if !needs_none {
                    let response = Order::Response { ticket, response: response.encode() };
                    local.node.order(&answer_to, response).await;
                }
            });
        }
        Order::Response { ticket, response } => {
            let waiting = local.responses.borrow_mut().remove(&ticket);
            if let Some((waiting, response)) = waiting.zip(Response::decode(response)) {
                // Whoever asked may have given up.
                let _ = waiting.send(response);
            }
        }
        Order::Message { .. }
        | Order::Answer { .. }
        | Order::Disconnect { .. }
        | Order::Revoked
        | Order::Prove { .. }
        | Order::Locate { .. }
        | Order::Located { .. } => {}
    }
}

/// Carries out a request for a session of this worker.
async fn serve(local: &Rc<Local>, number: u64, request: Request, turn: u64) -> Response {
    if request.ask == Ask::Supersede {
        removal::supersede(local, number);
        return Response { status: 200, body: Bytes::new() };
    }
    let connection = match polling::find(local, number, &request) {
        Ok(connection) => connection,
        Err(refused) => return refused.response(),
    };
    match request.ask {
        Ask::Poll => polling::poll(local, &connection, &request.body, turn).await,
        Ask::Post => polling::post(local, &connection, &request.body).await,
        Ask::Probe if request.body.is_empty() => polling::probe(local, &connection),
        Ask::Probe => {
            polling::unprobe(&connection);
            Response { status: 200, body: Bytes::new() }
        }
        Ask::Move => removal::hand_over(local, &connection).await,
        Ask::Abandon => {
            if let Ok(turn) = <[u8; 8]>::try_from(&request.body[..]) {
                polling::abandon(local, &connection, u64::from_be_bytes(turn));
            }
            Response { status: 200, body: Bytes::new() }
        }
        Ask::Supersede => Answered::BadRequest.response(),
    }
}
