//! The real binary in a process of its own, and sockets to it.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything that should happen may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway that runs; killed when dropped.
pub(crate) struct Gateway {
    pub(crate) child: Child,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// The binary with these variables and no others.
pub(crate) fn command(environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.env_clear().envs(environment.iter().copied());
    command
}

impl Gateway {
    /// Starts it on free ports and waits until it says where.
    pub(crate) fn start(environment: &[(&str, &str)]) -> Self {
        Self::run(command(&[]).envs(environment.iter().copied()))
    }

    /// The same by a command that becomes it.
    pub(crate) fn run(command: &mut Command) -> Self {
        let ports = [("GW_LISTEN", "127.0.0.1:0"), ("GW_ADMIN__LISTEN", "127.0.0.1:0")];
        command.envs(ports).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
        let mut address = |before: &str, after: &str| {
            let line = lines.find(|line| line.contains(before)).unwrap_or_else(|| panic!("no line with {before}"));
            let rest = line.split_once(before).expect("what was found").1;
            let address = rest.split_once(after).expect("the end of the address").0;
            address.parse().unwrap_or_else(|_| panic!("no address in {line}"))
        };
        let public = address("ws://", "/ws");
        let admin = address("admin       http://", "/");
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, public, admin }
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill").success());
    }

    /// Waits for its end; its exit code, and what it said on stderr.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut said = String::new();
        self.child.stderr.take().expect("its stderr").read_to_string(&mut said).expect("text");
        (status.code(), said)
    }

    /// Asks a port for a path, with these headers beside the needed ones; the whole answer.
    pub(crate) fn get(address: SocketAddr, path: &str, headers: &str) -> String {
        let mut stream = connect(address);
        let close = if headers.contains("connection:") { "" } else { "connection: close\r\n" };
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n{close}{headers}\r\n").expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// A WebSocket to it, by hand.
pub(crate) struct Socket {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Socket {
    /// Shakes hands, with these headers beside the needed ones, and takes the welcome.
    pub(crate) fn open(address: SocketAddr, headers: &str) -> Self {
        let (mut socket, head) = Self::ask(address, headers);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let welcome = socket.text();
        assert!(welcome.contains("welcome"), "{welcome}");
        socket
    }

    /// Asks for a connection; what it is answered with.
    pub(crate) fn ask(address: SocketAddr, headers: &str) -> (Self, String) {
        let mut socket = Self { stream: connect(address), read: Vec::new() };
        let request = format!(
            "GET /ws HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        socket.stream.write_all(request.as_bytes()).expect("a handshake");
        let end = loop {
            if let Some(end) = socket.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            socket.read_more();
        };
        let head: Vec<u8> = socket.read.drain(..end).collect();
        (socket, String::from_utf8(head).expect("text"))
    }

    /// Sends one text of less than 64 KiB, masked with zeros.
    pub(crate) fn send(&mut self, text: &str) {
        let length = match u8::try_from(text.len()) {
            Ok(short) if short < 126 => vec![0x80 | short],
            _ => [&[0x80 | 126][..], &u16::try_from(text.len()).expect("a short text").to_be_bytes()].concat(),
        };
        let frame = [&[0x81], &length[..], &[0; 4], text.as_bytes()].concat();
        self.stream.write_all(&frame).expect("sent");
    }

    /// The next text.
    pub(crate) fn text(&mut self) -> String {
        let (first, payload) = self.frame();
        assert_eq!(first, 0x81, "not a text: {payload:?}");
        String::from_utf8(payload).expect("UTF-8")
    }

    /// The code of the close that comes, after whatever comes before.
    pub(crate) fn close_code(&mut self) -> u16 {
        loop {
            let (first, payload) = self.frame();
            if first == 0x88 {
                return u16::from_be_bytes(*payload.first_chunk().expect("a code"));
            }
        }
    }

    fn frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            let (start, length) = match self.read[..] {
                [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
                [_, short, ..] if short < 126 => (2, usize::from(short)),
                _ => (0, usize::MAX),
            };
            if length != usize::MAX && self.read.len() >= start + length {
                let first = self.read[0];
                let frame: Vec<u8> = self.read.drain(..start + length).collect();
                return (first, frame[start..].to_vec());
            }
            self.read_more();
        }
    }

    fn read_more(&mut self) {
        let mut buffer = [0; 4096];
        let length = self.stream.read(&mut buffer).expect("something to read");
        assert!(length > 0, "the stream ended after {:?}", String::from_utf8_lossy(&self.read));
        self.read.extend_from_slice(&buffer[..length]);
    }
}
