//! Orders to send connections away: `POST /drain`, `/rebalance` and `/resume`.

use super::{Admin, progress};
use crate::drain;
use crate::shedding::{Conflict, Occasion, Wanted};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::time::Duration;

/// The longest window that is taken: what is longer is a slip of the keyboard.
const WINDOW_MAX: Duration = Duration::from_secs(24 * 3600);

/// What may stand behind `/drain?`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DrainQuery {
    window: Option<String>,
    exit: Option<bool>,
}

/// What may stand behind `/rebalance?`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RebalanceQuery {
    percent: u8,
    window: Option<String>,
}

/// Begins what SIGTERM begins; with `exit=false` the process stays.
pub(super) async fn drain(
    State(admin): State<Admin>,
    headers: HeaderMap,
    query: Result<Query<DrainQuery>, QueryRejection>,
) -> Response {
    let wanted = |query: DrainQuery| {
        let occasion = if query.exit == Some(false) { Occasion::Rest } else { Occasion::Stop };
        Ok(Wanted::all(occasion, window(&admin, query.window)?))
    };
    obey(&admin, &headers, query, wanted)
}

/// Sends a share of the connections to other nodes.
pub(super) async fn rebalance(
    State(admin): State<Admin>,
    headers: HeaderMap,
    query: Result<Query<RebalanceQuery>, QueryRejection>,
) -> Response {
    let wanted = |query: RebalanceQuery| {
        if !(1..=100).contains(&query.percent) {
            return Err(format!("percent={}: from 1 to 100", query.percent));
        }
        let window = window(&admin, query.window)?;
        Ok(Wanted { percent: query.percent, ..Wanted::all(Occasion::Rebalance, window) })
    };
    obey(&admin, &headers, query, wanted)
}

/// Takes connections again.
pub(super) async fn resume(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    if is_from_a_page(&headers) {
        return from_a_page();
    }
    match drain::resume(&admin.node) {
        Ok(_) => progress(&admin.node, StatusCode::OK).into_response(),
        Err(conflict) => said(&conflict),
    }
}

/// For whoever looks at these in a browser, or forgets `-X POST`.
pub(super) async fn only_post(uri: Uri) -> Response {
    let text = format!("{} is an order: POST it. How far one is: GET /readyz, or /shedding as JSON\n", uri.path());
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")], text).into_response()
}

fn obey<Q>(
    admin: &Admin,
    headers: &HeaderMap,
    query: Result<Query<Q>, QueryRejection>,
    wanted: impl FnOnce(Q) -> Result<Wanted, String>,
) -> Response {
    if is_from_a_page(headers) {
        return from_a_page();
    }
    let wanted = query.map_err(|error| error.body_text()).and_then(|Query(query)| wanted(query));
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(fault) => return (StatusCode::BAD_REQUEST, format!("{fault}\n")).into_response(),
    };
    match drain::begin(&admin.node, wanted) {
        Ok(()) => progress(&admin.node, StatusCode::ACCEPTED).into_response(),
        Err(conflict) => said(&conflict),
    }
}

fn said(conflict: &Conflict) -> Response {
    (StatusCode::CONFLICT, format!("{conflict}\n")).into_response()
}

/// Any page of the web can make its visitor's browser POST to 127.0.0.1, but not without saying so.
pub(super) fn is_from_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site")
}

pub(super) fn from_a_page() -> Response {
    (StatusCode::FORBIDDEN, "orders are not taken from pages\n").into_response()
}

fn window(admin: &Admin, text: Option<String>) -> Result<Duration, String> {
    let Some(text) = text else { return Ok(admin.node.config.drain.window) };
    match humantime::parse_duration(&text) {
        Ok(window) if window.is_zero() || window > WINDOW_MAX => Err(format!("window={text}: more than 0s, up to 24h")),
        Ok(window) => Ok(window),
        Err(error) => Err(format!("window={text} is not a time: {error}")),
    }
}
