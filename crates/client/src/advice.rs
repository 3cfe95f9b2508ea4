//! Why a connection or an attempt has ended, and what that asks for.

use protocol::{CloseCode, Reconnect};
use std::time::Duration;

/// The longest wait that is believed: beyond an hour a number is more likely broken than meant.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(3600);

/// The end of a connection or of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The close code, if there was one.
    pub(crate) code: Option<u16>,
    /// Why, for people.
    pub(crate) reason: String,
    /// What to do now.
    pub(crate) advice: Advice,
    /// How long to wait, where the gateway has said so.
    pub(crate) after: Option<Duration>,
    /// Whether there was somebody at the other end at all.
    pub(crate) is_reached: bool,
}

/// What to do after an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advice {
    /// Stay away: the same would happen again.
    Never,
    /// Come back with backoff.
    Backoff,
    /// Come back when told.
    WhenTold,
    /// This node takes nobody before the time it has named.
    NotBefore,
}

impl Ended {
    /// A close frame.
    pub(crate) fn closed(code: u16, reason: &str) -> Self {
        let reason = if reason.is_empty() { format!("close code {code}") } else { reason.to_owned() };
        Self { code: Some(code), reason, advice: advice(code), after: None, is_reached: true }
    }

    /// The network or the node was lost, or what it said made no sense.
    pub(crate) fn lost(reason: impl Into<String>) -> Self {
        Self { code: None, reason: reason.into(), advice: Advice::Backoff, after: None, is_reached: true }
    }

    /// There was no stream of bytes to the node.
    pub(crate) fn unreachable(reason: impl Into<String>) -> Self {
        Self { is_reached: false, ..Self::lost(reason) }
    }

    /// No attempt with this token can succeed.
    pub(crate) fn unusable_token(reason: &str) -> Self {
        let code = Some(CloseCode::Unauthenticated.code());
        Self { code, reason: reason.to_owned(), advice: Advice::Never, after: None, is_reached: true }
    }

    /// A handshake that was answered with something else than a connection. `retry_after` is in seconds.
    pub(crate) fn refused(status: u16, retry_after: Option<u64>) -> Self {
        let reason = format!("the handshake was answered with HTTP {status}");
        let (code, advice) = match status {
            401 => (Some(CloseCode::Unauthenticated.code()), Advice::Never),
            403 => (Some(CloseCode::Forbidden.code()), Advice::Never),
            429 | 503 => (None, Advice::NotBefore),
            _ => (None, Advice::Backoff),
        };
        let after = retry_after.map(|seconds| Duration::from_secs(seconds).min(WAIT_MAX));
        Self { code, reason, advice, after, is_reached: true }
    }

    /// The application wants no more.
    pub(crate) fn by_application() -> Self {
        let (code, reason) = (Some(CloseCode::Normal.code()), "closed by this client".to_owned());
        Self { code, reason, advice: Advice::Never, after: None, is_reached: true }
    }
}

fn advice(code: u16) -> Advice {
    match CloseCode::from_code(code).map(CloseCode::reconnect) {
        Some(Reconnect::Never) => Advice::Never,
        Some(Reconnect::Backoff) => Advice::Backoff,
        Some(Reconnect::WhenTold) => Advice::WhenTold,
        // One that is newer than this client: its first two digits say it.
        None => match code / 100 {
            40 => Advice::Never,
            42 => Advice::WhenTold,
            _ => Advice::Backoff,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_close_code_of_the_wire_asks_for_what_its_table_says() {
        for code in CloseCode::ALL {
            let expected = match code.reconnect() {
                Reconnect::Never => Advice::Never,
                Reconnect::Backoff => Advice::Backoff,
                Reconnect::WhenTold => Advice::WhenTold,
            };
            assert_eq!(Ended::closed(code.code(), code.reason()).advice, expected, "{code:?}");
        }
    }

    #[test]
    fn a_code_that_is_not_in_the_table_goes_by_its_first_two_digits() {
        let table = [(4099, Advice::Never), (4199, Advice::Backoff), (4299, Advice::WhenTold), (4300, Advice::Backoff)];
        for (code, advice) in table {
            assert_eq!(Ended::closed(code, "").advice, advice, "{code}");
        }
        assert_eq!(Ended::closed(1005, "").advice, Advice::Backoff);
    }

    #[test]
    fn a_refused_handshake_says_whether_and_when_to_come_back() {
        assert_eq!((Ended::refused(401, None).code, Ended::refused(401, None).advice), (Some(4001), Advice::Never));
        assert_eq!((Ended::refused(403, None).code, Ended::refused(403, None).advice), (Some(4003), Advice::Never));
        for status in [429, 503] {
            let ended = Ended::refused(status, Some(7));
            assert_eq!((ended.advice, ended.after), (Advice::NotBefore, Some(Duration::from_secs(7))));
        }
        for status in [200, 301, 404, 500, 502] {
            assert_eq!(Ended::refused(status, None).advice, Advice::Backoff, "{status}");
        }
    }
}
