//! From a request to a connection: who asks, from where, for which dialect; and what a refusal looks like.

use super::address::{client_address, is_trusted};
use super::caller::{denied, identify, let_in, visitor};
use super::refusal::{Refused, refuse, refuse_for_now, refuse_until};
use super::shown::{extensions, offered, percent_decoded, queries, query};
use super::{Body, Visit};
use crate::auth::Identity;
use crate::engine::Engine;
use crate::hooks::Visitor;
use crate::local::connection::Opened;
use crate::metrics::Limit;
use crate::node::Node;
use crate::places::{Place, network};
use crate::session::{Phase, Session};
use crate::socket::Socket;
use crate::socketio::{open, say};
use crate::websocket::deflate::{Window, agreed};
use crate::worker::{adopt, feed};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use protocol::dialect::Dialect;
use protocol::dialect::raw::{Past, Raw};
use protocol::{Channel, CloseCode};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

/// How long the stream may take to be handed over after the answer.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(5);

/// Those of one address who come too fast are spread over so many seconds, a `Retry-After` being whole ones.
pub(super) const RETRY_SPREAD_S: u32 = 3;

/// `GET /ws`: in the first native dialect that is offered, or in JSON.
pub(super) async fn native(visit: &Rc<Visit>, request: Request<Incoming>) -> Response<Body> {
    let dialect = offered(request.headers()).find_map(Dialect::native).unwrap_or(Dialect::Json);
    let wants_arrays = query(request.uri(), "batch").is_some_and(|value| value == "1");
    upgrade(visit, request, Wanted { wants_arrays, ..Wanted::dialect(dialect) }).await
}

/// `GET /raw/{channel}`.
pub(super) async fn raw(visit: &Rc<Visit>, request: Request<Incoming>) -> Response<Body> {
    let name = request.uri().path().strip_prefix("/raw/").and_then(percent_decoded);
    let Some(channel) = name.and_then(|name| Channel::new(&name).ok()) else {
        return refuse(StatusCode::NOT_FOUND, "this is not a channel's name\n");
    };
    let echo = query(request.uri(), "echo").is_some_and(|value| value == "1");
    let Ok(past) = past(request.uri()) else {
        return refuse(StatusCode::BAD_REQUEST, "since is an offset or epoch:offset, and last a number; not both\n");
    };
    upgrade(visit, request, Wanted::dialect(Dialect::Raw(Box::new(Raw { channel, echo, past })))).await
}

/// What of the history is asked for; passed over, a mistake would look like an empty history.
fn past(uri: &http::Uri) -> Result<Option<Past>, ()> {
    let read = |name, parse: fn(&str) -> Option<Past>| {
        let value = queries(uri, name).next();
        value.map(|value| value.and_then(|value| parse(&value)).ok_or(())).transpose()
    };
    match (read("since", Past::since)?, read("last", Past::last)?) {
        (Some(_), Some(_)) => Err(()),
        (since, last) => Ok(since.or(last)),
    }
}

/// `GET /echo`, in builds for the conformance suite.
#[cfg(feature = "echo")]
pub(super) async fn echo(visit: &Rc<Visit>, request: Request<Incoming>) -> Response<Body> {
    // A dialect without a word of its own.
    let Ok(channel) = Channel::new("echo") else { return refuse(StatusCode::NOT_FOUND, "") };
    let wanted = Wanted::dialect(Dialect::Raw(Box::new(Raw { channel, echo: false, past: None })));
    upgrade(visit, request, Wanted { is_echo: true, ..wanted }).await
}

/// What becomes of a stream that is for a session which is there already.
pub(super) type Probing = Box<dyn FnOnce(Rc<Visit>, Socket, Bytes, Place) -> LocalBoxFuture<'static, ()>>;

/// What a handshake leads to.
pub(super) struct Wanted {
    pub(super) dialect: Dialect,
    pub(super) wants_arrays: bool,
    pub(super) engine: Option<Box<Engine>>,
    pub(super) probing: Option<Probing>,
    pub(super) deflate: Option<Window>,
    #[cfg(feature = "echo")]
    pub(super) is_echo: bool,
}

impl Wanted {
    fn dialect(dialect: Dialect) -> Self {
        Self {
            dialect,
            wants_arrays: false,
            engine: None,
            probing: None,
            deflate: None,
            #[cfg(feature = "echo")]
            is_echo: false,
        }
    }

    /// A session of Engine.IO.
    pub(super) fn session(dialect: Dialect, engine: Box<Engine>) -> Self {
        Self { engine: Some(engine), ..Self::dialect(dialect) }
    }
}

pub(super) async fn upgrade(visit: &Rc<Visit>, mut request: Request<Incoming>, mut wanted: Wanted) -> Response<Body> {
    if let Some(refusal) = not_an_upgrade(&request) {
        return refusal;
    }
    if visit.is_spare && !visit.is_counted {
        let text = "too many streams from this address have yet to shake hands (limits.unfinished_per_address)\n";
        return refuse_for_now(StatusCode::TOO_MANY_REQUESTS, text);
    }
    if visit.is_spare {
        visit.local.node.metrics.limits.reached(Limit::Connections);
        return refuse_for_now(StatusCode::SERVICE_UNAVAILABLE, "this node holds as many connections as it may\n");
    }
    let Some(mut place) = visit.place.take() else {
        return refuse(StatusCode::BAD_REQUEST, "one upgrade a connection\n");
    };
    let node = visit.local.node.clone();
    let address = client_address(visit.peer.ip(), request.headers(), &node.config.http.trusted_proxies);
    if let Some(Err(wait)) = node.handshakes.as_ref().map(|handshakes| handshakes.take(&network(address))) {
        visit.place.set(Some(place));
        node.metrics.limits.reached(Limit::HandshakesPerAddress);
        return too_many_handshakes(wait);
    }
    // Before anything that costs more, and for browsers too, although they see no status: a close costs an upgrade.
    let entry = match node.admission.enter() {
        Ok(entry) => entry,
        Err(retry_after_s) => return not_now(visit, place, retry_after_s),
    };
    let Ok(mut response) = create_response_with_body(&request, Body::default) else {
        visit.place.set(Some(place));
        return malformed();
    };
    let (session, visitor, close) =
        match check(visit, request.headers(), request.uri(), &wanted.dialect, address, &mut place).await {
            // Who enters a namespace is known by its CONNECT.
            Ok((identity, visitor)) if wanted.engine.is_some() => {
                (Session::new(Phase::Connecting, identity.map(Arc::new)), visitor, None)
            }
            Ok((identity, visitor)) => (session(visit, identity), visitor, None),
            Err(refused) if refused.is_told_by_close(is_browser(&request), is_proxied(visit)) => {
                (Session::new(Phase::Connecting, None), None, Some(refused.close))
            }
            Err(refused) => {
                visit.place.set(Some(place));
                return refused.answer();
            }
        };
    entry.used();
    let subprotocol = wanted.dialect.subprotocol();
    if offered(request.headers()).any(|name| name == subprotocol && !name.is_empty()) {
        let name = HeaderValue::from_static(subprotocol);
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    }
    if let Some((window, answer)) = deflate(&node, &request, &wanted) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(answer));
        wanted.deflate = Some(window);
    }
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::task::spawn_local(hand_over(visit.clone(), upgraded, place, session, visitor, wanted, close));
    response
}

/// What is agreed upon of compression, and the answer that says so.
fn deflate(node: &Node, request: &Request<Incoming>, wanted: &Wanted) -> Option<(Window, &'static str)> {
    // A session that has polled may be another worker's or node's: what it writes is for any stream. And arrays are each
    // connection's own.
    if !node.config.worker.deflate.is_enabled || wanted.probing.is_some() || wanted.wants_arrays {
        return None;
    }
    extensions(request.headers()).next()?;
    let agreed = agreed(extensions(request.headers()));
    node.metrics.deflate_offered(agreed.is_some());
    agreed
}

/// What no WebSocket client would have sent.
fn not_an_upgrade(request: &Request<Incoming>) -> Option<Response<Body>> {
    if request.method() != Method::GET {
        return Some(refuse(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket begins with GET\n"));
    }
    if is_upgrade(request.headers()) {
        return None;
    }
    let mut response = refuse(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket: connect with a WebSocket client\n");
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    Some(response)
}

fn malformed() -> Response<Body> {
    let mut response = refuse(StatusCode::BAD_REQUEST, "the WebSocket handshake is not as in RFC 6455 section 4.1\n");
    response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

/// More come than the node lets in at once.
fn not_now(visit: &Visit, place: Place, retry_after_s: u32) -> Response<Body> {
    visit.place.set(Some(place));
    visit.local.node.metrics.admission_refusals.inc();
    let text = "more come to this node than it takes at once (admission.rate)\n";
    refuse_until(StatusCode::SERVICE_UNAVAILABLE, text, retry_after_s)
}

/// More come from one address than it may send. Before the token is looked at, so that guessing is bounded too, and for
/// browsers in no other words: the upgrade that a close needs is what is to be spared.
fn too_many_handshakes(wait: Duration) -> Response<Body> {
    let text = "handshakes come faster than one address may send them (limits.handshakes_per_address)\n";
    let wait_s = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    refuse_until(StatusCode::TOO_MANY_REQUESTS, text, wait_s.saturating_add(fastrand::u32(..RETRY_SPREAD_S)))
}

fn is_browser(request: &Request<Incoming>) -> bool {
    request.headers().contains_key(header::ORIGIN)
}

pub(super) fn is_proxied(visit: &Visit) -> bool {
    is_trusted(visit.peer.ip(), &visit.local.node.config.http.trusted_proxies)
}

async fn hand_over(
    visit: Rc<Visit>,
    upgraded: hyper::upgrade::OnUpgrade,
    place: Place,
    session: Session,
    visitor: Option<Box<Visitor>>,
    wanted: Wanted,
    close: Option<CloseCode>,
) {
    // A client that went away in between is no fault.
    let Ok(Ok(upgraded)) = timeout(UPGRADE_TIMEOUT, upgraded).await else { return };
    let Some((socket, early)) = taken_back(upgraded) else { return };
    drop(visit.unfinished.take());
    if let (Some(probing), None) = (wanted.probing, close) {
        return probing(visit, socket, early, place).await;
    }
    let is_session = wanted.engine.is_some() && close.is_none();
    let opened = Opened {
        socket,
        dialect: wanted.dialect,
        wants_arrays: wanted.wants_arrays,
        session,
        place,
        deflate: wanted.deflate,
        engine: wanted.engine,
        polled: None,
        visitor,
        #[cfg(feature = "echo")]
        is_echo: wanted.is_echo,
    };
    if !is_session {
        adopt(&visit.local, opened, &early, close);
        return;
    }
    let connection = adopt(&visit.local, opened, &[], None);
    say(&visit.local, &connection, &open(&visit.local, &connection, false));
    feed(&visit.local, &connection, &early);
}

/// The stream as it was before hyper had it, and what hyper has read of it beyond the request.
fn taken_back(upgraded: hyper::upgrade::Upgraded) -> Option<(Socket, Bytes)> {
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => Some((Socket::plain(parts.io.into_inner()), parts.read_buf)),
        Err(upgraded) => {
            let parts = upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>().ok()?;
            let (stream, session) = parts.io.into_inner().into_inner();
            Some((Socket::tls(stream, session), parts.read_buf))
        }
    }
}

pub(super) fn session(visit: &Visit, identity: Option<Identity>) -> Session {
    let may_stay = identity.is_some() || visit.local.node.config.auth.anonymous;
    let phase = if may_stay { Phase::Ready } else { Phase::Connecting };
    Session::new(phase, identity.map(Arc::new))
}

/// Who this is, if the handshake says, and where it comes from, if that is to be known later.
pub(super) type Known = (Option<Identity>, Option<Box<Visitor>>);

/// Readiness, Origin, address, token, and what the application says to it.
pub(super) async fn check(
    visit: &Visit,
    headers: &HeaderMap,
    uri: &Uri,
    dialect: &Dialect,
    address: IpAddr,
    place: &mut Place,
) -> Result<Known, Refused> {
    let node = &visit.local.node;
    let_in(visit, headers)?;
    if node.places.assign(place, address).is_err() {
        node.metrics.limits.reached(Limit::ConnectionsPerAddress);
        let text = "this address holds as many connections as it may (limits.connections_per_address)\n";
        return Err(Refused { status: StatusCode::TOO_MANY_REQUESTS, text, close: CloseCode::OverCapacity });
    }
    let identity = identify(node, headers, uri).await?;
    let channel = match dialect {
        Dialect::Raw(raw) => Some(raw.channel.clone()),
        _ => None,
    };
    let from = || Visitor::new(dialect.name(), channel, address, headers);
    let visitor = visitor(node, headers, from)?;
    let identity = match &visitor {
        // Whoever has yet to show a token is asked about then.
        Some(visitor) if identity.is_some() || node.config.auth.anonymous => {
            node.hooks.connect(visitor, identity, false).await.map_err(|denial| denied(&denial))?
        }
        _ => identity,
    };
    if let Some(identity) = &identity
        && node.places.assign_user(place, &identity.user).is_err()
    {
        node.metrics.limits.reached(Limit::ConnectionsPerUser);
        let text = "this user has as many connections here as a user may (limits.connections_per_user)\n";
        return Err(Refused { status: StatusCode::TOO_MANY_REQUESTS, text, close: CloseCode::OverCapacity });
    }
    Ok((identity, visitor))
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let value = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}
