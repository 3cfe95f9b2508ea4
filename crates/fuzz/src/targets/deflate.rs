//! Compressed messages: what comes inflates within its bound or is refused, and what is compressed here is what it was before.

use crate::cost;
use gateway::websocket::deflate::{DeflateConfig, Inflater, Compressor, Window, agreed};
use gateway::websocket::{Frames, ServerMessage, server_messages};
use protocol::dialect::Messages;
use std::cell::RefCell;

pub(super) const WORDS: &[&str] = &[
    "\0",
    "\u{3}\0",
    "Hello",
    "permessage-deflate",
    "server_max_window_bits=",
    "client_max_window_bits",
    "server_no_context_takeover",
    "; ",
    ", ",
    "=\"",
    "15",
    "8",
];
pub(super) const GOLDEN: &[&str] = &[];

const MAX_BYTES: usize = 1_000;
const CONFIG: DeflateConfig = DeflateConfig { is_enabled: true, threshold_bytes: 16, level: 1 };

/// One message and a byte; the tables of an inflater are made before it is measured.
const BASE_BYTES: u64 = MAX_BYTES as u64 + 1;

thread_local! {
    /// As on a worker: whatever came before is to leave nothing behind.
    static WORKER: RefCell<(Inflater, Compressor)> = RefCell::new((Inflater::default(), Compressor::new(CONFIG)));
}

/// The same bytes as an offer, as what a client has compressed, and as messages to compress.
pub fn check(data: &[u8]) {
    if let Ok(offer) = std::str::from_utf8(data)
        && let Some((window, answer)) = agreed(std::iter::once(offer))
    {
        assert!(offer.contains("permessage-deflate"), "{offer}");
        assert_eq!(window == Window::Least, answer.contains("server_max_window_bits=9"), "{offer}");
    }
    WORKER.with_borrow_mut(|(inflater, compressor)| {
        // 1, 2, 3 as a fixed block, so that tables are there.
        assert_eq!(inflater.inflate(&[0x63, 0x64, 0x62, 0x06, 0x00], MAX_BYTES), Ok(vec![1, 2, 3]));
        let inflated = cost::within(0, 0, BASE_BYTES, || inflater.inflate(data, MAX_BYTES));
        if let Ok(message) = inflated {
            assert!(message.len() <= MAX_BYTES, "{} bytes came of {}", message.len(), data.len());
            inflater.recycle(message);
        }
        for window in [Window::Whole, Window::Least] {
            there_and_back(inflater, compressor, window, data);
        }
    });
}

/// The first byte says how long the messages are.
fn there_and_back(inflater: &mut Inflater, compressor: &mut Compressor, window: Window, data: &[u8]) {
    let Some((length, content)) = data.split_first() else { return };
    let (mut frames, mut starts) = (Vec::new(), Vec::new());
    for message in content.chunks(4 * usize::from(*length).max(1)) {
        starts.push(frames.len());
        Frames::new(&mut frames).binary(message);
    }
    let Some(compressed) = compressor.compress(window, &frames) else { return };
    assert!(compressed.frames.len() < frames.len() && compressed.bytes_after < compressed.bytes_before);
    for (start, said) in starts.iter().zip(server_messages(&frames)) {
        let at = compressed.moved(*start);
        let first = compressed.frames[at];
        let is = server_messages(&compressed.frames[at..]).next();
        let (Some(ServerMessage::Binary(is)), ServerMessage::Binary(said)) = (is, said) else { panic!("no message") };
        match first {
            0x82 => assert_eq!(is, said),
            0xc2 => assert_eq!(inflater.inflate(is, said.len()).as_deref(), Ok(said)),
            _ => panic!("a frame that begins with {first:x}"),
        }
    }
}
