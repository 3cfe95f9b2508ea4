//! What a node's admin port says: readiness with its reason, health, and single metrics.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a node may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// An answer: the status and the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// What it says.
    pub(crate) body: String,
}

/// Asks for a path; `None` when there is no answer in time.
pub(crate) async fn ask(method: &str, address: SocketAddr, path: &str) -> Option<Answer> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        parse(&String::from_utf8_lossy(&answer))
    };
    timeout(ANSWER_TIMEOUT, asking).await.ok().flatten()
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

/// The sum of a metric over all its labels.
pub(crate) fn metric(text: &str, name: &str) -> f64 {
    let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    let named = lines.filter(|(series, _)| series.split('{').next() == Some(name));
    named.filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let text = "# HELP a b\na{x=\"1\"} 2\na{x=\"2\"} 3\nab 7\na 1\n";
        assert_eq!(metric(text, "a"), 6.0);
        assert_eq!(metric(text, "none"), 0.0);
    }

    #[test]
    fn an_answer_is_its_status_and_its_body() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nno\n");
        assert_eq!(answer, Some(Answer { status: 503, body: "no\n".to_owned() }));
        assert_eq!(parse("garbage"), None);
    }
}
