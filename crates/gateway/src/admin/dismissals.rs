//! Orders to close connections and to revoke tokens: `POST /disconnect` and `/revoke`, and `GET /revocations`.

use super::Admin;
use super::orders::{from_a_page, is_from_a_page};
use crate::dismissal::Undone;
use crate::dismissal::asked::{Disconnect, Revoke, Shown};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::SystemTime;

/// Revocations shown at once unless more are asked for, and at the most.
const SHOWN: usize = 1000;
const SHOWN_MAX: usize = 100_000;

/// What may stand behind `/revocations?`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<usize>,
}

/// Closes connections.
pub(super) async fn disconnect(
    State(admin): State<Admin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let asked = read(&headers, body).and_then(|body: Disconnect| body.leaving().map_err(|why| undone(&why)));
    let (leaving, code) = match asked {
        Ok(asked) => asked,
        Err(refusal) => return *refusal,
    };
    match admin.node.disconnect(leaving, code).await {
        Ok(()) => done(StatusCode::ACCEPTED, &json!({"told": true, "code": code.code()})),
        Err(why) => *undone(&why),
    }
}

/// Revokes tokens.
pub(super) async fn revoke(
    State(admin): State<Admin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let asked =
        read(&headers, body).and_then(|body: Revoke| body.target(SystemTime::now()).map_err(|why| undone(&why)));
    let (target, until) = match asked {
        Ok(asked) => asked,
        Err(refusal) => return *refusal,
    };
    match admin.node.revoke(target, until).await {
        Ok(revocation) => done(StatusCode::OK, &json!({"revoked": Shown::from(revocation)})),
        Err(why) => *undone(&why),
    }
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
