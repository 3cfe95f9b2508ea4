//! What an issuer publishes as its keys, and a file of keys: no set makes the gateway fall, nor hold much.

use crate::cost;
use bytes::Bytes;
use gateway::auth::{Key, read_set};

pub(super) const WORDS: &[&str] = &[
    "\"keys\":[", "\"kty\":", "\"RSA\"", "\"EC\"", "\"OKP\"", "\"oct\"", "\"k\":\"c2VjcmV0\"", "\"crv\":", "\"P-256\"", "\"Ed25519\"",
    "\"n\":", "\"e\":\"AQAB\"", "\"x\":", "\"y\":", "\"alg\":", "\"none\"", "\"HS256\"", "\"use\":\"sig\"", "\"key_ops\":[", "\"kid\":",
    "-----BEGIN PUBLIC KEY-----\n", "-----END PUBLIC KEY-----\n", "-----BEGIN ",
];
pub(super) const GOLDEN: &[&str] = &[];

/// A set is read as any JSON first: a value takes 32 bytes for each `0,`, in lists that grow by doubling, and is cloned.
const MULTIPLE: u64 = 200;
const BASE_BYTES: u64 = 16 * 1024;

/// The same bytes as a set, and as a file.
pub fn check(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    if let Ok(count) = cost::within(data.len(), MULTIPLE, BASE_BYTES, || read_set(&body)) {
        assert!((1..=32).contains(&count), "{count} keys");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(keys) = cost::within(data.len(), MULTIPLE, BASE_BYTES, || Key::from_pem(text)) {
        assert!((1..=32).contains(&keys.len()), "{} keys", keys.len());
        assert!(!format!("{keys:?}").contains("BEGIN"), "a key is shown");
    }
}
