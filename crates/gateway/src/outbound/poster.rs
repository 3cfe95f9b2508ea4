//! POST of JSON to one address, signed, over connections that are kept; bounded in bytes and time whatever the other side
//! does.

use super::{Address, SIGNATURE, Secret, Stream, TIMESTAMP};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::error::Error as _;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// How long a connection without requests is kept: most servers keep them for 5 s or longer, and one that they have just
/// closed costs a repeat.
const IDLE: Duration = Duration::from_secs(4);

/// The largest head of an answer.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status; redirects are not followed.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

/// Why there is no answer: never a part of what was received.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Not by the deadline.
    #[error("no whole answer in time")]
    Late,
    /// No connection, or one that ended, or that does not speak HTTP.
    #[error("{0}")]
    Unreachable(String),
    /// A body over the bound, or one that was broken off.
    #[error("the answer is larger than it may be, or broken off")]
    Body,
}

/// Sends to one address.
#[derive(Clone)]
pub struct Poster {
    client: Client<Connector, Full<Bytes>>,
    url: Uri,
    secret: Option<Secret>,
    max_answer_bytes: usize,
    runtime: Handle,
}

impl Poster {
    /// Keeps up to `idle_max` connections. Requests run on `runtime`.
    pub fn new(
        address: Address,
        secret: Option<Secret>,
        max_answer_bytes: usize,
        idle_max: usize,
        runtime: Handle,
    ) -> Self {
        let url = address.url().clone();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(idle_max)
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .build(Connector(address));
        Self { client, url, secret, max_answer_bytes, runtime }
    }

    /// Sends a body and waits for the answer until the deadline, whatever becomes of the caller; `held` is dropped then.
    pub fn post(
        &self,
        body: Bytes,
        deadline: Instant,
        held: impl Send + 'static,
    ) -> JoinHandle<Result<Answer, Failure>> {
        let this = self.clone();
        self.runtime.spawn(async move {
            let _held = held;
            timeout_at(deadline, this.ask(body)).await.unwrap_or(Err(Failure::Late))
        })
    }

    async fn ask(&self, body: Bytes) -> Result<Answer, Failure> {
        let response = match self.client.request(self.request(body.clone())?).await {
            // A connection that was kept, and closed while this was on its way. Once more, with another one.
            Err(error) if was_closed(&error) => self.client.request(self.request(body)?).await,
            response => response,
        };
        let response = response.map_err(|error| Failure::Unreachable(explain(&error)))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), self.max_answer_bytes).collect().await;
        let body = body.map_err(|_| Failure::Body)?.to_bytes();
        Ok(Answer { status, body })
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut request = Request::post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("gateway/", env!("CARGO_PKG_VERSION")))
            .header(TIMESTAMP, HeaderValue::from(now_s));
        if let Some(secret) = &self.secret {
            request = request.header(SIGNATURE, secret.sign(now_s, &body));
        }
        request.body(Full::new(body)).map_err(|error| Failure::Unreachable(error.to_string()))
    }
}

/// Whether the other side ended the connection before it answered.
fn was_closed(error: &Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        let by_hyper = error.downcast_ref::<hyper::Error>();
        if by_hyper.is_some_and(|e| e.is_incomplete_message() || e.is_canceled() || e.is_closed()) {
            return true;
        }
        let by_system = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(by_system, Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)) {
            return true;
        }
        source = error.source();
    }
    false
}

/// The innermost cause: the outer ones only say that a request failed.
fn explain(error: &Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Opens connections to the one address, whatever a request says.
#[derive(Clone)]
struct Connector(Address);

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let address = self.0.clone();
        Box::pin(async move { Ok(TokioIo::new(address.connect().await?)) })
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
