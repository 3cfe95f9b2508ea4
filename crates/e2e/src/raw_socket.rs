//! A plain stream to a node's public port, for bytes that no proper client would send.

use crate::connect::dial;
use crate::frames::{self, FINAL, Frame};
use crate::{Answer, PATIENCE};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A stream and what has been read from it.
#[derive(Debug)]
pub struct RawSocket {
    stream: TcpStream,
    read: Vec<u8>,
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With a close frame of this code, then the end of the stream.
    Closed(Option<u16>),
    /// With the end of the stream alone.
    Silent,
}

impl RawSocket {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = dial(address, None).await.unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self { stream, read: Vec::new() }
    }

    /// Tries to connect.
    pub async fn try_connect(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { stream: dial(address, None).await?, read: Vec::new() })
    }

    /// Connects and shakes hands, by hand; what comes next are frames.
    pub async fn upgraded(address: SocketAddr, path: &str) -> Self {
        Self::upgraded_with(address, path, None).await
    }

    /// The same with so little room in the kernel that a client which does not read is soon noticed.
    pub async fn upgraded_with(address: SocketAddr, path: &str, receive_buffer_bytes: Option<u32>) -> Self {
        let stream = dial(address, receive_buffer_bytes).await;
        let stream = stream.unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        let mut socket = Self { stream, read: Vec::new() };
        socket.send(handshake(address, path).as_bytes()).await;
        let answer = socket.answer().await;
        assert_eq!(answer.status, 101, "{answer:?}");
        socket
    }

    /// The same with further lines in the handshake's head; the answer tells what has become of them.
    pub async fn offering(address: SocketAddr, path: &str, lines: &str, buffer_bytes: Option<u32>) -> (Self, Answer) {
        let stream = dial(address, buffer_bytes).await;
        let stream = stream.unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        let mut socket = Self { stream, read: Vec::new() };
        let request = handshake(address, path);
        let request = request.strip_suffix("\r\n").unwrap_or(&request);
        socket.send(format!("{request}{lines}\r\n").as_bytes()).await;
        let answer = socket.answer().await;
        assert_eq!(answer.status, 101, "{answer:?}");
        (socket, answer)
    }

    /// Sends bytes. Once the gateway has had enough of this client it may refuse them: that is no failure.
    pub async fn send(&mut self, bytes: &[u8]) {
        let sent = timeout(PATIENCE, self.stream.write_all(bytes)).await;
        if let Err(error) = sent.expect("the gateway reads what is sent to it") {
            let is_over = matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
            assert!(is_over, "{error}");
        }
    }

    /// Sends bytes to a gateway that may have had enough of this client, or reads no more of it: false then.
    pub async fn try_send(&mut self, bytes: &[u8]) -> bool {
        matches!(timeout(PATIENCE, self.stream.write_all(bytes)).await, Ok(Ok(())))
    }

    /// Sends nothing more.
    pub async fn send_end(&mut self) {
        self.stream.shutdown().await.expect("the end sent");
    }

    /// The head of an HTTP answer; what follows it stays to be read.
    pub async fn answer(&mut self) -> Answer {
        loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                return Answer::parse(&self.read.drain(..at + 4).collect::<Vec<_>>());
            }
            let more = self.more("an HTTP answer").await;
            assert!(more, "instead of an HTTP answer came the end after {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    /// The next frame; `None` at the end of the stream.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = frames::take(&mut self.read) {
                return Some(frame);
            }
            if !self.more("a frame").await {
                assert!(self.read.is_empty(), "the stream ended within a frame: {:?}", self.read);
                return None;
            }
        }
    }

    /// The next frame; `None` at the end of the stream, in order or not.
    pub async fn frame_or_reset(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = frames::take(&mut self.read) {
                return Some(frame);
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
            if read.expect("a frame or the end").unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The next message, which is a text.
    pub async fn text(&mut self) -> String {
        let frame = self.frame().await.expect("a text, not the end");
        assert_eq!(frame.first, FINAL | frames::TEXT, "not a text: {frame:?}");
        String::from_utf8(frame.payload).expect("a text in UTF-8")
    }

    /// Reads to the end, answers the close on the way, and tells how it ended.
    pub async fn end(&mut self) -> End {
        let mut end = End::Silent;
        while let Some(frame) = self.frame().await {
            assert_eq!(end, End::Silent, "after its close the gateway sent {frame:?}");
            if frame.first == FINAL | frames::CLOSE {
                end = End::Closed(frame.payload.first_chunk().map(|code| u16::from_be_bytes(*code)));
                self.send(&frames::whole(frames::CLOSE, &frame.payload)).await;
            }
        }
        end
    }

    /// Expects a close with this code, wholly received, and the end of the stream after it.
    pub async fn expect_close(&mut self, code: u16) {
        assert_eq!(self.end().await, End::Closed(Some(code)));
    }

    /// Reads to the end of the stream within this time, and returns what came.
    pub async fn rest_within(mut self, patience: Duration) -> Vec<u8> {
        let read = timeout(patience, self.stream.read_to_end(&mut self.read)).await;
        let read = read.unwrap_or_else(|_| panic!("the stream is still open after {patience:?}"));
        if let Err(error) = read {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
        }
        self.read
    }

    async fn more(&mut self, wanted: &str) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
        let read = read.unwrap_or_else(|_| panic!("instead of {wanted} came nothing within {PATIENCE:?}"));
        read.unwrap_or_else(|error| panic!("instead of {wanted} came {error}")) > 0
    }
}

/// A handshake as RFC 6455 section 4.1 has it.
pub fn handshake(address: SocketAddr, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}
