//! Replies and pushes as MessagePack: how objects and values are written.

use super::from_json::write_json;
use crate::dialect::Messages;
use crate::dialect::json::{Notation, Object, write, write_publication};
use crate::{Channel, Outgoing, Publication};
use rmp::encode::{write_array_len, write_bin, write_bool, write_str, write_uint};

/// A map with no field yet; those of the wire have at most 15, so that their number fits this byte.
const MAP: u8 = 0x80;

/// Writes anything that goes to a client, as one binary message.
pub fn encode(outgoing: &Outgoing, out: &mut dyn Messages) {
    out.binary_with(&mut |buffer| write::<MessagePack>(buffer, outgoing));
}

/// Writes one live publication, as one binary message: encoded once for all its readers.
pub fn encode_publication(channel: &Channel, publication: &Publication, out: &mut dyn Messages) {
    out.binary_with(&mut |buffer| write_publication::<MessagePack>(buffer, channel, publication));
}

struct MessagePack;

/// Writing to a `Vec` cannot fail.
impl Notation for MessagePack {
    fn begin_object(buffer: &mut Vec<u8>) {
        buffer.push(MAP);
    }

    fn name(buffer: &mut Vec<u8>, _: u8, name: &str) {
        let _ = write_str(buffer, name);
    }

    fn end_object(buffer: &mut Vec<u8>, start: usize, fields: u8) {
        buffer[start] = MAP | fields;
    }

    fn begin_array(buffer: &mut Vec<u8>, length: usize) {
        // An answer has so many items as fit its client's outbox.
        let _ = write_array_len(buffer, u32::try_from(length).unwrap_or(u32::MAX));
    }

    fn before_item(_: &mut Vec<u8>, _: usize) {}

    fn end_array(_: &mut Vec<u8>) {}

    fn string(buffer: &mut Vec<u8>, text: &str) {
        let _ = write_str(buffer, text);
    }

    fn number(buffer: &mut Vec<u8>, number: u64) {
        let _ = write_uint(buffer, number);
    }

    fn boolean(buffer: &mut Vec<u8>, value: bool) {
        let _ = write_bool(buffer, value);
    }

    fn json(buffer: &mut Vec<u8>, json: &[u8]) {
        write_json(buffer, json);
    }

    /// As they are.
    fn binary<'a>(mut object: Object<'a, Self>, bytes: &[u8]) -> Object<'a, Self> {
        object.name("data");
        let _ = write_bin(object.buffer, bytes);
        object
    }
}
