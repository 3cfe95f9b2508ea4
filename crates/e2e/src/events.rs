//! A client of server-sent events, as plain as it can be: what a browser's does, and nothing by itself.

use crate::{Answer, PATIENCE};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A stream that is open.
#[derive(Debug)]
pub struct Events {
    stream: TcpStream,
    /// What has come and is not decoded.
    raw: Vec<u8>,
    /// What is decoded and not read.
    text: String,
    /// Its head.
    pub answer: Answer,
    /// The last id that came.
    pub last_id: String,
    /// How long to wait before coming back, in milliseconds, as it was told last.
    pub retry_ms: Option<u64>,
    /// How many comments came.
    pub comments: usize,
    has_ended: bool,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its object.
    pub data: Value,
}

impl Events {
    /// Asks for a stream, with these headers beside the needed ones.
    ///
    /// # Errors
    /// Any other answer.
    pub async fn try_open(address: SocketAddr, path: &str, headers: &str) -> Result<Self, Answer> {
        let mut stream = TcpStream::connect(address).await.expect("a node that listens");
        let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).await.expect("a node that takes a request");
        let mut raw = Vec::new();
        let end = loop {
            if let Some(end) = raw.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let read = timeout(PATIENCE, stream.read_buf(&mut raw)).await.expect("an answer").expect("an answer");
            assert!(read > 0, "{path}: no answer but {:?}", String::from_utf8_lossy(&raw));
        };
        let mut answer = Answer::parse(&raw);
        if answer.header("content-type") != Some("text/event-stream") {
            let length = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            while raw.len() < end + length {
                assert!(stream.read_buf(&mut raw).await.expect("the whole answer") > 0);
            }
            return Err(Answer::parse(&raw));
        }
        answer.body.clear();
        let raw = raw.split_off(end);
        let (last_id, text) = Default::default();
        Ok(Self { stream, raw, text, answer, last_id, retry_ms: None, comments: 0, has_ended: false })
    }

    /// The same where nothing else is expected.
    pub async fn open(address: SocketAddr, path: &str, headers: &str) -> Self {
        Self::try_open(address, path, headers).await.unwrap_or_else(|answer| panic!("{path}: {answer:?}"))
    }

    /// The next event; none at the end of the stream, however it ends.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some(event) = self.read(&block) {
                    return Some(event);
                }
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The next event's object, which is there.
    pub async fn object(&mut self) -> Value {
        self.next().await.expect("an event, and not the end").data
    }

    /// The next object of this type.
    pub async fn until(&mut self, kind: &str) -> Value {
        loop {
            let object = self.object().await;
            if object["type"] == kind {
                return object;
            }
        }
    }

    fn read(&mut self, block: &str) -> Option<Event> {
        let (mut name, mut data) = ("message".to_owned(), String::new());
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            match field {
                "" => self.comments += 1,
                "event" => name = value,
                "id" => self.last_id = value,
                "retry" => self.retry_ms = Some(value.parse().expect("milliseconds")),
                "data" => data.push_str(&value),
                other => panic!("a stream has no {other}"),
            }
        }
        let data = (!data.is_empty()).then(|| serde_json::from_str(&data).expect("an object"))?;
        Some(Event { name, data })
    }

    /// Waits for more of the body; false at its end.
    async fn more(&mut self) -> bool {
        loop {
            if let Some(chunk) = self.chunk() {
                if chunk.is_empty() {
                    self.has_ended = true;
                }
                self.text.push_str(&String::from_utf8(chunk).expect("chunks of whole characters"));
                return !self.has_ended;
            }
            if self.has_ended {
                return false;
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.raw)).await.expect("something, or the end");
            if !matches!(read, Ok(1..)) {
                return false;
            }
        }
    }

    fn chunk(&mut self) -> Option<Vec<u8>> {
        if self.answer.header("transfer-encoding") != Some("chunked") {
            return (!self.raw.is_empty()).then(|| std::mem::take(&mut self.raw));
        }
        let line = self.raw.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&self.raw[..line]).ok()?, 16).expect("a length");
        let end = line + 2 + length + 2;
        let chunk = self.raw.get(line + 2..end - 2)?.to_vec();
        (self.raw.len() >= end).then(|| {
            self.raw.drain(..end);
            chunk
        })
    }
}
