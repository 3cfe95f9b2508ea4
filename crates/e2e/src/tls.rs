//! TLS from the clients' side, and the certificates that tests show each other.

use crate::PATIENCE;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, IpAddr, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Whom a client trusts.
pub type Trust = Arc<ClientConfig>;

/// A file of the gateway's own tests: `ca.pem`, `tls.pem` (for localhost and 127.0.0.1) and its `tls.key.pem`.
pub fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/tests/keys")).join(name)
}

/// The settings of a node that shows those.
pub fn settings() -> [String; 2] {
    ["cert=tls.pem", "key=tls.key.pem"].map(|pair| {
        let (key, name) = pair.split_once('=').expect("a pair");
        format!("tls.{key}={}", file(name).display())
    })
}

/// Trusts what those were signed by.
pub fn trust() -> Trust {
    trusting(&std::fs::read(file("ca.pem")).expect("the authority"))
}

/// Trusts the first certificate of this PEM, and what it has signed; speaks HTTP/2 rather than HTTP/1.1, as browsers do.
pub fn trusting(pem: &[u8]) -> Trust {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem).expect("a certificate")).expect("one that can be trusted");
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("TLS 1.2 and 1.3");
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Shakes hands on a stream to this machine.
///
/// # Errors
/// When either side refuses the other.
pub async fn shake(trust: &Trust, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::IpAddress(IpAddr::try_from("127.0.0.1").expect("an address"));
    let shaken = timeout(PATIENCE, TlsConnector::from(trust.clone()).connect(name, stream)).await;
    shaken.expect("an answer to the handshake of TLS")
}

/// Connects and shakes hands.
///
/// # Errors
/// When either side refuses the other.
pub async fn connect(trust: &Trust, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
    shake(trust, TcpStream::connect(address).await?).await
}
