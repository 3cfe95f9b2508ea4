//! Where requests go: an address of the configuration, by TLS with known authorities or in plain HTTP.

use http::Uri;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

/// Where plain HTTP may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// To this machine only: whoever is on the way could answer in its place.
    ThisMachine,
    /// To any machine.
    Anywhere,
}

/// Where requests go.
#[derive(Debug, Clone)]
pub struct Address {
    url: Uri,
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

/// A connection to an address.
#[derive(Debug)]
pub enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Within TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Address {
    /// Where this URL leads. `authorities` is the PEM of further certificate authorities.
    ///
    /// # Errors
    /// What is wrong with the URL or the certificates.
    pub fn new(url: &str, authorities: Option<&str>, plain: Plain) -> Result<Self, String> {
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
            "http" if plain == Plain::Anywhere || is_loopback(&host) => None,
            "http" => return Err("is plain http to another machine: whoever is on the way can answer".to_owned()),
            _ => return Err(format!("begins with {scheme}: https or http")),
        };
        let port = authority.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        Ok(Self { url, host, port, tls })
    }

    /// Whether whoever is on the way could answer in its place.
    pub fn can_be_forged(&self) -> bool {
        self.tls.is_none() && !is_loopback(&self.host)
    }

    /// The whole URL.
    pub fn url(&self) -> &Uri {
        &self.url
    }

    /// Opens a connection. The caller sets the deadline.
    ///
    /// # Errors
    /// When nobody listens there, or not with a certificate of this name.
    pub async fn connect(&self) -> io::Result<Stream> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Stream::Plain(stream)) };
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(tls.clone()).connect(name, stream).await?;
        Ok(Stream::Tls(Box::new(stream)))
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

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
