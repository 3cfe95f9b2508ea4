//! What comes by a node's own topic: private messages and their answers, and where a user is.

use crate::cost;
use bytes::Bytes;
use protocol::Order;
use protocol::whereabouts::{PART_MAX_BYTES, Part};

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
        assert_eq!(Order::decode(order.encode()), Ok(order.clone()));
        if let Order::Located { part, .. } = order {
            check_part(part);
        }
    }
}

/// A connection of 30 bytes is some 200 here, and a channel of two bytes 32.
const PART_MULTIPLE: u64 = 40;

fn check_part(part: Bytes) {
    let size = part.len();
    let read = cost::within(size, PART_MULTIPLE, BASE_BYTES, || Part::decode(part));
    if let Ok(read) = read
        && size <= PART_MAX_BYTES
    {
        assert_eq!(Part::decode(read.encode()), Ok(read));
    }
}
