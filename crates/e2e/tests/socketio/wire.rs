//! Sessions of Engine.IO as they are on the wire: requests, and the WebSocket that one may become.

use e2e::{Answer, Cluster, PATIENCE};
use futures_util::{SinkExt, StreamExt};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// One request, and its answer.
pub(crate) async fn ask(address: SocketAddr, head: &str, headers: &str, body: &str) -> Answer {
    let stream = send(address, head, headers, body).await;
    timeout(PATIENCE, read_answer(stream)).await.unwrap_or_else(|_| panic!("{head} is not answered"))
}

/// The answer to a request that has been sent.
pub(crate) async fn read_answer(mut stream: TcpStream) -> Answer {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    Answer::parse(&answer)
}

/// One request whose answer is not read.
pub(crate) async fn send(address: SocketAddr, head: &str, headers: &str, body: &str) -> TcpStream {
    let length = body.len();
    begin(address, head, &format!("content-length: {length}\r\n{headers}\r\n{body}")).await
}

/// The beginning of a request.
pub(crate) async fn begin(address: SocketAddr, head: &str, rest: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{head} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{rest}");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// A session that polls.
pub(crate) struct Session {
    pub(crate) sid: String,
    /// The headers of each of its requests.
    pub(crate) headers: String,
}

pub(crate) const OPEN: &str = "GET /socket.io/?EIO=4&transport=polling";

impl Session {
    pub(crate) async fn open(cluster: &Cluster, node: usize, headers: &str) -> Self {
        let answer = ask(cluster.address(node), OPEN, headers, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let open: serde_json::Value = serde_json::from_str(answer.body.strip_prefix('0').unwrap()).unwrap();
        Self { sid: open["sid"].as_str().unwrap().to_owned(), headers: headers.to_owned() }
    }

    /// One that has entered the main namespace.
    pub(crate) async fn entered(cluster: &Cluster, node: usize, headers: &str) -> Self {
        let session = Self::open(cluster, node, headers).await;
        assert_eq!(session.post(cluster, node, "40").await.status, 200);
        session.polls_until(cluster, node, "40{").await;
        session
    }

    pub(crate) fn head(&self, method: &str) -> String {
        format!("{method} /socket.io/?EIO=4&transport=polling&sid={}", self.sid)
    }

    pub(crate) async fn poll(&self, cluster: &Cluster, node: usize) -> Answer {
        ask(cluster.address(node), &self.head("GET"), &self.headers, "").await
    }

    pub(crate) async fn post(&self, cluster: &Cluster, node: usize, body: &str) -> Answer {
        ask(cluster.address(node), &self.head("POST"), &self.headers, body).await
    }

    /// Polls until a packet begins like this, and returns it.
    pub(crate) async fn polls_until(&self, cluster: &Cluster, node: usize, begins: &str) -> String {
        loop {
            let answer = self.poll(cluster, node).await;
            assert_eq!(answer.status, 200, "{answer:?} in place of {begins}");
            let found = answer.body.split('\u{1e}').find(|packet| packet.starts_with(begins));
            if let Some(packet) = found {
                return packet.to_owned();
            }
        }
    }
}

/// A WebSocket.
pub(crate) struct Stream(WebSocketStream<TcpStream>);

impl Stream {
    pub(crate) async fn open(cluster: &Cluster, node: usize, more: &str) -> Self {
        let address = cluster.address(node);
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket{more}");
        let stream = TcpStream::connect(address).await.unwrap();
        Self(tokio_tungstenite::client_async(url, stream).await.unwrap().0)
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// Messages that arrive together.
    pub(crate) async fn send_at_once(&mut self, texts: [&str; 3]) {
        for text in texts {
            self.0.feed(Message::text(text)).await.unwrap();
        }
        self.0.flush().await.unwrap();
    }

    /// The next message; none at the end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("a message or the end") {
                Some(Ok(Message::Text(text))) => return Some(text.to_string()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The next message that begins like this.
    pub(crate) async fn until(&mut self, begins: &str) -> String {
        loop {
            let message = self.next().await.unwrap_or_else(|| panic!("the end came in place of {begins}"));
            if message.starts_with(begins) {
                return message;
            }
        }
    }
}
