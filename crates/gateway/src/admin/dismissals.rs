//! Orders to close connections and to revoke tokens: `POST /disconnect` and `/revoke`, and `GET /revocations`.

use super::Admin;
use super::orders::{from_a_page, is_from_a_page};
use crate::dismissal::{Leaving, Undone, close_code};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use protocol::{Channel, CloseCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use users::{Revocation, Target};

/// Revocations shown at once unless more are asked for, and at the most.
const SHOWN: usize = 1000;
const SHOWN_MAX: usize = 100_000;

/// The body of `/disconnect`: one of the first three.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DisconnectBody {
    user: Option<String>,
    client: Option<String>,
    channel: Option<String>,
    /// Whether they may come back; a `code` says so itself.
    #[serde(default)]
    reconnect: bool,
    code: Option<u16>,
}

/// The body of `/revoke`: a token's id, or a user.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeBody {
    token_id: Option<String>,
    user: Option<String>,
    issued_before: Option<Moment>,
    /// In Unix seconds.
    until: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Moment {
    At(u64),
    Word(String),
}

/// What may stand behind `/revocations?`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<usize>,
}

/// A revocation as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_before: Option<u64>,
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

/// Closes connections.
pub(super) async fn disconnect(
    State(admin): State<Admin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let asked = read(&headers, body).and_then(|body| leaving(body).map_err(|why| undone(&why)));
    let (leaving, code) = match asked {
        Ok(asked) => asked,
        Err(refusal) => return *refusal,
    };
    match admin.node.disconnect(leaving, code).await {
        Ok(()) => done(StatusCode::ACCEPTED, &json!({"told": true, "code": code.code()})),
        Err(why) => *undone(&why),
    }
}

fn leaving(body: DisconnectBody) -> Result<(Leaving, CloseCode), Undone> {
    let leaving = match (body.user, body.client, body.channel) {
        (Some(user), None, None) => Leaving::User(user.into()),
        (None, Some(client), None) => Leaving::Client(client),
        (None, None, Some(name)) => {
            let channel = Channel::new(&name).map_err(|error| Undone::Invalid(format!("`{name}`: {error}")))?;
            Leaving::Channel(channel)
        }
        _ => return Err(Undone::Invalid("one of `user`, `client` and `channel`".to_owned())),
    };
    let code = match (body.code, body.reconnect) {
        (Some(_), true) => return Err(Undone::Invalid("either `code` or `reconnect`: a code says it".to_owned())),
        (Some(code), false) => close_code(code)?,
        (None, true) => CloseCode::Reset,
        (None, false) => CloseCode::Disconnected,
    };
    Ok((leaving, code))
}

/// Revokes tokens.
pub(super) async fn revoke(
    State(admin): State<Admin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let asked = read(&headers, body).and_then(|body| target(body, SystemTime::now()).map_err(|why| undone(&why)));
    let (target, until) = match asked {
        Ok(asked) => asked,
        Err(refusal) => return *refusal,
    };
    match admin.node.revoke(target, until).await {
        Ok(revocation) => done(StatusCode::OK, &json!({"revoked": Shown::from(revocation)})),
        Err(why) => *undone(&why),
    }
}

fn target(body: RevokeBody, now: SystemTime) -> Result<(Target, Option<SystemTime>), Undone> {
    let now_s = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let issued_before = match body.issued_before {
        None => None,
        Some(Moment::At(seconds)) => Some(seconds),
        // `iat` has whole seconds: one issued in this second may have been issued before now.
        Some(Moment::Word(word)) if word == "now" => Some(now_s + 1),
        Some(Moment::Word(word)) => {
            return Err(Undone::Invalid(format!("issued_before `{word}`: Unix seconds, or \"now\"")));
        }
    };
    let target = match (body.token_id, body.user, issued_before) {
        (Some(id), None, None) => Target::Token(id.into()),
        (None, Some(user), None) => Target::User(user.into()),
        (None, Some(user), Some(issued_before)) => Target::UserBefore { user: user.into(), issued_before },
        _ => return Err(Undone::Invalid("either `token_id`, or `user` and perhaps `issued_before`".to_owned())),
    };
    let until = body.until.map(|seconds| {
        let at = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        at.ok_or_else(|| Undone::Invalid("`until` is in Unix seconds".to_owned()))
    });
    Ok((target, until.transpose()?))
}

/// What this node knows to be revoked, what ends first first.
pub(super) async fn revocations(State(admin): State<Admin>, query: Query<ListQuery>) -> Response {
    let max = query.limit.unwrap_or(SHOWN).min(SHOWN_MAX);
    let (list, count) = admin.node.revocations.list(max);
    let list: Vec<Shown> = list.into_iter().map(Shown::from).collect();
    done(StatusCode::OK, &json!({"count": count, "max": admin.node.config.revocations.max, "revocations": list}))
}

/// For whoever looks at these in a browser, or forgets `-X POST`.
pub(super) async fn only_post(uri: Uri) -> Response {
    let text = format!("{} is an order: POST it, with a JSON object. What is revoked: GET /revocations\n", uri.path());
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")], text).into_response()
}

fn read<T: for<'a> Deserialize<'a>>(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<T, Box<Response>> {
    if is_from_a_page(headers) {
        return Err(Box::new(from_a_page()));
    }
    let body = body.map_err(|rejection| Box::new(rejection.into_response()))?;
    serde_json::from_slice(&body).map_err(|error| {
        undone(&Undone::Invalid(format!("the body is to be a JSON object such as {{\"user\":\"ann\"}}: {error}")))
    })
}

fn undone(why: &Undone) -> Box<Response> {
    let status = match why {
        Undone::Invalid(_) => StatusCode::BAD_REQUEST,
        Undone::UnknownClient => StatusCode::NOT_FOUND,
        Undone::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
        Undone::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    Box::new((status, format!("{why}\n")).into_response())
}

fn done(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revoking(body: &str) -> Result<(Target, Option<SystemTime>), String> {
        let body = serde_json::from_str(body).map_err(|error| error.to_string())?;
        target(body, UNIX_EPOCH + Duration::from_millis(5_900)).map_err(|why| why.to_string())
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
        let of = |body: &str| leaving(serde_json::from_str(body).unwrap()).map_err(|why| why.to_string());
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
