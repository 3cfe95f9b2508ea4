//! The commands that ask a running node on its admin port.

use super::output;
use gateway::shedding::{Mode, Progress};
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a node may take to connect, and to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a node is asked how far it is.
const ASK_INTERVAL: Duration = Duration::from_millis(500);

/// How long a node may take beyond its window: clients that do not answer, and presence that is undone.
const BEYOND_WINDOW: Duration = Duration::from_secs(30);

/// Answers are small.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// An order, and whether to wait until it is carried out.
pub(crate) struct Order<'a> {
    /// The admin port.
    pub address: &'a str,
    /// Path and query.
    pub path: String,
    /// Whether to say how far it is, until it is done.
    pub wait: bool,
}

/// What a node has answered.
struct Answer {
    status: u16,
    body: String,
}

/// Asks `/readyz`.
pub(crate) fn healthcheck(address: &str) -> ExitCode {
    match ask("GET", address, "/readyz") {
        Ok(Answer { status: 200, .. }) => ExitCode::SUCCESS,
        Ok(answer) => failed(answer.body.trim_end()),
        Err(error) => failed(&format!("{address}: {error}")),
    }
}

/// The path of an order with its query.
pub(crate) fn with_query(path: &str, query: &[(&str, Option<String>)]) -> String {
    let given = query.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_deref()?)));
    let query = given.collect::<Vec<_>>().join("&").replace(' ', "%20");
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// Gives an order, and says what has come of it.
pub(crate) fn give(order: &Order<'_>) -> ExitCode {
    let answer = match ask("POST", order.address, &order.path) {
        Ok(answer) => answer,
        Err(error) => return failed(&format!("{}: {error}", order.address)),
    };
    if !(200..300).contains(&answer.status) {
        return failed(answer.body.trim_end());
    }
    match serde_json::from_str::<Progress>(&answer.body) {
        Ok(progress) if order.wait => watch(order.address, progress),
        Ok(progress) => said(&progress.to_string()),
        Err(error) => failed(&format!("{}: this is not the admin port of a gateway: {error}", order.address)),
    }
}

/// Gives an order with a JSON body, and prints what is answered.
pub(crate) fn tell(address: &str, path: &str, body: &serde_json::Value) -> ExitCode {
    match ask_with("POST", address, path, &body.to_string()) {
        Ok(answer) if (200..300).contains(&answer.status) => said(answer.body.trim_end()),
        Ok(answer) => failed(answer.body.trim_end()),
        Err(error) => failed(&format!("{address}: {error}")),
    }
}

/// A line whenever something has changed, until there is nothing left to do.
fn watch(address: &str, mut progress: Progress) -> ExitCode {
    let window = progress.under_way.as_ref().map_or(0, |under_way| under_way.window_ms);
    let deadline = Instant::now() + Duration::from_millis(window) + BEYOND_WINDOW;
    let mut last_line = String::new();
    loop {
        let line = progress.to_string();
        if line != last_line {
            output::mention(&line);
            last_line = line;
        }
        if progress.under_way.is_none() && progress.mode != Mode::Stopping {
            return ExitCode::SUCCESS;
        }
        if Instant::now() > deadline {
            return failed("it takes longer than it should; the node's log may say why");
        }
        std::thread::sleep(ASK_INTERVAL);
        progress = match ask("GET", address, "/shedding").map(|answer| serde_json::from_str(&answer.body)) {
            Ok(Ok(progress)) => progress,
            // Its admin port is the last thing that a node closes.
            Err(error) if progress.mode == Mode::Stopping && is_end(&error) => return said("the node has ended"),
            Err(error) => return failed(&format!("{address}: {error}")),
            Ok(Err(error)) => return failed(&format!("{address}: {error}")),
        };
    }
}

/// Nobody listens any more, or nobody came to answer; a node that is only slow is another matter.
fn is_end(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, InvalidData};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | BrokenPipe | InvalidData)
}

fn said(line: &str) -> ExitCode {
    output::say(&format!("{line}\n"), ExitCode::SUCCESS)
}

fn failed(line: &str) -> ExitCode {
    output::complain(line);
    ExitCode::FAILURE
}

fn ask(method: &str, address: &str, path: &str) -> std::io::Result<Answer> {
    ask_with(method, address, path, "")
}

fn ask_with(method: &str, address: &str, path: &str, body: &str) -> std::io::Result<Answer> {
    let unusable = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what);
    let mut addresses = address.to_socket_addrs()?;
    let first = addresses.next().ok_or_else(|| unusable("the name has no address"))?;
    let connected = TcpStream::connect_timeout(&first, ANSWER_TIMEOUT);
    // A name such as localhost may have another address on which the node listens.
    let mut stream = addresses
        .fold(connected, |connected, next| connected.or_else(|_| TcpStream::connect_timeout(&next, ANSWER_TIMEOUT)))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    let mut text = String::new();
    stream.take(MAX_ANSWER_BYTES).read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| unusable("this is no HTTP answer"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Answer { status: status.ok_or_else(|| unusable("this is no HTTP answer"))?, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_given_stands_in_the_query() {
        assert_eq!(with_query("/drain", &[("window", None), ("exit", None)]), "/drain");
        let window = Some("1m 30s".to_owned());
        assert_eq!(
            with_query("/drain", &[("window", window), ("exit", Some("false".into()))]),
            "/drain?window=1m%2030s&exit=false"
        );
    }
}
