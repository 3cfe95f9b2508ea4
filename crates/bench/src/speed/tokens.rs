//! Tokens as an application would sign them: HS256, each of a user of its own.

use crate::Fault;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// What gateways check them with.
pub(crate) const SECRET: &str = "a secret of the bench, of 32 bytes or more";

/// The variable of a gateway's environment for that.
pub(crate) const SETTING: &str = "GW_AUTH__HMAC_SECRET";

#[derive(Serialize)]
struct Claims {
    sub: String,
    exp: u64,
}

/// A good token of a user, for an hour.
pub(crate) fn of(user: &str) -> Result<String, Fault> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = Claims { sub: user.to_owned(), exp: now_s + 3600 };
    Ok(encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes()))?)
}
