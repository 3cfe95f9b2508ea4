//! Messages to frames: header and payload in one buffer, so that a turn's frames are one run of bytes.

use protocol::CloseCode;
use protocol::dialect::Messages;

const FINAL: u8 = 0x80;
const TEXT: u8 = FINAL | 0x1;
const BINARY: u8 = FINAL | 0x2;
const CLOSE: u8 = FINAL | 0x8;
const PING: u8 = FINAL | 0x9;
const PONG: u8 = FINAL | 0xA;

/// The header reserved before a payload of unknown length is written; most need exactly this.
pub(super) const USUAL_HEADER: usize = 4;

/// Appends frames to a buffer; remembers whether the dialect asked for the end instead.
pub struct Frames<'a> {
    /// Where the frames go.
    pub buffer: &'a mut Vec<u8>,
    /// Set when the dialect has no other way to say what it was asked to say.
    pub close: Option<CloseCode>,
}

impl<'a> Frames<'a> {
    /// Frames appended to this buffer.
    pub fn new(buffer: &'a mut Vec<u8>) -> Self {
        Self { buffer, close: None }
    }

    fn message(&mut self, first: u8, write: &mut dyn FnMut(&mut Vec<u8>)) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; USUAL_HEADER]);
        write(self.buffer);
        set_header(self.buffer, start, first);
    }
}

impl Messages for Frames<'_> {
    fn text(&mut self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        self.message(TEXT, write);
    }

    fn binary(&mut self, bytes: &[u8]) {
        frame(self.buffer, BINARY, bytes);
    }

    fn binary_with(&mut self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        self.message(BINARY, write);
    }

    fn close(&mut self, code: CloseCode) {
        self.close = Some(code);
    }
}

/// Appends a close frame (RFC 6455 section 5.5.1); without a code it has no payload.
pub fn close_frame(buffer: &mut Vec<u8>, code: Option<u16>, reason: &str) {
    let mut payload = Vec::new();
    if let Some(code) = code {
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(reason.as_bytes());
    }
    frame(buffer, CLOSE, &payload);
}

/// Appends an empty ping.
pub fn ping_frame(buffer: &mut Vec<u8>) {
    frame(buffer, PING, &[]);
}

/// Appends the answer to a ping.
pub fn pong_frame(buffer: &mut Vec<u8>, payload: &[u8]) {
    frame(buffer, PONG, payload);
}

fn frame(buffer: &mut Vec<u8>, first: u8, payload: &[u8]) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; USUAL_HEADER]);
    buffer.extend_from_slice(payload);
    set_header(buffer, start, first);
}

/// Puts the header before the payload that begins [`USUAL_HEADER`] bytes after `start`, moving it if the header's length
/// (section 5.2: 2, 4 or 10 bytes, unmasked) is another one.
pub(super) fn set_header(buffer: &mut Vec<u8>, start: usize, first: u8) {
    let length = buffer.len() - start - USUAL_HEADER;
    match length {
        0..126 => {
            buffer.drain(start + 2..start + USUAL_HEADER);
            buffer[start + 1] = length as u8;
        }
        126..65536 => {
            buffer[start + 1] = 126;
            buffer[start + 2..start + 4].copy_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            buffer.splice(start + USUAL_HEADER..start + USUAL_HEADER, [0; 6]);
            buffer[start + 1] = 127;
            buffer[start + 2..start + 10].copy_from_slice(&(length as u64).to_be_bytes());
        }
    }
    buffer[start] = first;
}
