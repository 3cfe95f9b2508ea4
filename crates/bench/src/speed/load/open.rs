//! Opens connections, some at a time: handshake and subscription, on sockets that still block.

use super::dialect::{Dialect, Step};
use super::frame::{self, Frame};
use crate::Fault;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long a server may take to say anything.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a client that is turned away tries again.
const ENTER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long it waits before that.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// How many connections are opened together: less than what servers let wait for an accept.
const TOGETHER: usize = 64;

/// A connection that is wanted.
pub(super) struct Wanted {
    /// Where, with the channel filled in.
    pub(super) url: String,
    /// What it subscribes to.
    pub(super) channel: Option<String>,
    /// What it shows of itself.
    pub(super) token: Option<String>,
}

/// A connection that is open, and what has come of it beyond that.
pub(super) struct Opened {
    /// The socket.
    pub(super) stream: TcpStream,
    /// The beginning of what comes next.
    pub(super) rest: Vec<u8>,
}

/// Opens connections, in order.
pub(super) fn open_all(wanted: &[Wanted], dialect: Dialect) -> Result<Vec<Opened>, Fault> {
    let mut opened = Vec::with_capacity(wanted.len());
    for together in wanted.chunks(TOGETHER) {
        let knocking: Vec<_> = together.iter().map(knock).collect::<Result<_, _>>()?;
        let mut entered = Vec::with_capacity(together.len());
        for (wanted, stream) in together.iter().zip(knocking) {
            let mut opened = enter(wanted, stream)?;
            if let Step::Say(words) = dialect.step(None, wanted.channel.as_deref()) {
                say(&mut opened.stream, &words)?;
            }
            entered.push(opened);
        }
        for (wanted, mut entered) in together.iter().zip(entered) {
            let channel = wanted.channel.as_deref();
            if dialect.step(None, channel) != Step::Ready {
                until_ready(&mut entered, dialect, channel)?;
            }
            opened.push(entered);
        }
    }
    Ok(opened)
}

/// Connects and asks for a WebSocket.
pub(super) fn knock(wanted: &Wanted) -> Result<TcpStream, Fault> {
    let url = &wanted.url;
    let rest = url.strip_prefix("ws://").ok_or_else(|| format!("{url} does not begin with ws://"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let with_port = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let mut stream = TcpStream::connect(&with_port).map_err(|error| format!("{with_port}: {error}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let token = wanted.token.as_ref().map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{token}\r\n"
    );
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

/// Waits for the 101; whoever is told to come later does.
fn enter(wanted: &Wanted, mut stream: TcpStream) -> Result<Opened, Fault> {
    let url = &wanted.url;
    let deadline = Instant::now() + ENTER_TIMEOUT;
    loop {
        let (head, rest) = read_head(&mut stream).map_err(|fault| format!("{url}: {fault}"))?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        match status {
            "101" => return Ok(Opened { stream, rest }),
            "429" | "503" if Instant::now() < deadline => std::thread::sleep(RETRY_DELAY),
            _ => return Err(format!("{url} answers {}", head.lines().next().unwrap_or_default()).into()),
        }
        stream = knock(wanted)?;
    }
}

pub(super) fn read_head(stream: &mut TcpStream) -> Result<(String, Vec<u8>), Fault> {
    let mut answer = Vec::new();
    loop {
        if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = answer.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&answer).into_owned(), rest));
        }
        if answer.len() > 16 * 1024 {
            return Err("the answer's head does not end".into());
        }
        read_more(stream, &mut answer)?;
    }
}

fn read_more(stream: &mut TcpStream, to: &mut Vec<u8>) -> Result<(), Fault> {
    let mut buffer = [0; 4096];
    let read = loop {
        match stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("no answer while a connection opens: {error}").into()),
            Ok(read) => break read,
        }
    };
    if read == 0 {
        return Err("the server ends a connection that opens".into());
    }
    to.extend(&buffer[..read]);
    Ok(())
}

/// Listens and answers until the connection is open.
fn until_ready(opened: &mut Opened, dialect: Dialect, channel: Option<&str>) -> Result<(), Fault> {
    loop {
        let Some((frame, length)) = frame::first(&opened.rest).map_err(|unreadable| unreadable.0)? else {
            read_more(&mut opened.stream, &mut opened.rest)?;
            continue;
        };
        let step = match frame {
            Frame::Data(heard) if dialect.is_refusal(heard) => {
                return Err(format!("a subscription is refused: {}", String::from_utf8_lossy(heard)).into());
            }
            Frame::Data(heard) => dialect.step(Some(heard), channel),
            Frame::Close(why) => {
                return Err(format!("closed while it opens: {}", String::from_utf8_lossy(why)).into());
            }
            Frame::Ping(_) | Frame::Pong => Step::Wait,
        };
        opened.rest.drain(..length);
        match step {
            Step::Say(words) => say(&mut opened.stream, &words)?,
            Step::Wait => {}
            Step::Ready => return Ok(()),
        }
    }
}

fn say(stream: &mut TcpStream, words: &str) -> Result<(), Fault> {
    let mut out = Vec::new();
    frame::write(&mut out, frame::TEXT, words.as_bytes());
    Ok(stream.write_all(&out)?)
}
