//! Any text as a token: none but what the keys have signed says who somebody is.

use crate::cost;
use gateway::auth::{Auth, AuthError};
use gateway::config::Config;
use gateway::metrics::Metrics;
use prometheus::Registry;
use std::sync::LazyLock;

pub(super) const WORDS: &[&str] = &[
    ".", "..", "eyJhbGciOiJub25lIn0", "eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJSUzI1NiJ9", "eyJzdWIiOiJyb290In0", "=", "-_", "e30", "bnVsbA",
];
pub(super) const GOLDEN: &[&str] = &[];

/// The library reads a `jwk` in the header as any JSON first, some 40 bytes for each of the token: for at most 16 KiB.
const MULTIPLE: u64 = 80;
const BASE_BYTES: u64 = 8 * 1024;

/// What the good seed was signed with, and says: `{"sub":"ann","exp":9999999999}`.
const SECRET: &str = "auth.hmac_secret=a secret for seeds, of 32 bytes or more";
const KEY: &str = concat!("auth.public_key_file=", env!("CARGO_MANIFEST_DIR"), "/../gateway/tests/keys/rsa.pub.pem");

/// A gateway's door that takes what is signed with this secret.
pub(super) static AUTH: LazyLock<Auth> = LazyLock::new(|| {
    let config = Config::from_overrides(&[SECRET, KEY]).unwrap_or_else(|error| panic!("{error}"));
    let metrics = Metrics::new(&Registry::new()).unwrap_or_else(|error| panic!("{error}"));
    Auth::new(&config.auth, &metrics)
});

/// Asks who it is.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // Made outside: once, and for all tokens.
    let auth = &*AUTH;
    match cost::within(text.len(), MULTIPLE, BASE_BYTES, || auth.identify(&text)) {
        Ok(identity) => assert_eq!(&*identity.user, "ann", "a token that nobody has signed"),
        Err(AuthError::Refused(_)) => {}
        Err(error) => panic!("{error}: there are no keys to wait for"),
    }
}
