//! What a Socket.IO client sends, as the body of a POST and as messages of a WebSocket: read within a bound, and what its
//! session is told of is what the protocol lets a client ask for.

use crate::cost;
use bytes::Bytes;
use protocol::dialect::Incoming;
use protocol::dialect::json::check_readable;
use protocol::dialect::socketio::engine::{self, Packet, Payload};
use protocol::dialect::socketio::{Act, Rules, Session};
use serde_json::Value;

pub(super) const WORDS: &[&str] = &[
    "40", "41", "42", "43", "451-", "46", "2probe", "5", "\u{1e}", "b", "AQID", "\n", "\nB", "[\"room-message\",", "]", "{}",
    "{\"_placeholder\":true,\"num\":0}", "/admin,", "10-", "\"connect\"", "null", "\"token\":",
];
pub(super) const GOLDEN: &[&str] = &[];

/// Of a packet of one byte a thousand times: a payload has no more.
const BASE_BYTES: u64 = 128 * 1024;
const MULTIPLE: u64 = 4;

/// The largest packet with its attachments.
const MAX_BYTES: usize = 2_000;

/// As a payload, and as messages, one a line; those that begin with `B` are binary.
pub fn check(data: &[u8]) {
    posted(data);
    let mut session = Session::default();
    let rules = Rules::default();
    for line in std::iter::once(&b"40"[..]).chain(data.split(|byte| *byte == b'\n')) {
        let message = match (line.strip_prefix(b"B"), std::str::from_utf8(line)) {
            (Some(bytes), _) => Incoming::Binary(bytes),
            (None, Ok(text)) => Incoming::Text(text),
            // A WebSocket's text is UTF-8.
            (None, Err(_)) => return,
        };
        let held = session.held_bytes() + line.len();
        let taken = cost::within(held, MULTIPLE, BASE_BYTES, || {
            session.receive(&rules, message, MAX_BYTES, &mut |act| whole(&act))
        });
        if taken.is_err() {
            return;
        }
        assert!(session.held_bytes() <= MAX_BYTES.max(line.len()), "{} bytes are held", session.held_bytes());
    }
}

/// A payload that was read is written as it is read again.
fn posted(data: &[u8]) {
    let Ok(packets) = cost::within(data.len(), MULTIPLE, BASE_BYTES, || engine::payload(data)) else { return };
    assert!((1..=engine::MAX_PACKETS).contains(&packets.len()), "{} packets", packets.len());
    let mut again = Payload::default();
    for packet in &packets {
        match packet {
            Packet::Close => again.text(b"1"),
            Packet::Ping(data) => again.text(format!("2{data}").as_bytes()),
            Packet::Pong => again.text(b"3"),
            Packet::Message(text) => again.text(format!("4{text}").as_bytes()),
            Packet::Binary(bytes) => again.binary(bytes),
            Packet::Noop => again.text(b"6"),
        }
    }
    let again: Bytes = again.finish();
    assert_eq!(engine::payload(&again).as_deref(), Ok(&packets[..]));
}

/// An event has a name and its attachments, a CONNECT bears an object: whoever carries them out relies on it.
fn whole(act: &Act<'_>) {
    // What few parsers read is refused where it would be passed on.
    let text = match act {
        Act::Event(event) => event.data,
        Act::Acked { data, .. } | Act::Connect { auth: data, .. } => data,
        _ => "",
    };
    if text.is_empty() || check_readable(text).is_err() {
        return;
    }
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    match act {
        Act::Event(event) => {
            assert!(event.attachments.len() <= 10, "{} attachments", event.attachments.len());
            let data = parsed(event.data);
            let name = data.get(0).unwrap_or_else(|| panic!("an event without a name: {data}"));
            assert!(name.is_string() || name.is_number(), "{name} is no name");
        }
        Act::Acked { data, .. } => assert!(parsed(data).is_array(), "{data}"),
        Act::Connect { auth, .. } => assert!(parsed(auth).is_object(), "{auth}"),
        _ => {}
    }
}
