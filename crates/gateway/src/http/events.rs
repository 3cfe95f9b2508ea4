//! `/sse`: a stream of server-sent events, which is a connection like any other whose client only listens.

use super::caller::look_at_stream;
use super::cors::Cors;
use super::handshake::{is_proxied, session};
use super::opening::{Turned, let_stay};
use super::shown::{queries, query};
use super::{Body, Visit, answer, native};
use crate::commands;
use crate::grant::Action;
use crate::local::Local;
use crate::local::connection::{Connection, Opened};
use crate::pipe::{Got, messages};
use crate::polling::lose;
use crate::session::Phase;
use crate::socket::Socket;
use crate::websocket::ServerMessage;
use crate::worker::adopt;
use bytes::Bytes;
use futures_util::future::{FutureExt, LocalBoxFuture};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use protocol::dialect::Dialect;
use protocol::dialect::events::{self, Answer, Id, Known, MAX_CHANNELS, Stream};
use protocol::dialect::raw::close_for;
use protocol::{Channel, CloseCode, Command, ErrorCode, Reconnect, Refusal, Subscribe};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// What a client knows of that comes back by itself: in so many milliseconds, so that those of one node come one by one.
const RETRY_MS: RangeInclusive<u64> = 1000..=4000;

/// How long the subscriptions of a stream may take until it is known whether they stand.
const OPENING_TIMEOUT: Duration = Duration::from_secs(20);

/// About how much a stream takes at a time: beyond it, what waits is in the bound of its connection.
const READ_BYTES: usize = 16 * 1024;

/// What was missed is sent before all subscriptions are known to stand, once it is more than this: nobody counts it.
const OPENING_BYTES: usize = 2 * READ_BYTES;

/// Serves a request.
pub(super) async fn serve(visit: &Rc<Visit>, request: Request<Incoming>) -> Response<Body> {
    let node = visit.local.node.clone();
    let cors = Cors::of(&node.config.http.origins, request.headers(), visit.is_tls);
    let response = match *request.method() {
        Method::OPTIONS => cors.preflight("GET"),
        Method::GET => match begin(visit, request.headers(), request.uri()).await {
            Ok(response) => response,
            Err(no) => {
                let by_event = is_told_by_event(visit, request.headers(), &no);
                without_place(visit, no.answer(by_event))
            }
        },
        _ => {
            let refusal = Refusal::bad_request("this path is for GET");
            let mut response = native::refusal_as(StatusCode::METHOD_NOT_ALLOWED, refusal, None);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
            response
        }
    };
    node.metrics.http_requests.with_label_values(&["sse", response.status().as_str()]).inc();
    cors.told(response)
}

/// Why there is no stream, and its object where that is written already.
struct No {
    refusal: Refusal,
    json: Option<Bytes>,
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, json: None }
    }
}

impl No {
    fn answer(self, by_event: bool) -> Response<Body> {
        let Refusal { code, retry_after_ms, .. } = self.refusal;
        if !by_event {
            return match self.json {
                Some(json) => native::refused(code, retry_after_ms, json),
                None => native::refusal(self.refusal, None),
            };
        }
        let after_ms = retry_after_ms.unwrap_or(0).max(fastrand::u64(RETRY_MS));
        let code = if code == ErrorCode::RateLimited { CloseCode::RateLimited } else { CloseCode::Unavailable };
        let mut event = Vec::new();
        Stream::new(&[], &[]).close(code.code(), Some(after_ms), &mut event);
        as_stream(answer(StatusCode::OK, CONTENT_TYPE, event.into()))
    }
}

/// Browsers come back by themselves only after what looks like a stream: what passes is told in one, unless a proxy of ours
/// may give them to another node.
fn is_told_by_event(visit: &Visit, headers: &HeaderMap, no: &No) -> bool {
    let status = native::status_of(no.refusal.code);
    let is_elsewhere = is_proxied(visit) && status == StatusCode::SERVICE_UNAVAILABLE;
    let passes = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
    passes && !is_elsewhere && headers.contains_key("sec-fetch-mode")
}

/// Ends a stream whose place has gone with the connection that it was to be: it would be one more than there may be.
fn without_place(visit: &Visit, mut response: Response<Body>) -> Response<Body> {
    let place = visit.place.take();
    if place.is_none() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    visit.place.set(place);
    response
}

const CONTENT_TYPE: &str = "text/event-stream";

fn as_stream(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    // Also no proxy may change or keep it, nor wait until there is more of it.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Opens a stream, in the place of the HTTP stream that it is.
async fn begin(visit: &Rc<Visit>, headers: &HeaderMap, uri: &Uri) -> Result<Response<Body>, No> {
    let local = &visit.local;
    look_at_stream(visit)?;
    let (channels, from) = asked(local, headers, uri)?;
    let place = visit.place.take().ok_or_else(|| Turned::full(visit).refusal())?;
    let come = let_stay(visit, headers, uri, &Dialect::Events, place).await.map_err(|(turned, place)| {
        visit.place.set(Some(place));
        turned.refusal()
    })?;
    let session = session(visit, come.known.0.clone());
    if session.phase == Phase::Connecting {
        visit.place.set(Some(come.place));
        return Err(Refusal::new(ErrorCode::Unauthenticated, "a token is missing").into());
    }
    let known = match from {
        None => Vec::new(),
        Some(Id::Places(known)) => known,
        Some(Id::Closed(code)) => {
            visit.place.set(Some(come.place));
            let message = format!("this stream was closed with {code}, and is not to come back by itself");
            return Err(Refusal::new(ErrorCode::PermissionDenied, message).into());
        }
    };
    let (place, (_, visitor)) = come.used(visit);
    let opened = Opened {
        socket: Socket::piped(),
        dialect: Dialect::Events,
        wants_arrays: false,
        deflate: None,
        session,
        place,
        engine: None,
        polled: None,
        visitor,
        #[cfg(feature = "echo")]
        is_echo: false,
    };
    let connection = adopt(local, opened, &[], None);
    let mut events = Events::new(local, connection, &channels, &known);
    events.look_at_rights()?;
    events.subscribe();
    events.open(channels.len()).await?;
    visit.becomes(events.connection.clone());
    Ok(as_stream(Response::new(Body::Events(Box::new(events)))))
}

/// Which channels, and from where.
fn asked(local: &Local, headers: &HeaderMap, uri: &Uri) -> Result<(Vec<Channel>, Option<Id>), Refusal> {
    let max = local.node.config.worker.channels_per_connection_max.min(MAX_CHANNELS);
    let mut channels: Vec<Channel> = Vec::new();
    for name in queries(uri, "channel") {
        let channel = Channel::new(&name.unwrap_or_default());
        let channel = channel.map_err(|error| Refusal::bad_request(error.to_string()))?;
        if !channels.contains(&channel) {
            channels.push(channel);
        }
        if channels.len() > max {
            let message = format!("a stream is of at most {max} channels (limits.channels_per_connection)");
            return Err(Refusal::new(ErrorCode::LimitExceeded, message));
        }
    }
    if channels.is_empty() {
        return Err(Refusal::bad_request("say of which channels: `?channel=`, once or more"));
    }
    let header = headers.get("last-event-id").map(|value| value.to_str().unwrap_or(",").to_owned());
    let id = header.or_else(|| query(uri, "last_event_id")).filter(|id| !id.is_empty());
    let read = |id: &String| events::read_id(id).ok_or_else(|| Refusal::bad_request("this is no id of an event here"));
    Ok((channels, id.as_ref().map(read).transpose()?))
}

/// A stream that goes on until its connection ends. Dropped before, its client has gone.
pub(super) struct Events {
    local: Rc<Local>,
    connection: Rc<Connection>,
    stream: Stream,
    turn: u64,
    /// Events that can leave.
    ready: Vec<u8>,
    reading: Option<LocalBoxFuture<'static, Got>>,
    is_over: bool,
}

impl Drop for Events {
    fn drop(&mut self) {
        lose(&self.local, &self.connection);
    }
}

impl Events {
    fn new(local: &Rc<Local>, connection: Rc<Connection>, channels: &[Channel], known: &[Known]) -> Self {
        let turn = local.number();
        if let Some(pipe) = connection.socket.pipe() {
            pipe.limit(READ_BYTES);
            pipe.begin(turn);
        }
        let mut ready = Vec::new();
        events::retry(fastrand::u64(RETRY_MS), &mut ready);
        let stream = Stream::new(channels, known);
        Self { local: local.clone(), connection, stream, turn, ready, reading: None, is_over: false }
    }

    /// One channel that may not be listened to is enough, before anything of the others is read.
    fn look_at_rights(&self) -> Result<(), Refusal> {
        let may = |(channel, _)| self.local.may(&*self.connection, Action::Subscribe, channel).map(drop);
        let looked_at = self.stream.places().try_for_each(may);
        looked_at.inspect_err(|refusal| self.local.node.metrics.refused("subscribe", refusal.code))
    }

    /// As if its client had sent the commands.
    fn subscribe(&self) {
        for (index, (channel, position)) in self.stream.places().enumerate() {
            let (channel, recover) = (channel.clone(), position.cloned());
            let subscribe = Subscribe { channel, recover, members: false, state: false, token: None };
            let request = protocol::Request { id: Some(index as u64), command: Command::Subscribe(subscribe) };
            commands::take(&self.local, &self.connection, Ok(request));
        }
    }

    /// Waits until all of so many subscriptions stand, or one is refused.
    async fn open(&mut self, count: usize) -> Result<(), No> {
        let deadline = Instant::now() + OPENING_TIMEOUT;
        let mut standing = 0;
        while standing < count && !self.is_over && self.ready.len() < OPENING_BYTES {
            let got = timeout_at(deadline, read(self.connection.clone(), self.turn)).await;
            let Ok(Got::Frames(frames)) = got else { return Err(Refusal::unavailable().into()) };
            for answer in self.take(&frames) {
                match answer {
                    (Answer::Stands, _) => standing += 1,
                    (Answer::Refused(code, retry_after_ms), json) => {
                        let refusal = Refusal { retry_after_ms, ..Refusal::new(code, "") };
                        return Err(No { refusal, json: Some(json) });
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes events of frames; what they answer comes with its object.
    fn take(&mut self, frames: &[u8]) -> Vec<(Answer, Bytes)> {
        let mut answers = Vec::new();
        for message in messages(frames) {
            match message {
                ServerMessage::Text(text) | ServerMessage::Binary(text) => {
                    let answer = self.stream.write(text, &mut self.ready);
                    let json = || text.splitn(2, |byte| *byte == b'\n').nth(1).map(Bytes::copy_from_slice);
                    answers.extend(answer.map(|answer| (answer, json().unwrap_or_default())));
                }
                ServerMessage::Close(code) => {
                    let code = code.unwrap_or(CloseCode::GoingAway.code());
                    self.stream.close(code, self.comes_back_after_ms(code), &mut self.ready);
                    self.is_over = true;
                }
            }
        }
        answers
    }

    fn comes_back_after_ms(&self, code: u16) -> Option<u64> {
        match CloseCode::from_code(code).map(CloseCode::reconnect) {
            Some(Reconnect::Never) => None,
            Some(Reconnect::WhenTold) => Some(self.connection.state.borrow().away_ms.into()),
            Some(Reconnect::Backoff) | None => Some(fastrand::u64(RETRY_MS)),
        }
    }

    /// What can leave next; `None` at the end.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if !self.ready.is_empty() {
                return Poll::Ready(Some(std::mem::take(&mut self.ready).into()));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            let (connection, turn) = (&self.connection, self.turn);
            let reading = self.reading.get_or_insert_with(|| read(connection.clone(), turn).boxed_local());
            let Poll::Ready(got) = reading.poll_unpin(context) else { return Poll::Pending };
            self.reading = None;
            match got {
                Got::Frames(frames) => {
                    let answers = self.take(&frames);
                    // What has begun cannot be refused as a whole any more: the next request is.
                    if let Some(code) = answers.iter().find_map(|(answer, _)| answer.refused()) {
                        self.local.close(&self.connection, close_for(code));
                    }
                }
                Got::Released(_) | Got::Ended => self.is_over = true,
            }
        }
    }
}

async fn read(connection: Rc<Connection>, turn: u64) -> Got {
    match connection.socket.pipe() {
        Some(pipe) => pipe.read(turn).await,
        None => Got::Ended,
    }
}
