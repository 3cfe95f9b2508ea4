//! What carries text to and from a node: a WebSocket, or a session of long polling that looks like one.

use crate::polls::Polls;
use crate::transport::Wire;
use futures_util::{SinkExt, StreamExt};
use std::task::{Context, Poll};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

/// An open line.
pub(crate) enum Line {
    /// A WebSocket.
    Socket(Box<WebSocketStream<Box<dyn Wire>>>),
    /// Requests that wait.
    Polls(Box<Polls>),
}

impl Line {
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        match self {
            Self::Socket(socket) => socket.poll_next_unpin(cx),
            Self::Polls(polls) => polls.poll_next(cx),
        }
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Option<Result<Message, Error>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Whether another text may be queued.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::Socket(socket) => socket.poll_ready_unpin(cx),
            Self::Polls(polls) => polls.poll_ready(cx),
        }
    }

    /// Queues a text.
    pub(crate) fn start_send(&mut self, text: String) -> Result<(), Error> {
        match self {
            Self::Socket(socket) => socket.start_send_unpin(Message::text(text)),
            Self::Polls(polls) => {
                polls.queue(text);
                Ok(())
            }
        }
    }

    /// Ready once everything queued has been taken.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::Socket(socket) => socket.poll_flush_unpin(cx),
            Self::Polls(polls) => polls.poll_flush(cx),
        }
    }

    /// Says goodbye and waits for the answer.
    pub(crate) async fn close(&mut self) -> Result<(), Error> {
        match self {
            Self::Socket(socket) => {
                socket.as_mut().close(Some(CloseFrame { code: 1000.into(), reason: "".into() })).await?;
                while let Some(message) = socket.next().await {
                    message?;
                }
                Ok(())
            }
            Self::Polls(polls) => polls.leave().await,
        }
    }
}
