//! A client that speaks the native JSON, as a person at `wscat` would: commands, replies by their id, pushes in order. One
//! that has offered the subprotocol for it speaks MessagePack instead.

use crate::PATIENCE;
use crate::packed::{MSGPACK, pack, unpack};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fmt::Debug;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// TCP, or TLS over it.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send + Debug {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Debug> Duplex for S {}

pub(crate) type Stream = WebSocketStream<Box<dyn Duplex>>;

/// How many messages a failure shows.
const RECENT: usize = 6;

/// How much of each.
const RECENT_CHARS: usize = 200;

/// One connection. It reads only while it is asked for something: one that is left alone is a client that does not read.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    subprotocol: Option<String>,
    welcome: Value,
    next_id: u64,
    /// Came while something else was waited for.
    aside: VecDeque<Value>,
    /// Whether every message is an array, as this client has asked, and what is left of the last one.
    gets_arrays: bool,
    of_array: VecDeque<Value>,
    messages: usize,
    recent: VecDeque<String>,
}

/// What can come next.
enum Next {
    Message(Message),
    Close(Option<CloseFrame>),
    End(String),
}

impl Client {
    pub(crate) fn new(stream: Stream, subprotocol: Option<String>) -> Self {
        let (aside, of_array, recent) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        let (gets_arrays, messages, welcome) = (false, 0, Value::Null);
        Self { stream, subprotocol, welcome, next_id: 1, aside, gets_arrays, of_array, messages, recent }
    }

    pub(crate) async fn await_welcome(&mut self) {
        let mut first = self.next().await;
        if let Some(array) = first.as_array_mut() {
            self.gets_arrays = true;
            self.of_array = std::mem::take(array).into();
            first = self.next().await;
        }
        assert_eq!(first["type"], "welcome", "the first message is {first}");
        self.welcome = first;
    }

    /// The `welcome` it was greeted with.
    pub fn welcome(&self) -> &Value {
        &self.welcome
    }

    /// Its connection id.
    pub fn id(&self) -> &str {
        self.welcome["client"].as_str().expect("a connection id in the welcome")
    }

    /// How many messages it has read, arrays or not.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// The subprotocol that was selected.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Sends a command and waits for nothing.
    pub async fn send(&mut self, command: &Value) {
        if self.is_packed() {
            return self.send_bytes(&pack(command)).await;
        }
        self.send_text(&command.to_string()).await;
    }

    fn is_packed(&self) -> bool {
        self.subprotocol() == Some(MSGPACK)
    }

    /// Sends text as it is.
    pub async fn send_text(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    /// Sends bytes as they are.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.send_message(Message::binary(Bytes::copy_from_slice(bytes))).await;
    }

    async fn send_message(&mut self, message: Message) {
        let sent = timeout_at(Instant::now() + PATIENCE, self.stream.send(message)).await;
        match sent {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("the message could not be sent: {error}; lately {:?}", self.recent),
            Err(_) => panic!("the gateway does not read what is sent to it"),
        }
    }

    /// Sends a command and waits for its reply or error, whatever comes in between: that is kept for [`Client::next`].
    pub async fn command(&mut self, mut command: Value) -> Value {
        if command["id"].is_null() {
            command["id"] = json!(self.next_id);
            self.next_id += 1;
        }
        self.send(&command).await;
        self.reply_to(&command["id"]).await
    }

    /// Waits for the reply or error with this id.
    pub async fn reply_to(&mut self, id: &Value) -> Value {
        if let Some(at) = self.aside.iter().position(|kept| kept["id"] == *id) {
            return self.aside.remove(at).expect("the place it was found at");
        }
        loop {
            let value = self.read(&format!("the answer to {id}")).await;
            if value["id"] == *id {
                return value;
            }
            self.aside.push_back(value);
        }
    }

    /// Sends a command and expects it to be refused with this code; returns the whole error.
    pub async fn refused(&mut self, command: Value, code: &str) -> Value {
        let error = self.command(command.clone()).await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{command} was answered {error}");
        error
    }

    /// Subscribes, and expects that it is allowed to.
    pub async fn subscribe(&mut self, channel: &str) -> Value {
        self.granted(json!({"type": "subscribe", "channel": channel}), "subscribed").await
    }

    /// Subscribes from a position on.
    pub async fn recover(&mut self, channel: &str, epoch: &Value, offset: u64) -> Value {
        let recover = json!({"epoch": epoch, "offset": offset});
        self.granted(json!({"type": "subscribe", "channel": channel, "recover": recover}), "subscribed").await
    }

    /// Publishes, and expects that the broker has it.
    pub async fn publish(&mut self, channel: &str, data: Value) -> Value {
        self.granted(json!({"type": "publish", "channel": channel, "data": data}), "published").await
    }

    /// Asks who is in a channel.
    pub async fn presence(&mut self, channel: &str) -> Value {
        self.granted(json!({"type": "presence", "channel": channel}), "presence").await
    }

    /// Sends a command and expects a reply of this type.
    pub async fn granted(&mut self, command: Value, reply: &str) -> Value {
        let answer = self.command(command.clone()).await;
        assert_eq!(answer["type"], reply, "{command} was answered {answer}");
        answer
    }

    /// The next message that answers nothing this client has waited for.
    pub async fn next(&mut self) -> Value {
        match self.aside.pop_front() {
            Some(kept) => kept,
            None => self.read("the next message").await,
        }
    }

    /// The next message, or nothing if the gateway has closed this connection.
    pub async fn next_or_close(&mut self) -> Option<Value> {
        if let Some(kept) = self.aside.pop_front() {
            return Some(kept);
        }
        match self.take(PATIENCE).await {
            Next::Message(Message::Text(text)) => Some(self.parse(&text)),
            Next::Message(Message::Binary(bytes)) if self.is_packed() => Some(self.parse_packed(&bytes)),
            Next::Close(_) => None,
            other => panic!("instead of a message or a close came {}; lately {:?}", other.describe(), self.recent),
        }
    }

    /// What has come already while something else was waited for.
    pub fn kept(&mut self) -> Option<Value> {
        self.aside.pop_front()
    }

    /// The next publication; members who come and go are passed over, anything else is not expected.
    pub async fn next_publication(&mut self) -> Value {
        loop {
            let push = self.next().await;
            match push["type"].as_str() {
                Some("publication") => return push,
                Some("join" | "leave") => {}
                _ => panic!("not a publication: {push}"),
            }
        }
    }

    /// The `data` of so many publications, in the order they come.
    pub async fn next_data(&mut self, count: usize) -> Vec<Value> {
        let mut data = Vec::new();
        for _ in 0..count {
            data.push(self.next_publication().await["data"].take());
        }
        data
    }

    /// Expects that nothing is waiting for this client: a ping is answered by a pong and nothing comes before that.
    pub async fn hears_nothing(&mut self) {
        let pong = self.command(json!({"type": "ping"})).await;
        assert_eq!(pong["type"], "pong");
        assert!(self.aside.is_empty(), "nothing should have come, but {:?} has", self.aside);
    }

    /// The text of the next message, unread: for a raw relay, and where many messages have to be read fast.
    pub async fn next_text(&mut self) -> Utf8Bytes {
        match self.take(PATIENCE).await {
            Next::Message(Message::Text(text)) => text,
            other => panic!("instead of a text came {}", other.describe()),
        }
    }

    /// The next binary message.
    pub async fn next_bytes(&mut self) -> Bytes {
        match self.take(PATIENCE).await {
            Next::Message(Message::Binary(bytes)) => bytes,
            other => panic!("instead of bytes came {}", other.describe()),
        }
    }

    /// Waits for the gateway to close this connection and to end it once that is answered, and returns the code; what
    /// came before is kept.
    pub async fn expect_close(&mut self) -> u16 {
        loop {
            match self.take(PATIENCE).await {
                Next::Message(Message::Text(text)) => {
                    let value = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.to_string()));
                    self.aside.push_back(value);
                }
                Next::Message(_) => {}
                Next::Close(Some(frame)) => {
                    let after = self.take(PATIENCE).await;
                    assert!(matches!(after, Next::End(_)), "after its close came {}", after.describe());
                    // Both sides have said goodbye: this one lets go as well.
                    let _ = self.stream.get_mut().shutdown().await;
                    return frame.code.into();
                }
                other => panic!("instead of a close came {}; lately {:?}", other.describe(), self.recent),
            }
        }
    }

    /// Says goodbye and waits until it has been answered.
    pub async fn close(mut self) {
        let said = self.stream.close(None).await;
        assert!(said.is_ok(), "the close could not be sent: {said:?}");
        loop {
            match self.take(PATIENCE).await {
                Next::Message(_) => {}
                Next::Close(_) => return,
                Next::End(how) => panic!("the close was not answered: {how}"),
            }
        }
    }

    /// Is gone without a word, as when a cable is pulled.
    pub fn cut(self) {
        drop(self);
    }

    async fn read(&mut self, wanted: &str) -> Value {
        if let Some(value) = self.of_array.pop_front() {
            return value;
        }
        let next = self.take(PATIENCE).await;
        let mut value = match next {
            Next::Message(Message::Text(text)) if !self.is_packed() => self.parse(&text),
            Next::Message(Message::Binary(bytes)) if self.is_packed() => self.parse_packed(&bytes),
            next => {
                panic!("instead of {wanted} came {}; lately {:?}, kept {:?}", next.describe(), self.recent, self.aside)
            }
        };
        self.messages += 1;
        if self.gets_arrays {
            self.of_array = std::mem::take(value.as_array_mut().expect("an array")).into();
            value = self.of_array.pop_front().expect("an array of something");
        }
        value
    }

    fn parse_packed(&mut self, bytes: &[u8]) -> Value {
        let value = unpack(bytes);
        self.remember(&value.to_string());
        value
    }

    fn parse(&mut self, text: &str) -> Value {
        self.remember(text);
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    fn remember(&mut self, text: &str) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(text.chars().take(RECENT_CHARS).collect());
    }

    async fn take(&mut self, patience: std::time::Duration) -> Next {
        let deadline = Instant::now() + patience;
        loop {
            match timeout_at(deadline, self.stream.next()).await {
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
                Ok(Some(Ok(Message::Close(frame)))) => return Next::Close(frame),
                Ok(Some(Ok(message))) => return Next::Message(message),
                Ok(Some(Err(Error::ConnectionClosed))) | Ok(None) => return Next::End("the end".to_owned()),
                Ok(Some(Err(error))) => return Next::End(format!("a failure: {error}")),
                Err(_) => return Next::End(format!("nothing within {patience:?}")),
            }
        }
    }
}

impl Next {
    fn describe(&self) -> String {
        match self {
            Self::Message(message) => format!("{message:?}").chars().take(RECENT_CHARS).collect(),
            Self::Close(frame) => format!("a close {frame:?}"),
            Self::End(how) => how.clone(),
        }
    }
}
