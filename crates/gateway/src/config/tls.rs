//! `tls.…`: the certificate of the public port.

use super::settings::{Settings, variable};
use crate::tls::{Files, Tls};
use std::time::Duration;

/// Reads the settings, and the files they name.
pub(super) fn read(s: &mut Settings) -> Option<Tls> {
    s.refuse_empty("tls.cert");
    s.refuse_empty("tls.key");
    let cert = s.optional("tls.cert", "a PEM file with the certificate of the public port and its chain; none: no TLS");
    let key = s.optional("tls.key", "a PEM file with its private key");
    let reload = s.positive_duration("tls.reload", "30s", "how often both are looked at for a new certificate");
    let (cert, key) = match (cert, key) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) => return None,
        (Some(_), None) => {
            s.fault(
                "tls.key (GW_TLS__KEY): tls.cert is set, and a certificate is of no use without its key".to_owned(),
            );
            return None;
        }
        (None, Some(_)) => {
            s.fault(
                "tls.cert (GW_TLS__CERT): tls.key is set, and a key is of no use without its certificate".to_owned(),
            );
            return None;
        }
    };
    match Tls::load(Files { cert: cert.into(), key: key.into(), reload }) {
        Ok(tls) => Some(tls),
        Err(fault) => {
            s.fault(format!("{} ({}): {}", fault.key, variable(fault.key), fault.text));
            None
        }
    }
}

/// Read on its own: it is said with HTTP's answers.
pub(super) fn hsts(s: &mut Settings) -> Duration {
    let doc = "tells browsers (over tls.cert only) to come by HTTPS for so long, such as 365d; 0s: nothing is told";
    s.duration("tls.hsts", "0s", doc)
}
