//! The one table of error codes: a command is refused, the connection lives.

use std::borrow::Cow;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $temporary:literal;)*) => {
        /// Why a command was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Whether the same command may succeed later, unchanged.
            pub const fn temporary(self) -> bool {
                match self { $(Self::$name => $temporary,)* }
            }
        }
    };
}

error_codes! {
    /// Not understood: not JSON, a wrong shape, an unknown type, a field that cannot be.
    BadRequest = "bad_request", false;
    /// The token is missing, wrong or over.
    Unauthenticated = "unauthenticated", false;
    /// Known, but not allowed.
    PermissionDenied = "permission_denied", false;
    /// No namespace takes this channel.
    UnknownChannel = "unknown_channel", false;
    /// No such connection on any node (for `send`).
    UnknownClient = "unknown_client", false;
    /// The connection already has this subscription.
    AlreadySubscribed = "already_subscribed", false;
    /// The connection does not have this subscription.
    NotSubscribed = "not_subscribed", false;
    /// The payload is over its namespace's limit.
    TooLarge = "too_large", false;
    /// Commands come faster than allowed; `retry_after_ms` says when.
    RateLimited = "rate_limited", true;
    /// A count is at its limit (channels of a connection).
    LimitExceeded = "limit_exceeded", false;
    /// The broker did not take it: it has not been and will not be delivered.
    Unavailable = "unavailable", true;
    /// It may or may not have been taken: repeat it with the same `key`.
    UnknownOutcome = "unknown_outcome", true;
    /// A fault of the gateway.
    Internal = "internal", true;
    /// No node has this session, or it has ended: whoever polls opens another one and goes on from its positions.
    UnknownSession = "unknown_session", true;
}

/// An answer that refuses one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code, for programs.
    pub code: ErrorCode,
    /// What was wrong and what would be right, for people.
    pub message: Cow<'static, str>,
    /// When a repeat may succeed, where that is known.
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal without a time to come back.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }

    /// Shorthand for the most frequent kind.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    /// There is no such session.
    pub fn unknown_session() -> Self {
        let message = "no node has this session, or it has ended: open another one";
        Self::new(ErrorCode::UnknownSession, message)
    }

    /// The broker did not take it.
    pub fn unavailable() -> Self {
        Self::new(ErrorCode::Unavailable, "the broker cannot be reached; nothing was done")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_whether_they_pass_are_fixed() {
        let table: Vec<(&str, bool)> = ErrorCode::ALL.iter().map(|c| (c.as_str(), c.temporary())).collect();
        assert_eq!(
            table,
            [
                ("bad_request", false),
                ("unauthenticated", false),
                ("permission_denied", false),
                ("unknown_channel", false),
                ("unknown_client", false),
                ("already_subscribed", false),
                ("not_subscribed", false),
                ("too_large", false),
                ("rate_limited", true),
                ("limit_exceeded", false),
                ("unavailable", true),
                ("unknown_outcome", true),
                ("internal", true),
                ("unknown_session", true),
            ]
        );
    }
}
