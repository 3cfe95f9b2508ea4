//! The raw relay: what goes in comes out, byte for byte, and costs one copy.

use crate::cost;
use protocol::dialect::raw::{Raw, encode_payload};
use protocol::dialect::{Incoming, Messages};
use protocol::{Channel, CloseCode, Command};

pub(super) const WORDS: &[&str] = &["hello", "é", "{\"type\":\"ping\"}"];
pub(super) const GOLDEN: &[&str] = &["command-publish"];

/// One copy, and what shares it.
const MULTIPLE: u64 = 1;
const BASE_BYTES: u64 = 256;

/// Text where it is text, else a binary message.
pub fn check(data: &[u8]) {
    let Ok(channel) = Channel::new("relay") else { unreachable!("a name that is taken") };
    let raw = Raw { channel, echo: false, past: None };
    let is_text = std::str::from_utf8(data).is_ok();
    let message = std::str::from_utf8(data).map_or(Incoming::Binary(data), Incoming::Text);
    let request = cost::within(data.len(), MULTIPLE, BASE_BYTES, || raw.decode(message));
    let Command::Publish(publish) = request.command else { panic!("a relay that does not publish") };
    let mut out = Out { is_text: None, bytes: Vec::new() };
    encode_payload(&publish.data, &mut out);
    assert_eq!((out.is_text, &out.bytes[..]), (Some(is_text), data));
}

struct Out {
    is_text: Option<bool>,
    bytes: Vec<u8>,
}

impl Messages for Out {
    fn text(&mut self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        self.is_text = Some(true);
        write(&mut self.bytes);
    }

    fn binary(&mut self, bytes: &[u8]) {
        self.is_text = Some(false);
        self.bytes.extend_from_slice(bytes);
    }

    fn binary_with(&mut self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        self.is_text = Some(false);
        write(&mut self.bytes);
    }

    fn close(&mut self, code: CloseCode) {
        panic!("closed with {code:?}");
    }
}
