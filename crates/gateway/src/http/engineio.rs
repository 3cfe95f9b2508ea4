//! `/socket.io/`: sessions of Engine.IO, opened and served by requests that may come to any node.

use super::cors::Cors;
use super::handshake::{Wanted, upgrade};
use super::native;
use super::opening::{let_stay, place};
use super::origin::is_allowed;
use super::probe::{Target, probe};
use super::refusal::{Refused, refuse_for_now};
use super::shown::{query, token};
use super::{Body, HTTP_TIMEOUT, Visit, answer};
use crate::engine::{Engine, Polling};
use crate::local::connection::Opened;
use crate::node::parse_client_id;
use crate::polling::calls::{self, Unanswered};
use crate::polling::{parse_sid, secret};
use crate::session::{Phase, Session};
use crate::socket::Socket;
use crate::socketio::{Answered, open};
use crate::worker::{self, adopt};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use protocol::dialect::Dialect;
use protocol::dialect::socketio::engine::VERSION;
use protocol::forward::{self, Ask};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a POST's body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest mark that tells one poll from another.
const MARK_BYTES_MAX: usize = 64;

/// Serves a request.
pub(super) async fn serve(visit: &Rc<Visit>, request: Request<Incoming>) -> Response<Body> {
    let uri = request.uri();
    let transport = query(uri, "transport");
    let origins = &visit.local.node.config.http.origins;
    let cors = Cors::of(origins, request.headers(), visit.is_tls);
    if request.method() == Method::OPTIONS {
        return cors.told(cors.preflight("GET, POST"));
    }
    let is_stream = match transport.as_deref() {
        Some("polling") => false,
        Some("websocket") => true,
        _ => return refused(Answered::UnknownTransport),
    };
    let sid = query(uri, "sid");
    let target = match &sid {
        // Asked of every request by some servers; clients say it in each.
        _ if query(uri, "EIO").as_deref() != Some(VERSION) => return refused(Answered::BadVersion),
        None => None,
        Some(sid) => match parse_sid(sid).and_then(|(client, secret)| Some((parse_client_id(client)?, secret))) {
            Some(((node, number), secret)) => Some((node.to_owned(), number, secret)),
            None => return refused(Answered::UnknownSid),
        },
    };
    if is_stream {
        return stream(visit, request, target).await;
    }
    if !is_allowed(origins, request.headers(), visit.is_tls) {
        return refused(Answered::Forbidden);
    }
    let response = match target {
        None if request.method() != Method::GET => refused(Answered::BadMethod),
        None => open_session(visit, &request).await,
        Some(target) => ask(visit, request, target).await,
    };
    cors.told(response)
}

fn refused(refusal: Answered) -> Response<Body> {
    into_http(refusal.response(), "application/json")
}

fn into_http(response: forward::Response, content_type: &'static str) -> Response<Body> {
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut response = answer(status, content_type, response.body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn dialect(visit: &Visit) -> Dialect {
    Dialect::SocketIo(visit.local.node.config.socketio.rules.clone())
}

/// An engine for a session; none if there is no chance to be had.
fn engine(visit: &Visit, path: &str) -> Option<Box<Engine>> {
    let _ = (visit, path);
    #[cfg_attr(not(feature = "echo"), expect(unused_mut, reason = "only those builds change it"))]
    let mut engine = Engine::new(secret()?);
    #[cfg(feature = "echo")]
    {
        let is_engine = path.starts_with("/engine.io");
        engine.echo = if is_engine { crate::engine::Echo::Messages } else { crate::engine::Echo::Events };
    }
    Some(Box::new(engine))
}

/// Opens a session whose client polls. It has a place of its own: the stream's goes with the stream.
async fn open_session(visit: &Rc<Visit>, request: &Request<Incoming>) -> Response<Body> {
    let dialect = dialect(visit);
    let place = match place(visit) {
        Ok(place) => place,
        Err(turned) => return turned.answer(),
    };
    let come = match let_stay(visit, request.headers(), request.uri(), &dialect, place).await {
        Ok(come) => come,
        Err((turned, _)) => return turned.answer(),
    };
    let Some(mut engine) = engine(visit, request.uri().path()) else {
        return refuse_for_now(StatusCode::SERVICE_UNAVAILABLE, "a session cannot be named now\n");
    };
    let (place, (identity, visitor)) = come.used(visit);
    let identity = identity.map(Arc::new);
    let token = shown(visit, request).unwrap_or_default();
    let user = identity.as_ref().map(|identity| identity.user.clone());
    engine.polling = Some(Box::new(Polling { shown: token.clone(), token, user, ..Polling::default() }));
    let opened = Opened {
        socket: Socket::piped(),
        dialect,
        wants_arrays: false,
        session: Session::new(Phase::Connecting, identity),
        place,
        deflate: None,
        engine: Some(engine),
        polled: None,
        visitor,
        #[cfg(feature = "echo")]
        is_echo: false,
    };
    let connection = adopt(&visit.local, opened, &[], None);
    answer(StatusCode::OK, "text/plain; charset=UTF-8", open(&visit.local, &connection, true).into())
}

fn shown(visit: &Visit, request: &Request<Incoming>) -> Result<Option<String>, Refused> {
    token(&visit.local.node.config.auth, request.headers(), request.uri())
}

type Named = (String, u64, forward::Secret);

/// Asks the session, wherever it is.
async fn ask(visit: &Rc<Visit>, request: Request<Incoming>, (node, number, secret): Named) -> Response<Body> {
    let token = match shown(visit, &request) {
        Ok(token) => token,
        Err(refused) => return refused.answer(),
    };
    let worker = &visit.local.node.config.worker;
    let (ask, body, content_type) = if request.method() == Method::GET {
        let mark = query(request.uri(), "t").filter(|mark| mark.len() <= MARK_BYTES_MAX).unwrap_or_default();
        (Ask::Poll, Bytes::from(mark), "text/plain; charset=UTF-8")
    } else if request.method() == Method::POST {
        let is_binary =
            request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream");
        if is_binary {
            return refused(Answered::BadRequest);
        }
        match timeout(BODY_TIMEOUT, Limited::new(request.into_body(), worker.max_message_bytes).collect()).await {
            Ok(Ok(body)) => (Ask::Post, body.to_bytes(), "text/html"),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return answer(StatusCode::PAYLOAD_TOO_LARGE, "text/plain; charset=utf-8", Bytes::new());
            }
            Ok(Err(_)) | Err(_) => return refused(Answered::BadRequest),
        }
    } else {
        return refused(Answered::BadRequest);
    };
    // A poll is held for longer than streams may speak HTTP.
    visit.extend(worker.ping_interval + worker.ping_timeout + HTTP_TIMEOUT);
    let request = forward::Request { ask, secret, token, body };
    let answering = calls::enter(&visit.local);
    let response = calls::call(&visit.local, worker::serve, &node, number, request).await;
    visit.extend(HTTP_TIMEOUT);
    match response {
        Ok(response) => {
            let body = native::held(response.body, answering);
            into_http(forward::Response { body, ..response }, content_type)
        }
        Err(Unanswered::Gone) => refused(Answered::UnknownSid),
        Err(Unanswered::Unknown) => answer(StatusCode::SERVICE_UNAVAILABLE, content_type, Bytes::new()),
    }
}

/// A WebSocket: a session of its own, or one that has polled until now.
async fn stream(visit: &Rc<Visit>, request: Request<Incoming>, target: Option<Named>) -> Response<Body> {
    let dialect = dialect(visit);
    let Some(engine) = engine(visit, request.uri().path()) else {
        return refuse_for_now(StatusCode::SERVICE_UNAVAILABLE, "a session cannot be named now\n");
    };
    let Some((node, number, secret)) = target else {
        return upgrade(visit, request, Wanted::session(dialect, engine)).await;
    };
    let token = match shown(visit, &request) {
        Ok(token) => token,
        Err(refused) => return refused.answer(),
    };
    let target = Target { node, number, secret, token };
    let probing = move |visit, stream, early: Bytes, place| Box::pin(probe(visit, stream, early, place, target)) as _;
    upgrade(visit, request, Wanted { probing: Some(Box::new(probing)), ..Wanted::session(dialect, engine) }).await
}
