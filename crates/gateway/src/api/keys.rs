//! Who may ask the server API for what: its keys, kept and compared as digests.

use super::problem::{Code, Problem};
use crate::limit::{Bucket, Rate};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, header};
use protocol::ErrorCode;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// A shorter key can be guessed.
const KEY_BYTES_MIN: usize = 16;

/// What a key of a public service should have: 128 bits, even if it is written in hexadecimal.
const KEY_BYTES_FIT: usize = 32;

/// 32 random hexadecimal digits have fewer different ones than this once in 20 million times.
const DIFFERENT_MIN: usize = 8;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Scope {
    /// Publish, to any channel.
    Publish = 1,
    /// See members, histories, channels, nodes and connections.
    Read = 2,
    /// Disconnect and revoke.
    Admin = 4,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Publish, Self::Read, Self::Admin];

    /// Its name in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or_else(|| format!("`{text}`: publish, read or admin"))
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Everything.
    pub const ALL: Self = Self(7);

    /// Whether this is among them.
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope as u8 != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | scope as u8))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Scope::ALL.into_iter().filter(|scope| self.has(*scope)).map(Scope::as_str).collect();
        write!(f, "{names:?}")
    }
}

/// One key as it is configured. The key itself is not kept.
#[derive(Clone, PartialEq)]
pub struct ApiKey {
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// How fast it may ask one node; none: no limit.
    pub rate: Option<Rate>,
    digest: [u8; 32],
    weakness: Option<Weakness>,
}

/// Why a key may be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakness {
    /// It has fewer than 32 bytes.
    Short,
    /// It has few different characters, repeats itself, or counts.
    Patterned,
}

impl Weakness {
    fn of(key: &[u8]) -> Option<Self> {
        let mut different = [false; 256];
        key.iter().for_each(|byte| different[usize::from(*byte)] = true);
        let has_few = different.iter().filter(|is_there| **is_there).count() < DIFFERENT_MIN;
        let repeats = (1..=key.len() / 2).any(|period| key[period..] == key[..key.len() - period]);
        // Of random digits one in five is beside the one before it.
        let beside = key.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= 1).count();
        match key.len() < KEY_BYTES_FIT {
            _ if has_few || repeats || beside * 2 > key.len() => Some(Self::Patterned),
            true => Some(Self::Short),
            false => None,
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("name", &self.name).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

impl ApiKey {
    /// A key of this name.
    ///
    /// # Errors
    /// What is wrong with the key, in words that do not hold it.
    pub fn new(name: &str, key: &str, scopes: Scopes, rate: Option<Rate>) -> Result<Self, String> {
        if key.len() < KEY_BYTES_MIN {
            return Err(format!(
                "is shorter than {KEY_BYTES_MIN} bytes: take 32 random ones, as of `openssl rand -hex 32`"
            ));
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has characters that a header cannot carry: write printable ASCII without spaces".to_owned());
        }
        let (digest, weakness) = (sha256(key.as_bytes()), Weakness::of(key.as_bytes()));
        Ok(Self { name: name.to_owned(), scopes, rate, digest, weakness })
    }

    /// Why it may be guessed, if it may.
    pub const fn weakness(&self) -> Option<Weakness> {
        self.weakness
    }

    /// Whether this secret of another use is the same text.
    pub fn is_made_of(&self, secret: &str) -> bool {
        self.digest == sha256(secret.as_bytes())
    }

    /// Whether both are the same key, whatever they may do.
    pub fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// How fast a key may ask, and what is left of that.
type Pace = (Rate, Mutex<Bucket>);

/// The keys of a node, and how much each may still ask.
pub(super) struct Keys {
    keys: Vec<(ApiKey, Option<Pace>)>,
    began: Instant,
}

impl Keys {
    pub(super) fn new(keys: &[ApiKey]) -> Self {
        let bucket = |rate: Rate| (rate, Mutex::new(Bucket::full(&rate, 0)));
        Self { keys: keys.iter().map(|key| (key.clone(), key.rate.map(bucket))).collect(), began: Instant::now() }
    }

    /// Whether a request may do this.
    pub(super) fn check(&self, headers: &HeaderMap, scope: Scope) -> Result<(), Problem> {
        let shown = shown(headers)?;
        let digest = sha256(shown);
        // Every key is looked at, so that the time says nothing of which one it was.
        let equal = |key: &ApiKey| verify_slices_are_equal(&key.digest, &digest).is_ok();
        let found = self.keys.iter().fold(None, |found, entry| if equal(&entry.0) { Some(entry) } else { found });
        let Some((key, pace)) = found else {
            return Err(unauthenticated("this key is not one of the server API's"));
        };
        if !key.scopes.has(scope) {
            let detail = format!("this key may not do that: it lacks the scope `{}`", scope.as_str());
            return Err(Problem::new(Code::Refused(ErrorCode::PermissionDenied), detail));
        }
        let Some((rate, bucket)) = pace else { return Ok(()) };
        let now_ms = self.began.elapsed().as_millis() as u32;
        let taken = bucket.lock().unwrap_or_else(PoisonError::into_inner).take(rate, now_ms);
        taken.map_err(|wait| {
            let code = Code::Refused(ErrorCode::RateLimited);
            Problem { retry_after: Some(wait), ..Problem::new(code, "requests come faster than this key may ask") }
        })
    }
}

/// The key of a request. Two different ones are none: which of them counts would depend on who looks at it.
fn shown(headers: &HeaderMap) -> Result<&[u8], Problem> {
    let bearers = headers.get_all(header::AUTHORIZATION).iter().map(|value| bearer(value.as_bytes()));
    let named = headers.get_all("x-api-key").iter().map(|value| Some(value.as_bytes()));
    let mut shown = bearers.chain(named);
    let no_key = "show a key: `Authorization: Bearer KEY`, or `X-API-Key: KEY`";
    let Some(Some(first)) = shown.next() else { return Err(unauthenticated(no_key)) };
    if shown.any(|other| other != Some(first)) {
        return Err(unauthenticated("there are several keys where one should be"));
    }
    Ok(first)
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

fn unauthenticated(detail: &'static str) -> Problem {
    Problem::new(Code::Refused(ErrorCode::Unauthenticated), detail)
}

#[cfg(test)]
mod tests;
