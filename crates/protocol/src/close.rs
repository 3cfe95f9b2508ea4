//! The one table of close codes: what ends a connection, and whether the client should come back.

/// What a client should do after a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnect {
    /// Stay away: the same would happen again.
    Never,
    /// Come back with full-jitter backoff.
    Backoff,
    /// Come back at once, or after the `after_ms` of the last `reconnect` push.
    WhenTold,
}

impl Reconnect {
    /// The word on the wire, where a close is an object.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Backoff => "backoff",
            Self::WhenTold => "when_told",
        }
    }
}

macro_rules! close_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $reason:literal, $advice:ident;)*) => {
        /// Why a connection ends. The number's first two digits are the advice: 40xx stay away, 41xx back off,
        /// 42xx come back when told; below 4000 are those of RFC 6455 section 7.4.1.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum CloseCode { $($(#[$doc])* $name,)* }

        impl CloseCode {
            /// Every code, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The number on the wire.
            pub const fn code(self) -> u16 {
                match self { $(Self::$name => $code,)* }
            }

            /// The reason sent beside the number: a closed set, so it also serves as a metric's label.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)* }
            }

            /// Whether to come back.
            pub const fn reconnect(self) -> Reconnect {
                match self { $(Self::$name => Reconnect::$advice,)* }
            }

            /// The code with this number, if it is one of ours.
            pub const fn from_code(code: u16) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

close_codes! {
    /// The client closed, or its close was answered.
    Normal = 1000, "normal", Never;
    /// The node stops and has no time left for a wave.
    GoingAway = 1001, "going away", Backoff;
    /// The peer broke RFC 6455's framing.
    ProtocolError = 1002, "protocol error", Never;
    /// A kind of message this dialect has no meaning for.
    UnsupportedData = 1003, "unsupported data", Never;
    /// A text message that is not UTF-8.
    InvalidText = 1007, "invalid utf-8", Never;
    /// A message over the transport's limit.
    TooBig = 1009, "message too big", Never;
    /// A fault of the gateway.
    Internal = 1011, "internal error", Backoff;
    /// No valid token, or none in time.
    Unauthenticated = 4001, "unauthenticated", Never;
    /// Known, but not allowed here (Origin, channel of a raw relay).
    Forbidden = 4003, "forbidden", Never;
    /// A newer session of the same user took this one's place.
    Replaced = 4008, "replaced by a newer session", Never;
    /// The token or the user was revoked.
    Revoked = 4009, "revoked", Never;
    /// Too many messages that could not be understood.
    BadMessages = 4010, "too many bad messages", Never;
    /// The operator has ended this connection.
    Disconnected = 4011, "disconnected", Never;
    /// The node holds as many connections as it may.
    OverCapacity = 4100, "over capacity", Backoff;
    /// Commands came faster than allowed.
    RateLimited = 4101, "rate limited", Backoff;
    /// The client read too slowly and its outbox is full.
    SlowConsumer = 4102, "slow consumer", Backoff;
    /// Nothing was heard from the client in time.
    PingTimeout = 4103, "ping timeout", Backoff;
    /// The token ended and was not refreshed.
    TokenExpired = 4104, "token expired", Backoff;
    /// The broker could not serve a connection that has no way to be told so (raw relay), or its user's connections could not
    /// be counted, or its token not be looked at in time.
    Unavailable = 4105, "unavailable", Backoff;
    /// Publications were lost to a connection that has no way to be told so (raw relay).
    Gap = 4106, "gap", Backoff;
    /// A message was begun and not finished in time.
    MessageTimeout = 4107, "message timeout", Backoff;
    /// The connection was of no use for too long: no subscription, and nothing said.
    Idle = 4108, "idle", Backoff;
    /// The user has as many connections as it may.
    TooManySessions = 4109, "too many sessions", Backoff;
    /// The operator has ended this connection, and the client may come back.
    Reset = 4110, "disconnected for now", Backoff;
    /// The node drains.
    Draining = 4200, "draining", WhenTold;
    /// The node sheds a share of its connections after a scale-up.
    Rebalance = 4201, "rebalance", WhenTold;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_says_whether_to_come_back() {
        let table: Vec<(u16, Reconnect)> = CloseCode::ALL.iter().map(|c| (c.code(), c.reconnect())).collect();
        use Reconnect::{Backoff, Never, WhenTold};
        assert_eq!(
            table,
            [
                (1000, Never),
                (1001, Backoff),
                (1002, Never),
                (1003, Never),
                (1007, Never),
                (1009, Never),
                (1011, Backoff),
                (4001, Never),
                (4003, Never),
                (4008, Never),
                (4009, Never),
                (4010, Never),
                (4011, Never),
                (4100, Backoff),
                (4101, Backoff),
                (4102, Backoff),
                (4103, Backoff),
                (4104, Backoff),
                (4105, Backoff),
                (4106, Backoff),
                (4107, Backoff),
                (4108, Backoff),
                (4109, Backoff),
                (4110, Backoff),
                (4200, WhenTold),
                (4201, WhenTold),
            ]
        );
    }

    #[test]
    fn reasons_fit_a_control_frame_and_codes_round_trip() {
        for code in CloseCode::ALL {
            assert!(code.reason().len() <= 123, "RFC 6455 section 5.5: a control frame holds 125 bytes");
            assert_eq!(CloseCode::from_code(code.code()), Some(*code));
        }
    }
}
