//! Engine.IO 4: packets, and the payloads in which long-polling carries several of them.
//!
//! A packet is a digit and its data; binary has no digit on a WebSocket, and is `b` and base64 in a payload. The packets of
//! a payload are separated by `0x1e`.

use super::Violation;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use std::fmt::Write;

/// The one version that is spoken (`EIO=4`).
pub const VERSION: &str = "4";

/// Between the packets of a payload.
pub const SEPARATOR: u8 = 0x1e;

/// The most packets in one payload: each may be answered.
pub const MAX_PACKETS: usize = 1000;

/// What the server pings with.
pub const PING: &str = "2";
/// What releases a poll that has nothing to bring.
pub const NOOP: &str = "6";
/// What a client asks an upgrade with, and is answered.
pub const PROBE: &str = "2probe";
/// The answer.
pub const PROBE_ANSWER: &str = "3probe";
/// What a client ends an upgrade with.
pub const UPGRADE: &str = "5";

/// A packet that a client has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `1`: the end of the session.
    Close,
    /// `2`: answered with a pong of the same data.
    Ping(&'a str),
    /// `3`: the client lives.
    Pong,
    /// `4`: a Socket.IO packet.
    Message(&'a str),
    /// An attachment.
    Binary(Bytes),
    /// `6`, or `5` where nothing is to be upgraded.
    Noop,
}

/// Reads a packet that came as text.
///
/// # Errors
/// When it is none that a client sends.
pub fn packet(text: &str) -> Result<Packet<'_>, Violation> {
    let mut chars = text.chars();
    let kind = chars.next().ok_or(Violation("an empty Engine.IO packet"))?;
    let data = chars.as_str();
    match kind {
        '1' => Ok(Packet::Close),
        '2' => Ok(Packet::Ping(data)),
        '3' => Ok(Packet::Pong),
        '4' => Ok(Packet::Message(data)),
        '5' | '6' => Ok(Packet::Noop),
        _ => Err(Violation("not an Engine.IO packet of a client")),
    }
}

/// Reads the packets of a payload: all of them, or the session ends.
///
/// # Errors
/// When one of them is none, or there are more than [`MAX_PACKETS`].
pub fn payload(body: &[u8]) -> Result<Vec<Packet<'_>>, Violation> {
    let text = std::str::from_utf8(body).map_err(|_| Violation("a payload is UTF-8"))?;
    let mut packets = Vec::new();
    for part in text.split(char::from(SEPARATOR)) {
        if packets.len() == MAX_PACKETS {
            return Err(Violation("too many packets in one payload"));
        }
        packets.push(match part.strip_prefix('b') {
            Some(encoded) => {
                let decoded = BASE64.decode(encoded).map_err(|_| Violation("an attachment that is not base64"))?;
                Packet::Binary(decoded.into())
            }
            None => packet(part)?,
        });
    }
    Ok(packets)
}

/// A payload while it is written.
#[derive(Debug, Default)]
pub struct Payload {
    bytes: Vec<u8>,
}

impl Payload {
    /// Whether it has no packet yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How large it is.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// A packet that is text.
    pub fn text(&mut self, packet: &[u8]) {
        self.separate();
        self.bytes.extend_from_slice(packet);
    }

    /// A packet that is binary.
    pub fn binary(&mut self, data: &[u8]) {
        self.separate();
        self.bytes.push(b'b');
        self.bytes.extend_from_slice(BASE64.encode(data).as_bytes());
    }

    /// The body of an answer.
    pub fn finish(self) -> Bytes {
        self.bytes.into()
    }

    fn separate(&mut self) {
        if !self.bytes.is_empty() {
            self.bytes.push(SEPARATOR);
        }
    }
}

/// What a session is told first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open<'a> {
    /// The session's secret name.
    pub sid: &'a str,
    /// Whether it may go on as a WebSocket.
    pub may_upgrade: bool,
    /// How often the gateway pings.
    pub ping_interval_ms: u64,
    /// How long an answer may take.
    pub ping_timeout_ms: u64,
    /// Larger messages end the session.
    pub max_payload_bytes: u64,
}

impl Open<'_> {
    /// The packet.
    pub fn packet(&self) -> String {
        let mut text = String::with_capacity(160);
        let upgrades = if self.may_upgrade { "\"websocket\"" } else { "" };
        // A sid is letters, digits and dots, and writing to a string cannot fail.
        let _ = write!(
            text,
            "0{{\"sid\":\"{}\",\"upgrades\":[{upgrades}],\"pingInterval\":{},\"pingTimeout\":{},\"maxPayload\":{}}}",
            self.sid, self.ping_interval_ms, self.ping_timeout_ms, self.max_payload_bytes
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_a_digit_and_their_data() {
        assert_eq!(packet("40"), Ok(Packet::Message("0")));
        assert_eq!(packet("2probe"), Ok(Packet::Ping("probe")));
        assert_eq!((packet("3"), packet("1"), packet("6")), (Ok(Packet::Pong), Ok(Packet::Close), Ok(Packet::Noop)));
        for wrong in ["", "0{}", "7", "abc", "é"] {
            assert!(packet(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_payload_is_read_as_a_whole_or_not_at_all() {
        let packets = payload(b"4hello\x1ebAQIDBA==\x1e3").unwrap();
        assert_eq!(packets, [Packet::Message("hello"), Packet::Binary(vec![1, 2, 3, 4].into()), Packet::Pong]);
        for wrong in [&b""[..], b"abc", b"4a\x1e", b"\x1e4a", b"4\xff", b"b!", b"4a\x1e4b\x1e9"] {
            assert!(payload(wrong).is_err(), "{wrong:?}");
        }
        let many = |count: usize| vec!["3"; count].join("\x1e");
        assert!(payload(many(MAX_PACKETS).as_bytes()).is_ok() && payload(many(MAX_PACKETS + 1).as_bytes()).is_err());
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut written = Payload::default();
        written.text(b"4hello");
        written.binary(&[1, 2, 3, 4]);
        assert_eq!(&written.finish()[..], b"4hello\x1ebAQIDBA==");
    }

    #[test]
    fn a_session_is_told_its_name_and_its_times() {
        let open = Open {
            sid: "n1.a",
            may_upgrade: true,
            ping_interval_ms: 25000,
            ping_timeout_ms: 20000,
            max_payload_bytes: 65536,
        };
        assert_eq!(
            open.packet(),
            r#"0{"sid":"n1.a","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":65536}"#
        );
    }
}
