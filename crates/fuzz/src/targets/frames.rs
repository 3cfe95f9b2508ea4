//! WebSocket frames: whatever a stream is cut into, the same comes out of it, and little is held meanwhile.

use crate::cost;
use gateway::websocket::{Event, Reader, ReaderLimits};
use protocol::CloseCode;

pub(super) const WORDS: &[&str] = &["\u{1}", "\u{2}", "\u{8}", "\u{9}", "\u{a}", "\u{3}\u{e8}", "hello", "é"];
pub(super) const GOLDEN: &[&str] = &[];

const LIMITS: ReaderLimits = ReaderLimits { max_message_bytes: 1_000 };

/// A buffer that has grown by doubling holds up to three times its content while it grows once more, for the frame and for
/// the message; what is recorded here is as large as what came in.
const MULTIPLE: u64 = 8;
const BASE_BYTES: u64 = 4_096;

/// The first byte says how the rest is cut.
pub fn check(data: &[u8]) {
    let Some((cut, stream)) = data.split_first() else { return };
    let whole = fed(stream, stream.len().max(1));
    let pieces = fed(stream, usize::from(*cut).max(1));
    assert_eq!(whole, pieces, "cut into pieces of {cut}");
}

fn fed(stream: &[u8], piece_bytes: usize) -> (Vec<String>, Option<CloseCode>) {
    let (mut reader, mut seen, mut stream) = (Reader::default(), Vec::new(), stream.to_vec());
    let total = stream.len();
    for piece in stream.chunks_mut(piece_bytes) {
        let mut ended = false;
        let mut read = 0;
        let fed = cost::within(total, MULTIPLE, BASE_BYTES, || {
            reader.feed(piece, &LIMITS, None, &mut |event| {
                assert!(!ended, "after a close came {event:?}");
                ended = matches!(event, Event::Close(_));
                read += size(&event);
                allocation_counter::opt_out(|| seen.push(format!("{event:?}")));
            })
        });
        assert!(read <= total, "{read} bytes came out of {total}");
        let held_max = 3 * (LIMITS.max_message_bytes + piece_bytes + 16).max(64);
        assert!(reader.held_bytes() <= 2 * held_max, "{} bytes are held", reader.held_bytes());
        match fed {
            Err(code) => return (seen, Some(code)),
            Ok(()) if ended => return (seen, None),
            Ok(()) => {}
        }
    }
    (seen, None)
}

fn size(event: &Event<'_>) -> usize {
    use protocol::dialect::Incoming;
    match event {
        Event::Message(Incoming::Text(text)) => text.len(),
        Event::Message(Incoming::Binary(bytes)) | Event::Ping(bytes) => bytes.len(),
        Event::Pong | Event::Close(_) => 0,
    }
}
