//! An issuer of tokens: signs them with keys of its own, and publishes those over HTTP, well or badly.

use crate::tokens::in_seconds;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A private key of the tests.
#[derive(Debug, Clone, Copy)]
pub enum Signer {
    /// RSA.
    Rsa,
    /// Another RSA key.
    RsaNext,
    /// P-256.
    P256,
    /// Ed25519.
    Ed25519,
}

/// How the issuer answers whoever asks for its keys.
#[derive(Debug, Clone, Default)]
pub enum Manner {
    /// With its keys.
    #[default]
    Well,
    /// With this status and body.
    With(&'static str, String),
    /// Ends the stream.
    Not,
    /// Takes the request and says nothing.
    Never,
}

/// An issuer with a port of its own.
pub struct Issuer {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    keys: Mutex<Vec<Value>>,
    manner: Mutex<Manner>,
    asked: AtomicU64,
}

impl Signer {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::Rsa | Self::RsaNext => Algorithm::RS256,
            Self::P256 => Algorithm::ES256,
            Self::Ed25519 => Algorithm::EdDSA,
        }
    }

    fn key(self) -> EncodingKey {
        let key = match self {
            Self::Rsa => EncodingKey::from_rsa_pem(include_bytes!("../../gateway/tests/keys/rsa.pem")),
            Self::RsaNext => EncodingKey::from_rsa_pem(include_bytes!("../../gateway/tests/keys/rsa-next.pem")),
            Self::P256 => EncodingKey::from_ec_pem(include_bytes!("../../gateway/tests/keys/p256.pem")),
            Self::Ed25519 => EncodingKey::from_ed_pem(include_bytes!("../../gateway/tests/keys/ed25519.pem")),
        };
        key.expect("a private key")
    }

    /// A good token of a user for an hour, that names its key.
    pub fn token(self, key_id: &str, user: &str) -> String {
        self.sign(key_id, &json!({"sub": user, "exp": in_seconds(3600)}))
    }

    /// A token with these claims, that names its key.
    pub fn sign(self, key_id: &str, claims: &Value) -> String {
        let header = Header { kid: Some(key_id.to_owned()), ..Header::new(self.algorithm()) };
        self.sign_as(&header, claims)
    }

    /// A token with this header and these claims.
    pub fn sign_as(self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.key()).expect("a token")
    }

    /// Its public half, as it is published.
    pub fn public(self, key_id: &str) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key(), self.algorithm()).expect("a public key");
        jwk.common.key_id = Some(key_id.to_owned());
        serde_json::to_value(jwk).expect("a public key as JSON")
    }
}

impl Issuer {
    /// An issuer that publishes these keys.
    pub async fn start(keys: &[(Signer, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        let serving = tokio::spawn(serve(listener, shared.clone()));
        let issuer = Self { address, shared, serving };
        issuer.publish(keys);
        issuer
    }

    /// Publishes these keys from now on, and no others.
    pub fn publish(&self, keys: &[(Signer, &str)]) {
        let keys = keys.iter().map(|(signer, id)| signer.public(id)).collect();
        *self.shared.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Answers like this from now on.
    pub fn answers(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// How often it was asked for its keys.
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Where its keys are.
    pub fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    /// The setting that has a gateway fetch them.
    pub fn setting(&self) -> String {
        format!("auth.jwks_url={}", self.url())
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, shared.clone()));
    }
}

async fn answer(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut request = [0; 4096];
    if stream.read(&mut request).await.is_err() {
        return;
    }
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let manner = shared.manner.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (status, body) = match manner {
        Manner::Well => {
            let keys = shared.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
            ("200 OK", json!({"keys": keys}).to_string())
        }
        Manner::With(status, body) => (status, body),
        Manner::Not => return,
        // Until the other side gives up.
        Manner::Never => return drop(stream.read(&mut request).await),
    };
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    // Whoever has seen enough may be gone.
    let _ = stream.write_all(answer.as_bytes()).await;
}
