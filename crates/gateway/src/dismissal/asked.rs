//! What operators and backends write to have connections closed and tokens revoked, and how revocations are shown.

use super::{Leaving, Undone, close_code};
use protocol::{Channel, CloseCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use users::{Revocation, Target};

/// Whose connections are to be closed: one of the first three.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Disconnect {
    /// All of a user, on all nodes.
    user: Option<String>,
    /// One connection, by its id.
    client: Option<String>,
    /// All that subscribe to a channel, on all nodes.
    channel: Option<String>,
    /// Whether they may come back (4110 instead of 4011); a `code` says so itself.
    #[serde(default)]
    reconnect: bool,
    /// Another close code, of 40xx (stay away) or 41xx (come back).
    code: Option<u16>,
}

/// Whose tokens are to count no more: a token's id, or a user.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// The one token with this `jti`.
    token_id: Option<String>,
    /// All tokens of this user, also those that are still to be issued.
    user: Option<String>,
    /// Only those of the user that were issued before.
    issued_before: Option<Moment>,
    /// How long it is remembered, in Unix seconds; as long as `auth.revocations_kept` unless said.
    until: Option<u64>,
}

/// Unix seconds, or the word `now`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Moment {
    /// In Unix seconds.
    At(u64),
    /// `now`.
    Word(#[schemars(extend("const" = "now"))] String),
}

/// A revocation as it is shown.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Revocation")]
pub struct Shown {
    /// The one token with this `jti`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    /// All tokens of this user,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// or those that were issued before, in Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_before: Option<u64>,
    /// How long it is remembered, in Unix seconds.
    until: u64,
}

impl From<Revocation> for Shown {
    fn from(Revocation { target, until_ms }: Revocation) -> Self {
        let none = Self { token_id: None, user: None, issued_before: None, until: until_ms.div_ceil(1000) };
        match target {
            Target::Token(id) => Self { token_id: Some(id.to_string()), ..none },
            Target::User(user) => Self { user: Some(user.to_string()), ..none },
            Target::UserBefore { user, issued_before } => {
                Self { user: Some(user.to_string()), issued_before: Some(issued_before), ..none }
            }
        }
    }
}

impl Disconnect {
    /// Who, and the code they are closed with.
    ///
    /// # Errors
    /// What makes no sense.
    pub fn leaving(self) -> Result<(Leaving, CloseCode), Undone> {
        let leaving = match (self.user, self.client, self.channel) {
            (Some(user), None, None) => Leaving::User(user.into()),
            (None, Some(client), None) => Leaving::Client(client),
            (None, None, Some(name)) => {
                let channel = Channel::new(&name).map_err(|error| Undone::Invalid(format!("`{name}`: {error}")))?;
                Leaving::Channel(channel)
            }
            _ => return Err(Undone::Invalid("one of `user`, `client` and `channel`".to_owned())),
        };
        let code = match (self.code, self.reconnect) {
            (Some(_), true) => return Err(Undone::Invalid("either `code` or `reconnect`: a code says it".to_owned())),
            (Some(code), false) => close_code(code)?,
            (None, true) => CloseCode::Reset,
            (None, false) => CloseCode::Disconnected,
        };
        Ok((leaving, code))
    }
}

impl Revoke {
    /// Which, and until when it is remembered.
    ///
    /// # Errors
    /// What makes no sense.
    pub fn target(self, now: SystemTime) -> Result<(Target, Option<SystemTime>), Undone> {
        let now_s = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let issued_before = match self.issued_before {
            None => None,
            Some(Moment::At(seconds)) => Some(seconds),
            // `iat` has whole seconds: one issued in this second may have been issued before now.
            Some(Moment::Word(word)) if word == "now" => Some(now_s + 1),
            Some(Moment::Word(word)) => {
                return Err(Undone::Invalid(format!("issued_before `{word}`: Unix seconds, or \"now\"")));
            }
        };
        let target = match (self.token_id, self.user, issued_before) {
            (Some(id), None, None) => Target::Token(id.into()),
            (None, Some(user), None) => Target::User(user.into()),
            (None, Some(user), Some(issued_before)) => Target::UserBefore { user: user.into(), issued_before },
            _ => return Err(Undone::Invalid("either `token_id`, or `user` and perhaps `issued_before`".to_owned())),
        };
        let until = self.until.map(|seconds| {
            let at = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
            at.ok_or_else(|| Undone::Invalid("`until` is in Unix seconds".to_owned()))
        });
        Ok((target, until.transpose()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revoking(body: &str) -> Result<(Target, Option<SystemTime>), String> {
        let body: Revoke = serde_json::from_str(body).map_err(|error| error.to_string())?;
        body.target(UNIX_EPOCH + Duration::from_millis(5_900)).map_err(|why| why.to_string())
    }

    #[test]
    fn what_is_to_be_revoked_is_a_token_or_a_user_s() {
        let user = |issued_before| Target::UserBefore { user: "ann".into(), issued_before };
        assert_eq!(revoking(r#"{"token_id":"t1"}"#), Ok((Target::Token("t1".into()), None)));
        assert_eq!(revoking(r#"{"user":"ann"}"#), Ok((Target::User("ann".into()), None)));
        assert_eq!(revoking(r#"{"user":"ann","issued_before":3}"#), Ok((user(3), None)));
        assert_eq!(revoking(r#"{"user":"ann","issued_before":"now"}"#), Ok((user(6), None)), "this second's, too");
        let until = Some(UNIX_EPOCH + Duration::from_secs(9));
        assert_eq!(revoking(r#"{"token_id":"t1","until":9}"#), Ok((Target::Token("t1".into()), until)));
        for wrong in [
            "{}",
            r#"{"token_id":"t1","user":"ann"}"#,
            r#"{"token_id":"t1","issued_before":3}"#,
            r#"{"user":"ann","issued_before":"noon"}"#,
            r#"{"user":"ann","untill":3}"#,
            r#"{"user":"ann","until":-1}"#,
        ] {
            assert!(revoking(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn who_is_to_leave_is_one_of_three_and_told_whether_to_come_back() {
        let read = |body: &str| serde_json::from_str::<Disconnect>(body).unwrap();
        let of = |body: &str| read(body).leaving().map_err(|why| why.to_string());
        let ann = || Leaving::User("ann".into());
        assert_eq!(of(r#"{"user":"ann"}"#), Ok((ann(), CloseCode::Disconnected)));
        assert_eq!(of(r#"{"user":"ann","reconnect":true}"#), Ok((ann(), CloseCode::Reset)));
        assert_eq!(of(r#"{"user":"ann","code":4003}"#), Ok((ann(), CloseCode::Forbidden)));
        for wrong in [
            "{}",
            r#"{"user":"ann","client":"n1.a.0100000000000001"}"#,
            r#"{"channel":"a b"}"#,
            r#"{"user":"ann","code":1000}"#,
            r#"{"user":"ann","code":4003,"reconnect":true}"#,
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
