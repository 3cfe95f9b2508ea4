//! The least that a server can do: an epoll loop that writes to every socket the bytes that a gateway would write.
//!
//! There is one channel, no Redis, and no bookkeeping. With `each` it writes once for each message and socket, which is what a
//! server costs that gathers nothing.

use super::{Command, Kind, SUBSCRIBED, publication, tell_ready};
use crate::Fault;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const LISTENER: Token = Token(usize::MAX);

/// Who does not take so much is dropped.
const UNSENT_MAX: usize = 16 * 1024 * 1024;

/// A gateway's connection has such a name.
const CLIENT: &str = "node-1.a.12345";

struct Client {
    stream: TcpStream,
    read: Vec<u8>,
    unsent: Vec<u8>,
    has_entered: bool,
    has_subscribed: bool,
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    clients: Vec<Option<Client>>,
    /// The frames of this turn.
    gathered: Vec<u8>,
    each: bool,
}

/// Serves until the process is ended.
pub(super) fn serve(listen: SocketAddr, each: bool) -> Result<(), Fault> {
    let mut listener = TcpListener::bind(listen)?;
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut server = Server { poll, listener, clients: Vec::new(), gathered: Vec::new(), each };
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; 64 * 1024];
    tell_ready();
    loop {
        match server.poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in events.iter() {
            if event.token() == LISTENER {
                server.accept()?;
                continue;
            }
            let number = event.token().0;
            if event.is_readable() && server.take(number, &mut scratch).is_err() {
                server.clients[number] = None;
            }
            if event.is_writable() {
                server.write(number, &[]);
            }
        }
        server.fan_out();
    }
}

impl Server {
    fn accept(&mut self) -> Result<(), Fault> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.clients.len());
            self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            let (read, unsent) = (Vec::new(), Vec::new());
            self.clients.push(Some(Client { stream, read, unsent, has_entered: false, has_subscribed: false }));
        }
    }

    /// Reads what a client says; an error ends it.
    fn take(&mut self, number: usize, scratch: &mut [u8]) -> Result<(), Fault> {
        let Some(Some(client)) = self.clients.get_mut(number) else { return Ok(()) };
        loop {
            match client.stream.read(scratch) {
                Ok(0) => return Err("gone".into()),
                Ok(read) => client.read.extend(&scratch[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        if !client.has_entered {
            let Some(end) = client.read.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(()) };
            let answer = enter(&client.read[..end])?;
            client.read.drain(..end + 4);
            client.has_entered = true;
            client.stream.write_all(answer.as_bytes())?;
        }
        let mut taken = 0;
        while let Some((text, length)) = next_text(&mut client.read[taken..])? {
            let command = Command::read(text)?;
            if command.kind == Kind::Subscribe {
                client.has_subscribed = true;
                client.stream.write_all(&frame(SUBSCRIBED))?;
            } else {
                self.gathered.extend(frame(&publication(&command.channel, CLIENT, command.data())));
            }
            taken += length;
        }
        client.read.drain(..taken);
        Ok(())
    }

    /// Writes what has been gathered to everybody.
    fn fan_out(&mut self) {
        let gathered = std::mem::take(&mut self.gathered);
        let mut rest = &gathered[..];
        while !rest.is_empty() {
            let length = if self.each { frame_length(rest) } else { rest.len() };
            for number in 0..self.clients.len() {
                if self.clients[number].as_ref().is_some_and(|client| client.has_subscribed) {
                    self.write(number, &rest[..length]);
                }
            }
            rest = &rest[length..];
        }
        self.gathered = gathered;
        self.gathered.clear();
    }

    /// Writes to one; what the kernel does not take is kept.
    fn write(&mut self, number: usize, bytes: &[u8]) {
        let Some(slot) = self.clients.get_mut(number) else { return };
        let Some(client) = slot else { return };
        let was_empty = client.unsent.is_empty();
        if was_empty && bytes.is_empty() {
            return;
        }
        let written = if was_empty {
            client.stream.write(bytes).map(|sent| client.unsent.extend(&bytes[sent..]))
        } else {
            client.unsent.extend(bytes);
            client.stream.write(&client.unsent).map(|sent| drop(client.unsent.drain(..sent)))
        };
        match written {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                client.unsent.extend(if was_empty { bytes } else { &[] });
            }
            Err(_) => *slot = None,
            Ok(()) if client.unsent.len() > UNSENT_MAX => *slot = None,
            Ok(()) => {}
        }
    }
}

/// The answer to a handshake.
fn enter(head: &[u8]) -> Result<String, Fault> {
    let head = std::str::from_utf8(head)?;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    });
    let accept = derive_accept_key(key.ok_or("no WebSocket handshake")?.as_bytes());
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    ))
}

/// The next whole text of a client, unmasked, and the length of its frame.
fn next_text(bytes: &mut [u8]) -> Result<Option<(&[u8], usize)>, Fault> {
    let (header, length) = match bytes {
        [0x81, short @ 0x80..=0xfd, ..] => (2, usize::from(*short & 0x7f)),
        [0x81, 0xfe, a, b, ..] => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        [0x81, 0xfe, ..] | [0x81] | [] => return Ok(None),
        _ => return Err("this server takes short texts only".into()),
    };
    let start = header + 4;
    let Some(frame) = bytes.get_mut(..start + length) else { return Ok(None) };
    let (head, text) = frame.split_at_mut(start);
    let mask = &head[header..];
    text.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok(Some((text, start + length)))
}

/// A text of up to 64 KiB, as a server sends it.
fn frame(text: &str) -> Vec<u8> {
    let length = text.len();
    let mut frame = vec![0x81];
    match length {
        0..=125 => frame.push(length as u8),
        _ => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend(text.as_bytes());
    frame
}

/// How long the first of these frames is.
fn frame_length(frames: &[u8]) -> usize {
    match frames {
        [_, 126, a, b, ..] => 4 + usize::from(u16::from_be_bytes([*a, *b])),
        [_, short, ..] => 2 + usize::from(*short),
        _ => frames.len(),
    }
}
