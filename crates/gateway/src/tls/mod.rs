//! TLS of the public port: the certificate that is shown, and how it is changed while connections stay.

pub mod develop;
mod pair;

pub use pair::TlsFault;

use crate::metrics::Metrics;
use pair::{Pair, Texts};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, ServerConfig};
use tokio_rustls::server::TlsStream;

/// From here on the end of a certificate is told at every start.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A certificate, its key, and the sessions that are made with them.
#[derive(Clone)]
pub struct Tls {
    files: Files,
    shown: Arc<Shown>,
    /// What the files held when they were last looked at.
    seen: Arc<Mutex<Result<Texts, TlsFault>>>,
    acceptor: TlsAcceptor,
}

/// Where they are, and how often to look whether they have changed.
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate, and whatever leads from it to an authority, in PEM.
    pub cert: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
    /// How often both are read again.
    pub reload: Duration,
}

/// The pair in force.
#[derive(Debug)]
struct Shown(RwLock<Pair>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.pair().certified)
    }
}

impl Shown {
    fn pair(&self) -> Pair {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Tls {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// What is wrong with which of them. A certificate that has ended is none of that: see [`Tls::warning`].
    pub fn load(files: Files) -> Result<Self, TlsFault> {
        let texts = Texts::read(&files.cert, &files.key)?;
        let shown = Arc::new(Shown(RwLock::new(texts.pair(&files.cert, &files.key)?)));
        let config = config(shown.clone()).map_err(|error| TlsFault { key: "tls.cert", text: error.to_string() })?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { files, shown, seen: Arc::new(Mutex::new(Ok(texts))), acceptor })
    }

    /// Shakes hands; the caller has the deadline.
    ///
    /// # Errors
    /// What the other side did wrong: nothing that this one could mend.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }

    /// When the certificate ends, in seconds since 1970; 0 where that cannot be read from it.
    pub fn ends_s(&self) -> i64 {
        let since = self.shown.pair().ends.and_then(|ends| ends.duration_since(SystemTime::UNIX_EPOCH).ok());
        since.and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0)
    }

    /// What an operator should know of the certificate now.
    pub fn warning(&self) -> Option<String> {
        let file = self.files.cert.display();
        match self.shown.pair().ends?.duration_since(SystemTime::now()) {
            Ok(left) if left > ENDS_SOON => None,
            Ok(left) => Some(format!("the certificate in {file} (tls.cert) ends in {} h", left.as_secs() / 3600)),
            Err(_) => Some(format!("the certificate in {file} (tls.cert) HAS ENDED: clients will refuse it")),
        }
    }

    /// Looks at the files again and again, for ever. What cannot be used leaves the pair in force as it is.
    pub async fn keep_current(&self, metrics: &Metrics) {
        loop {
            tokio::time::sleep(self.files.reload).await;
            let tls = self.clone();
            // Reading a file can wait, as on a network's file system.
            match tokio::task::spawn_blocking(move || tls.reload()).await {
                Ok(None) | Err(_) => {}
                Ok(Some(Ok(()))) => {
                    metrics.tls_reloads.with_label_values(&["loaded"]).inc();
                    metrics.tls_certificate_ends.set(self.ends_s());
                    tracing::info!(file = %self.files.cert.display(), "newcomers are shown a new certificate");
                    self.warning().inspect(|warning| tracing::warn!("{warning}"));
                }
                Ok(Some(Err(fault))) => {
                    metrics.tls_reloads.with_label_values(&["failed"]).inc();
                    tracing::error!(%fault, "the new certificate cannot be used; the one before stays in force");
                }
            }
        }
    }

    /// `None` if the files are as they were when they were last looked at, whether that was of use or not.
    fn reload(&self) -> Option<Result<(), TlsFault>> {
        let texts = Texts::read(&self.files.cert, &self.files.key);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == texts {
                return None;
            }
            seen.clone_from(&texts);
        }
        let pair = texts.and_then(|texts| texts.pair(&self.files.cert, &self.files.key));
        Some(pair.map(|pair| *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = pair))
    }
}

/// TLS 1.2 and 1.3 with what rustls holds to be safe. Tickets are kept by the clients: who comes back to this node soon
/// spares it the signature, and it remembers nothing.
fn config(shown: Arc<Shown>) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    // A WebSocket begins as HTTP/1.1; browsers would otherwise choose HTTP/2 for the pages.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::develop::Developed;
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn warning(age: Duration) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let pair = Developed::from(&["localhost".to_owned()], SystemTime::now() - age).unwrap();
        let (cert, key) = pair.write(directory.path()).unwrap();
        Tls::load(Files { cert, key, reload: DAY }).unwrap().warning()
    }

    #[test]
    fn a_certificate_that_ends_soon_or_has_ended_is_told_and_used_all_the_same() {
        assert_eq!(warning(Duration::ZERO), None);
        assert!(warning(360 * DAY).is_some_and(|text| text.contains("cert.pem") && text.contains("ends in 119 h")));
        assert!(warning(366 * DAY).is_some_and(|text| text.contains("HAS ENDED")));
    }
}
