//! Certificates for development: signed by their own key, so that whoever is to trust one is given it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long one holds. Browsers refuse those that hold longer than 398 days.
const HOLDS: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// PEM has lines of this length (RFC 7468 section 2).
const LINE_CHARS: usize = 64;

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Developed {
    /// The certificate.
    pub cert: String,
    /// Its key.
    pub key: String,
}

impl Developed {
    /// A new pair for these names and addresses.
    ///
    /// # Errors
    /// What is wrong with a name.
    pub fn new(names: &[String]) -> Result<Self, String> {
        Self::from(names, SystemTime::now())
    }

    /// The same, as if it were made then.
    pub(super) fn from(names: &[String], begins: SystemTime) -> Result<Self, String> {
        let mut params = CertificateParams::new(names).map_err(|error| format!("{names:?}: {error}"))?;
        // A clock that is a little behind is common between machines and their containers.
        params.not_before = (begins - Duration::from_secs(60 * 60)).into();
        params.not_after = (begins + HOLDS).into();
        // Some systems trust no server without; and it may be shown to a Redis that asks for one.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "gateway, for development");
        let key = KeyPair::generate().map_err(|error| format!("no key could be made: {error}"))?;
        let cert = params.self_signed(&key).map_err(|error| format!("no certificate could be made: {error}"))?;
        Ok(Self { cert: pem("CERTIFICATE", cert.der()), key: pem("PRIVATE KEY", key.serialized_der()) })
    }

    /// Writes `cert.pem` and, for its owner alone, `key.pem` into a directory, which is made if need be. What is there
    /// under these names is replaced.
    ///
    /// # Errors
    /// The path that could not be written, and why.
    pub fn write(&self, directory: &Path) -> Result<(PathBuf, PathBuf), (PathBuf, io::Error)> {
        let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        std::fs::create_dir_all(directory).map_err(|error| (directory.to_owned(), error))?;
        replace(&key, &self.key, 0o600).map_err(|error| (key.clone(), error))?;
        replace(&cert, &self.cert, 0o644).map_err(|error| (cert.clone(), error))?;
        Ok((cert, key))
    }
}

/// By a new file beside it: nobody reads half of it, and an old file's mode does not stay.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&new, path)
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(LINE_CHARS) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    let _ = writeln!(text, "-----END {label}-----");
    text
}
