//! A transport that keeps what a dialect reads and writes, for tests to look at.

use protocol::dialect::{Dialect, Encoding, Incoming, Malformed, Messages};
use protocol::{CloseCode, Outgoing, Request};

/// One thing a dialect has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    Text(String),
    Binary(Vec<u8>),
    Close(CloseCode),
}

/// Everything a dialect has written, in order.
#[derive(Debug, Default)]
pub(crate) struct Recorder(pub(crate) Vec<Written>);

impl Messages for Recorder {
    fn text(&mut self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        let earlier = b"an earlier message".to_vec();
        let mut buffer = earlier.clone();
        write(&mut buffer);
        let message = buffer.strip_prefix(&*earlier).expect("a dialect only appends");
        self.0.push(Written::Text(String::from_utf8(message.to_vec()).expect("a text message is UTF-8")));
    }

    fn binary(&mut self, bytes: &[u8]) {
        self.0.push(Written::Binary(bytes.to_vec()));
    }

    fn binary_with(&mut self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        let earlier = b"an earlier message".to_vec();
        let mut buffer = earlier.clone();
        write(&mut buffer);
        let message = buffer.strip_prefix(&*earlier).expect("a dialect only appends");
        self.0.push(Written::Binary(message.to_vec()));
    }

    fn close(&mut self, code: CloseCode) {
        self.0.push(Written::Close(code));
    }
}

/// What an encoding makes of one reply or push.
pub(crate) fn written(encoding: &Encoding, outgoing: &Outgoing) -> Vec<Written> {
    let mut recorder = Recorder::default();
    encoding.encode(outgoing, &mut recorder);
    recorder.0
}

/// The one text message that the JSON dialect makes of a reply or push.
#[allow(dead_code, reason = "each test binary uses what it needs")]
pub(crate) fn json(outgoing: &Outgoing) -> String {
    match written(&Encoding::Json, outgoing).as_slice() {
        [Written::Text(text)] => text.clone(),
        other => panic!("one text message was to be written, not {other:?}"),
    }
}

/// What the JSON dialect reads from one text message.
#[allow(dead_code, reason = "each test binary uses what it needs")]
pub(crate) fn read(text: &str) -> Vec<Result<Request, Malformed>> {
    let mut results = Vec::new();
    Dialect::Json.decode(Incoming::Text(text), &mut |result| results.push(result));
    results
}

/// The one binary message that the MessagePack dialect makes of a reply or push.
#[allow(dead_code, reason = "each test binary uses what it needs")]
pub(crate) fn msgpack(outgoing: &Outgoing) -> Vec<u8> {
    match written(&Encoding::Msgpack, outgoing).as_slice() {
        [Written::Binary(bytes)] => bytes.clone(),
        other => panic!("one binary message was to be written, not {other:?}"),
    }
}

/// What the MessagePack dialect reads from one binary message.
#[allow(dead_code, reason = "each test binary uses what it needs")]
pub(crate) fn read_msgpack(bytes: &[u8]) -> Vec<Result<Request, Malformed>> {
    let mut results = Vec::new();
    Dialect::Msgpack.decode(Incoming::Binary(bytes), &mut |result| results.push(result));
    results
}
