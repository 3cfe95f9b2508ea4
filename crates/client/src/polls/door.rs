//! The requests of a session: where they go, what they bear, and what an answer's status means.

use crate::advice::Ended;
use crate::transport::Wire;
use crate::{Address, Transport};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::rt::ReadBufCursor;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use tokio_tungstenite::tungstenite::http::{HeaderValue, Method, Request, Response, StatusCode, Uri};

/// One stream for the GET that waits, one for the POST beside it.
const STREAMS: usize = 2;

/// How long a stream without requests is kept.
const IDLE: Duration = Duration::from_secs(4);

/// Where sessions of one node are.
pub(super) struct Door {
    client: Client<Connector, Full<Bytes>>,
    authority: String,
    path: String,
    max_answer_bytes: usize,
}

impl Door {
    pub(super) fn new(address: &Address, transport: Transport, max_answer_bytes: usize) -> Result<Self, Ended> {
        let uri = address.uri();
        let authority = uri.authority().ok_or_else(|| Ended::lost("the URL names no host"))?;
        // Beside the path of the WebSocket.
        let folder = uri.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(STREAMS)
            .build(Connector { address: address.clone(), transport });
        // A user's name in a URL is nobody else's business.
        let authority = authority.as_str().rsplit('@').next().unwrap_or_default().to_owned();
        Ok(Self { client, authority, path: format!("{folder}/poll"), max_answer_bytes })
    }

    /// Opens a session, and returns what it says first.
    pub(super) async fn open(&self, token: Option<&str>) -> Result<Bytes, Ended> {
        let lost = |error: Error| Ended::lost(error.to_string());
        let mut request = self.request(Method::POST, None, String::new()).map_err(lost)?;
        if let Some(token) = token {
            let mut bearer = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| Ended::unusable_token("the token fits in no header"))?;
            bearer.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        let response = self.client.request(request).await.map_err(|error| lost(failed(&error)))?;
        if response.status() != StatusCode::OK {
            let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            return Err(Ended::refused(response.status().as_u16(), retry_after));
        }
        body(response, self.max_answer_bytes).await.map_err(lost)
    }

    /// Asks something of a session. Whatever fails, what became of it is not known.
    pub(super) fn ask(&self, method: Method, session: &str, text: String) -> BoxFuture<'static, Result<Bytes, Error>> {
        let request = self.request(method, Some(session), text);
        let (client, max_bytes) = (self.client.clone(), self.max_answer_bytes);
        async move {
            let response = client.request(request?).await.map_err(|error| failed(&error))?;
            match response.status() {
                StatusCode::OK | StatusCode::NO_CONTENT => body(response, max_bytes).await,
                status => Err(said(format!("the session's node answered with HTTP {}", status.as_u16()))),
            }
        }
        .boxed()
    }

    fn request(&self, method: Method, session: Option<&str>, text: String) -> Result<Request<Full<Bytes>>, Error> {
        let query = session.map(|session| format!("?session={session}")).unwrap_or_default();
        // TLS is the transport's.
        let mut request = Request::new(Full::from(text));
        *request.uri_mut() = format!("http://{}{}{query}", self.authority, self.path).parse::<Uri>()?;
        if method == Method::POST {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        *request.method_mut() = method;
        Ok(request)
    }
}

async fn body(response: Response<Incoming>, max_bytes: usize) -> Result<Bytes, Error> {
    let body = Limited::new(response.into_body(), max_bytes).collect().await;
    Ok(body.map_err(|error| said(error.to_string()))?.to_bytes())
}

fn said(what: String) -> Error {
    Error::Io(io::Error::other(what))
}

/// The innermost cause: the outer ones only say that a request failed.
fn failed(error: &hyper_util::client::legacy::Error) -> Error {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    said(innermost.to_string())
}

/// Opens streams to the one node, whatever a request says.
#[derive(Clone)]
struct Connector {
    address: Address,
    transport: Transport,
}

impl tower_service::Service<Uri> for Connector {
    type Response = Bytestream;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Bytestream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (transport, address) = (self.transport.clone(), self.address.clone());
        async move { Ok(Bytestream(TokioIo::new(transport.connect(address).await?))) }.boxed()
    }
}

/// A stream in the words of hyper.
struct Bytestream(TokioIo<Box<dyn Wire>>);

impl Connection for Bytestream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Bytestream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for Bytestream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
