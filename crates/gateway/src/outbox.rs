//! The bounded queue of frames to one socket: shared bytes of fan-out and a connection's own bytes, in one order.

use bytes::Bytes;
use smallvec::SmallVec;
use std::io::{self, IoSlice};

/// What a queued chunk costs beside its bytes, so that many small ones cannot outgrow the bound.
const CHUNK_OVERHEAD_BYTES: usize = 64;

/// The most chunks handed to the kernel at once: far below IOV_MAX (1024), and a full socket buffer takes fewer.
const MAX_SLICES: usize = 64;

/// Frames that wait for their socket. Empty, it holds no memory of its own.
#[derive(Debug, Default)]
pub struct Outbox {
    chunks: SmallVec<[Chunk; 1]>,
    /// How much of the first chunk has been written.
    written: usize,
    /// Bytes that wait, with their overhead.
    bytes: usize,
}

#[derive(Debug)]
enum Chunk {
    /// Encoded once for many sockets.
    Shared(Bytes),
    /// This socket's alone; later frames are appended.
    Own(Vec<u8>),
}

impl Chunk {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }
}

/// The outbox would outgrow its bound: the consumer is slow.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

/// How a flush ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing waits any more.
    All,
    /// The kernel takes no more for now.
    Blocked,
}

impl Outbox {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// What waits, with its overhead.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Queues frames that many sockets share.
    pub fn push_shared(&mut self, frames: &Bytes, limit_bytes: usize) -> Result<(), Full> {
        self.admit(frames.len() + CHUNK_OVERHEAD_BYTES, limit_bytes)?;
        self.chunks.push(Chunk::Shared(frames.clone()));
        Ok(())
    }

    /// Queues frames of this socket's own.
    pub fn push_own(&mut self, frames: &[u8], limit_bytes: usize) -> Result<(), Full> {
        if let Some(Chunk::Own(last)) = self.chunks.last_mut() {
            if self.bytes + frames.len() > limit_bytes {
                return Err(Full);
            }
            self.bytes += frames.len();
            last.extend_from_slice(frames);
            return Ok(());
        }
        self.admit(frames.len() + CHUNK_OVERHEAD_BYTES, limit_bytes)?;
        self.chunks.push(Chunk::Own(frames.to_vec()));
        Ok(())
    }

    fn admit(&mut self, bytes: usize, limit_bytes: usize) -> Result<(), Full> {
        // What comes to an empty outbox may always wait alone, or a turn larger than the bound could never be sent.
        if self.bytes + bytes > limit_bytes && !self.chunks.is_empty() {
            return Err(Full);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Gives up all that waits except the frame that has begun to leave (half of it would break the framing), then queues
    /// one last frame whatever the bound.
    pub fn replace_by(&mut self, last: &[u8]) {
        let begun = self.chunks.first().filter(|_| self.written > 0).map(|first| {
            let first = first.as_slice();
            first[self.written..end_of_frame(first, self.written)].to_vec()
        });
        self.clear();
        for frames in [begun.as_deref().unwrap_or_default(), last] {
            if !frames.is_empty() {
                let _ = self.push_own(frames, usize::MAX);
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Writes as much as the kernel takes, in as few calls as can be; `write` is one vectored write.
    pub fn flush(&mut self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<Flushed> {
        while !self.chunks.is_empty() {
            let mut slices: SmallVec<[IoSlice<'_>; 4]> = SmallVec::new();
            for (index, chunk) in self.chunks.iter().take(MAX_SLICES).enumerate() {
                let skip = if index == 0 { self.written } else { 0 };
                slices.push(IoSlice::new(&chunk.as_slice()[skip..]));
            }
            let written = write(&slices);
            drop(slices);
            let taken = match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flushed::Blocked),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.advance(taken);
        }
        Ok(Flushed::All)
    }

    fn advance(&mut self, taken: usize) {
        self.written += taken;
        let mut gone = 0;
        for chunk in &self.chunks {
            let length = chunk.as_slice().len();
            if self.written < length {
                break;
            }
            self.written -= length;
            self.bytes -= CHUNK_OVERHEAD_BYTES;
            gone += 1;
        }
        self.bytes = self.bytes.saturating_sub(taken);
        if gone == self.chunks.len() {
            // A new, empty one: a spilled list would keep its memory.
            self.clear();
        } else {
            self.chunks.drain(..gone);
        }
    }
}

/// Where the frame ends that holds the byte before `at`: chunks are whole frames, unmasked (RFC 6455 section 5.2).
fn end_of_frame(frames: &[u8], at: usize) -> usize {
    let mut end = 0;
    while end < at {
        let rest = &frames[end..];
        let length = match rest.get(1) {
            Some(126) => 4 + rest.get(2..4).map_or(0, |b| usize::from(u16::from_be_bytes([b[0], b[1]]))),
            Some(127) => 10 + rest.get(2..10).map_or(0, |b| b.iter().fold(0, |n, byte| n << 8 | usize::from(*byte))),
            Some(short) => 2 + usize::from(*short),
            None => return frames.len(),
        };
        end += length;
    }
    end.min(frames.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flush_taking(outbox: &mut Outbox, at_most: usize, out: &mut Vec<u8>) -> Flushed {
        let mut room = at_most;
        outbox
            .flush(|slices| {
                if room == 0 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                let mut taken = 0;
                for slice in slices {
                    let n = slice.len().min(room);
                    out.extend_from_slice(&slice[..n]);
                    taken += n;
                    room -= n;
                }
                Ok(taken)
            })
            .expect("a flush")
    }

    #[test]
    fn frames_leave_in_the_order_they_came_whatever_the_kernel_takes_at_a_time() {
        for at_most in 1..20 {
            let mut outbox = Outbox::default();
            outbox.push_own(b"one", 1000).expect("room");
            outbox.push_own(b"two", 1000).expect("room");
            outbox.push_shared(&Bytes::from_static(b"three"), 1000).expect("room");
            outbox.push_own(b"four", 1000).expect("room");
            let mut out = Vec::new();
            while flush_taking(&mut outbox, at_most, &mut out) == Flushed::Blocked {}
            assert_eq!(out, b"onetwothreefour");
            assert!(outbox.is_empty());
            assert_eq!(outbox.bytes(), 0);
        }
    }

    #[test]
    fn all_that_waits_leaves_in_one_write() {
        let mut outbox = Outbox::default();
        for _ in 0..10 {
            outbox.push_shared(&Bytes::from_static(b"frame"), 10_000).expect("room");
        }
        let mut writes = 0;
        let flushed = outbox.flush(|slices| {
            writes += 1;
            Ok(slices.iter().map(|s| s.len()).sum())
        });
        assert_eq!((flushed.expect("a flush"), writes), (Flushed::All, 1));
    }

    #[test]
    fn a_consumer_that_does_not_read_costs_its_bound_and_no_more() {
        let mut outbox = Outbox::default();
        let frame = Bytes::from(vec![0; 100]);
        let mut queued = 0;
        while outbox.push_shared(&frame, 10_000).is_ok() {
            queued += 1;
        }
        assert_eq!(queued, 10_000 / (100 + CHUNK_OVERHEAD_BYTES));
        assert!(outbox.bytes() <= 10_000);
        assert_eq!(outbox.push_own(&[0; 200], 10_000), Err(Full));
    }

    #[test]
    fn the_last_word_follows_the_frame_that_has_begun_to_leave() {
        let frame = |length: usize, byte: u8| {
            let mut frame = match length {
                0..126 => vec![0x81, length as u8],
                126..65536 => [&[0x81, 126][..], &(length as u16).to_be_bytes()].concat(),
                _ => [&[0x81, 127][..], &(length as u64).to_be_bytes()].concat(),
            };
            frame.extend(vec![byte; length]);
            frame
        };
        for length in [5, 125, 126, 300, 70_000] {
            let begun = frame(length, 1);
            let chunk = [begun.clone(), frame(40, 2), frame(200, 3)].concat();
            for taken in [1, 2, begun.len() - 1, begun.len()] {
                let mut outbox = Outbox::default();
                outbox.push_shared(&Bytes::from(chunk.clone()), usize::MAX).expect("room");
                outbox.push_shared(&Bytes::from_static(b"dropped"), usize::MAX).expect("room");
                let mut out = Vec::new();
                flush_taking(&mut outbox, taken, &mut out);
                outbox.replace_by(b"close");
                flush_taking(&mut outbox, usize::MAX, &mut out);
                assert_eq!(out, [&begun[..], b"close"].concat(), "{taken} of {length}");
                assert_eq!(outbox.bytes(), 0);
            }
        }
    }
}
