//! One connection of the generator: reads into a buffer that all share, and keeps only a frame that is not whole.

use super::frame::{self, Frame};
use super::open::Opened;
use mio::net::TcpStream;
use std::io::{ErrorKind, Read, Write};

/// More that waits to be sent than any pace makes of it: the server takes nothing.
const UNSENT_MAX: usize = 16 * 1024 * 1024;

/// A connection.
pub(super) struct Connection {
    /// The socket.
    pub(super) stream: TcpStream,
    /// The beginning of a frame.
    partial: Vec<u8>,
    /// What waits to be sent.
    out: Vec<u8>,
    /// Its channel.
    pub(super) channel: usize,
    /// Which of the channel's subscribers it is, if it is one.
    pub(super) subscriber: Option<usize>,
    /// Whether it is still there.
    pub(super) is_open: bool,
    /// Pings that it has answered.
    pub(super) pings: u32,
}

impl Connection {
    /// One that is open, of this channel.
    pub(super) fn new(opened: Opened, channel: usize, subscriber: Option<usize>) -> std::io::Result<Self> {
        opened.stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(opened.stream);
        Ok(Self { stream, partial: opened.rest, out: Vec::new(), channel, subscriber, is_open: true, pings: 0 })
    }

    /// Reads what there is; each message may be answered. An error says why the connection is over.
    pub(super) fn read<'a>(
        &mut self,
        scratch: &mut [u8],
        mut each: impl FnMut(&[u8]) -> Option<&'a str>,
    ) -> Result<(), String> {
        loop {
            let kept = self.partial.len();
            scratch[..kept].copy_from_slice(&self.partial);
            let read = match self.stream.read(&mut scratch[kept..]) {
                Ok(0) => return Err("the server ends a connection without a word".to_owned()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.to_string()),
            };
            let filled = kept + read;
            let taken = take_frames(&scratch[..filled], &mut self.out, &mut self.pings, &mut each)?;
            self.partial.clear();
            self.partial.extend(&scratch[taken..filled]);
            // A read that does not fill its buffer has emptied the socket (epoll(7)).
            if filled < scratch.len() {
                return Ok(());
            }
            if taken == 0 {
                return Err("a frame that does not end".to_owned());
            }
        }
    }

    /// Has a message sent with the next flush; false if it is the first.
    pub(super) fn say(&mut self, words: &str) -> bool {
        let waits = self.wants_flush();
        frame::write(&mut self.out, frame::TEXT, words.as_bytes());
        waits
    }

    /// Whether something waits to be sent.
    pub(super) fn wants_flush(&self) -> bool {
        !self.out.is_empty()
    }

    /// Sends what waits, as far as the kernel takes it.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        let mut sent = 0;
        while sent < self.out.len() {
            match self.stream.write(&self.out[sent..]) {
                Ok(0) => break,
                Ok(written) => sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        self.out.drain(..sent);
        if self.out.len() > UNSENT_MAX { Err("the server reads nothing".to_owned()) } else { Ok(()) }
    }
}

/// Takes whole frames; returns how many bytes they are.
fn take_frames<'a>(
    bytes: &[u8],
    out: &mut Vec<u8>,
    pings: &mut u32,
    each: &mut impl FnMut(&[u8]) -> Option<&'a str>,
) -> Result<usize, String> {
    let mut taken = 0;
    while let Some((frame, length)) = frame::first(&bytes[taken..]).map_err(|unreadable| unreadable.0.to_owned())? {
        match frame {
            Frame::Data(message) => {
                if let Some(answer) = each(message) {
                    frame::write(out, frame::TEXT, answer.as_bytes());
                }
            }
            Frame::Ping(payload) => {
                *pings += 1;
                frame::write(out, frame::PONG, payload);
            }
            Frame::Pong => {}
            Frame::Close(why) => return Err(close_text(why)),
        }
        taken += length;
    }
    Ok(taken)
}

fn close_text(payload: &[u8]) -> String {
    match payload {
        [a, b, reason @ ..] => {
            format!("closed: {} {}", u16::from_be_bytes([*a, *b]), String::from_utf8_lossy(reason))
        }
        _ => "closed without a code".to_owned(),
    }
}
