//! A certificate and its key, from two files: what is wrong with them, and when it ends.

use simple_asn1::ASN1Block;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys};

/// The largest of either file: a chain of certificates takes less than 10 KiB.
const MAX_FILE_BYTES: usize = 256 * 1024;

/// What the two files hold.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Texts {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// A pair that fits together.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// When the certificate ends; `None` where that cannot be read from it.
    pub(super) ends: Option<SystemTime>,
}

/// What is wrong, and with which setting. Never a part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFault {
    /// `tls.cert` or `tls.key`.
    pub key: &'static str,
    /// In words, with the file's name.
    pub text: String,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.text)
    }
}

impl Texts {
    pub(super) fn read(cert: &Path, key: &Path) -> Result<Self, TlsFault> {
        Ok(Self { cert: read("tls.cert", cert)?, key: read("tls.key", key)? })
    }

    /// Reads the pair out of the texts; the paths are for the faults.
    pub(super) fn pair(&self, cert_path: &Path, key_path: &Path) -> Result<Pair, TlsFault> {
        let cert_fault = |text: String| TlsFault { key: "tls.cert", text: format!("{} {text}", cert_path.display()) };
        let key_fault = |text: String| TlsFault { key: "tls.key", text: format!("{} {text}", key_path.display()) };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.cert).collect();
        let chain = chain.map_err(|_| cert_fault("cannot be read as PEM".to_owned()))?;
        let Some(first) = chain.first() else {
            return Err(cert_fault("holds no certificate (-----BEGIN CERTIFICATE-----)".to_owned()));
        };
        let ends = not_after(first);
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| {
            key_fault("holds no private key that is not encrypted (-----BEGIN PRIVATE KEY-----)".into())
        })?;
        match CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()) {
            Ok(certified) => Ok(Pair { certified: Arc::new(certified), ends }),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(key_fault(format!("is not the key of the first certificate in {}", cert_path.display())))
            }
            Err(error @ Error::InvalidCertificate(_)) => Err(cert_fault(format!("cannot be used: {error}"))),
            Err(error) => Err(key_fault(format!("cannot be used: {error}"))),
        }
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsFault> {
    let fault = |text| TlsFault { key, text };
    let bytes = std::fs::read(path).map_err(|error| fault(format!("cannot read {}: {error}", path.display())))?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(fault(format!("{} is larger than {MAX_FILE_BYTES} bytes", path.display())));
    }
    Ok(bytes)
}

/// The end of a certificate's validity (RFC 5280 section 4.1): of the parts of what is signed, the only sequence of two times.
fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    let blocks = simple_asn1::from_der(certificate).ok()?;
    let [ASN1Block::Sequence(_, certificate), ..] = blocks.as_slice() else { return None };
    let [ASN1Block::Sequence(_, signed), ..] = certificate.as_slice() else { return None };
    let end = signed.iter().find_map(|part| match part {
        ASN1Block::Sequence(_, parts) => match parts.as_slice() {
            [
                ASN1Block::UTCTime(..) | ASN1Block::GeneralizedTime(..),
                ASN1Block::UTCTime(_, end) | ASN1Block::GeneralizedTime(_, end),
            ] => Some(end.assume_utc().unix_timestamp()),
            _ => None,
        },
        _ => None,
    })?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(end).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::develop::Developed;
    use std::path::PathBuf;

    fn keys() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys")
    }

    fn fault(cert: &Path, key: &Path) -> TlsFault {
        let fault = Texts::read(cert, key).and_then(|texts| texts.pair(cert, key));
        fault.expect_err("a fault")
    }

    #[test]
    fn a_pair_tells_when_its_certificate_ends() {
        let Developed { cert, key } = Developed::new(&["localhost".to_owned()]).unwrap();
        let texts = Texts { cert: cert.into_bytes(), key: key.into_bytes() };
        let pair = texts.pair(Path::new("c"), Path::new("k")).unwrap();
        let days = pair.ends.unwrap().duration_since(SystemTime::now()).unwrap().as_secs() / 86_400;
        assert_eq!(days, 364, "and some hours");
        let of_file = Texts::read(&keys().join("tls.pem"), &keys().join("tls.key.pem")).unwrap();
        assert!(of_file.pair(Path::new("c"), Path::new("k")).unwrap().ends.is_some());
    }

    #[test]
    fn faults_name_the_setting_and_the_file() {
        let (cert, key) = (keys().join("tls.pem"), keys().join("tls.key.pem"));
        let directory = tempfile::tempdir().unwrap();
        let junk = directory.path().join("junk.pem");
        std::fs::write(&junk, "junk").unwrap();
        for (cert, key, setting, file, part) in [
            (Path::new("/nowhere.pem"), key.as_path(), "tls.cert", "/nowhere.pem", "cannot read"),
            (&cert, Path::new("/nowhere.key"), "tls.key", "/nowhere.key", "cannot read"),
            (&junk, &key, "tls.cert", "junk.pem", "no certificate"),
            (&key, &key, "tls.cert", "tls.key.pem", "no certificate"),
            (&cert, &junk, "tls.key", "junk.pem", "no private key"),
            (&cert, &cert, "tls.key", "tls.pem", "no private key"),
            (&cert, &keys().join("p256.pem"), "tls.key", "p256.pem", "not the key of"),
        ] {
            let fault = fault(cert, key);
            assert_eq!(fault.key, setting, "{fault}");
            assert!(fault.text.contains(file) && fault.text.contains(part), "{fault}");
        }
    }
}
