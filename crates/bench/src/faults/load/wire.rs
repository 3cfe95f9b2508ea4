//! The native wire as plainly as it can be spoken: what a publisher sends and is answered, with nothing repeated or hidden.

use crate::faults::ledger::{Cargo, ChannelId};
use futures_util::{SinkExt, StreamExt};
use protocol::Position;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// How long a connection may take to be opened, up to `welcome`.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a node may take nothing from a socket: longer than any scenario freezes one.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// What a publication is answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// `published`.
    Published(Option<Position>),
    /// `error`, with its code.
    Refused(String),
}

/// An open connection.
pub(super) struct Wire(WebSocketStream<TcpStream>);

#[derive(Deserialize)]
struct Incoming {
    #[serde(rename = "type")]
    kind: String,
    id: Option<u64>,
    code: Option<String>,
    epoch: Option<String>,
    offset: Option<u64>,
}

impl Wire {
    /// Connects, and waits for `welcome`.
    pub(super) async fn open(url: &str) -> Option<Self> {
        let opening = async {
            let address = url.strip_prefix("ws://")?.split('/').next()?;
            let stream = TcpStream::connect(address).await.ok()?;
            stream.set_nodelay(true).ok()?;
            let (mut stream, _) = client_async(url, stream).await.ok()?;
            while let Some(Ok(message)) = stream.next().await {
                if let Message::Text(text) = message {
                    let incoming: Incoming = serde_json::from_str(&text).ok()?;
                    return (incoming.kind == "welcome").then_some(Self(stream));
                }
            }
            None
        };
        timeout(OPEN_TIMEOUT, opening).await.ok().flatten()
    }

    /// Subscribes; who never asks for an answer need not read one.
    pub(super) async fn subscribe(&mut self, channel: ChannelId) -> Result<(), Error> {
        let command = json!({ "type": "subscribe", "channel": channel.name() });
        self.send(command.to_string()).await
    }

    /// Publishes; the stamp's sequence is the command's id.
    pub(super) async fn publish(
        &mut self,
        channel: ChannelId,
        cargo: &Cargo,
        key: Option<String>,
    ) -> Result<(), Error> {
        let id = cargo.stamp.sequence;
        let mut command = json!({ "type": "publish", "id": id, "channel": channel.name(), "data": cargo });
        if let Some(key) = key {
            command["key"] = json!(key);
        }
        self.send(command.to_string()).await
    }

    async fn send(&mut self, text: String) -> Result<(), Error> {
        let sent = timeout(SEND_TIMEOUT, self.0.send(Message::text(text))).await;
        sent.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
    }

    /// The next answer and the sequence it is for; `None` when the connection is over. Dropped half-way nothing is lost.
    pub(super) async fn answer(&mut self) -> Option<(u64, Answer)> {
        loop {
            let Message::Text(text) = self.0.next().await?.ok()? else { continue };
            let Ok(incoming) = serde_json::from_str::<Incoming>(&text) else { return None };
            let answer = match incoming.kind.as_str() {
                "published" => Answer::Published(position(&incoming)),
                "error" => Answer::Refused(incoming.code.unwrap_or_default()),
                _ => continue,
            };
            if let Some(id) = incoming.id {
                return Some((id, answer));
            }
        }
    }
}

fn position(incoming: &Incoming) -> Option<Position> {
    Some(Position { epoch: incoming.epoch.as_deref()?.into(), offset: incoming.offset? })
}
