//! The public port: HTTP requests, and the handshakes that turn them into connections.

mod address;
mod handshake;
mod origin;
mod pages;
mod refusal;
mod shown;

use crate::api;
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
use tokio::time::timeout;

/// The largest head of a request: request line and headers.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// How long one stream may speak HTTP, all its requests together.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long its last answer may take then.
const LAST_ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

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
}

/// Serves one accepted stream until it ends or is upgraded.
pub fn front(local: Rc<Local>, stream: TcpStream, peer: SocketAddr, place: Place) -> LocalBoxFuture<'static, ()> {
    async move {
        let header_timeout = local.node.config.http.header_timeout;
        let is_spare = place.is_spare();
        let visit = Rc::new(Visit { local, peer, is_spare, place: Cell::new(Some(place)) });
        let service = service_fn(move |request| {
            let visit = visit.clone();
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
        let mut ended = timeout(HTTP_TIMEOUT, connection.as_mut()).await;
        if ended.is_err() {
            // What has been asked is answered; after that the stream ends.
            connection.as_mut().graceful_shutdown();
            ended = timeout(LAST_ANSWER_TIMEOUT, connection).await;
        }
        if let Ok(Err(error)) = ended {
            // What a stranger's HTTP can do wrong has been answered by hyper; there is nobody else to tell.
            tracing::debug!(%error, "an HTTP connection ended badly");
        }
    }
    .boxed_local()
}

async fn route(visit: &Rc<Visit>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    if let Some(api) = visit.local.node.api.as_ref().filter(|_| api::is_path(path)) {
        return api::serve(&visit.local.node, api, request).await;
    }
    let response = match path {
        "/ws" => handshake::native(visit, request).await,
        #[cfg(feature = "echo")]
        "/echo" => handshake::echo(visit, request).await,
        _ if path.starts_with("/raw/") => handshake::raw(visit, request).await,
        _ if api::is_path(path) => refuse(StatusCode::NOT_FOUND, "there is no server API without a key (api.key)\n"),
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
