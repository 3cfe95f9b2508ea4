//! A token to an identity: whose key has signed it, and what it may say.

mod claims;
mod keys;
mod mint;

pub use keys::Key;
pub use mint::{Wish, mint};

use crate::grant::{Action, Grant};
use claims::{Rules, Said};
use protocol::{Channel, Text};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest token: headers and messages are bounded anyway, this bounds the work of a signature check.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The longest name of a key.
const MAX_KEY_ID_BYTES: usize = 255;

/// How far the clocks of issuer and gateway may differ.
pub const LEEWAY_S: u64 = 5;

/// How tokens are checked.
#[derive(Clone)]
pub struct AuthConfig {
    /// Anyone may connect without a token.
    pub anonymous: bool,
    /// Checks HS256, HS384 and HS512.
    pub hmac_secret: Option<String>,
    /// Also accepted.
    pub previous_hmac_secret: Option<String>,
    /// Check what their owners have signed.
    pub public_keys: Vec<Key>,
    /// What `aud` must hold.
    pub audience: Option<String>,
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// Whether a token must say when it ends.
    pub requires_expiry: bool,
    /// By when a connection must have shown a token.
    pub timeout: Duration,
    /// Whether `?token=` is taken.
    pub query: bool,
    /// The cookie that is taken.
    pub cookie: Option<String>,
}

impl AuthConfig {
    /// Whether there is anything that a token could be checked with.
    pub fn has_keys(&self) -> bool {
        self.hmac_secret.is_some() || self.previous_hmac_secret.is_some() || !self.public_keys.is_empty()
    }
}

impl fmt::Debug for AuthConfig {
    /// Without the secrets: configurations end up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthConfig")
            .field("anonymous", &self.anonymous)
            .field("hmac_secret", &self.hmac_secret.is_some())
            .field("previous_hmac_secret", &self.previous_hmac_secret.is_some())
            .field("public_keys", &self.public_keys)
            .finish_non_exhaustive()
    }
}

/// Who a token says its bearer is, and what it grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `sub`.
    pub user: Text,
    /// `info`: one JSON value as text.
    pub info: Option<Text>,
    /// `exp`, with the leeway, in Unix seconds.
    pub expires_at: Option<u64>,
    /// `roles`.
    pub roles: Vec<Text>,
    /// `caps` and `channels`.
    pub grants: Vec<Grant>,
}

impl Identity {
    /// How long the token still holds.
    pub fn expires_in(&self, now: SystemTime) -> Option<Duration> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.expires_at.map(|at| Duration::from_secs(at).saturating_sub(now))
    }

    /// Whether the token expressly grants this in a channel.
    pub fn is_granted(&self, action: Action, channel: &str) -> bool {
        self.grants.iter().any(|grant| grant.actions.has(action) && grant.pattern.takes_for(channel, &self.user))
    }
}

/// Why a token was not taken, in words that help its owner and hold nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It is not good, and will not be.
    #[error("{0}")]
    Refused(&'static str),
}

/// Checks tokens. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    keys: Arc<[Key]>,
    rules: Arc<Rules>,
}

impl Auth {
    /// Prepares the keys.
    pub fn new(config: &AuthConfig) -> Self {
        let secrets = [&config.hmac_secret, &config.previous_hmac_secret];
        let secrets = secrets.into_iter().flatten().map(|secret| Key::secret(secret));
        let rules = Rules {
            audience: config.audience.clone(),
            issuer: config.issuer.clone(),
            requires_expiry: config.requires_expiry,
        };
        Self { keys: secrets.chain(config.public_keys.iter().cloned()).collect(), rules: Arc::new(rules) }
    }

    /// Who a token says its bearer is.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn identify(&self, token: &str) -> Result<Identity, AuthError> {
        match self.check(token)? {
            Said { identity, channel: None } => Ok(identity),
            Said { .. } => Err(AuthError::Refused("this token is for one subscription: show it there")),
        }
    }

    /// Checks a token that is for one user's subscription to one channel; how long that lasts.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn admit(&self, token: &str, channel: &Channel, user: Option<&str>) -> Result<Option<Duration>, AuthError> {
        let Said { identity, channel: named } = self.check(token)?;
        match named {
            None => Err(AuthError::Refused("this token is not for a subscription: it has no `channel`")),
            Some(named) if named != *channel => Err(AuthError::Refused("the token is for another channel")),
            _ if user != Some(&*identity.user) => Err(AuthError::Refused("the token is for another user")),
            Some(_) => Ok(identity.expires_in(SystemTime::now())),
        }
    }

    fn check(&self, token: &str) -> Result<Said, AuthError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::Refused("the token is longer than 16 KiB"));
        }
        // Nothing of the header is followed (`jku`, `x5u`) or taken for a key (`jwk`, `x5c`): it names an algorithm and a key,
        // and those count only where they are ours.
        let header = jsonwebtoken::decode_header(token).map_err(|error| explain(error.kind()))?;
        if header.crit.is_some() || header.zip.is_some() || header.enc.is_some() {
            return Err(AuthError::Refused("the token's header asks for what the gateway does not do"));
        }
        if header.kid.as_ref().is_some_and(|id| id.len() > MAX_KEY_ID_BYTES) {
            return Err(AuthError::Refused("the token names a key by more than 255 bytes"));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut refused = NO_KEY;
        for key in self.keys.iter().filter(|key| key.algorithms.contains(&header.alg)) {
            match key.open(token, header.alg) {
                Ok(claims) => return claims.check(&self.rules, now),
                Err(error) => refused = error,
            }
        }
        if refused == NO_KEY && !self.keys.is_empty() { Err(WRONG_ALGORITHM) } else { Err(refused) }
    }
}

const NO_KEY: AuthError = AuthError::Refused("tokens cannot be checked: no key is set (auth.hmac_secret and others)");
const WRONG_ALGORITHM: AuthError = AuthError::Refused("the token's algorithm is not that of the key");

fn explain(kind: &jsonwebtoken::errors::ErrorKind) -> AuthError {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => WRONG_ALGORITHM,
        ErrorKind::InvalidSignature => AuthError::Refused("the token's signature does not hold"),
        _ => AuthError::Refused("this is not a valid token"),
    }
}

#[cfg(test)]
mod tests;
