//! How objects and values are written as JSON text.

use super::encode::{Notation, Object};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// JSON text.
pub(in crate::dialect) struct Json;

/// Writing to a `Vec` cannot fail.
impl Notation for Json {
    fn begin_object(buffer: &mut Vec<u8>) {
        buffer.push(b'{');
    }

    fn name(buffer: &mut Vec<u8>, index: u8, name: &str) {
        if index > 0 {
            buffer.push(b',');
        }
        buffer.push(b'"');
        buffer.extend_from_slice(name.as_bytes());
        buffer.extend_from_slice(b"\":");
    }

    fn end_object(buffer: &mut Vec<u8>, _: usize, _: u8) {
        buffer.push(b'}');
    }

    fn begin_array(buffer: &mut Vec<u8>, _: usize) {
        buffer.push(b'[');
    }

    fn before_item(buffer: &mut Vec<u8>, index: usize) {
        if index > 0 {
            buffer.push(b',');
        }
    }

    fn end_array(buffer: &mut Vec<u8>) {
        buffer.push(b']');
    }

    fn string(buffer: &mut Vec<u8>, text: &str) {
        let _ = serde_json::to_writer(buffer, text);
    }

    fn number(buffer: &mut Vec<u8>, number: u64) {
        let _ = serde_json::to_writer(buffer, &number);
    }

    fn boolean(buffer: &mut Vec<u8>, value: bool) {
        buffer.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn json(buffer: &mut Vec<u8>, json: &[u8]) {
        buffer.extend_from_slice(json);
    }

    /// As base64, with a word that says so.
    fn binary<'a>(object: Object<'a, Self>, bytes: &[u8]) -> Object<'a, Self> {
        object.string("encoding", "base64").string("data", &BASE64.encode(bytes))
    }
}
