//! What can go wrong, by what was asked for.

use protocol::{ChannelError, ErrorCode};
use std::time::Duration;

/// The gateway's refusal of one command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {message}")]
pub struct Refusal {
    /// The code; absent if it is newer than this client.
    pub code: Option<ErrorCode>,
    /// The code as it was written.
    pub name: String,
    /// What was wrong, for people.
    pub message: String,
    /// The same may succeed later.
    pub temporary: bool,
    /// When a repeat may succeed, where that is known.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal by its code's name; whether it passes goes by the code.
    pub(crate) fn named(name: String, message: String) -> Self {
        let code = ErrorCode::ALL.iter().copied().find(|code| code.as_str() == name);
        Self { code, name, message, temporary: code.is_some_and(ErrorCode::temporary), retry_after: None }
    }
}

/// Why a client could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no URL.
    #[error("a client needs the URL of at least one node")]
    NoUrl,
    /// A URL that no gateway can have.
    #[error("`{url}` is not the URL of a gateway: {reason}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// `connect` was called outside of a tokio runtime.
    #[error("a client runs inside of a tokio runtime")]
    NoRuntime,
}

/// This client has been closed, or was told to stay away; its state says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this client is closed")]
pub struct Closed;

/// Why a publication was not, or may not have been, published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The gateway refused it: it has not been and will not be delivered.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// It may or may not have been delivered. With a `key` it was repeated for as long as its time allowed.
    #[error("it may or may not have been delivered: {0}")]
    UnknownOutcome(String),
    /// Not sent in time: it has not been and will not be delivered.
    #[error("not published in time")]
    TimedOut,
    /// As many publications wait for the gateway's answer as may.
    #[error("as many publications wait for the gateway as may")]
    QueueFull,
    /// A volatile publication does not wait for a connection, and there is none.
    #[error("there is no connection, and volatile publications do not wait for one")]
    Offline,
    /// Larger than the gateway takes.
    #[error("a message has at most {max} bytes, and this one {bytes}")]
    TooLarge {
        /// Its size as a command, in bytes.
        bytes: usize,
        /// The gateway's limit.
        max: usize,
    },
    /// The data, the event or the key cannot be written as a command.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// This client is closed.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The gateway refused it.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// There is no connection now.
    #[error("there is no connection")]
    Offline,
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The connection broke before the answer.
    #[error("the connection broke before the answer")]
    ConnectionLost,
    /// As many questions wait for an answer as may.
    #[error("as many questions wait for an answer as may")]
    QueueFull,
    /// Larger than the gateway takes.
    #[error("a message has at most {max} bytes, and this one {bytes}")]
    TooLarge {
        /// Its size as a command, in bytes.
        bytes: usize,
        /// The gateway's limit.
        max: usize,
    },
    /// An answer of another kind than was asked for.
    #[error("the gateway answered something else than was asked")]
    WrongAnswer,
    /// The data or a name cannot be written as a command.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// This client is closed.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why a subscription could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// A channel has one subscription of a client at a time.
    #[error("this client has a subscription to this channel already")]
    AlreadySubscribed,
    /// This client is closed.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// What no gateway would understand, so that it is not counted there as a bad message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// Not a channel's name.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// An event, a key or a connection's id that is not 1 to 255 bytes long.
    #[error("{0} is 1 to 255 bytes long")]
    Name(&'static str),
    /// Data that cannot be written as JSON.
    #[error("the data cannot be written as JSON: {0}")]
    Data(#[from] serde_json::Error),
}
