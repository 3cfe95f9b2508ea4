//! The public port: HTTP requests, and the handshakes that turn them into connections.

mod address;
mod arrival;
mod body;
mod caller;
mod cors;
mod engineio;
mod events;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod handshake;
mod native;
mod opening;
mod origin;
mod pages;
mod plain;
mod poll;
mod probe;
mod proxy_protocol;
mod refusal;
mod shown;

use crate::api;
use crate::local::Local;
use crate::local::connection::Connection;
use crate::metrics::Limit;
use crate::places::{Place, Unfinished};
use crate::socket::prepare_http;
use address::is_trusted;
use arrival::{Failure, Stream, arrive};
use body::Body;
use bytes::Bytes;
use cors::Cors;
use futures_util::future::{FutureExt, LocalBoxFuture};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
pub use origin::AllowedOrigin;
use refusal::refuse;
use std::cell::{Cell, OnceCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// The largest head of a request: request line and headers.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// How long one stream may speak HTTP, all its requests together.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long its last answer may take then.
const LAST_ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the last event of a stream may take, which nobody takes that was too slow for the others.
const LAST_EVENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The most headers of a request.
const MAX_HEADERS: usize = 64;

/// What is asked of HTTP requests.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Whose pages may connect; none: the same host.
    pub origins: Vec<AllowedOrigin>,
    /// Whose X-Forwarded-For is believed, and who may speak the PROXY protocol.
    pub trusted_proxies: Vec<IpNet>,
    /// Every connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// By when a request's head must have arrived, the handshake of TLS before it included.
    pub header_timeout: Duration,
    /// Requests of clients that are answered at once.
    pub requests_max: usize,
    /// Told to browsers over this node's own TLS: so long they come by HTTPS only.
    pub hsts: Duration,
}

/// What a request is served with. The place belongs to the stream; an upgrade takes it along, if it is not a spare one.
struct Visit {
    local: Rc<Local>,
    peer: SocketAddr,
    place: Cell<Option<Place>>,
    is_spare: bool,
    /// Until it is upgraded, however many handshakes are refused before.
    unfinished: Cell<Option<Unfinished>>,
    /// Whether it counts among those of its address: not where that has too many such.
    is_counted: bool,
    is_tls: bool,
    /// Until when the stream may speak HTTP.
    deadline: Cell<Instant>,
    /// The connection that it has become without an upgrade, and the word that it has.
    streams: OnceCell<Rc<Connection>>,
    has_begun: Notify,
}

impl Visit {
    /// The stream may speak HTTP for so long from now.
    fn extend(&self, time: Duration) {
        self.deadline.set(Instant::now() + time);
    }

    /// It is a connection from here on: whatever bounds that bounds it.
    fn becomes(&self, connection: Rc<Connection>) {
        let _ = self.streams.set(connection);
        self.has_begun.notify_one();
    }

    /// Waits for the end of the connection that it has become, and then until what was said last must have left.
    async fn is_over(&self) {
        if self.streams.get().is_none() {
            self.has_begun.notified().await;
        }
        if let Some(pipe) = self.streams.get().and_then(|connection| connection.socket.pipe()) {
            pipe.ended().await;
        }
        sleep(LAST_EVENT_TIMEOUT).await;
    }
}

/// Serves one accepted stream until it ends or is upgraded.
pub fn front(local: Rc<Local>, stream: TcpStream, peer: SocketAddr, place: Place) -> LocalBoxFuture<'static, ()> {
    async move {
        let limit = local.node.config.http.header_timeout;
        let began = Instant::now();
        let worker = &local.node.config.worker;
        prepare_http(&stream, worker.ping_interval + worker.ping_timeout);
        let Some((place, unfinished)) = begin(&local, peer, place) else { return };
        let arrived = timeout(limit, arrive(&local.node, stream, peer)).await.unwrap_or(Err(Failure::Late));
        let arrived = match arrived {
            Ok(arrived) => arrived,
            Err(failure) => return local.node.metrics.arrival_failure(failure.as_str()),
        };
        // Whom a proxy names is counted from here on.
        let begun = begin_named(&local, peer, arrived.peer, place, unfinished);
        let Some((place, unfinished)) = begun else { return };
        // One deadline for all that comes before the first request.
        let left = limit.saturating_sub(began.elapsed());
        let (is_spare, is_tls) = (place.is_spare(), matches!(arrived.stream, Stream::Tls(_)));
        let is_counted = unfinished.is_some();
        let (place, unfinished) = (Cell::new(Some(place)), Cell::new(unfinished));
        let deadline = Cell::new(Instant::now() + HTTP_TIMEOUT);
        let (streams, has_begun, peer) = (OnceCell::new(), Notify::new(), arrived.peer);
        let visit =
            Visit { local, peer, is_spare, is_tls, place, unfinished, is_counted, deadline, streams, has_begun };
        match arrived.stream {
            Stream::Plain(stream) => serve(Rc::new(visit), stream, left, route).await,
            Stream::Tls(stream) => serve(Rc::new(visit), *stream, left, route).await,
            Stream::NotTls(stream) => {
                visit.local.node.metrics.arrival_failure(Failure::NotTls.as_str());
                // As one who is answered once.
                serve(Rc::new(Visit { is_spare: true, ..visit }), stream, left, not_tls).await;
            }
        }
    }
    .boxed_local()
}

/// Counts the stream among those of its address that have yet to shake hands; one too many is refused in a spare place, or
/// dropped if there is none. Our own proxies speak for many.
fn begin(local: &Local, peer: SocketAddr, place: Place) -> Option<(Place, Option<Unfinished>)> {
    if is_trusted(peer.ip(), &local.node.config.http.trusted_proxies) {
        return Some((place, Some(Unfinished::default())));
    }
    match local.node.places.begin(peer.ip()) {
        Ok(unfinished) => Some((place, Some(unfinished))),
        Err(_) => {
            local.node.metrics.limits.reached(Limit::UnfinishedPerAddress);
            let spare = local.node.places.take_spare(place);
            if spare.is_none() {
                local.node.metrics.streams_dropped.inc();
            }
            Some((spare?, None))
        }
    }
}

/// The same for whom a proxy named.
fn begin_named(
    local: &Local,
    peer: SocketAddr,
    named: SocketAddr,
    place: Place,
    unfinished: Option<Unfinished>,
) -> Option<(Place, Option<Unfinished>)> {
    if named == peer { Some((place, unfinished)) } else { begin(local, named, place) }
}

async fn serve<S, A>(visit: Rc<Visit>, stream: S, header_timeout: Duration, answer: A)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: AsyncFn(&Rc<Visit>, Request<Incoming>) -> Response<Body> + Copy + 'static,
{
    let is_spare = visit.is_spare;
    let serving = visit.clone();
    let service = service_fn(move |request| {
        let visit = serving.clone();
        async move { Ok::<_, Infallible>(answer(&visit, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        // Whoever found no place is answered once.
        .keep_alive(!is_spare)
        .header_read_timeout(header_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    if spoke(&visit, connection.as_mut()).await {
        return;
    }
    // What has been asked is answered; after that the stream ends, unless that has made a connection of it.
    connection.as_mut().graceful_shutdown();
    visit.extend(LAST_ANSWER_TIMEOUT);
    spoke(&visit, connection).await;
}

/// Serves a stream; false when it has spoken HTTP for as long as it may. An upgrade ends it, so only HTTP is bounded: a peer
/// that keeps asking, or does not read the answers.
async fn spoke(visit: &Visit, mut connection: Pin<&mut impl Future<Output = hyper::Result<()>>>) -> bool {
    while visit.streams.get().is_some() || visit.deadline.get() > Instant::now() {
        let has_become = visit.streams.get().is_some();
        tokio::select! {
            ended = connection.as_mut() => {
                told(ended);
                return true;
            }
            // It may have been extended meanwhile, by a poll that is held.
            () = sleep_until(visit.deadline.get()), if !has_become => {}
            () = visit.is_over() => return true,
        }
    }
    false
}

/// What a stranger's HTTP can do wrong has been answered by hyper; there is nobody else to tell.
fn told(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended badly");
    }
}

/// Plain HTTP where TLS is spoken.
async fn not_tls(_: &Rc<Visit>, _: Request<Incoming>) -> Response<Body> {
    refuse(StatusCode::BAD_REQUEST, "this port speaks TLS: come by https:// or wss://\n")
}

async fn route(visit: &Rc<Visit>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    let http = &visit.local.node.config.http;
    let api = visit.local.node.api.as_ref().filter(|_| api::is_path(path));
    let mut response = match path {
        _ if let Some(api) = api => {
            // Whoever has a key keeps streams as it likes.
            let admitted = || drop(visit.unfinished.take());
            api::serve(&visit.local.node, api, request, admitted).await.map(Body::from)
        }
        _ if api::is_path(path) => refuse(StatusCode::NOT_FOUND, "there is no server API without a key (api.key)\n"),
        "/ws" => handshake::native(visit, request).await,
        #[cfg(feature = "echo")]
        "/echo" => handshake::echo(visit, request).await,
        "/socket.io/" | "/socket.io" if visit.local.node.config.socketio.is_enabled => {
            engineio::serve(visit, request).await
        }
        #[cfg(feature = "echo")]
        "/engine.io/" => engineio::serve(visit, request).await,
        "/sse" => events::serve(visit, request).await,
        "/poll" => poll::serve(visit, request).await,
        _ if path.starts_with("/raw/") => handshake::raw(visit, request).await,
        _ if let Some(route) = plain::Route::of(path) => plain::serve(visit, request, route).await,
        _ => {
            let cors = Cors::of(&http.origins, request.headers(), visit.is_tls);
            cors.told(match *request.method() {
                Method::GET | Method::HEAD => pages::page(path),
                Method::OPTIONS => cors.preflight("GET, HEAD"),
                _ if pages::is_there(path) => refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n"),
                _ => pages::page(path),
            })
        }
    };
    if visit.is_tls && !http.hsts.is_zero() {
        let max_age = HeaderValue::try_from(format!("max-age={}", http.hsts.as_secs()));
        max_age.into_iter().for_each(|value| drop(response.headers_mut().insert("strict-transport-security", value)));
    }
    let status = response.status();
    // The server API counts its own.
    if api.is_none() && (status.is_client_error() || status.is_server_error()) {
        visit.local.node.metrics.http_refusals.with_label_values(&[status.as_str()]).inc();
    }
    response
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(Full::new(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    response
}
