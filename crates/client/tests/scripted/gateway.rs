//! A gateway that says only what a test tells it to.

use client::{Address, Channel, Client, Config, Event, State, SubscribeOptions, Subscription, Transport};
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

/// Longer than anything here takes; time is paused, so that it costs nothing.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What the pipes hold in each direction.
const PIPE_BYTES: usize = 4096;

/// How often the gateway says that it pings.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(10);

/// All nodes of a cluster.
pub(crate) struct Gateway {
    attempts: mpsc::Receiver<Attempt>,
}

/// A client that wants to connect.
pub(crate) struct Attempt {
    address: Address,
    stream: DuplexStream,
}

/// A client that is connected.
pub(crate) struct Peer {
    socket: WebSocketStream<DuplexStream>,
    request: Request,
}

pub(crate) fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

impl Gateway {
    /// Nodes with these URLs, and the settings of a client for them.
    pub(crate) fn at<const N: usize>(urls: [&str; N]) -> (Self, Config) {
        let (tell, attempts) = mpsc::channel(16);
        let mut config = Config::new(urls);
        // But for tests of just that.
        config.may_poll = false;
        config.transport = Transport::new(move |address| {
            let tell = tell.clone();
            async move {
                let (ours, stream) = tokio::io::duplex(PIPE_BYTES);
                tell.send(Attempt { address, stream }).await.map_err(std::io::Error::other)?;
                Ok(ours)
            }
        });
        (Self { attempts }, config)
    }

    pub(crate) fn new() -> (Self, Config) {
        Self::at(["ws://gateway.test/ws"])
    }

    /// A client that is connected to it.
    pub(crate) async fn with_client() -> (Self, Client, Peer) {
        let (mut gateway, config) = Self::new();
        let client = Client::connect(config).unwrap();
        let peer = gateway.welcome().await;
        client.connected().await.unwrap();
        (gateway, client, peer)
    }

    /// The next attempt of a client to connect.
    pub(crate) async fn attempt(&mut self) -> Attempt {
        timeout(PATIENCE, self.attempts.recv()).await.expect("the client connects").expect("there is a client")
    }

    /// The next attempt, welcomed.
    pub(crate) async fn welcome(&mut self) -> Peer {
        self.attempt().await.welcome().await
    }

    /// Whether no attempt is being made now.
    pub(crate) fn is_left_alone(&mut self) -> bool {
        self.attempts.recv().now_or_never().flatten().is_none()
    }
}

impl Attempt {
    pub(crate) fn host(&self) -> &str {
        self.address.host()
    }

    /// Answers the handshake and says nothing more.
    pub(crate) async fn accept(self) -> Peer {
        let mut seen = None;
        #[expect(clippy::result_large_err, reason = "tungstenite's own type")]
        let take = |request: &Request, mut response: Response| {
            seen = Some(request.clone());
            let selected = HeaderValue::from_static("gateway.v1.json");
            response.headers_mut().insert("sec-websocket-protocol", selected);
            Ok(response)
        };
        let socket = accept_hdr_async(self.stream, take).await.unwrap();
        Peer { socket, request: seen.unwrap() }
    }

    pub(crate) async fn welcome(self) -> Peer {
        let mut peer = self.accept().await;
        let ping_interval_ms = u64::try_from(PING_INTERVAL.as_millis()).unwrap();
        peer.say(json!({
            "type": "welcome", "client": "n1.a.7", "node": "n1.a", "session": "f3b09c2e",
            "ping_interval_ms": ping_interval_ms, "max_message_bytes": 65536, "version": 1,
        }))
        .await;
        peer
    }

    /// Answers the handshake with an HTTP status.
    pub(crate) async fn refuse(self, status: u16, retry_after: Option<&'static str>) {
        #[expect(clippy::result_large_err, reason = "tungstenite's own type")]
        let refuse = |_: &Request, _: Response| {
            let mut response = ErrorResponse::new(None);
            *response.status_mut() = status.try_into().unwrap();
            if let Some(retry_after) = retry_after {
                response.headers_mut().insert("retry-after", HeaderValue::from_static(retry_after));
            }
            Err(response)
        };
        assert!(matches!(accept_hdr_async(self.stream, refuse).await, Err(Error::Http(_))));
    }

    /// Holds the connection and says nothing at all.
    pub(crate) fn ignore(self) -> DuplexStream {
        self.stream
    }
}

impl Peer {
    /// A header of the client's handshake.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) async fn say(&mut self, message: Value) {
        self.say_text(&message.to_string()).await;
    }

    pub(crate) async fn say_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn ping(&mut self) {
        self.socket.send(Message::Ping("".into())).await.unwrap();
    }

    pub(crate) async fn publication(&mut self, offset: u64) {
        self.say(json!({"type": "publication", "channel": "chat", "offset": offset, "time": 1, "data": offset})).await;
    }

    /// The next command.
    pub(crate) async fn hear(&mut self) -> Value {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await.expect("the client says something");
            match message.expect("the client is there").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("instead of a command came {other:?}"),
            }
        }
    }

    /// The next command, which is of this type.
    pub(crate) async fn hear_a(&mut self, kind: &str) -> Value {
        let command = self.hear().await;
        assert_eq!(command["type"], kind, "{command}");
        command
    }

    /// The next command is a subscription to `chat`; answers that it is at this offset of epoch `e1`.
    pub(crate) async fn take_subscription(&mut self, offset: u64) -> Value {
        self.answer_subscription(json!({"epoch": "e1", "offset": offset, "recovered": false, "publications": []})).await
    }

    /// The next command is a subscription; answers it with these fields.
    pub(crate) async fn answer_subscription(&mut self, mut fields: Value) -> Value {
        let asked = self.hear_a("subscribe").await;
        fields["type"] = "subscribed".into();
        fields["id"] = asked["id"].clone();
        fields["channel"] = asked["channel"].clone();
        self.say(fields).await;
        asked
    }

    /// The next command is a publication; answers that it is at this offset of epoch `e1`.
    pub(crate) async fn take_publication(&mut self, offset: u64) -> Value {
        let asked = self.hear_a("publish").await;
        let (id, channel) = (&asked["id"], &asked["channel"]);
        self.say(json!({"type": "published", "id": id, "channel": channel, "epoch": "e1", "offset": offset})).await;
        asked
    }

    /// Closes, and waits until the client has answered that.
    pub(crate) async fn close(mut self, code: u16, reason: &str) {
        self.socket.close(Some(CloseFrame { code: code.into(), reason: reason.into() })).await.unwrap();
        while let Some(Ok(_)) = timeout(PATIENCE, self.socket.next()).await.expect("the close is answered") {}
    }

    /// Closes without waiting for anything.
    pub(crate) async fn close_at_once(mut self, code: u16) {
        self.socket.close(Some(CloseFrame { code: code.into(), reason: "".into() })).await.unwrap();
    }

    /// The code with which the client says goodbye.
    pub(crate) async fn hear_close(mut self) -> u16 {
        let message = timeout(PATIENCE, self.socket.next()).await.expect("the client closes");
        match message.expect("a goodbye").unwrap() {
            Message::Close(Some(frame)) => {
                let _ = self.socket.flush().await;
                frame.code.into()
            }
            other => panic!("instead of a goodbye came {other:?}"),
        }
    }

    /// The code with which the client says goodbye, perhaps after one last command of this type.
    pub(crate) async fn hear_close_after(mut self, kind: &str) -> u16 {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await.expect("the client closes");
            match message.expect("a goodbye").unwrap() {
                Message::Text(text) => assert!(text.contains(&format!("\"type\":\"{kind}\"")), "{text}"),
                Message::Close(Some(frame)) => return frame.code.into(),
                other => panic!("instead of a goodbye came {other:?}"),
            }
        }
    }

    /// Waits until the client is gone without a word.
    pub(crate) async fn hear_the_end(mut self) {
        let end = timeout(PATIENCE, self.socket.next()).await.expect("the client goes");
        assert!(matches!(end, None | Some(Err(_))), "instead of the end came {end:?}");
    }

    /// Whether something can be written at once: not if the client does not read.
    pub(crate) fn takes(&mut self, message: &Value) -> bool {
        self.socket.send(Message::text(message.to_string())).now_or_never().is_some()
    }
}

/// Waits for a state.
pub(crate) async fn until(client: &Client, wanted: impl Fn(&State) -> bool) -> State {
    let mut state = client.state();
    timeout(PATIENCE, state.wait_for(wanted)).await.expect("it comes to that state").unwrap().clone()
}

pub(crate) async fn until_closed(client: &Client) -> (Option<u16>, String) {
    match until(client, State::is_closed).await {
        State::Closed { code, reason } => (code, reason),
        other => panic!("{other}"),
    }
}

pub(crate) async fn subscribe(client: &Client) -> Subscription {
    client.subscribe(&channel("chat"), SubscribeOptions::default()).await.unwrap()
}

/// Subscribed to `chat`, at this offset of epoch `e1`.
pub(crate) async fn subscribed_at(client: &Client, peer: &mut Peer, offset: u64) -> Subscription {
    let mut subscription = subscribe(client).await;
    peer.take_subscription(offset).await;
    assert_eq!(next(&mut subscription).await, "subscribed");
    subscription
}

/// The next event in short: the offset of a publication, or words.
pub(crate) async fn next(subscription: &mut Subscription) -> String {
    match timeout(PATIENCE, subscription.next()).await.expect("an event comes") {
        Some(Event::Publication(publication)) => publication.offset.map_or("live".into(), |offset| offset.to_string()),
        Some(Event::Subscribed { recovered: true, .. }) => "recovered".into(),
        Some(Event::Subscribed { recovered: false, .. }) => "subscribed".into(),
        Some(Event::Gap(gap)) => format!("gap {:?} {:?}", gap.range, gap.cause),
        Some(Event::Join { member }) => format!("join {}", member.user),
        Some(Event::Leave { member, cause }) => format!("leave {} {cause:?}", member.user),
        Some(Event::Unsubscribed(refusal)) => format!("unsubscribed {}", refusal.name),
        Some(other) => panic!("{other:?}"),
        None => "the end".into(),
    }
}

/// So many events in short.
pub(crate) async fn take(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(next(subscription).await);
    }
    events
}
