//! A client's message in MessagePack: answered whatever it is, cheaply, and what is published spoils nobody's message,
//! neither in MessagePack nor in JSON.

use crate::cost;
use protocol::dialect::json::MAX_BATCH;
use protocol::dialect::{Dialect, Encoding, Incoming, Malformed, Messages};
use protocol::{CloseCode, Command, Outgoing, Publication, Push, Request, Text};

pub(super) const WORDS: &[&str] = &[
    "type", "auth", "subscribe", "publish", "send", "history", "ping", "id", "channel", "data", "event", "token", "to",
    "recover", "since", "epoch", "offset", "limit", "retain", "members",
];
pub(super) const GOLDEN: &[&str] = &[];

/// As `crates/protocol/tests/allocation.rs` explains them.
const MULTIPLE: u64 = 6;
const BASE_BYTES: u64 = 10 * 1024;

/// The most of an answer to a command that means nothing.
const ANSWER_MAX_BYTES: usize = 1_000;

/// One binary message.
pub fn check(data: &[u8]) {
    let message = Incoming::Binary(data);
    cost::within(data.len(), MULTIPLE, BASE_BYTES, || Dialect::Msgpack.decode(message, &mut drop));
    let mut count = 0;
    Dialect::Msgpack.decode(message, &mut |result| {
        count += 1;
        match result {
            Ok(request) => carried(request),
            Err(malformed) => answered(malformed),
        }
    });
    assert!((1..=MAX_BATCH).contains(&count), "{count} results");
}

fn answered(malformed: Malformed) {
    let bytes = written(&Encoding::Msgpack, &Outgoing::Refused { id: malformed.id, refusal: malformed.refusal });
    assert!(bytes.len() < ANSWER_MAX_BYTES, "an answer of {} bytes", bytes.len());
}

/// What is published reaches others within a message that they can read, and means the same to those who publish it again.
fn carried(request: Request) {
    let Command::Publish(publish) = request.command else { return };
    let publication = Publication {
        offset: Some(1),
        data: publish.data.clone(),
        event: publish.event.map(Text::from),
        retain: publish.retain.map(Text::from),
        from: None,
        time_ms: 0,
        echo: true,
        stamp: 0,
    };
    let channel = publish.channel.clone();
    let message = Outgoing::Push(Push::Publication { channel, publication });
    let text = written(&Encoding::Json, &message);
    let parsed: Result<serde_json::Value, _> = serde_json::from_slice(&text);
    assert!(parsed.is_ok_and(|message| message["channel"].as_str() == Some(publish.channel.as_str())));
    // A push has the fields of a `publish` but for its type.
    let mut again = written(&Encoding::Msgpack, &message);
    let kind = b"\xa4type\xabpublication";
    assert_eq!(&again[1..=kind.len()], kind);
    again.splice(1..=kind.len(), *b"\xa4type\xa7publish");
    let mut count = 0;
    Dialect::Msgpack.decode(Incoming::Binary(&again), &mut |result| {
        count += 1;
        let is_same = result.is_ok_and(|it| matches!(it.command, Command::Publish(it) if it.data == publish.data));
        assert!(is_same, "what was read does not come back");
    });
    assert_eq!(count, 1);
}

fn written(encoding: &Encoding, outgoing: &Outgoing) -> Vec<u8> {
    let mut out = Out(Vec::new());
    encoding.encode(outgoing, &mut out);
    out.0
}

struct Out(Vec<u8>);

impl Messages for Out {
    fn text(&mut self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        write(&mut self.0);
    }

    fn binary(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn binary_with(&mut self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        write(&mut self.0);
    }

    fn close(&mut self, code: CloseCode) {
        panic!("closed with {code:?}");
    }
}
