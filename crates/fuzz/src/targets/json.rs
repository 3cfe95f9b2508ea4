//! A client's message in the native dialect: answered whatever it is, cheaply, and what is published spoils nobody's message.

use crate::cost;
use protocol::dialect::json::{MAX_BATCH, encode};
use protocol::dialect::{Dialect, Incoming, Malformed, Messages};
use protocol::{CloseCode, Command, Outgoing, Publication, Push, Request, Text};
use serde_json::Value;

pub(super) const WORDS: &[&str] = &[
    "\"type\":", "\"auth\"", "\"subscribe\"", "\"unsubscribe\"", "\"publish\"", "\"send\"", "\"presence\"", "\"history\"",
    "\"ping\"", "\"id\":", "\"channel\":", "\"data\":", "\"event\":", "\"key\":", "\"token\":", "\"to\":", "\"recover\":",
    "\"since\":", "\"epoch\":", "\"offset\":", "\"limit\":", "\"retain\":", "\"volatile\":", "\"members\":", "\"state\":",
    "{\"type\":\"ping\"},", "[[[[[[[[", "{\"a\":", "1e999", "\"\\ud800\"", "99999999999999999999",
];
pub(super) const GOLDEN: &[&str] = &["command"];

/// As `crates/protocol/tests/allocation.rs` explains them.
const MULTIPLE: u64 = 4;
const BASE_BYTES: u64 = 10 * 1024;

/// The most of an answer to a command that means nothing.
const ANSWER_MAX_BYTES: usize = 1_000;

/// Text where it is text, else a binary message.
pub fn check(data: &[u8]) {
    let message = std::str::from_utf8(data).map_or(Incoming::Binary(data), Incoming::Text);
    cost::within(data.len(), MULTIPLE, BASE_BYTES, || Dialect::Json.decode(message, &mut drop));
    let mut count = 0;
    Dialect::Json.decode(message, &mut |result| {
        count += 1;
        match result {
            Ok(request) => carried(request),
            Err(malformed) => answered(malformed),
        }
    });
    assert!((1..=MAX_BATCH).contains(&count), "{count} results");
}

fn answered(malformed: Malformed) {
    let text = written(&Outgoing::Refused { id: malformed.id, refusal: malformed.refusal });
    assert!(text.len() < ANSWER_MAX_BYTES, "an answer of {} bytes", text.len());
    let answer: Value = parsed(&text);
    assert_eq!(answer.get("id").and_then(Value::as_u64), malformed.id);
}

/// What is published reaches others within a message that they can read.
fn carried(request: Request) {
    let Command::Publish(publish) = request.command else { return };
    let publication = Publication {
        offset: Some(1),
        data: publish.data,
        event: publish.event.map(Text::from),
        retain: publish.retain.map(Text::from),
        from: None,
        time_ms: 0,
        echo: true,
        stamp: 0,
    };
    let message = written(&Outgoing::Push(Push::Publication { channel: publish.channel.clone(), publication }));
    let message = parsed(&message);
    assert_eq!(message["channel"].as_str(), Some(publish.channel.as_str()));
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn written(outgoing: &Outgoing) -> String {
    let mut texts = Texts(Vec::new());
    encode(outgoing, &mut texts);
    String::from_utf8(texts.0).unwrap_or_else(|error| panic!("{error}"))
}

struct Texts(Vec<u8>);

impl Messages for Texts {
    fn text(&mut self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        write(&mut self.0);
    }

    fn binary(&mut self, _: &[u8]) {
        panic!("a binary message in JSON");
    }

    fn binary_with(&mut self, _: &mut dyn FnMut(&mut Vec<u8>)) {
        panic!("a binary message in JSON");
    }

    fn close(&mut self, code: CloseCode) {
        panic!("closed with {code:?} in JSON");
    }
}
