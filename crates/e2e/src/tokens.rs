//! Tokens as an application would sign them.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// What clusters started with tokens check them with.
pub const SECRET: &str = "a secret for tests, of 32 bytes or more";

/// How many seconds after its `exp` a token is still taken.
pub const LEEWAY_S: i64 = 5;

/// A good token of a user, for an hour.
pub fn of(user: &str) -> String {
    signed(&json!({"sub": user, "exp": in_seconds(3600)}))
}

/// A token of a user that the gateway takes for so many seconds more.
pub fn ending_in(user: &str, seconds: i64) -> String {
    signed(&json!({"sub": user, "exp": in_seconds(seconds - LEEWAY_S)}))
}

/// A good token of a user that claims this too.
pub fn claiming(user: &str, more: &Value) -> String {
    let mut claims = json!({"sub": user, "exp": in_seconds(3600)});
    let (claims_map, more) = (claims.as_object_mut().expect("an object"), more.as_object().expect("an object"));
    claims_map.extend(more.clone());
    signed(&claims)
}

/// A token for one subscription, which the gateway takes for so many seconds.
pub fn ticket(user: &str, channel: &str, seconds: i64) -> String {
    signed(&json!({"sub": user, "channel": channel, "exp": in_seconds(seconds - LEEWAY_S)}))
}

/// A token with these claims.
pub fn signed(claims: &Value) -> String {
    signed_with(SECRET, claims)
}

/// A token with these claims, by another secret.
pub fn signed_with(secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(Algorithm::HS256), claims, &key).expect("a token")
}

/// Unix seconds, so far from now.
pub fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(now.as_secs()).expect("a clock before the end of time") + seconds
}
