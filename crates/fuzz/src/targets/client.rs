//! What a gateway says, as the Rust client reads it: a gateway that lies may cost a client its connection, never more.

use crate::cost;

pub(super) const WORDS: &[&str] = &[
    "\"type\":", "\"welcome\"", "\"publication\"", "\"subscribed\"", "\"history\"", "\"presence\"", "\"gap\"", "\"message\"",
    "\"error\"", "\"reconnect\"", "\"id\":1", "\"data\":", "\"encoding\":\"base64\"", "\"publications\":[", "\"members\":[",
    "\"after_ms\":18446744073709551615", "\"state\":[", "\"from\":{\"client\":\"a\"}", "[[[[[[[[", "{\"data\":1},",
];
pub(super) const GOLDEN: &[&str] = &["push", "reply", "error"];

/// A publication in a list takes 10 bytes at least (`{"data":1}`) and 300 in memory, read and turned, in lists that grow by
/// doubling.
const MULTIPLE: u64 = 120;
const BASE_BYTES: u64 = 4_096;

/// Reads one message.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = cost::within(data.len(), MULTIPLE, BASE_BYTES, || client::read_message(text));
    if read.is_ok() {
        assert!(serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok(), "read, and no JSON");
    }
}
