//! The native answers over HTTP: their objects as bodies, their codes as statuses.

use super::refusal::RETRY_AFTER_MAX_S;
use super::{Body, answer};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use protocol::dialect::json;
use protocol::{ErrorCode, Refusal, Reply};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// A request's place.
type Place = Arc<OwnedSemaphorePermit>;

/// The status of each code.
pub(super) const fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadRequest => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorCode::UnknownChannel | ErrorCode::UnknownClient | ErrorCode::UnknownSession => StatusCode::NOT_FOUND,
        ErrorCode::AlreadySubscribed | ErrorCode::NotSubscribed | ErrorCode::LimitExceeded => StatusCode::CONFLICT,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::UnknownOutcome => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// One object as the body. The place is given back when it has left.
pub(super) fn object(status: StatusCode, json: Vec<u8>, place: Option<Place>) -> Response<Body> {
    body(status, held(json.into(), place))
}

/// The same of JSON that is written already.
pub(super) fn body(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = answer(status, "application/json", body);
    let headers = response.headers_mut();
    // Who asks decides what is answered, and what is new is not to be old.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// A body that gives its request's place back when it has left.
pub(super) fn held(body: Bytes, place: Option<Place>) -> Bytes {
    Bytes::from_owner(Held { body, _place: place })
}

/// A body, and the place of the request that it answers.
struct Held {
    body: Bytes,
    _place: Option<Place>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// A refusal, with the status of its code.
pub(super) fn refusal(refusal: Refusal, place: Option<Place>) -> Response<Body> {
    refusal_as(status_of(refusal.code), refusal, place)
}

/// The same with a status that says more than its code.
pub(super) fn refusal_as(status: StatusCode, refusal: Refusal, place: Option<Place>) -> Response<Body> {
    let refused = Err(refusal);
    let mut body = Vec::new();
    json::encode_answer(&mut body, &refused);
    comes_back(object(status, body, place), std::slice::from_ref(&refused))
}

/// A refusal that is written already.
pub(super) fn refused(code: ErrorCode, retry_after_ms: Option<u64>, json: Bytes) -> Response<Body> {
    let refused = Err(Refusal { retry_after_ms, ..Refusal::new(code, "") });
    comes_back(body(status_of(code), json), &[refused])
}

/// What became of one publication.
pub(super) fn outcome(outcome: Result<Reply, Refusal>, place: Option<Place>) -> Response<Body> {
    let mut body = Vec::new();
    json::encode_answer(&mut body, &outcome);
    match outcome {
        Ok(_) => object(StatusCode::OK, body, place),
        Err(refused) => refusal(refused, place),
    }
}

/// What became of several: where all were refused alike, whoever only looks at the status learns it from that.
pub(super) fn outcomes(outcomes: &[Result<Reply, Refusal>], place: Option<Place>) -> Response<Body> {
    let mut body = Vec::new();
    json::encode_answers(&mut body, outcomes);
    comes_back(object(status_of_all(outcomes), body, place), outcomes)
}

fn status_of_all(outcomes: &[Result<Reply, Refusal>]) -> StatusCode {
    let mut statuses = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().map_or_else(|refusal| status_of(refusal.code), |_| StatusCode::OK));
    let Some(first) = statuses.next() else { return StatusCode::OK };
    if statuses.all(|status| status == first) { first } else { StatusCode::MULTI_STATUS }
}

/// Says when to come back, where the status is one after which one does. A stream to a node that takes nothing ends, so
/// that the next one may lead to another.
fn comes_back(mut response: Response<Body>, outcomes: &[Result<Reply, Refusal>]) -> Response<Body> {
    let status = response.status();
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return response;
    }
    let waits = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()?.retry_after_ms);
    let seconds = waits.max().map_or_else(|| u64::from(fastrand::u32(1..=RETRY_AFTER_MAX_S)), |ms| ms.div_ceil(1000));
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: ErrorCode, retry_after_ms: Option<u64>) -> Result<Reply, Refusal> {
        Err(Refusal { retry_after_ms, ..Refusal::new(code, "") })
    }

    fn done() -> Result<Reply, Refusal> {
        Ok(Reply::Pong)
    }

    #[test]
    fn what_passes_has_a_status_after_which_clients_come_back() {
        // A session that is unknown is no better later: another one is opened.
        for code in ErrorCode::ALL.iter().filter(|code| **code != ErrorCode::UnknownSession) {
            let status = status_of(*code);
            let passes = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            assert_eq!(passes, code.temporary(), "{code:?}");
        }
    }

    #[test]
    fn several_that_fared_alike_have_one_status_and_others_say_so_each() {
        let (full, late) = (refused(ErrorCode::RateLimited, Some(1200)), refused(ErrorCode::RateLimited, Some(100)));
        assert_eq!(outcomes(&[done(), done()], None).status(), StatusCode::OK);
        assert_eq!(outcomes(&[done(), late.clone()], None).status(), StatusCode::MULTI_STATUS);
        let both = outcomes(&[late, full], None);
        assert_eq!(
            (both.status(), &both.headers()[header::RETRY_AFTER]),
            (StatusCode::TOO_MANY_REQUESTS, &"2".parse().unwrap())
        );
        let unavailable = outcome(refused(ErrorCode::Unavailable, None), None);
        assert_eq!(unavailable.headers()[header::CONNECTION], "close");
        assert!(unavailable.headers().contains_key(header::RETRY_AFTER));
    }

    #[test]
    fn nobody_keeps_an_answer_and_no_other_page_embeds_it() {
        let response = outcome(refused(ErrorCode::Unauthenticated, None), None);
        let headers = response.headers();
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers["cross-origin-resource-policy"], "same-origin");
        assert_eq!(headers[header::WWW_AUTHENTICATE], "Bearer");
    }
}
