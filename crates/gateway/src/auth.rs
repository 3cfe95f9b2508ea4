//! A token to an identity: signature, times, audience and issuer.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use protocol::Text;
use protocol::dialect::json::check_readable;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest token: headers and messages are bounded anyway, this bounds the work of a signature check.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The longest `sub`, and the longest `info` as JSON: both travel with every publication.
const MAX_USER_BYTES: usize = 255;
const MAX_INFO_BYTES: usize = 4 * 1024;

/// How far the clocks of issuer and gateway may differ.
const LEEWAY_S: u64 = 5;

/// How tokens are checked.
#[derive(Clone)]
pub struct AuthConfig {
    /// Anyone may connect without a token.
    pub anonymous: bool,
    /// Checks HS256, HS384 and HS512.
    pub hmac_secret: Option<String>,
    /// Also accepted.
    pub previous_hmac_secret: Option<String>,
    /// What `aud` must hold.
    pub audience: Option<String>,
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// By when a connection must have shown a token.
    pub timeout: Duration,
    /// Whether `?token=` is taken.
    pub query: bool,
    /// The cookie that is taken.
    pub cookie: Option<String>,
}

impl fmt::Debug for AuthConfig {
    /// Without the secrets: configurations end up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthConfig")
            .field("anonymous", &self.anonymous)
            .field("hmac_secret", &self.hmac_secret.is_some())
            .field("previous_hmac_secret", &self.previous_hmac_secret.is_some())
            .finish_non_exhaustive()
    }
}

/// Who a token says its bearer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `sub`.
    pub user: Text,
    /// `info`: one JSON value as text.
    pub info: Option<Text>,
    /// `exp`, with the leeway, in Unix seconds.
    pub expires_at: Option<u64>,
}

impl Identity {
    /// How long the token still holds.
    pub fn expires_in(&self, now: SystemTime) -> Option<Duration> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.expires_at.map(|at| Duration::from_secs(at).saturating_sub(now))
    }
}

/// Why a token was refused, in words that help its owner and hold nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AuthError(pub &'static str);

/// Checks tokens. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    keys: Arc<[DecodingKey]>,
    validation: Arc<Validation>,
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<u64>,
    info: Option<Box<RawValue>>,
}

impl Auth {
    /// Prepares the keys.
    pub fn new(config: &AuthConfig) -> Self {
        let secrets = [&config.hmac_secret, &config.previous_hmac_secret];
        let keys = secrets.into_iter().flatten().map(|s| DecodingKey::from_secret(s.as_bytes())).collect();
        // The keys are secrets, so only the HMAC algorithms are taken, whatever a token's header says.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.algorithms = vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        validation.set_required_spec_claims(&["exp", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY_S;
        match &config.audience {
            Some(audience) => validation.set_audience(&[audience]),
            None => validation.validate_aud = false,
        }
        if let Some(issuer) = &config.issuer {
            validation.set_issuer(&[issuer]);
        }
        if config.audience.is_some() {
            validation.required_spec_claims.insert("aud".to_owned());
        }
        if config.issuer.is_some() {
            validation.required_spec_claims.insert("iss".to_owned());
        }
        Self { keys, validation: Arc::new(validation) }
    }

    /// Checks a token.
    pub fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError("the token is longer than 16 KiB"));
        }
        let mut refused = AuthError("tokens cannot be checked: no key is set (auth.hmac_secret)");
        for key in self.keys.iter() {
            match jsonwebtoken::decode::<Claims>(token, key, &self.validation) {
                Ok(token) => return identity(token.claims),
                Err(error) => refused = explain(error.kind()),
            }
        }
        Err(refused)
    }
}

fn identity(claims: Claims) -> Result<Identity, AuthError> {
    let user = claims.sub.filter(|sub| !sub.is_empty() && sub.len() <= MAX_USER_BYTES);
    let Some(user) = user else { return Err(AuthError("the token's `sub` is 1 to 255 bytes long")) };
    let info = claims.info.map(|info| info.get().to_owned());
    if info.as_ref().is_some_and(|info| info.len() > MAX_INFO_BYTES) {
        return Err(AuthError("the token's `info` is larger than 4 KiB"));
    }
    // It goes into every publication of this user: others must be able to read it.
    if info.as_ref().is_some_and(|info| check_readable(info).is_err()) {
        return Err(AuthError("the token's `info` is JSON that many parsers cannot read"));
    }
    let expires_at = claims.exp.map(|exp| exp.saturating_add(LEEWAY_S));
    Ok(Identity { user: user.into(), info: info.map(Text::from), expires_at })
}

fn explain(kind: &jsonwebtoken::errors::ErrorKind) -> AuthError {
    use jsonwebtoken::errors::ErrorKind;
    AuthError(match kind {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token does not hold yet (nbf)",
        ErrorKind::InvalidAudience => "the token is for another audience (aud)",
        ErrorKind::InvalidIssuer => "the token is from another issuer (iss)",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => "the token's algorithm is not that of the key",
        ErrorKind::InvalidSignature => "the token's signature does not hold",
        ErrorKind::MissingRequiredClaim(_) => "the token lacks a claim: exp and sub are required",
        _ => "this is not a valid token",
    })
}

/// Mints a token for development, with the secret that checks it.
///
/// # Errors
/// When `info` is not JSON or the token cannot be signed.
pub fn mint(secret: &str, user: &str, info: Option<&str>, lifetime: Duration) -> Result<String, String> {
    #[derive(Serialize)]
    struct Minted<'a> {
        sub: &'a str,
        exp: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        info: Option<serde_json::Value>,
    }
    let info = info.map(serde_json::from_str).transpose().map_err(|e| format!("info is not JSON: {e}"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = Minted { sub: user, exp: (now + lifetime).as_secs(), info };
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests;
