//! How often which limit was reached: one counter, its label the names of the settings.

use prometheus::IntCounterVec;
use protocol::CloseCode;

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $label:literal;)*) => {
        /// What stops whoever wants more than there is for him.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Limit { $($(#[$doc])* $name,)* }

        impl Limit {
            /// Every limit.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its label.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

limits! {
    /// Places of the node.
    Connections = "connections";
    /// Connections of one address.
    ConnectionsPerAddress = "connections_per_address";
    /// Streams of one address that have yet to shake hands.
    UnfinishedPerAddress = "unfinished_per_address";
    /// Connections of one user.
    ConnectionsPerUser = "connections_per_user";
    /// Handshakes of one address.
    HandshakesPerAddress = "handshakes_per_address";
    /// Requests that are answered at once.
    HttpRequests = "http_requests";
    /// Commands of one connection.
    Messages = "messages";
    /// Commands of one user.
    MessagesPerUser = "messages_per_user";
    /// Publications, by the `rate` and `rates` of a namespace.
    NamespaceRate = "namespace_rate";
    /// Subscriptions of one connection.
    ChannelsPerConnection = "channels_per_connection";
    /// Channels that one connection opens.
    NewChannels = "new_channels";
    /// Pings and pongs of one connection.
    ControlFrames = "control_frames";
    /// The size of a message, or its fragments.
    MaxMessage = "max_message";
    /// What compressed messages become: over the size of a message, or too many that grow.
    Inflation = "inflation";
    /// The time of a message.
    MessageTime = "message_time";
    /// Messages that could not be understood.
    BadMessages = "bad_messages";
    /// The time of a connection that is of no use.
    Idle = "idle";
}

/// How often each limit was reached.
#[derive(Debug, Clone)]
pub struct Limits(IntCounterVec);

impl Limits {
    /// Each is there from the first moment on: alerts ask for a rate of what has not happened yet.
    pub(super) fn new(counters: IntCounterVec) -> Self {
        Limit::ALL.iter().for_each(|limit| drop(counters.with_label_values(&[limit.as_str()])));
        Self(counters)
    }

    /// Somebody wanted more.
    pub fn reached(&self, limit: Limit) {
        self.0.with_label_values(&[limit.as_str()]).inc();
    }

    /// The same, by what it closes a connection with; other closes are no matter of limits.
    pub fn of_close(&self, code: CloseCode) {
        match code {
            CloseCode::TooBig => self.reached(Limit::MaxMessage),
            CloseCode::MessageTimeout => self.reached(Limit::MessageTime),
            CloseCode::BadMessages => self.reached(Limit::BadMessages),
            CloseCode::Idle => self.reached(Limit::Idle),
            _ => {}
        }
    }
}
