//! What a token says, checked: its times, whom it is for and from, and the sizes and shapes of the rest.

use super::{AuthError, Identity, LEEWAY_S};
use crate::grant::{Actions, Grant};
use protocol::dialect::json::check_readable;
use protocol::{Channel, Text};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Number, Value};
use std::collections::BTreeMap;

/// The longest `sub`, and the longest `info` as JSON: both travel with every publication.
pub(super) const MAX_USER_BYTES: usize = 255;
const MAX_INFO_BYTES: usize = 4 * 1024;

/// The longest `jti`: revoked ones are kept by every node.
const MAX_TOKEN_ID_BYTES: usize = 255;

/// The most `roles`, `caps` and `channels`, each: they are looked through for every command.
const MAX_LIST: usize = 64;

/// The longest role.
const MAX_ROLE_BYTES: usize = 64;

/// A claim given twice is no valid token: readers would differ on which of the two counts.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    sub: Option<String>,
    exp: Option<Number>,
    nbf: Option<Number>,
    iat: Option<Value>,
    jti: Option<String>,
    aud: Option<Audience>,
    iss: Option<String>,
    info: Option<Box<RawValue>>,
    roles: Option<Vec<String>>,
    caps: Option<BTreeMap<String, Vec<String>>>,
    channels: Option<Vec<String>>,
    /// Makes it a subscription's token: see [`Said::channel`].
    channel: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// What every token is held to.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) audience: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) requires_expiry: bool,
}

/// What a good token says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) identity: Identity,
    /// The one channel that it is for; without one it says who connects.
    pub(super) channel: Option<Channel>,
}

impl Claims {
    /// Checks everything but the signature; `now` in Unix seconds.
    pub(super) fn check(self, rules: &Rules, now: u64) -> Result<Said, AuthError> {
        let expires_at = self.times(rules, now)?;
        self.parties(rules)?;
        let Some(user) = self.sub.filter(|sub| !sub.is_empty() && sub.len() <= MAX_USER_BYTES) else {
            return Err(AuthError::Refused("the token's `sub` is 1 to 255 bytes long"));
        };
        let channel = match self.channel {
            Some(name) => Some(Channel::new(&name).map_err(|_| WRONG_CHANNEL)?),
            None => None,
        };
        let grants = grants(self.caps.unwrap_or_default(), self.channels.unwrap_or_default())?;
        let roles = roles(self.roles.unwrap_or_default())?;
        let info = info(self.info)?;
        // Not needed to let anybody in. One that is no time counts as older than any, as if it were not there.
        let issued_at = self.iat.as_ref().and_then(Value::as_number).and_then(|iat| seconds(iat).ok());
        let token_id = token_id(self.jti)?;
        let identity = Identity { user: user.into(), info, expires_at, roles, grants, token_id, issued_at };
        Ok(Said { identity, channel })
    }

    /// When it ends, with the leeway.
    fn times(&self, rules: &Rules, now: u64) -> Result<Option<u64>, AuthError> {
        let exp = self.exp.as_ref().map(seconds).transpose()?;
        let nbf = self.nbf.as_ref().map(seconds).transpose()?;
        if exp.is_none() && rules.requires_expiry {
            return Err(LACKS);
        }
        let expires_at = exp.map(|exp| exp.saturating_add(LEEWAY_S));
        if expires_at.is_some_and(|end| end <= now) {
            return Err(AuthError::Refused("the token has expired"));
        }
        if nbf.is_some_and(|begin| begin > now.saturating_add(LEEWAY_S)) {
            return Err(AuthError::Refused("the token does not hold yet (nbf)"));
        }
        Ok(expires_at)
    }

    fn parties(&self, rules: &Rules) -> Result<(), AuthError> {
        if let Some(wanted) = &rules.audience {
            let is_for_us = match &self.aud {
                None => return Err(LACKS),
                Some(Audience::One(one)) => one == wanted,
                Some(Audience::Several(all)) => all.contains(wanted),
            };
            if !is_for_us {
                return Err(AuthError::Refused("the token is for another audience (aud)"));
            }
        }
        match (&rules.issuer, &self.iss) {
            (Some(_), None) => Err(LACKS),
            (Some(wanted), Some(iss)) if wanted != iss => {
                Err(AuthError::Refused("the token is from another issuer (iss)"))
            }
            _ if self.sub.is_none() => Err(LACKS),
            _ => Ok(()),
        }
    }
}

const LACKS: AuthError =
    AuthError::Refused("the token lacks a claim: exp and sub are required, aud and iss where they are set");
const WRONG_CHANNEL: AuthError = AuthError::Refused("the token's `channel` or `channels` name what is no channel");

/// A NumericDate (RFC 7519 section 2): Unix seconds, perhaps with a fraction, which is dropped.
fn seconds(number: &Number) -> Result<u64, AuthError> {
    let whole = number.as_u64().or_else(|| {
        // A cast of what is too large gives the largest.
        number.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0).map(|seconds| seconds as u64)
    });
    whole.ok_or(AuthError::Refused("the token's `exp` and `nbf` are Unix seconds"))
}

/// One that is too long to be kept in a list could not be revoked.
fn token_id(id: Option<String>) -> Result<Option<Text>, AuthError> {
    match id {
        Some(id) if id.len() > MAX_TOKEN_ID_BYTES => Err(AuthError::Refused("the token's `jti` is at most 255 bytes")),
        id => Ok(id.filter(|id| !id.is_empty()).map(Text::from)),
    }
}

pub(super) fn info(info: Option<Box<RawValue>>) -> Result<Option<Text>, AuthError> {
    let Some(info) = info else { return Ok(None) };
    if info.get().len() > MAX_INFO_BYTES {
        return Err(AuthError::Refused("the token's `info` is larger than 4 KiB"));
    }
    // It goes into every publication of this user: others must be able to read it.
    if check_readable(info.get()).is_err() {
        return Err(AuthError::Refused("the token's `info` is JSON that many parsers cannot read"));
    }
    Ok(Some(info.get().into()))
}

pub(super) fn roles(roles: Vec<String>) -> Result<Box<[Text]>, AuthError> {
    let fits = |role: &String| !role.is_empty() && role.len() <= MAX_ROLE_BYTES;
    if roles.len() > MAX_LIST || !roles.iter().all(fits) {
        return Err(AuthError::Refused("the token's `roles` are at most 64 words of 1 to 64 bytes"));
    }
    Ok(roles.into_iter().map(Text::from).collect())
}

/// What `caps` and `channels` grant.
pub(super) fn grants(caps: BTreeMap<String, Vec<String>>, names: Vec<String>) -> Result<Box<[Grant]>, AuthError> {
    let mut grants = capabilities(caps)?;
    grants.extend(channels(names)?);
    Ok(grants.into())
}

/// What is not understood is refused rather than passed over: an issuer hears of a slip at once.
fn capabilities(caps: BTreeMap<String, Vec<String>>) -> Result<Vec<Grant>, AuthError> {
    let wrong =
        AuthError::Refused("the token's `caps` are at most 64 patterns of channels, each with a list of actions");
    if caps.len() > MAX_LIST {
        return Err(wrong);
    }
    let grant = |(pattern, actions): (String, Vec<String>)| {
        let actions = Actions::of_words(actions.iter().map(String::as_str)).map_err(|_| wrong)?;
        Ok(Grant { pattern: pattern.parse().map_err(|_| wrong)?, actions })
    };
    caps.into_iter().map(grant).collect()
}

fn channels(names: Vec<String>) -> Result<Vec<Grant>, AuthError> {
    if names.len() > MAX_LIST {
        return Err(AuthError::Refused("the token's `channels` are at most 64"));
    }
    let grant = |name: String| {
        let channel = Channel::new(&name).map_err(|_| WRONG_CHANNEL)?;
        Ok(Grant { pattern: crate::pattern::Pattern::exactly(&channel), actions: Actions::READ })
    };
    names.into_iter().map(grant).collect()
}

#[cfg(test)]
mod tests;
