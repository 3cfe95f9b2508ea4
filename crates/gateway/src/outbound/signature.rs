//! How the application knows that a request is the gateway's, and not an old one: HMAC-SHA256 over its time and body.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use std::fmt::{self, Write};

/// Unix seconds, in decimal: when the request was sent.
pub const TIMESTAMP: &str = "gateway-timestamp";

/// `v1=` and the HMAC in lower-case hexadecimal.
pub const SIGNATURE: &str = "gateway-signature";

/// What gateway and application share.
#[derive(Clone)]
pub struct Secret(Key);

impl Secret {
    /// Any text.
    pub fn new(secret: &str) -> Self {
        Self(Key::new(HMAC_SHA256, secret.as_bytes()))
    }

    /// The signature of a body at a time: over the decimal digits of the time, a full stop, and the body as it is sent.
    pub fn sign(&self, timestamp_s: u64, body: &[u8]) -> String {
        let mut signed = format!("{timestamp_s}.").into_bytes();
        signed.extend_from_slice(body);
        let mut text = "v1=".to_owned();
        for byte in sign(&self.0, &signed).as_ref() {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_others_make_of_it() {
        // python3 -c 'import hmac;print(hmac.new(b"s3cret",b"1700000000."+b"{\"a\":1}","sha256").hexdigest())'
        let expected = "v1=1698a50bc74d1ff1db85c4e0a5297c2ad9fdba245d5737cdb789e4cc6e098940";
        assert_eq!(Secret::new("s3cret").sign(1_700_000_000, br#"{"a":1}"#), expected);
    }
}
