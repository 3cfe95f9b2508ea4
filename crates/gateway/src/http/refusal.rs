//! What a refusal looks like: a status and words for programs and proxies, a close for browsers.

use super::{Body, answer};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use protocol::CloseCode;

/// The latest a client is told to come back to a node that is full, draining or without its broker: from 1 s on, so that
/// those who are refused together come back one by one.
pub(super) const RETRY_AFTER_MAX_S: u32 = 3;

/// Why a handshake is not what it should be: the status for programs, the close for browsers, which cannot see a status.
pub(super) struct Refused {
    /// What programs are answered.
    pub status: StatusCode,
    /// In words.
    pub text: &'static str,
    /// What a browser's connection is closed with.
    pub close: CloseCode,
}

impl Refused {
    /// Whether a browser is let in to hear why. Not where one of our own proxies is in between and another node may take
    /// the client: the proxy hears of a status only.
    pub(super) fn is_told_by_close(&self, is_browser: bool, is_proxied: bool) -> bool {
        is_browser && !(is_proxied && self.status == StatusCode::SERVICE_UNAVAILABLE)
    }

    /// The answer, for programs and proxies.
    pub(super) fn answer(&self) -> Response<Body> {
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => refuse_for_now(self.status, self.text),
            status => refuse(status, self.text),
        }
    }
}

/// A refusal in words.
pub(super) fn refuse(status: StatusCode, text: &'static str) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

/// A refusal that passes: come back in a moment.
pub(super) fn refuse_for_now(status: StatusCode, text: &'static str) -> Response<Body> {
    refuse_until(status, text, fastrand::u32(1..=RETRY_AFTER_MAX_S))
}

/// A refusal that passes: come back then. The stream ends with it, so that whoever waits keeps no place meanwhile.
pub(super) fn refuse_until(status: StatusCode, text: &'static str, retry_after_s: u32) -> Response<Body> {
    let mut response = refuse(status, text);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_told_by_a_close_but_its_proxy_by_a_status_that_passes_it_on() {
        let of = |status, close| Refused { status, text: "", close };
        let busy = of(StatusCode::SERVICE_UNAVAILABLE, CloseCode::OverCapacity);
        let forbidden = of(StatusCode::FORBIDDEN, CloseCode::Forbidden);
        assert!(busy.is_told_by_close(true, false) && forbidden.is_told_by_close(true, false));
        assert!(!busy.is_told_by_close(true, true), "another node may take it");
        assert!(forbidden.is_told_by_close(true, true), "every node would say the same");
        assert!(!busy.is_told_by_close(false, false) && !forbidden.is_told_by_close(false, true));
    }

    #[test]
    fn those_who_are_refused_for_now_do_not_come_back_together() {
        let after = || refuse_for_now(StatusCode::SERVICE_UNAVAILABLE, "").headers()[header::RETRY_AFTER].clone();
        let told: std::collections::HashSet<_> = (0..200).map(|_| after()).collect();
        assert_eq!(told, ["1", "2", "3"].map(HeaderValue::from_static).into());
    }
}
