//! What is asked of sessions of this worker by requests that may have come to any: each kind of session answers its own.

use crate::local::Local;
use crate::local::connection::Connection;
use crate::longpoll;
use crate::polling::{abandon, is_same, release};
use crate::socketio::{self, removal};
use bytes::Bytes;
use futures_util::future::{FutureExt, LocalBoxFuture};
use protocol::forward::{Ask, Request, Response};
use std::rc::Rc;

/// Carries out a request for a session of this worker.
pub fn serve(local: Rc<Local>, number: u64, request: Request, turn: u64) -> LocalBoxFuture<'static, Response> {
    async move {
        match request.ask {
            Ask::Supersede => removal::supersede(&local, number),
            Ask::Abandon => with_poll(&local, number, &request, |connection, turn| abandon(&local, connection, turn)),
            Ask::Release => with_poll(&local, number, &request, release),
            Ask::Take | Ask::Say | Ask::Leave => return longpoll::serve(&local, number, &request, turn).await,
            Ask::Poll | Ask::Post | Ask::Probe | Ask::Move => {
                return socketio::serve(&local, number, &request, turn).await;
            }
        }
        Response { status: 200, body: Bytes::new() }
    }
    .boxed_local()
}

/// Somebody's poll, of a client that knows the session's secret.
fn with_poll(local: &Local, number: u64, request: &Request, run: impl FnOnce(&Rc<Connection>, u64)) {
    let found = local.connections.borrow().get(&number).cloned();
    let Some((connection, turn)) = found.zip(<[u8; 8]>::try_from(&request.body[..]).ok()) else { return };
    let secret = {
        let state = connection.state.borrow();
        let of_engine = state.engine.as_ref().map(|engine| engine.secret);
        of_engine.or(state.polled.as_ref().map(|polled| polled.secret))
    };
    if secret.is_some_and(|secret| is_same(&secret, &request.secret)) {
        run(&connection, u64::from_be_bytes(turn));
    }
}
