//! The public port: HTTP requests, and the handshakes that turn them into connections.

mod address;
mod engineio;
mod handshake;
mod origin;
mod pages;
mod probe;
mod refusal;
mod shown;

use crate::local::Local;
use crate::places::Place;
use bytes::Bytes;
use futures_util::future::{FutureExt, LocalBoxFuture};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use origin::AllowedOrigin;
use refusal::refuse;
use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// The largest head of a request: request line and headers.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// How long one stream may speak HTTP, all its requests together.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

/// The most headers of a request.
const MAX_HEADERS: usize = 64;

/// What is asked of HTTP requests.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Whose pages may connect; none: the same host.
    pub origins: Vec<AllowedOrigin>,
    /// Whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// By when a request's head must have arrived.
    pub header_timeout: Duration,
}

type Body = Full<Bytes>;

/// What a request is served with. The place belongs to the stream; an upgrade takes it along, if it is not a spare one.
struct Visit {
    local: Rc<Local>,
    peer: SocketAddr,
    place: Cell<Option<Place>>,
    is_spare: bool,
    /// Until when the stream may speak HTTP.
    deadline: Cell<Instant>,
}

impl Visit {
    /// The stream may speak HTTP for so long from now.
    fn extend(&self, time: Duration) {
        self.deadline.set(Instant::now() + time);
    }
}

/// Serves one accepted stream until it ends or is upgraded.
pub fn front(local: Rc<Local>, stream: TcpStream, peer: SocketAddr, place: Place) -> LocalBoxFuture<'static, ()> {
    async move {
        let header_timeout = local.node.config.http.header_timeout;
        let is_spare = place.is_spare();
        let deadline = Cell::new(Instant::now() + HTTP_TIMEOUT);
        let visit = Rc::new(Visit { local, peer, is_spare, place: Cell::new(Some(place)), deadline });
        let serving = visit.clone();
        let service = service_fn(move |request| {
            let visit = serving.clone();
            async move { Ok::<_, Infallible>(route(&visit, request).await) }
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
        // Ends with the upgrade, so it bounds only HTTP: a peer that keeps asking, or does not read the answers.
        while visit.deadline.get() > Instant::now() {
            tokio::select! {
                ended = &mut connection => {
                    // What a stranger's HTTP can do wrong has been answered by hyper; there is nobody else to tell.
                    let _ = ended.inspect_err(|error| tracing::debug!(%error, "an HTTP connection ended badly"));
                    return;
                }
                // It may have been extended meanwhile, by a poll that is held.
                () = sleep_until(visit.deadline.get()) => {}
            }
        }
    }
    .boxed_local()
}

async fn route(visit: &Rc<Visit>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    let response = match path {
        "/ws" => handshake::native(visit, request).await,
        #[cfg(feature = "echo")]
        "/echo" => handshake::echo(visit, request).await,
        "/socket.io/" | "/socket.io" if visit.local.node.config.socketio.is_enabled => {
            engineio::serve(visit, request).await
        }
        #[cfg(feature = "echo")]
        "/engine.io/" => engineio::serve(visit, request).await,
        _ if path.starts_with("/raw/") => handshake::raw(visit, request).await,
        _ if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n")
        }
        _ => pages::page(path),
    };
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        visit.local.node.metrics.http_refusals.with_label_values(&[status.as_str()]).inc();
    }
    response
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    response
}
