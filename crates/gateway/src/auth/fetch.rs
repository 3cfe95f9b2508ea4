//! One HTTP request for a set of keys: to the address of the configuration and nowhere else, bounded in bytes and time.

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

/// From the connection to the last byte.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest set: a key takes less than 2 KiB, certificates included.
const MAX_SET_BYTES: usize = 256 * 1024;

/// The largest head of an answer.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// Where keys are fetched.
#[derive(Debug, Clone)]
pub struct Source {
    url: Uri,
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

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
        let url: Uri = url.parse().map_err(|_| "is not a URL".to_owned())?;
        let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return Err("is not a whole URL: write https://host/path".to_owned());
        };
        if authority.as_str().contains('@') {
            return Err("holds a user or password: such a URL ends up in logs".to_owned());
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tls = match scheme {
            "https" => Some(tls(authorities)?),
            "http" if insecure || is_loopback(&host) => None,
            "http" => return Err("is plain http to another machine: whoever is on the way chooses the keys".to_owned()),
            _ => return Err(format!("begins with {scheme}: https or http")),
        };
        let port = authority.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        Ok(Self { url, host, port, tls })
    }

    /// Whether whoever is on the way could put other keys in their place.
    pub fn can_be_forged(&self) -> bool {
        self.tls.is_none() && !is_loopback(&self.host)
    }

    /// Fetches it.
    pub(super) async fn fetch(&self) -> Result<Bytes, FetchError> {
        timeout(FETCH_TIMEOUT, self.connect_and_ask()).await.unwrap_or(Err(FetchError::Late))
    }

    async fn connect_and_ask(&self) -> Result<Bytes, FetchError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(FetchError::Connect)?;
        let Some(tls) = &self.tls else { return self.ask(stream).await };
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|error| FetchError::Connect(std::io::Error::other(error)))?;
        let stream = TlsConnector::from(tls.clone()).connect(name, stream).await.map_err(FetchError::Connect)?;
        self.ask(stream).await
    }

    async fn ask<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S) -> Result<Bytes, FetchError> {
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await?;
        // Ended with this request, however that ends.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let request = Request::get(self.url.path_and_query().map_or("/", |path| path.as_str()))
            .header(header::HOST, self.url.authority().map_or("", |authority| authority.as_str()))
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

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The roots that browsers trust, and those of `authorities`.
fn tls(authorities: Option<&str>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = authorities {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| format!("the authorities cannot be read: {error:?}"))?;
            roots.add(certificate).map_err(|error| format!("an authority cannot be used: {error}"))?;
        }
        if roots.len() == before {
            return Err("the authorities hold no certificate in PEM".to_owned());
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests;
