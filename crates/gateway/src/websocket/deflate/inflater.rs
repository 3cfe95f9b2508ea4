//! Compressed messages to what they were, as far as that is no more than a message may be.

use super::compressor::FLUSH_END;
use flate2::{Decompress, FlushDecompress, Status};

/// Put behind what a flush ends with: an empty last block. Whoever is not at the end of a block by then has sent half a message.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// A buffer of more is not kept for the next message.
const KEPT_BYTES: usize = 256 * 1024;

/// One worker's inflater: some 40 KiB, made when it is first needed, and a buffer of one message.
#[derive(Debug, Default)]
pub struct Inflater {
    inflate: Option<Decompress>,
    spare: Vec<u8>,
}

/// Why a message cannot be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It would become larger than it may.
    TooBig,
    /// It is not what a compressor writes.
    Corrupt,
}

impl Inflater {
    /// A message as it was before it was compressed. Never holds more than one byte beyond `max_bytes`, whatever comes.
    ///
    /// # Errors
    /// When it would be larger, or is not DEFLATE.
    pub fn inflate(&mut self, compressed: &[u8], max_bytes: usize) -> Result<Vec<u8>, Fault> {
        let mut out = std::mem::take(&mut self.spare);
        out.clear();
        // Some write nothing at all where nothing is to be said.
        if compressed.is_empty() {
            return Ok(out);
        }
        // At once: growing would hold two buffers, and pages that are not written to cost nothing.
        out.reserve_exact(max_bytes.saturating_add(1));
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new(false));
        inflate.reset(false);
        let [a, b, c, d] = FLUSH_END;
        let [e, f] = LAST_BLOCK;
        // A block that its sender has called the last is followed by the beginning of one without content, or by nothing.
        for (part, may_follow) in [(compressed, &[0][..]), (&[a, b, c, d, e, f], &[])] {
            let mut rest = part;
            while !rest.is_empty() {
                let before = (inflate.total_in(), out.len());
                let status = inflate.decompress_vec(rest, &mut out, FlushDecompress::None);
                let taken = usize::try_from(inflate.total_in() - before.0).unwrap_or(rest.len());
                rest = &rest[taken.min(rest.len())..];
                if out.len() > max_bytes {
                    return Err(Fault::TooBig);
                }
                match status.map_err(|_| Fault::Corrupt)? {
                    Status::StreamEnd if rest.is_empty() || rest == may_follow => return Ok(out),
                    Status::StreamEnd => return Err(Fault::Corrupt),
                    _ if before == (inflate.total_in(), out.len()) => return Err(Fault::Corrupt),
                    _ => {}
                }
            }
        }
        Err(Fault::Corrupt)
    }

    /// Takes a message's buffer back, for the next one.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() <= KEPT_BYTES {
            self.spare = buffer;
        }
    }
}
