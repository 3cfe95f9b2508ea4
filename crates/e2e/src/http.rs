//! HTTP as plainly as it can be spoken: one request, one answer, the end.

use crate::PATIENCE;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// What came after them.
    pub body: String,
}

impl Answer {
    /// Reads an answer from its bytes.
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("this is no HTTP answer: {text:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("this is no HTTP answer: {text:?}"));
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut pairs = self.head.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// In how many seconds to come back, as a refusal that passes says.
    pub fn retry_after_s(&self) -> u64 {
        let said = self.header("retry-after").and_then(|value| value.parse().ok());
        said.unwrap_or_else(|| panic!("it does not say when to come back: {self:?}"))
    }
}

/// Asks for a path.
pub async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, "", "").await
}

/// Posts nothing to a path, with these headers beside the needed ones.
pub async fn post(address: SocketAddr, path: &str, headers: &str) -> Answer {
    ask(address, "POST", path, &format!("content-length: 0\r\n{headers}"), "").await
}

/// Asks anything, with these headers beside the needed ones.
pub async fn request(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    ask(address, method, path, &format!("{length}{headers}"), body).await
}

/// Posts JSON to a path.
pub(crate) async fn post_json(address: SocketAddr, path: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let headers = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    ask(address, "POST", path, &headers, &body).await
}

async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n{body}");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{address}{path} does not answer"));
    Answer::parse(&answer.unwrap_or_else(|error| panic!("{address}{path}: {error}")))
}
