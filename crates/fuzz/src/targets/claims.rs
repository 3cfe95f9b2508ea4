//! Any bytes as claims that an issuer has signed: an issuer may be wrong, and then its tokens are refused in words.

use super::token::AUTH;
use crate::cost;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use gateway::auth::{AuthError, Identity};
use jsonwebtoken::{Algorithm, EncodingKey};
use protocol::dialect::json::check_readable;

pub(super) const WORDS: &[&str] = &[
    "\"sub\":", "\"ann\"", "\"exp\":", "9999999999", "\"nbf\":", "\"aud\":", "\"iss\":", "\"info\":", "\"roles\":[", "\"caps\":{",
    "\"channels\":[", "\"channel\":", "\"publish\"", "\"user:{user}\"", "1e300", "-0.0", "\"\\ud800\"", "[[[[[[[[", "{\"a\":",
];
pub(super) const GOLDEN: &[&str] = &[];

/// As for [`token`](super::token); a list of words costs 24 bytes for each `"",`, and grows by doubling.
const MULTIPLE: u64 = 40;
const BASE_BYTES: u64 = 16 * 1024;

const SECRET: &[u8] = b"a secret for seeds, of 32 bytes or more";

/// Signs them and shows the token.
pub fn check(data: &[u8]) {
    let message = format!("{}.{}", BASE64URL.encode(br#"{"alg":"HS256"}"#), BASE64URL.encode(data));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &EncodingKey::from_secret(SECRET), Algorithm::HS256);
    let token = format!("{message}.{}", signature.unwrap_or_else(|error| panic!("{error}")));
    let auth = &*AUTH;
    match cost::within(token.len(), MULTIPLE, BASE_BYTES, || auth.identify(&token)) {
        Ok(identity) => bounded(&identity),
        Err(AuthError::Refused(_)) => {}
        Err(error) => panic!("{error}: there are no keys to wait for"),
    }
}

/// What goes along with each publication, or is looked through for each command, is small, and others can read it.
fn bounded(identity: &Identity) {
    assert!((1..=255).contains(&identity.user.len()), "a user of {} bytes", identity.user.len());
    assert!(identity.expires_at.is_some(), "a token without an end");
    assert!(identity.roles.len() <= 64 && identity.grants.len() <= 128);
    if let Some(info) = &identity.info {
        assert!(info.len() <= 4_096 && check_readable(info).is_ok(), "{info}");
    }
}
