//! The id that a stream of events goes on from, which clients bring in a header or a query: what is read is written again as
//! it was, and nothing of it reaches the stream as more than a place.

use crate::cost;
use protocol::Channel;
use protocol::dialect::Messages;
use protocol::dialect::events::{self, Id, MAX_CHANNELS, MAX_ID_BYTES, Stream, read_id};
use protocol::{CloseCode, Outgoing, Reply};

pub(super) const WORDS: &[&str] =
    &["EEcQxS", "qubvCd", ".0.", ".18446744073709551615.", "k3Zq", ",", "!", "!4011", "65535", "\n", "data: ", "+1"];
pub(super) const GOLDEN: &[&str] = &[];

/// A place is larger than its words.
const MULTIPLE: u64 = 24;
const BASE_BYTES: u64 = 1_024;

/// Reads it, and writes with what was read.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(id) = cost::within(data.len(), MULTIPLE, BASE_BYTES, || read_id(text)) else { return };
    assert!(text.len() <= MAX_ID_BYTES && !text.contains(['\n', '\r', ' ']), "{text:?} is an id");
    let Id::Places(known) = id else { return };
    assert!(known.len() <= MAX_CHANNELS);
    let names = ["chat", "news"].map(|name| Channel::new(name).unwrap_or_else(|error| panic!("{error}")));
    let mut stream = Stream::new(&names, &known);
    let places: Vec<_> = stream.places().map(|(channel, position)| (channel.clone(), position.cloned())).collect();
    let mut written = Written::default();
    for (channel, position) in &places {
        let (channel, position) = (channel.clone(), position.clone());
        let reply =
            Reply::Subscribed { channel, position, recovered: true, publications: vec![], state: vec![], members: None };
        events::encode(&Outgoing::Reply { id: 1, reply }, &mut written);
    }
    let mut out = Vec::new();
    for message in &written.0 {
        stream.write(message, &mut out);
    }
    let out = String::from_utf8(out).unwrap_or_else(|error| panic!("{error}"));
    let last = out.lines().rev().find_map(|line| line.strip_prefix("id: ")).unwrap_or_default();
    let Some(Id::Places(again)) = read_id(last) else { panic!("{last:?} is no id") };
    let again: Vec<_> = Stream::new(&names, &again).places().map(|(c, p)| (c.clone(), p.cloned())).collect();
    assert_eq!(again, places, "{text:?} was written as {last:?}");
}

#[derive(Default)]
struct Written(Vec<Vec<u8>>);

impl Messages for Written {
    fn text(&mut self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        let mut text = Vec::new();
        write(&mut text);
        self.0.push(text);
    }

    fn binary(&mut self, _: &[u8]) {
        panic!("a stream of events is text");
    }

    fn binary_with(&mut self, _: &mut dyn FnMut(&mut Vec<u8>)) {
        panic!("a stream of events is text");
    }

    fn close(&mut self, code: CloseCode) {
        panic!("closed with {code:?}");
    }
}
