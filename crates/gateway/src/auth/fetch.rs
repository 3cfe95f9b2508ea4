//! One HTTP request for a set of keys: to the address of the configuration and nowhere else, bounded in bytes and time.

use crate::outbound::{Address, Plain};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// From the connection to the last byte.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest set: a key takes less than 2 KiB, certificates included.
const MAX_SET_BYTES: usize = 256 * 1024;

/// The largest head of an answer.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// Where keys are fetched.
#[derive(Debug, Clone)]
pub struct Source(Address);

/// What went wrong: never a part of what was received.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    #[error("no whole answer within {FETCH_TIMEOUT:?}")]
    Late,
    #[error("the answer has status {0} (redirects are not followed)")]
    Status(StatusCode),
    #[error("the answer is larger than {MAX_SET_BYTES} bytes, or broken off")]
    Body,
    #[error("the answer is no HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be written: {0}")]
    Request(#[from] http::Error),
}

impl Source {
    /// Where this URL leads. `authorities` is the PEM of further certificate authorities; `insecure` allows plain HTTP to
    /// other machines.
    ///
    /// # Errors
    /// What is wrong with the URL or the certificates.
    pub fn new(url: &str, authorities: Option<&str>, insecure: bool) -> Result<Self, String> {
        let plain = if insecure { Plain::Anywhere } else { Plain::ThisMachine };
        Address::new(url, authorities, plain).map(Self)
    }

    /// Whether whoever is on the way could put other keys in their place.
    pub fn can_be_forged(&self) -> bool {
        self.0.can_be_forged()
    }

    /// Fetches it.
    pub(super) async fn fetch(&self) -> Result<Bytes, FetchError> {
        timeout(FETCH_TIMEOUT, self.connect_and_ask()).await.unwrap_or(Err(FetchError::Late))
    }

    async fn connect_and_ask(&self) -> Result<Bytes, FetchError> {
        let stream = self.0.connect().await.map_err(FetchError::Connect)?;
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await?;
        // Ended with this request, however that ends.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let url = self.0.url();
        let request = Request::get(url.path_and_query().map_or("/", |path| path.as_str()))
            .header(header::HOST, url.authority().map_or("", |authority| authority.as_str()))
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(header::USER_AGENT, concat!("gateway/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_SET_BYTES).collect().await.map_err(|_| FetchError::Body)?;
        Ok(body.to_bytes())
    }
}

#[cfg(test)]
mod tests;
