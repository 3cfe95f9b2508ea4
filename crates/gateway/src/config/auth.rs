//! `auth.…`: what tokens are checked with, and where they are taken from.

use super::RevocationsConfig;
use super::settings::Settings;
use crate::auth::{AuthConfig, Key, PublishedConfig, Source};

pub(super) fn read(s: &mut Settings) -> AuthConfig {
    let hmac_secret = s.secret("auth.hmac_secret", "auth.hmac_secret_file", "checks HS256, HS384 and HS512 tokens");
    let previous_hmac_secret = s.secret(
        "auth.previous_hmac_secret",
        "auth.previous_hmac_secret_file",
        "also accepted, while tokens signed with it live on",
    );
    let public_key_file = "a PEM file of public keys (RSA, P-256, P-384, Ed25519) that check tokens";
    s.refuse_empty("auth.public_key_file");
    let public_keys = s.get("auth.public_key_file", "", public_key_file, read_public_keys).unwrap_or_default();
    let published = read_published(s);
    let said = s.optional_flag("auth.anonymous", "anyone may connect; true while no key is set, else false");
    let mut auth = AuthConfig {
        anonymous: false,
        hmac_secret,
        previous_hmac_secret,
        public_keys,
        published,
        audience: s.optional("auth.audience", "what `aud` must hold"),
        issuer: s.optional("auth.issuer", "what `iss` must be"),
        requires_expiry: s.flag("auth.require_expiry", "true", "refuse tokens that do not say when they end (`exp`)"),
        timeout: s.positive_duration("auth.timeout", "10s", "a connection without a token by then is closed (4001)"),
        query: s.flag("auth.query", "false", "take tokens from ?token= (they end up in access logs)"),
        cookie: s.optional("auth.cookie", "take tokens from this cookie"),
    };
    auth.anonymous = said.unwrap_or(!auth.has_keys());
    auth
}

pub(super) fn read_revocations(s: &mut Settings) -> RevocationsConfig {
    let kept = "how long a revocation is remembered that says no end: as long as your longest tokens live";
    RevocationsConfig {
        kept: s.positive_duration("auth.revocations_kept", "7d", kept),
        max: s.count("auth.revocations_max", "100000", "revocations remembered at once; further ones are refused"),
    }
}

fn read_published(s: &mut Settings) -> Option<PublishedConfig> {
    s.refuse_empty("auth.jwks_url");
    let insecure = s.flag("auth.jwks_insecure", "false", "allow plain http for auth.jwks_url beyond this machine");
    let read = |path: &str| match path {
        "" => Ok(None),
        path => std::fs::read_to_string(path).map(Some).map_err(|error| format!("cannot read {path}: {error}")),
    };
    let authorities = "a PEM file of certificate authorities that are trusted for auth.jwks_url beside the public ones";
    let authorities = s.get("auth.jwks_ca_file", "", authorities, read).flatten();
    let source = |url: &str| match url {
        "" => Ok(None),
        url => Source::new(url, authorities.as_deref(), insecure).map(Some),
    };
    let url = "where an issuer publishes keys that check tokens (a JWK set)";
    let source = s.get("auth.jwks_url", "", url, source).flatten();
    let refresh = s.positive_duration("auth.jwks_refresh", "10m", "how often those are fetched anew");
    let cooldown = "so seldom are they fetched for a token whose key is unknown";
    let cooldown = s.positive_duration("auth.jwks_cooldown", "30s", cooldown);
    source.map(|source| PublishedConfig { source, refresh, cooldown })
}

fn read_public_keys(path: &str) -> Result<Vec<Key>, String> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    Key::from_pem(&text).map_err(|fault| format!("{path} {fault}"))
}
