//! Frames to the same frames with their messages compressed: whatever is large enough, and smaller for it.

use super::{DeflateConfig, Window};
use crate::websocket::unframe::{DATA, split};
use crate::websocket::write::{USUAL_HEADER, set_header};
use flate2::{Compress, Compression, FlushCompress};

/// Set in the first byte of a compressed message's frame (RFC 7692 section 6).
pub(super) const RSV1: u8 = 0x40;

/// What a flush ends with, and is left out (section 7.2.1).
pub(super) const FLUSH_END: [u8; 4] = [0, 0, 0xff, 0xff];

/// One worker's compressors: some 330 KiB each, made when they are first needed.
#[derive(Debug)]
pub struct Compressor {
    config: DeflateConfig,
    compressors: [Option<Compress>; Window::COUNT],
}

/// Frames of which at least one is compressed.
#[derive(Debug)]
pub struct Compressed {
    /// All frames, compressed or not, in their order.
    pub frames: Vec<u8>,
    /// How many of them are compressed.
    pub messages: u64,
    /// What those messages were, in bytes.
    pub bytes_before: u64,
    /// And what they have become.
    pub bytes_after: u64,
    /// Where each frame was, and where it is; the end of all at last.
    starts: Vec<(usize, usize)>,
}

impl Compressed {
    /// Where the frame is that was there.
    pub fn moved(&self, start: usize) -> usize {
        let number = self.starts.partition_point(|(was, _)| *was < start);
        self.starts.get(number).map_or(self.frames.len(), |(_, is)| *is)
    }
}

impl Compressor {
    /// Nothing compressed yet.
    pub fn new(config: DeflateConfig) -> Self {
        Self { config, compressors: Default::default() }
    }

    /// Whole frames, one after another, with every message compressed that is worth it; `None` if none is.
    pub fn compress(&mut self, window: Window, frames: &[u8]) -> Option<Compressed> {
        if frames.len() < self.config.threshold_bytes {
            return None;
        }
        let (mut messages, mut bytes_before, mut bytes_after) = (0, 0, 0);
        let (mut starts, mut compressed, mut rest) = (Vec::new(), Vec::new(), frames);
        while let Some((first, payload, after)) = split(rest) {
            starts.push((frames.len() - rest.len(), compressed.len()));
            let is_message = DATA.contains(&(first & 0xf));
            let is_large = is_message && payload.len() >= self.config.threshold_bytes;
            match is_large.then(|| self.message(window, first, payload, &mut compressed)).flatten() {
                Some(length) => {
                    messages += 1;
                    bytes_before += payload.len() as u64;
                    bytes_after += length as u64;
                }
                None => compressed.extend_from_slice(&rest[..rest.len() - after.len()]),
            }
            rest = after;
        }
        if messages == 0 {
            return None;
        }
        starts.push((frames.len() - rest.len(), compressed.len()));
        // It may wait for slow readers.
        compressed.shrink_to_fit();
        Some(Compressed { frames: compressed, messages, bytes_before, bytes_after, starts })
    }

    /// Appends one message compressed, and tells its length; or nothing, if it does not become smaller.
    fn message(&mut self, window: Window, first: u8, payload: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let level = Compression::new(self.config.level);
        let compressor = self.compressors[window.index()]
            .get_or_insert_with(|| Compress::new_with_window_bits(level, false, window.bits()));
        compressor.reset();
        let start = out.len();
        out.extend_from_slice(&[0; USUAL_HEADER]);
        // Room for the worst (a byte takes nine bits at the most), so that all of it comes out: zlib-rs 0.6.8 does not forget what
        // is left inside when it is reset, and panics some messages later.
        out.reserve(payload.len() + payload.len() / 7 + 128);
        let room = out.capacity();
        let flushed = compressor.compress_vec(payload, out, FlushCompress::Sync);
        let is_whole = compressor.total_in() == payload.len() as u64 && out.len() < room && out.ends_with(&FLUSH_END);
        if flushed.is_err() || !is_whole {
            self.compressors[window.index()] = None;
            out.truncate(start);
            return None;
        }
        out.truncate(out.len() - FLUSH_END.len());
        let length = out.len() - start - USUAL_HEADER;
        if length >= payload.len() {
            out.truncate(start);
            return None;
        }
        set_header(out, start, first | RSV1);
        Some(length)
    }
}
