//! What the server API answers when it does not do what was asked: RFC 9457 problems, all of them from one table.

use bytes::Bytes;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use protocol::{ErrorCode, Refusal};
use schemars::JsonSchema;
use serde::Serialize;
use std::borrow::Cow;
use std::time::Duration;

/// When to come back where nobody knows.
const RETRY_AFTER_S: u64 = 1;

/// Why a request was refused: the codes of the WebSocket's commands, and what only HTTP has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// As a command would be.
    Refused(ErrorCode),
    /// No such path.
    NotFound,
    /// The path has no such method.
    MethodNotAllowed,
    /// The body did not come in time.
    RequestTimeout,
    /// The body is not JSON by what it says of itself.
    UnsupportedMediaType,
    /// The node answers as many requests as it may.
    OverCapacity,
}

impl Code {
    /// Every code, for the document.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let http = [
            Self::NotFound,
            Self::MethodNotAllowed,
            Self::RequestTimeout,
            Self::UnsupportedMediaType,
            Self::OverCapacity,
        ];
        ErrorCode::ALL.iter().map(|code| Self::Refused(*code)).chain(http)
    }

    /// The code, for programs.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Refused(code) => code.as_str(),
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::OverCapacity => "over_capacity",
        }
    }

    /// Its HTTP status.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::Refused(code) => match code {
                ErrorCode::BadRequest => 400,
                ErrorCode::Unauthenticated => 401,
                ErrorCode::PermissionDenied => 403,
                ErrorCode::UnknownChannel | ErrorCode::UnknownClient | ErrorCode::UnknownSession => 404,
                ErrorCode::AlreadySubscribed | ErrorCode::NotSubscribed | ErrorCode::LimitExceeded => 409,
                ErrorCode::TooLarge => 413,
                ErrorCode::RateLimited => 429,
                ErrorCode::Unavailable => 503,
                ErrorCode::UnknownOutcome => 504,
                ErrorCode::Internal => 500,
            },
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::UnsupportedMediaType => 415,
            Self::OverCapacity => 503,
        }
    }

    /// Its name, for people.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Refused(code) => match code {
                ErrorCode::BadRequest => "The request is not understood",
                ErrorCode::Unauthenticated => "A key is missing or wrong",
                ErrorCode::PermissionDenied => "That is not allowed",
                ErrorCode::UnknownChannel => "No namespace takes this channel",
                ErrorCode::UnknownClient => "There is no such connection",
                ErrorCode::UnknownSession => "There is no such session",
                ErrorCode::AlreadySubscribed => "That subscription is there already",
                ErrorCode::NotSubscribed => "There is no such subscription",
                ErrorCode::TooLarge => "That is too large",
                ErrorCode::RateLimited => "That is too fast",
                ErrorCode::LimitExceeded => "A limit is reached",
                ErrorCode::Unavailable => "Redis cannot be reached",
                ErrorCode::UnknownOutcome => "It is not known whether that was done",
                ErrorCode::Internal => "A fault of the gateway",
            },
            Self::NotFound => "There is nothing at this path",
            Self::MethodNotAllowed => "This path has no such method",
            Self::RequestTimeout => "The request did not come in time",
            Self::UnsupportedMediaType => "The body is not JSON",
            Self::OverCapacity => "The node answers as many requests as it may",
        }
    }

    /// Whether the same request may succeed later, unchanged.
    pub(super) const fn temporary(self) -> bool {
        match self {
            Self::Refused(code) => code.temporary(),
            Self::RequestTimeout | Self::OverCapacity => true,
            Self::NotFound | Self::MethodNotAllowed | Self::UnsupportedMediaType => false,
        }
    }
}

/// A request that was refused.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Problem {
    /// Why.
    pub(super) code: Code,
    /// What was wrong and what would be right.
    pub(super) detail: Cow<'static, str>,
    /// When a repeat may succeed, where that is known.
    pub(super) retry_after: Option<Duration>,
}

/// A problem as it is written (RFC 9457).
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct Written {
    /// A URN that ends with the code. It never changes.
    #[serde(rename = "type")]
    kind: String,
    /// The code in words.
    title: &'static str,
    /// The HTTP status that the code has.
    status: u16,
    /// The code, for programs. It never changes.
    #[schemars(extend("enum" = Code::all().map(Code::as_str).collect::<Vec<_>>()))]
    code: &'static str,
    /// What was wrong here, and what would be right.
    detail: String,
    /// Whether the same request may succeed later, unchanged.
    temporary: bool,
}

impl Problem {
    /// A problem without a time to come back.
    pub(super) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), retry_after: None }
    }

    /// The most frequent kind.
    pub(super) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Refused(ErrorCode::BadRequest), detail)
    }

    /// The same, of a part of what was asked.
    pub(super) fn at(self, part: &str) -> Self {
        Self { detail: format!("{part}: {}", self.detail).into(), ..self }
    }

    /// As it is written.
    pub(super) fn written(&self) -> Written {
        Written {
            kind: format!("urn:gateway:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status(),
            code: self.code.as_str(),
            detail: self.detail.to_string(),
            temporary: self.code.temporary(),
        }
    }

    /// The answer.
    pub(super) fn answer(&self) -> Response<Full<Bytes>> {
        let body = serde_json::to_vec(&self.written()).unwrap_or_default();
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = super::respond(status, "application/problem+json", body.into());
        let headers = response.headers_mut();
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let seconds = self.retry_after.map_or(RETRY_AFTER_S, |wait| wait.as_secs_f64().ceil() as u64);
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
            }
            _ => {}
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let retry_after = refusal.retry_after_ms.map(Duration::from_millis);
        Self { code: Code::Refused(refusal.code), detail: refusal.message, retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_one_each_and_name_a_status() {
        let mut names: Vec<_> = Code::all().map(Code::as_str).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(Code::all().all(|code| (400..600).contains(&code.status())));
        assert!(Code::all().all(|code| code.status() < 500 || code.temporary()), "what is our fault passes");
    }

    #[test]
    fn what_passes_says_when_to_come_back() {
        let after =
            |problem: Problem| problem.answer().headers().get(RETRY_AFTER).map(|v| v.to_str().unwrap().to_owned());
        assert_eq!(after(Refusal::unavailable().into()).as_deref(), Some("1"));
        let slow = Problem::new(Code::Refused(ErrorCode::RateLimited), "");
        assert_eq!(after(Problem { retry_after: Some(Duration::from_millis(1200)), ..slow }).as_deref(), Some("2"));
        assert_eq!(after(Problem::bad_request("")), None);
    }
}
