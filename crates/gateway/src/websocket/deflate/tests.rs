//! Compressed messages there and back: as they came, within their bounds, and refused where they are not what a compressor writes.

use super::*;
use crate::websocket::{Event, Frames, Inflate, Reader, ReaderLimits, ServerMessage, ping_frame, server_messages};
use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;
use protocol::CloseCode;
use protocol::dialect::{Incoming, Messages};
use std::cell::RefCell;

const CONFIG: DeflateConfig = DeflateConfig { is_enabled: true, threshold_bytes: 100, level: 1 };
const MAX_BYTES: usize = 65_536;
const LIMITS: ReaderLimits = ReaderLimits { max_message_bytes: MAX_BYTES };

/// Inflates for a reader.
#[derive(Default)]
struct Inflating(RefCell<Inflater>);

impl Inflate for Inflating {
    fn inflate(&self, compressed: &[u8], max_bytes: usize) -> Result<Vec<u8>, CloseCode> {
        self.0.borrow_mut().inflate(compressed, max_bytes).map_err(|fault| match fault {
            Fault::TooBig => CloseCode::TooBig,
            Fault::Corrupt => CloseCode::InvalidText,
        })
    }

    fn recycle(&self, message: Vec<u8>) {
        self.0.borrow_mut().recycle(message);
    }
}

/// A message as a client compresses it.
fn deflated(message: &[u8]) -> Vec<u8> {
    let mut compress = Compress::new(Compression::new(6), false);
    let mut out = Vec::with_capacity(message.len() * 2 + 64);
    compress.compress_vec(message, &mut out, FlushCompress::Sync).expect("deflated");
    assert_eq!(out.split_off(out.len() - 4), [0, 0, 0xff, 0xff]);
    out
}

/// A client's frame, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        n @ 0..126 => out.push(0x80 | n as u8),
        n @ 126..65536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out
}

/// What a reader makes of a client's frames, and how that ended.
fn read(frames: &[u8], is_agreed: bool, step: usize) -> (Vec<Vec<u8>>, Result<(), CloseCode>) {
    let (mut reader, inflating, mut messages) = (Reader::default(), Inflating::default(), Vec::new());
    for piece in frames.chunks(step) {
        let inflate = is_agreed.then_some(&inflating as &dyn Inflate);
        let fed = reader.feed(&mut piece.to_vec(), &LIMITS, inflate, &mut |event| match event {
            Event::Message(Incoming::Text(text)) => messages.push(text.as_bytes().to_vec()),
            Event::Message(Incoming::Binary(bytes)) => messages.push(bytes.to_vec()),
            _ => {}
        });
        if fed.is_err() {
            return (messages, fed);
        }
    }
    (messages, Ok(()))
}

fn all(frames: &[u8]) -> (Vec<Vec<u8>>, Result<(), CloseCode>) {
    read(frames, true, frames.len().max(1))
}

fn texts(frames: &mut Vec<u8>, messages: &[&str]) {
    for message in messages {
        Frames::new(frames).text(&mut |buffer| buffer.extend_from_slice(message.as_bytes()));
    }
}

#[test]
fn the_examples_of_the_rfc_say_hello() {
    let examples: [&[u8]; 5] = [
        // Section 7.2.3.1: one block; in two frames; 7.2.3.3: without compression; 7.2.3.4: called the last; 7.2.3.5: two blocks.
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
        &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
        &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
    ];
    for example in examples {
        assert_eq!(all(&frame(0xc1, example)), (vec![b"Hello".to_vec()], Ok(())), "{example:x?}");
    }
    let [first, ..] = examples;
    let halves = [frame(0x41, &first[..3]), frame(0x89, b"ping"), frame(0x80, &first[3..])].concat();
    assert_eq!(all(&halves), (vec![b"Hello".to_vec()], Ok(())));
    assert_eq!(all(&[frame(0xc1, &[0]), frame(0xc2, &[])].concat()), (vec![vec![], vec![]], Ok(())), "nothing");
}

#[test]
fn the_bit_of_compressed_messages_is_a_violation_wherever_it_does_not_belong() {
    let compressed = deflated(b"hello");
    let cases = [
        ("not agreed upon", false, frame(0xc1, &compressed)),
        ("on a ping", true, frame(0xc9, &[])),
        ("on a close", true, frame(0xc8, &[])),
        ("on a later fragment", true, [frame(0x41, &compressed[..2]), frame(0xc0, &compressed[2..])].concat()),
        ("on the later fragment alone", true, [frame(0x01, b"a"), frame(0xc0, &compressed)].concat()),
        ("the second reserved bit", true, frame(0xa1, &compressed)),
        ("the third one beside the first", true, frame(0xd1, &compressed)),
    ];
    for (what, is_agreed, frames) in cases {
        assert_eq!(read(&frames, is_agreed, frames.len()), (vec![], Err(CloseCode::ProtocolError)), "{what}");
    }
    assert_eq!(all(&frame(0x81, b"as it is")).0, [b"as it is"], "not every message has to be compressed");
}

#[test]
fn what_no_compressor_has_written_closes_with_1007() {
    let compressed = deflated("hällo ".repeat(40).as_bytes());
    let end = [0, 0, 0xff, 0xff];
    let cases = [
        ("no DEFLATE", vec![0xff; 40]),
        ("half of it", compressed[..compressed.len() / 2].to_vec()),
        ("a stored block that goes on", vec![0x00, 0x05, 0x00, 0xfa, 0xff, b'h']),
        ("something behind the last block", [&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..], &compressed].concat()),
        ("back beyond its beginning", vec![0x4a, 0x04, 0x11, 0x00]),
        ("an end that was not left out", [&compressed[..], &end].concat()),
        ("text that is not UTF-8", deflated(&[0xc3, 0x28])),
    ];
    for (what, payload) in cases {
        assert_eq!(all(&frame(0xc1, &payload)), (vec![], Err(CloseCode::InvalidText)), "{what}");
    }
    assert_eq!(all(&frame(0xc1, &[&compressed[..], &end, &[0]].concat())).1, Ok(()), "an empty block more is no harm");
}

#[test]
fn a_bomb_ends_at_the_bound_and_the_next_message_is_none_the_worse() {
    let bomb = deflated(&vec![0; 4 << 20]);
    assert!(bomb.len() < MAX_BYTES, "4 MiB come in one frame");
    assert_eq!(all(&frame(0xc2, &bomb)), (vec![], Err(CloseCode::TooBig)));
    let mut inflater = Inflater::default();
    assert_eq!(inflater.inflate(&bomb, MAX_BYTES), Err(Fault::TooBig));
    for (length, is_taken) in [(MAX_BYTES - 1, true), (MAX_BYTES, true), (MAX_BYTES + 1, false)] {
        let inflated = inflater.inflate(&deflated(&vec![7; length]), MAX_BYTES);
        assert_eq!(inflated.map(|message| message.len()), if is_taken { Ok(length) } else { Err(Fault::TooBig) });
    }
}

#[test]
fn a_message_of_the_largest_size_arrives_although_compression_makes_it_larger() {
    let chance: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(MAX_BYTES).collect();
    let compressed = deflated(&chance);
    assert!(compressed.len() > MAX_BYTES);
    assert_eq!(all(&frame(0xc2, &compressed)), (vec![chance.clone()], Ok(())));
    let halves = [frame(0x42, &compressed[..70]), frame(0x80, &compressed[70..])].concat();
    assert_eq!(all(&halves), (vec![chance], Ok(())));
    assert_eq!(all(&frame(0xc2, &vec![0; MAX_BYTES + MAX_BYTES / 32 + 65])).1, Err(CloseCode::TooBig), "by its header");
}

#[test]
fn only_what_is_large_and_becomes_smaller_is_compressed_and_everything_else_stays_as_it_is() {
    let large = "large ".repeat(200);
    let chance: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(1_000).collect();
    let mut frames = Vec::new();
    texts(&mut frames, &["small"]);
    ping_frame(&mut frames);
    Frames::new(&mut frames).binary(&chance);
    assert!(Compressor::new(CONFIG).compress(Window::Whole, &frames).is_none());
    let start = frames.len();
    texts(&mut frames, &[&large]);
    let end = frames.len();
    texts(&mut frames, &["small"]);
    let compressed = Compressor::new(CONFIG).compress(Window::Whole, &frames).expect("one is compressed");
    assert_eq!((compressed.messages, compressed.bytes_before), (1, large.len() as u64));
    assert!(compressed.bytes_after < 100 && compressed.frames.len() < start + 120);
    assert_eq!((compressed.moved(0), compressed.moved(start)), (0, start));
    assert_eq!(compressed.frames[..start], frames[..start]);
    assert_eq!(compressed.frames[compressed.moved(end)..], frames[end..]);
    assert_eq!(compressed.moved(frames.len()), compressed.frames.len());
    assert_eq!(compressed.frames[start], 0xc1, "a whole text, compressed");
}

#[test]
fn messages_that_do_not_become_smaller_leave_nothing_behind_for_the_next_ones() {
    let mut compressor = Compressor::new(CONFIG);
    let large = "large ".repeat(20_000);
    for length in (100..4_000).chain([70_000, 140_000]) {
        let chance: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(length).collect();
        let (mut frames, mut text) = (Vec::new(), Vec::new());
        Frames::new(&mut frames).binary(&chance);
        assert!(compressor.compress(Window::Whole, &frames).is_none());
        if length % 500 == 0 {
            texts(&mut text, &[&large]);
            let compressed = compressor.compress(Window::Whole, &text).expect("compressed").frames;
            assert_eq!(inflated(&compressed, [0].into_iter()), [large.as_bytes()]);
        }
    }
}

/// Each message of our frames, inflated where its frame says so.
fn inflated(frames: &[u8], starts: impl Iterator<Item = usize>) -> Vec<Vec<u8>> {
    let mut inflater = Inflater::default();
    let compressed: Vec<bool> = starts.map(|start| frames[start] & 0x40 != 0).collect();
    let payload = |message| match message {
        ServerMessage::Text(bytes) | ServerMessage::Binary(bytes) => bytes,
        ServerMessage::Close(_) => &[],
    };
    let messages = server_messages(frames).map(payload).zip(compressed);
    messages
        .map(
            |(bytes, compressed)| {
                if compressed { inflater.inflate(bytes, 1 << 20).expect("compressed") } else { bytes.to_vec() }
            },
        )
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_compressed_for_clients_is_what_was_said(
        messages in proptest::collection::vec("[ab]{0,900}|\\PC{0,60}|[a-z0-9]{0,3000}", 1..12), least in any::<bool>(), level in 1u32..=9
    ) {
        let (mut frames, mut starts) = (Vec::new(), Vec::new());
        for message in &messages {
            starts.push(frames.len());
            texts(&mut frames, &[message]);
        }
        let window = if least { Window::Least } else { Window::Whole };
        let mut compressor = Compressor::new(DeflateConfig { level, ..CONFIG });
        let compressed = compressor.compress(window, &frames);
        let may_be_compressed = messages.iter().any(|message| message.len() >= CONFIG.threshold_bytes);
        prop_assert!(compressed.is_none() || may_be_compressed);
        if let Some(compressed) = compressed {
            prop_assert!(compressed.frames.len() < frames.len() && compressed.bytes_after < compressed.bytes_before);
            let moved = starts.iter().map(|start| compressed.moved(*start));
            let said: Vec<_> = messages.iter().map(|message| message.as_bytes().to_vec()).collect();
            prop_assert_eq!(inflated(&compressed.frames, moved), said);
            // A message is compressed by itself, whatever was compressed before it.
            let again = compressor.compress(window, &frames).expect("as before");
            prop_assert_eq!(again.frames, compressed.frames);
        }
    }

    #[test]
    fn what_clients_compress_arrives_however_it_is_cut(
        messages in proptest::collection::vec(("[ab ]{0,2000}|\\PC{0,200}", any::<bool>()), 1..6),
        cuts in proptest::collection::vec(0.0..1.0f64, 0..5), step in 1usize..500
    ) {
        let mut frames = Vec::new();
        for (message, compressed) in &messages {
            let payload = if *compressed { deflated(message.as_bytes()) } else { message.as_bytes().to_vec() };
            let mut at: Vec<_> = cuts.iter().map(|cut| (cut * payload.len() as f64) as usize).collect();
            at.extend([0, payload.len()]);
            at.sort_unstable();
            let last = at.len() - 2;
            for (number, piece) in at.windows(2).enumerate() {
                let kind = if number > 0 { 0 } else if *compressed { 0x41 } else { 0x01 };
                frames.extend(frame(kind | if number == last { 0x80 } else { 0 }, &payload[piece[0]..piece[1]]));
            }
        }
        let said: Vec<_> = messages.iter().map(|(message, _)| message.as_bytes().to_vec()).collect();
        prop_assert_eq!(read(&frames, true, step), (said, Ok(())));
    }

    #[test]
    fn any_bytes_inflate_to_no_more_than_they_may(bytes in proptest::collection::vec(any::<u8>(), 0..300), max in 0usize..2000) {
        let mut inflater = Inflater::default();
        if let Ok(message) = inflater.inflate(&bytes, max) {
            prop_assert!(message.len() <= max);
        }
        // Whatever it was, it is forgotten.
        prop_assert_eq!(inflater.inflate(&deflated(b"hello"), 5), Ok(b"hello".to_vec()));
    }
}
