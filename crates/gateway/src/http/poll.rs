//! `/poll`: native sessions without a WebSocket, opened by one request and served by further ones, which may come to any
//! node.

use super::body::{self, NoBody};
use super::caller::{assign, look_at_stream, take_place};
use super::cors::Cors;
use super::handshake::session;
use super::opening::{let_stay, place};
use super::origin::is_allowed;
use super::shown::query;
use super::{Body, HTTP_TIMEOUT, Visit, native};
use crate::local::connection::Opened;
use crate::longpoll::{self, hold_time};
use crate::node::parse_client_id;
use crate::polling::calls::{self, Unanswered};
use crate::polling::{Polled, parse_sid, secret};
use crate::socket::Socket;
use crate::worker::{adopt, serve as serve_asked};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use protocol::dialect::Dialect;
use protocol::forward::{self, Ask, Secret};
use protocol::{ErrorCode, Refusal};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;

/// What is served here.
const METHODS: &str = "GET, POST, DELETE";

/// How long a stream still counts among those of its address that have yet to show that they are for somebody, while it is
/// not known whether the session is one.
const PROOF_TIME: Duration = Duration::from_secs(1);

/// Serves a request.
pub(super) async fn serve(visit: &Rc<Visit>, request: Request<Incoming>) -> Response<Body> {
    let origins = &visit.local.node.config.http.origins;
    let cors = Cors::of(origins, request.headers(), visit.is_tls);
    let response = if request.method() == Method::OPTIONS {
        cors.preflight(METHODS)
    } else {
        let (head, body) = request.into_parts();
        answer(visit, &head, body).await.unwrap_or_else(|refusal| native::refusal(refusal, None))
    };
    visit.local.node.metrics.http_requests.with_label_values(&["poll", response.status().as_str()]).inc();
    cors.told(response)
}

async fn answer(visit: &Rc<Visit>, head: &Parts, body: Incoming) -> Result<Response<Body>, Refusal> {
    look_at_stream(visit)?;
    let name = query(&head.uri, "session");
    let ask = match (&head.method, &name) {
        (&Method::POST, None) => return open(visit, head, body).await,
        (&Method::POST, Some(_)) => Ask::Say,
        (&Method::GET, Some(_)) => Ask::Take,
        (&Method::DELETE, Some(_)) => Ask::Leave,
        (&Method::GET | &Method::DELETE, None) => {
            return Err(Refusal::bad_request("say which session: `?session=`; a POST without it opens one"));
        }
        _ => {
            let refusal = Refusal::bad_request(format!("this path is for {METHODS}"));
            let mut response = native::refusal_as(StatusCode::METHOD_NOT_ALLOWED, refusal, None);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(METHODS));
            return Ok(response);
        }
    };
    if !is_allowed(&visit.local.node.config.http.origins, &head.headers, visit.is_tls) {
        return Err(Refusal::new(ErrorCode::PermissionDenied, "pages of this Origin may not connect (origins)"));
    }
    let parsed = name.as_deref().and_then(parse_sid);
    let Some((node, number, secret)) = parsed.and_then(|(client, secret)| {
        let (node, number) = parse_client_id(client)?;
        Some((node, number, secret))
    }) else {
        return Ok(as_http(longpoll::unknown()));
    };
    assign(visit, head)?;
    let body = match ask {
        Ask::Say => match said(visit, body).await {
            Ok(body) => body,
            Err(response) => return Ok(*response),
        },
        _ => Bytes::new(),
    };
    Ok(forward(visit, node, number, secret, ask, body).await)
}

/// A message's body. It is read in a place among all requests, whose bodies no connection answers for.
async fn said(visit: &Visit, body: Incoming) -> Result<Bytes, Box<Response<Body>>> {
    let node = &visit.local.node;
    if body.size_hint().exact() == Some(0) {
        return Ok(Bytes::new());
    }
    let in_words = |refusal| Box::new(native::refusal(refusal, None));
    let _place = take_place(node).map_err(in_words)?;
    let max_bytes = node.config.worker.max_message_bytes;
    body::read(body, max_bytes).await.map_err(|wrong: NoBody| {
        let (status, refusal) = wrong.refusal(max_bytes);
        Box::new(native::refusal_as(status, refusal, None))
    })
}

/// Opens a session. It has a place of its own: the stream's goes with the stream.
async fn open(visit: &Rc<Visit>, head: &Parts, body: Incoming) -> Result<Response<Body>, Refusal> {
    let local = &visit.local;
    let dialect = Dialect::Polled;
    let place = place(visit).map_err(|turned| turned.refusal())?;
    let come = let_stay(visit, &head.headers, &head.uri, &dialect, place).await;
    let come = come.map_err(|(turned, _)| turned.refusal())?;
    let body = match said(visit, body).await {
        Ok(body) if std::str::from_utf8(&body).is_err() => {
            return Err(Refusal::bad_request("the body is not UTF-8"));
        }
        Ok(body) => body,
        Err(response) => return Ok(*response),
    };
    let secret = secret().ok_or_else(|| Refusal::new(ErrorCode::Unavailable, "a session cannot be named now"))?;
    let (place, (identity, visitor)) = come.used(visit);
    let opened = Opened {
        socket: Socket::piped(),
        dialect,
        // Each answer is an array anyway.
        wants_arrays: false,
        deflate: None,
        session: session(visit, identity),
        place,
        engine: None,
        polled: Some(Box::new(Polled::new(secret))),
        visitor,
        #[cfg(feature = "echo")]
        is_echo: false,
    };
    let connection = adopt(local, opened, &[], None);
    if !body.is_empty() {
        longpoll::hear(local, &connection, &body);
    }
    let array = longpoll::opened(local, &connection).await;
    Ok(native::body(StatusCode::OK, array))
}

/// Asks the session, wherever it is.
async fn forward(visit: &Rc<Visit>, node: &str, number: u64, secret: Secret, ask: Ask, body: Bytes) -> Response<Body> {
    let local = &visit.local;
    if ask.is_held() {
        // For longer than streams may speak HTTP.
        visit.extend(hold_time(local) + calls::CALL_TIMEOUT + HTTP_TIMEOUT);
    }
    let answering = calls::enter(local);
    let request = forward::Request { ask, secret, token: None, body };
    let mut called = std::pin::pin!(calls::call(local, serve_asked, node, number, request));
    let response = match timeout(PROOF_TIME, called.as_mut()).await {
        Ok(response) => response,
        Err(_) => {
            drop(visit.unfinished.take());
            called.await
        }
    };
    visit.extend(HTTP_TIMEOUT);
    let response = response.unwrap_or_else(|unanswered| match unanswered {
        Unanswered::Gone => longpoll::unknown(),
        Unanswered::Unknown => {
            let message = "the session did not answer in time: open another one, and go on from your positions";
            longpoll::refused(503, Refusal::new(ErrorCode::Unavailable, message))
        }
    });
    let body = native::held(response.body, answering);
    let mut response = as_http(forward::Response { body, ..response });
    if response.status().is_success() {
        drop(visit.unfinished.take());
    }
    if local.node.shedding.is_stopping() {
        // The next one may lead to another node.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn as_http(response: forward::Response) -> Response<Body> {
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    native::body(status, response.body)
}
