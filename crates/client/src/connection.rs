//! One connection from its opening to its end: frames in and out, each with its deadline, and the watch over silence.

use crate::advice::Ended;
use crate::backoff::after;
use crate::config::Config;
use crate::fallback::Way;
use crate::line::Line;
use crate::polls::Polls;
use crate::wire::{Incoming, Push, Welcome, decode};
use crate::{Address, Token};
use std::collections::VecDeque;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

const SUBPROTOCOL: HeaderValue = HeaderValue::from_static("gateway.v1.json");

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// A gateway that does not say how often it pings is taken to do so this often.
const PING_INTERVAL_DEFAULT_MS: u64 = 25_000;

/// The largest interval that is believed.
const PING_INTERVAL_MAX_MS: u64 = 3_600_000;

/// One connection that has been welcomed.
pub(crate) struct Connection {
    line: Line,
    outgoing: VecDeque<String>,
    /// When the socket must have taken something of what is written; nothing is unwritten if there is none.
    write_due: Option<Instant>,
    write_timeout: Duration,
    /// The longest silence.
    quiet: Duration,
    heard_at: Instant,
    is_read: bool,
}

/// What became of a step.
#[derive(Debug)]
pub(crate) enum Step {
    /// The gateway said something.
    Incoming(Incoming),
    /// Nothing to speak of.
    Nothing,
    /// It is over.
    Ended(Ended),
}

/// Opens a connection, up to the gateway's welcome.
pub(crate) async fn open(address: Address, way: Way, config: &Config) -> Result<(Connection, Welcome), Ended> {
    let opening = Box::pin(open_in_time(address, way, config));
    timeout(config.connect_timeout, opening).await.unwrap_or_else(|_| Err(Ended::lost("not connected in time")))
}

async fn open_in_time(address: Address, way: Way, config: &Config) -> Result<(Connection, Welcome), Ended> {
    let token = match config.token.as_ref().map(Token::get) {
        Some(token) => Some(token.await.map_err(|error| Ended::unreachable(format!("no token: {error}")))?),
        None => None,
    };
    let token = token.as_deref();
    let mut line = match way {
        Way::WebSocket => web_socket(address, token, config).await?,
        Way::Polls => Line::Polls(Box::new(Polls::open(&address, token, config).await?)),
    };
    let welcome = welcome(&mut line).await?;
    if let (Line::Polls(polls), Ok(max)) = (&mut line, usize::try_from(welcome.max_message_bytes)) {
        polls.set_max_body_bytes(max);
    }
    let connection = Connection {
        line,
        outgoing: VecDeque::new(),
        write_due: None,
        write_timeout: config.command_timeout,
        quiet: quiet(welcome.ping_interval_ms),
        heard_at: Instant::now(),
        is_read: true,
    };
    Ok((connection, welcome))
}

async fn web_socket(address: Address, token: Option<&str>, config: &Config) -> Result<Line, Ended> {
    let request = request(&address, token)?;
    let stream = config.transport.connect(address).await.map_err(|error| Ended::unreachable(error.to_string()))?;
    // tungstenite fills its read buffer with zeros before each read: 16 KiB, not the default 128.
    let limits = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(16 * 1024)
        .max_message_size(Some(config.max_message_bytes))
        .max_frame_size(Some(config.max_message_bytes));
    let (socket, _) = client_async_with_config(request, stream, Some(limits)).await.map_err(refused)?;
    Ok(Line::Socket(Box::new(socket)))
}

fn request(address: &Address, token: Option<&str>) -> Result<Request, Ended> {
    let mut request =
        address.uri().clone().into_client_request().map_err(|error| Ended::lost(format!("no request: {error}")))?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    if let Some(token) = token {
        let mut bearer = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Ended::unusable_token("the token fits in no header"))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    Ok(request)
}

fn refused(error: Error) -> Ended {
    match error {
        Error::Http(response) => {
            let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Ended::refused(response.status().as_u16(), retry_after)
        }
        error => Ended::lost(error.to_string()),
    }
}

/// Two and a half of the gateway's pings.
fn quiet(ping_interval_ms: u64) -> Duration {
    let interval_ms = if ping_interval_ms == 0 { PING_INTERVAL_DEFAULT_MS } else { ping_interval_ms };
    Duration::from_millis(interval_ms.min(PING_INTERVAL_MAX_MS)) * 5 / 2
}

async fn welcome(line: &mut Line) -> Result<Welcome, Ended> {
    loop {
        match read(line.next().await) {
            Step::Incoming(Incoming::Push(Push::Welcome(welcome))) => return Ok(welcome),
            Step::Incoming(_) | Step::Nothing => {}
            Step::Ended(ended) => return Err(ended),
        }
    }
}

fn read(message: Option<Result<Message, Error>>) -> Step {
    match message {
        Some(Ok(Message::Text(text))) => match decode(&text) {
            Ok(Some(incoming)) => Step::Incoming(incoming),
            Ok(None) => Step::Nothing,
            // It may have been a publication: come back and recover it.
            Err(malformed) => Step::Ended(Ended::lost(malformed.to_string())),
        },
        Some(Ok(Message::Binary(_))) => Step::Ended(Ended::lost("a binary message has no meaning here")),
        Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
            Step::Ended(Ended::closed(code.into(), reason.as_str()))
        }
        Some(Ok(Message::Close(None))) => Step::Ended(Ended::lost("closed without a code")),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Step::Nothing,
        Some(Err(error)) => Step::Ended(Ended::lost(error.to_string())),
        None => Step::Ended(Ended::lost("the connection broke")),
    }
}

impl Connection {
    /// Queues frames; they are written by [`Connection::step`].
    pub(crate) fn send(&mut self, frames: Vec<String>) {
        if !frames.is_empty() {
            self.outgoing.extend(frames);
            self.write_due.get_or_insert_with(|| after(Instant::now(), self.write_timeout));
        }
    }

    /// Writes what is queued and, if `may_read`, waits for what the gateway says. Dropped half-way nothing is lost.
    pub(crate) async fn step(&mut self, may_read: bool) -> Step {
        if may_read && !self.is_read {
            // What came meanwhile waits in the socket: the silence was ours.
            self.heard_at = Instant::now();
        }
        self.is_read = may_read;
        let silent_at = may_read.then(|| after(self.heard_at, self.quiet));
        let due = [self.write_due, silent_at].into_iter().flatten().min();
        let stepping = std::future::poll_fn(|cx| self.poll(cx, may_read));
        let step = match due {
            Some(due) => timeout_at(due, stepping).await.ok(),
            None => Some(stepping.await),
        };
        step.unwrap_or_else(|| self.overdue(silent_at))
    }

    fn overdue(&self, silent_at: Option<Instant>) -> Step {
        let now = Instant::now();
        if silent_at.is_some_and(|silent_at| silent_at <= now) {
            return Step::Ended(Ended::lost("the gateway has fallen silent"));
        }
        if self.write_due.is_some_and(|due| due <= now) {
            return Step::Ended(Ended::lost("the gateway does not read"));
        }
        Step::Nothing
    }

    fn poll(&mut self, cx: &mut Context<'_>, may_read: bool) -> Poll<Step> {
        if self.write_due.is_some()
            && let Poll::Ready(Err(error)) = self.poll_write(cx)
            // Why is said by what can still be read.
            && !may_read
        {
            return Poll::Ready(Step::Ended(Ended::lost(error.to_string())));
        }
        if !may_read {
            return Poll::Pending;
        }
        let message = ready!(self.line.poll_next(cx));
        self.heard_at = Instant::now();
        Poll::Ready(read(message))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            ready!(self.line.poll_ready(cx))?;
            let Some(frame) = self.outgoing.pop_front() else { break };
            self.line.start_send(frame)?;
            self.write_due = Some(after(Instant::now(), self.write_timeout));
        }
        ready!(self.line.poll_flush(cx))?;
        self.write_due = None;
        Poll::Ready(Ok(()))
    }

    /// Lets the answer to the gateway's close out, if the network takes it.
    pub(crate) async fn let_go(mut self) {
        let flushed = std::future::poll_fn(|cx| self.line.poll_flush(cx));
        let _ = timeout(GOODBYE, flushed).await;
    }

    /// Says goodbye, after what is queued, and waits for the answer.
    pub(crate) async fn close(mut self) {
        let goodbye = async {
            std::future::poll_fn(|cx| self.poll_write(cx)).await?;
            self.line.close().await
        };
        match timeout(GOODBYE, goodbye).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the connection broke while it was closed"),
            Err(_) => tracing::debug!("the gateway did not answer the close in time"),
        }
    }
}
