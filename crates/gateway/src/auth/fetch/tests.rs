//! A fetch beside servers that answer well, badly, slowly, endlessly or not at all.

use super::*;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const AUTHORITY: &str = include_str!("../../../tests/keys/ca.pem");

fn response(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A server that gives one answer, over TLS if asked; its port.
async fn server(answer: Vec<u8>, tls: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        if tls {
            if let Ok(stream) = acceptor().accept(stream).await {
                give(stream, &answer).await;
            }
        } else {
            give(stream, &answer).await;
        }
    });
    port
}

async fn give<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: &[u8]) {
    let mut asked = [0; 4096];
    let _ = stream.read(&mut asked).await;
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
}

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("../../../tests/keys/tls.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../../tests/keys/tls.key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()))
}

async fn fetch(answer: Vec<u8>) -> Result<String, String> {
    let url = format!("http://127.0.0.1:{}/keys?v=1", server(answer, false).await);
    let body = Source::new(&url, None, false).unwrap().fetch().await;
    body.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_whole_answer_is_given_as_it_is() {
    assert_eq!(fetch(response("200 OK", "keys")).await, Ok("keys".to_owned()));
    let until_the_end = b"HTTP/1.1 200 OK\r\n\r\nkeys".to_vec();
    assert_eq!(fetch(until_the_end).await, Ok("keys".to_owned()));
}

#[tokio::test]
async fn everything_else_is_a_failure() {
    let huge = "x".repeat(MAX_SET_BYTES + 1);
    let endless_head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(8 * MAX_HEAD_BYTES));
    for (answer, why) in [
        (response("302 Found\r\nlocation: http://127.0.0.1:1/", ""), "status 302"),
        (response("404 Not Found", "{\"keys\":[]}"), "status 404"),
        (response("500 Oh", ""), "status 500"),
        (response("204 No Content", ""), "status 204"),
        (response("200 OK", &huge), "larger than"),
        (format!("HTTP/1.1 200 OK\r\n\r\n{huge}").into_bytes(), "larger than"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nkeys".to_vec(), "broken off"),
        (endless_head.into_bytes(), "no HTTP"),
        (b"hello\r\n\r\n".to_vec(), "no HTTP"),
        (Vec::new(), "no HTTP"),
    ] {
        let failure = fetch(answer).await.unwrap_err();
        assert!(failure.contains(why), "{failure} is not {why}");
    }
    let nobody = Source::new("http://127.0.0.1:1/", None, false).unwrap();
    assert!(matches!(nobody.fetch().await, Err(FetchError::Connect(_))));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let fetched = Source::new(&url, None, false).unwrap().fetch().await;
    assert!(matches!(fetched, Err(FetchError::Late)), "{fetched:?}");
}

#[tokio::test]
async fn tls_takes_only_certificates_of_known_authorities_for_that_name() {
    let fetch = async |host: &str, authorities| {
        let url = format!("https://{host}:{}/", server(response("200 OK", "keys"), true).await);
        Source::new(&url, authorities, false).unwrap().fetch().await
    };
    assert_eq!(fetch("localhost", Some(AUTHORITY)).await.unwrap(), "keys");
    assert_eq!(fetch("127.0.0.1", Some(AUTHORITY)).await.unwrap(), "keys");
    assert!(matches!(fetch("localhost", None).await, Err(FetchError::Connect(_))));
    assert!(matches!(fetch("127.0.0.2", Some(AUTHORITY)).await, Err(FetchError::Connect(_))));
}

#[test]
fn an_address_is_https_or_on_this_machine() {
    for good in [
        "https://issuer.example/keys",
        "http://127.0.0.1:8080",
        "http://[::1]/x",
        "http://localhost/",
        "https://a:444/",
    ] {
        assert!(Source::new(good, None, false).is_ok(), "{good}");
    }
    for (wrong, why) in [
        ("http://issuer.example/keys", "plain http"),
        ("http://127.0.0.1.evil.example/", "plain http"),
        ("http://10.0.0.1/", "plain http"),
        ("https://ann:s3cret@issuer.example/", "user or password"),
        ("ftp://issuer.example/", "https or http"),
        ("file:///etc/passwd", "not a"),
        ("/keys", "whole URL"),
        ("issuer.example", "whole URL"),
        ("https://", "not a URL"),
    ] {
        let fault = Source::new(wrong, None, false).unwrap_err();
        assert!(fault.contains(why) && !fault.contains("s3cret"), "{wrong}: {fault}");
    }
    assert!(Source::new("http://issuer.example/keys", None, true).is_ok());
    assert!(Source::new("https://a/", Some("no certificate"), false).is_err());
    assert!(
        Source::new("https://a/", Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"), false).is_err()
    );
}
