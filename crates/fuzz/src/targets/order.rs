//! What comes by a node's own topic: private messages and their answers.

use crate::cost;
use bytes::Bytes;
use protocol::Order;

pub(super) const WORDS: &[&str] = &["\u{1}\u{1}", "\u{1}\u{2}", "\0\0\0\u{12}", "n1.a", "null"];
pub(super) const GOLDEN: &[&str] = &["order"];

/// Nothing is copied.
const MULTIPLE: u64 = 0;
const BASE_BYTES: u64 = 512;

/// Decodes, and writes what was understood.
pub fn check(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let read = cost::within(data.len(), MULTIPLE, BASE_BYTES, || Order::decode(bytes.clone()));
    if let Ok(order) = read {
        assert_eq!(Order::decode(order.encode()), Ok(order));
    }
}
