//! Tokens for development, signed with the secret that checks them.

use crate::grant::Actions;
use crate::pattern::Pattern;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use protocol::Channel;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a token is to say. The texts are as people write them.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// `sub`.
    pub user: String,
    /// `info`: one JSON value.
    pub info: Option<String>,
    /// `roles`.
    pub roles: Vec<String>,
    /// `caps`, each as `PATTERN=ACTION,ACTION`.
    pub caps: Vec<String>,
    /// `channels`.
    pub channels: Vec<String>,
    /// `channel`: makes it the token of one subscription.
    pub subscription: Option<String>,
    /// `aud`.
    pub audience: Option<String>,
    /// `iss`.
    pub issuer: Option<String>,
    /// How long it holds.
    pub lifetime: Duration,
}

#[derive(Serialize)]
struct Minted {
    sub: String,
    exp: u64,
    iat: u64,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    caps: BTreeMap<String, Vec<&'static str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    channels: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
}

/// Mints a token.
///
/// # Errors
/// When a part of the wish is not what it should be, or the token cannot be signed.
pub fn mint(secret: &str, wish: Wish) -> Result<String, String> {
    for channel in wish.channels.iter().chain(&wish.subscription) {
        Channel::new(channel).map_err(|error| format!("`{channel}`: {error}"))?;
    }
    let info = wish.info.as_deref().map(serde_json::from_str).transpose();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = Minted {
        sub: wish.user,
        exp: (now + wish.lifetime).as_secs(),
        iat: now.as_secs(),
        // Names it, and proves nothing: it need not be hard to guess.
        jti: std::iter::repeat_with(fastrand::alphanumeric).take(20).collect(),
        info: info.map_err(|error| format!("info is not JSON: {error}"))?,
        roles: wish.roles,
        caps: wish.caps.iter().map(|cap| capability(cap)).collect::<Result<_, _>>()?,
        channels: wish.channels,
        channel: wish.subscription,
        aud: wish.audience,
        iss: wish.issuer,
    };
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(|error| error.to_string())
}

fn capability(text: &str) -> Result<(String, Vec<&'static str>), String> {
    let (pattern, words) = text.split_once('=').ok_or_else(|| format!("`{text}`: write PATTERN=ACTION,ACTION"))?;
    let pattern: Pattern = pattern.parse()?;
    let actions = Actions::of_words(words.split(',').map(str::trim))?;
    Ok((pattern.to_string(), actions.words().collect()))
}
