//! What a client is told when it is made.

use crate::Transport;
use futures_util::future::BoxFuture;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Why there is no token.
pub type TokenError = Box<dyn Error + Send + Sync>;

/// The settings of a client.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The URLs of one or several nodes, such as `ws://localhost:8080/ws`. The client begins at a random one, and goes on
    /// to the next whenever it connects anew.
    pub urls: Vec<String>,
    /// Who this client is; nobody if there is none.
    pub token: Option<Token>,
    /// How bytes get there.
    pub transport: Transport,
    /// Where no WebSocket can be opened, as behind some proxies, the same is spoken by long polling, until one can.
    pub may_poll: bool,
    /// For opening a connection, up to the gateway's `welcome`; also for getting a token.
    pub connect_timeout: Duration,
    /// For the answer to a command other than `publish`, and for the socket to take what is written.
    pub command_timeout: Duration,
    /// For a publication, the time that it waits for a connection included.
    pub publish_timeout: Duration,
    /// The bound of the first random wait before connecting again; it doubles with every failure.
    pub backoff_first: Duration,
    /// What that bound grows to.
    pub backoff_ceiling: Duration,
    /// How many publications may be unanswered, those that wait for a connection included.
    pub queue_messages: usize,
    /// How many bytes they may have together.
    pub queue_bytes: usize,
    /// The largest message taken from the gateway, in bytes.
    pub max_message_bytes: usize,
}

impl Config {
    /// Settings for one or several nodes, with everything else at its default.
    pub fn new<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> Self {
        Self {
            urls: urls.into_iter().map(Into::into).collect(),
            token: None,
            transport: Transport::tcp(),
            may_poll: true,
            connect_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(10),
            publish_timeout: Duration::from_secs(30),
            backoff_first: Duration::from_millis(500),
            backoff_ceiling: Duration::from_secs(20),
            queue_messages: 1000,
            queue_bytes: 1024 * 1024,
            max_message_bytes: 16 * 1024 * 1024,
        }
    }
}

type Ask = dyn Fn() -> BoxFuture<'static, Result<String, TokenError>> + Send + Sync;

/// The token that says who a client is.
#[derive(Clone)]
pub struct Token(Source);

#[derive(Clone)]
enum Source {
    Fixed(String),
    Asked(Arc<Ask>),
}

impl Token {
    /// Always the same. When it ends, so does the client.
    pub fn fixed(token: impl Into<String>) -> Self {
        Self(Source::Fixed(token.into()))
    }

    /// Asked of the application for every connection, and whenever the gateway says that the present one ends soon.
    pub fn asked<F, E>(ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<TokenError>,
    {
        let ask = move || -> BoxFuture<'static, Result<String, TokenError>> {
            let asked = ask();
            Box::pin(async move { asked.await.map_err(Into::into) })
        };
        Self(Source::Asked(Arc::new(ask)))
    }

    pub(crate) async fn get(&self) -> Result<String, TokenError> {
        match &self.0 {
            Source::Fixed(token) => Ok(token.clone()),
            Source::Asked(ask) => ask().await,
        }
    }

    /// Whether there is a new one to be had.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self.0, Source::Fixed(_))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_fixed() { "Token(fixed)" } else { "Token(asked)" })
    }
}
