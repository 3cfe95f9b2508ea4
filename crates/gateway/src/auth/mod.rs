//! A token to an identity: whose key has signed it, and what it may say.

mod amendment;
mod claims;
mod fetch;
mod keys;
mod mint;
mod published;

pub use amendment::Amendment;
pub use fetch::Source;
pub use keys::Key;
pub use mint::{Wish, mint};
pub use published::PublishedConfig;
#[cfg(feature = "fuzzing")]
pub use published::read_set;

use crate::grant::{Action, Grant};
use crate::metrics::Metrics;
use claims::{Rules, Said};
use jsonwebtoken::Algorithm;
use prometheus::IntCounterVec;
use protocol::{Channel, Text};
use published::Published;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use users::{Revocations, Shown};

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
    /// So do those that an issuer publishes.
    pub published: Option<PublishedConfig>,
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
        self.hmac_secret.is_some() || self.previous_hmac_secret.is_some() || self.has_public_keys()
    }
}

impl AuthConfig {
    fn has_public_keys(&self) -> bool {
        !self.public_keys.is_empty() || self.published.is_some()
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
            .field("published", &self.published.is_some())
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
    pub roles: Box<[Text]>,
    /// `caps` and `channels`.
    pub grants: Box<[Grant]>,
    /// `jti`.
    pub token_id: Option<Text>,
    /// `iat`, in Unix seconds.
    pub issued_at: Option<u64>,
}

impl Identity {
    /// How long the token still holds.
    pub fn expires_in(&self, now: SystemTime) -> Option<Duration> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.expires_at.map(|at| Duration::from_secs(at).saturating_sub(now))
    }

    /// What it can be revoked by.
    pub fn shown(&self) -> Shown<'_> {
        Shown { user: &self.user, token_id: self.token_id.as_deref(), issued_at: self.issued_at }
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
    /// Its key may be among those that the issuer publishes by now: [`Auth::identify_waiting`] has them fetched.
    #[error("the token's key is not known yet")]
    UnknownKey,
    /// Its key is not known, and the issuer's keys cannot be fetched: it may be good.
    #[error("the issuer's keys cannot be fetched now")]
    Unavailable,
}

/// Checks tokens. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    keys: Arc<[Key]>,
    published: Option<Arc<Published>>,
    rules: Arc<Rules>,
    revocations: Option<Arc<dyn Revocations>>,
    anonymous: bool,
    outcomes: IntCounterVec,
}

impl Auth {
    /// Prepares the keys.
    pub fn new(config: &AuthConfig, metrics: &Metrics) -> Self {
        let secrets = [&config.hmac_secret, &config.previous_hmac_secret];
        let secrets = secrets.into_iter().flatten().map(|secret| Key::secret(secret));
        let rules = Rules {
            audience: config.audience.clone(),
            issuer: config.issuer.clone(),
            requires_expiry: config.requires_expiry,
        };
        Self {
            keys: secrets.chain(config.public_keys.iter().cloned()).collect(),
            published: config.published.clone().map(|config| Arc::new(Published::new(config, metrics))),
            rules: Arc::new(rules),
            revocations: None,
            anonymous: config.anonymous,
            outcomes: metrics.tokens.clone(),
        }
    }

    /// Refuses what is revoked, too.
    #[must_use]
    pub fn with_revocations(mut self, revocations: Arc<dyn Revocations>) -> Self {
        self.revocations = Some(revocations);
        self
    }

    /// Whether what a token shows is revoked. One that was good when it was looked at may be by now.
    pub fn is_revoked(&self, shown: &Shown<'_>) -> bool {
        self.revocations.as_ref().is_some_and(|revocations| revocations.is_revoked(shown))
    }

    /// Keeps the issuer's published keys fresh, for ever; returns at once where there are none to fetch.
    pub async fn maintain(&self) {
        if let Some(published) = &self.published {
            published.maintain().await;
        }
    }

    /// Whether there is a key, or no need of one.
    pub fn is_ready(&self) -> bool {
        self.anonymous || !self.keys.is_empty() || self.published.as_ref().is_none_or(|p| !p.keys().is_empty())
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

    /// Checks a token that is for one user's subscription to one channel.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn admit(&self, token: &str, channel: &Channel, user: Option<&str>) -> Result<Identity, AuthError> {
        let Said { identity, channel: named } = self.check(token)?;
        match named {
            None => Err(AuthError::Refused("this token is not for a subscription: it has no `channel`")),
            Some(named) if named != *channel => Err(AuthError::Refused("the token is for another channel")),
            _ if user != Some(&*identity.user) => Err(AuthError::Refused("the token is for another user")),
            Some(_) => Ok(identity),
        }
    }

    /// Like [`Auth::identify`], and has the issuer's keys fetched if the token's may be among them.
    ///
    /// # Errors
    /// Why it is not taken; never [`AuthError::UnknownKey`].
    pub async fn identify_waiting(&self, token: &str) -> Result<Identity, AuthError> {
        self.wait_for_keys(|| self.identify(token)).await
    }

    /// Like [`Auth::admit`], and has the issuer's keys fetched if the token's may be among them.
    ///
    /// # Errors
    /// Why it is not taken; never [`AuthError::UnknownKey`].
    pub async fn admit_waiting(
        &self,
        token: &str,
        channel: &Channel,
        user: Option<&str>,
    ) -> Result<Identity, AuthError> {
        self.wait_for_keys(|| self.admit(token, channel, user)).await
    }

    async fn wait_for_keys<T>(&self, check: impl Fn() -> Result<T, AuthError>) -> Result<T, AuthError> {
        let checked = check();
        let (Err(AuthError::UnknownKey), Some(published)) = (&checked, &self.published) else { return checked };
        published.ask().await;
        match check() {
            Err(AuthError::UnknownKey) => Err(published.last_verdict()),
            checked => checked,
        }
    }

    fn check(&self, token: &str) -> Result<Said, AuthError> {
        let checked = self
            .check_uncounted(token)
            .and_then(|said| if self.is_revoked(&said.identity.shown()) { Err(REVOKED) } else { Ok(said) });
        let outcome = match &checked {
            Ok(_) => "ok",
            Err(error) if *error == REVOKED => "revoked",
            Err(AuthError::Refused(_)) => "refused",
            Err(AuthError::UnknownKey) => "unknown_key",
            Err(AuthError::Unavailable) => "unavailable",
        };
        self.outcomes.with_label_values(&[outcome]).inc();
        checked
    }

    fn check_uncounted(&self, token: &str) -> Result<Said, AuthError> {
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
        let published = self.published.as_ref().map(|published| published.keys()).unwrap_or_default();
        let named = |key: &&Key| header.kid.is_none() || key.id.is_none() || key.id.as_deref() == header.kid.as_deref();
        let candidates = self.keys.iter().chain(published.iter().filter(named));
        let mut refused = NO_KEY;
        for key in candidates.filter(|key| key.algorithms.contains(&header.alg)) {
            match key.open(token, header.alg) {
                Ok(claims) => return claims.check(&self.rules, now),
                Err(error) => refused = error,
            }
        }
        // What is published is no secret: no set could hold the key of an HMAC.
        let is_hmac = matches!(header.alg, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
        let is_there = |id: &str| published.iter().any(|key| key.id.as_deref() == Some(id));
        let is_missing = published.is_empty() || header.kid.as_deref().is_some_and(|id| !is_there(id));
        match &self.published {
            Some(published) if is_missing && !is_hmac => Err(published.verdict()),
            Some(_) if refused == NO_KEY => Err(WRONG_ALGORITHM),
            None if refused == NO_KEY && !self.keys.is_empty() => Err(WRONG_ALGORITHM),
            _ => Err(refused),
        }
    }
}

const NO_KEY: AuthError = AuthError::Refused("tokens cannot be checked: no key is set (auth.hmac_secret and others)");
/// What is said of a token that is revoked.
pub(crate) const REVOKED: AuthError = AuthError::Refused("the token has been revoked");
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
