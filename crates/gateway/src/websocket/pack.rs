//! Frames that this side has written, put together into fewer: the objects of several messages become an array, for a client
//! that has asked for that.
//!
//! Outboxes hold the same frames for all clients of a dialect, and what may go of them. They are put together only where they
//! leave, so neither sharing nor letting go knows of arrays.

use super::Frames;
use super::unframe::{DATA, split};
use protocol::dialect::Array;
use smallvec::SmallVec;
use std::io::{self, IoSlice};

/// No array is longer, but for a single object that is; nor is another one begun in the same write beyond it.
const ARRAY_BYTES: usize = 32 * 1024;

/// What is put together for one socket.
#[derive(Debug)]
pub struct Packing {
    array: Array,
    /// Of what was put together, what the stream has begun to take and not ended: at most one write's worth.
    unsent: Vec<u8>,
}

impl Packing {
    /// For messages that become this kind of array.
    pub fn new(array: Array) -> Self {
        Self { array, unsent: Vec::new() }
    }

    /// Bytes that have left the outbox and not reached the stream.
    pub fn unsent_bytes(&self) -> usize {
        self.unsent.len()
    }

    /// Writes whole frames from the front of these slices, put together; returns how many bytes of them have been taken.
    ///
    /// # Errors
    /// `WouldBlock` when nothing can be taken; else the stream is broken.
    pub fn write(
        &mut self,
        slices: &[IoSlice<'_>],
        scratch: &mut Vec<u8>,
        write: &mut dyn FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if !self.flush(write)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        scratch.clear();
        scratch.shrink_to(4 * ARRAY_BYTES);
        let packed = pack(self.array, slices, scratch);
        let written = write(scratch)?;
        // Half of a frame: the rest has to follow, whatever the outbox lets go of.
        self.unsent.extend_from_slice(&scratch[written..]);
        Ok(packed)
    }

    /// Hands to the stream what it has begun to take; false while there is still some.
    ///
    /// # Errors
    /// When the stream is broken.
    pub fn flush(&mut self, write: &mut dyn FnMut(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
        while !self.unsent.is_empty() {
            match write(&self.unsent) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        // A socket that keeps up keeps nothing.
        self.unsent = Vec::new();
        Ok(true)
    }
}

/// Appends the frames at the front of these slices, data as arrays and everything else as it is; returns how many bytes of
/// the slices that were. Each slice is whole frames.
fn pack(array: Array, slices: &[IoSlice<'_>], out: &mut Vec<u8>) -> usize {
    let mut packed = 0;
    let mut objects: SmallVec<[&[u8]; 64]> = SmallVec::new();
    let mut bytes = 0;
    for slice in slices {
        let mut rest: &[u8] = slice;
        while let Some((first, payload, after)) = split(rest) {
            let is_data = DATA.contains(&(first & 0xf));
            let is_full = objects.len() == Array::MAX_OBJECTS || bytes + payload.len() > ARRAY_BYTES;
            if !objects.is_empty() && (is_full || !is_data) {
                array.write(&objects, &mut Frames::new(out));
                objects.clear();
                bytes = 0;
            }
            if out.len() > ARRAY_BYTES {
                return packed;
            }
            let frame = &rest[..rest.len() - after.len()];
            if is_data {
                objects.push(payload);
                bytes += payload.len() + 1;
            } else {
                out.extend_from_slice(frame);
            }
            packed += frame.len();
            rest = after;
        }
    }
    if !objects.is_empty() {
        array.write(&objects, &mut Frames::new(out));
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::{ServerMessage, close_frame, ping_frame, server_messages};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use protocol::dialect::Messages;

    /// What is written to a socket.
    #[derive(Debug, Clone)]
    enum Item {
        Number(usize),
        /// An object of about this length.
        Long(usize),
        Ping,
    }

    fn frames(items: &[Item]) -> Vec<u8> {
        let mut buffer = Vec::new();
        for item in items {
            match item {
                Item::Ping => ping_frame(&mut buffer),
                Item::Number(number) => text(&mut buffer, &number.to_string()),
                Item::Long(length) => text(&mut buffer, &format!("\"{}\"", "x".repeat(*length))),
            }
        }
        buffer
    }

    fn text(buffer: &mut Vec<u8>, json: &str) {
        Frames::new(buffer).text(&mut |buffer| buffer.extend_from_slice(json.as_bytes()));
    }

    fn messages(frames: &[u8]) -> Vec<String> {
        let text = |message| match message {
            ServerMessage::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
            other => format!("{other:?}"),
        };
        server_messages(frames).map(text).collect()
    }

    /// The objects of arrays, and everything else as it is.
    fn flattened(frames: &[u8]) -> Vec<String> {
        let of_array = |text: String| -> Vec<String> {
            let array: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
            assert!((1..=Array::MAX_OBJECTS).contains(&array.len()));
            assert!(text.len() <= ARRAY_BYTES + 2 || array.len() == 1, "{} bytes", text.len());
            array.iter().map(ToString::to_string).collect()
        };
        messages(frames).into_iter().flat_map(of_array).collect()
    }

    /// Where pings lie among the objects.
    fn shape(frames: &[u8]) -> Vec<String> {
        let (mut rest, mut shape) = (frames, Vec::new());
        while let Some((first, payload, after)) = split(rest) {
            let kind = first & 0xf;
            match kind {
                0x1 => shape.extend(flattened(&rest[..rest.len() - after.len()])),
                _ => shape.push(format!("{kind} {payload:?}")),
            }
            rest = after;
        }
        assert!(rest.is_empty(), "whole frames");
        shape
    }

    fn packed(slices: &[&[u8]]) -> (Vec<u8>, usize) {
        let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        let mut out = Vec::new();
        let taken = pack(Array::Json, &slices, &mut out);
        (out, taken)
    }

    #[test]
    fn the_frames_of_one_turn_leave_as_one_array_whichever_buffers_hold_them() {
        let (one, two) = (frames(&[Item::Number(1), Item::Number(2)]), frames(&[Item::Number(3)]));
        let (out, taken) = packed(&[&one, &two]);
        assert_eq!((messages(&out), taken), (vec!["[1,2,3]".to_owned()], one.len() + two.len()));
    }

    #[test]
    fn a_single_object_is_an_array_too() {
        assert_eq!(messages(&packed(&[&frames(&[Item::Number(7)])]).0), ["[7]"]);
    }

    #[test]
    fn control_frames_keep_their_place() {
        let mut buffer = frames(&[Item::Ping, Item::Number(1), Item::Number(2), Item::Ping, Item::Number(3)]);
        close_frame(&mut buffer, Some(4200), "draining");
        let (out, taken) = packed(&[&buffer]);
        assert_eq!(messages(&out), ["[1,2]", "[3]", "Close(Some(4200))"]);
        assert_eq!((taken, &out[..2]), (buffer.len(), &[0x89, 0][..]));
    }

    #[test]
    fn an_array_is_bounded_in_objects_and_in_bytes() {
        let many: Vec<_> = (0..600).map(Item::Number).collect();
        let (out, _) = packed(&[&frames(&many)]);
        let lengths = messages(&out).iter().map(|text| text.split(',').count()).collect::<Vec<_>>();
        assert_eq!(lengths, [256, 256, 88]);
        let long = frames(&[Item::Long(40_000), Item::Long(20_000), Item::Long(20_000)]);
        let (first, taken) = packed(&[&long]);
        assert_eq!(messages(&first).len(), 1, "and the rest has to wait: what has begun to leave cannot be let go of");
        let (second, _) = packed(&[&long[taken..]]);
        assert_eq!(messages(&second).iter().map(String::len).collect::<Vec<_>>(), [20_004, 20_004]);
    }

    #[test]
    fn maps_of_msgpack_become_an_array_of_any_length() {
        for (count, head) in [(15u8, &[0x9f][..]), (16, &[0xdc, 0, 16])] {
            let mut buffer = Vec::new();
            (0..count).for_each(|_| Frames::new(&mut buffer).binary(&[0x80]));
            let mut out = Vec::new();
            pack(Array::Msgpack, &[IoSlice::new(&buffer)], &mut out);
            let expected = [head, &vec![0x80; usize::from(count)]].concat();
            assert_eq!(server_messages(&out).collect::<Vec<_>>(), [ServerMessage::Binary(&expected)]);
        }
    }

    #[test]
    fn a_stream_that_takes_nothing_has_taken_nothing() {
        let (buffer, mut packing) = (frames(&[Item::Number(1)]), Packing::new(Array::Json));
        let full =
            packing.write(&[IoSlice::new(&buffer)], &mut Vec::new(), &mut |_| Err(io::ErrorKind::WouldBlock.into()));
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(packing.unsent_bytes(), 0);
    }

    fn item() -> impl Strategy<Value = Item> {
        prop_oneof![
            8 => (0usize..1_000_000).prop_map(Item::Number),
            1 => (0usize..40_000).prop_map(Item::Long),
            1 => Just(Item::Ping),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        /// As an outbox drives it, against a kernel that takes as much as it likes.
        #[test]
        fn what_arrives_is_what_would_have_come_one_by_one(
            turns in vec(vec(item(), 0..40), 1..8), takes in vec(0usize..20_000, 1..20),
        ) {
            let chunks: Vec<_> = turns.iter().map(|turn| frames(turn)).filter(|chunk| !chunk.is_empty()).collect();
            let (mut wire, mut packing, mut scratch) = (Vec::new(), Packing::new(Array::Json), Vec::new());
            let mut takes = takes.into_iter().chain([usize::MAX]).cycle();
            let mut kernel = |bytes: &[u8]| match takes.next().unwrap_or(0).min(bytes.len()) {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                some => {
                    wire.extend_from_slice(&bytes[..some]);
                    Ok(some)
                }
            };
            let (mut first, mut written) = (0, 0);
            while first < chunks.len() {
                let slices: Vec<_> = chunks[first..].iter().enumerate()
                    .map(|(index, chunk)| IoSlice::new(&chunk[if index == 0 { written } else { 0 }..]))
                    .collect();
                written += packing.write(&slices, &mut scratch, &mut kernel).unwrap_or(0);
                prop_assert!(packing.unsent_bytes() <= 3 * ARRAY_BYTES);
                while first < chunks.len() && written >= chunks[first].len() {
                    written -= chunks[first].len();
                    first += 1;
                }
            }
            while !packing.flush(&mut kernel).unwrap() {}
            let unbatched: Vec<String> = turns.iter().flatten().map(|item| match item {
                Item::Number(number) => number.to_string(),
                Item::Long(length) => format!("\"{}\"", "x".repeat(*length)),
                Item::Ping => "9 []".to_owned(),
            }).collect();
            prop_assert_eq!(shape(&wire), unbatched);
        }
    }
}
