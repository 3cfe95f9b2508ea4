//! Requests for a session, wherever it is: on this worker, on another one, or on another node, by its topic.

use crate::local::{ANSWERING_MAX, Local};
use crate::node::worker_of;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use protocol::forward::{Ask, Request, Response};
use protocol::order::Order;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{sleep, timeout};

/// Requests of one worker that wait for another one's response.
const WAITING_MAX: usize = 65_536;

/// How long anything but a poll may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(12);

/// How long a poll is held that comes to a node which stops.
const LATE_POLL: Duration = Duration::from_secs(1);

/// Carries out a request for a session of this worker, whatever that speaks: handed in, because all sessions that poll are
/// above this. Its last argument names the request.
pub type Serve = fn(Rc<Local>, u64, Request, u64) -> LocalBoxFuture<'static, Response>;

/// Why there is no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswered {
    /// No node has such a session.
    Gone,
    /// It is not known what became of it: there are too many such requests, or the response did not come in time.
    Unknown,
}

/// Asks a session.
///
/// # Errors
/// Why there is no response.
pub async fn call(
    local: &Rc<Local>,
    serve: Serve,
    node: &str,
    number: u64,
    request: Request,
) -> Result<Response, Unanswered> {
    let turn = local.number();
    if is_here(local, node, number) {
        return Ok(serve(local.clone(), number, request, turn).await);
    }
    if local.responses.borrow().len() >= WAITING_MAX {
        return Err(Unanswered::Unknown);
    }
    let (answer, answered) = oneshot::channel();
    local.responses.borrow_mut().insert(turn, answer);
    let worker = &local.node.config.worker;
    let is_poll = request.ask.is_held();
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
        return Err(Unanswered::Gone);
    }
    let mut response = pin!(timeout(patience, answered));
    let response = match asked.abandons.clone() {
        Some(poll) => tokio::select! {
            response = response.as_mut() => response,
            () = stopping(local) => {
                // Whoever has to come by another node loses nothing by it.
                tell(local, node, number, &about(&poll, Ask::Release, turn)).await;
                response.await
            }
        },
        None => response.await,
    };
    match response {
        Ok(Ok(response)) => {
            asked.abandons = None;
            Ok(response)
        }
        Ok(Err(_)) | Err(_) => Err(Unanswered::Unknown),
    }
}

/// Waits until this node stops; whoever comes later still waits a little, or would ask again and again without a rest.
async fn stopping(local: &Local) {
    let is_late = local.node.shedding.is_stopping();
    local.node.shedding.stopping().await;
    if is_late {
        sleep(LATE_POLL).await;
    }
}

/// Counts a request until its answer has left, when this is dropped; none if there are more than are counted.
pub fn enter(local: &Local) -> Option<Arc<OwnedSemaphorePermit>> {
    local.answering.clone().try_acquire_owned().ok().map(Arc::new)
}

/// Waits until all of them are answered; at most so long.
pub async fn idle(local: &Local, time: Duration) {
    // They are told nothing then, and ask elsewhere.
    let _ = timeout(time, local.answering.acquire_many(ANSWERING_MAX)).await;
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
        let abandons = about(&request, Ask::Abandon, self.turn);
        let (local, node, number) = (self.local.clone(), std::mem::take(&mut self.node), self.number);
        tokio::task::spawn_local(async move {
            tell(&local, &node, number, &abandons).await;
        });
    }
}

/// What is said of a poll by its number.
fn about(poll: &Request, ask: Ask, turn: u64) -> Request {
    Request { ask, body: Bytes::copy_from_slice(&turn.to_be_bytes()), ..poll.clone() }
}

/// Carries out a request, or takes a response.
pub fn take_order(local: &Rc<Local>, serve: Serve, order: Order) {
    match order {
        Order::Request { connection, ticket, answer_to, request } => {
            let Some(request) = Request::decode(request) else { return };
            let local = local.clone();
            tokio::task::spawn_local(async move {
                let needs_none = matches!(request.ask, Ask::Abandon | Ask::Supersede | Ask::Release);
                let abandons = request.ask.is_held().then(|| about(&request, Ask::Abandon, ticket));
                let response = serve(local.clone(), connection, request, ticket).await;
                if needs_none {
                    return;
                }
                let response = Order::Response { ticket, response: response.encode() };
                let is_told = local.node.order(&answer_to, response).await;
                // Who asks again, such as a proxy of whose nodes one has died, must not pass over what this one was answered.
                if let Some(abandons) = abandons.filter(|_| !is_told) {
                    serve(local.clone(), connection, abandons, ticket).await;
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
