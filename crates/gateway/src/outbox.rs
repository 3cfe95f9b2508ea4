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
        // A single frame may always wait alone: the message limit bounds it.
        if self.bytes + bytes > limit_bytes && !self.chunks.is_empty() {
            return Err(Full);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Gives up all that waits except what has begun to leave (half a frame would break the framing), then queues one
    /// last frame whatever the bound.
    pub fn replace_by(&mut self, last: &[u8]) {
        self.chunks.truncate(usize::from(self.written > 0));
        self.bytes = self.chunks.first().map_or(0, |c| c.as_slice().len() - self.written + CHUNK_OVERHEAD_BYTES);
        self.bytes += last.len() + CHUNK_OVERHEAD_BYTES;
        self.chunks.push(Chunk::Own(last.to_vec()));
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
    fn the_last_word_follows_a_frame_that_has_begun_to_leave() {
        let mut outbox = Outbox::default();
        outbox.push_shared(&Bytes::from_static(b"begun"), 1000).expect("room");
        outbox.push_shared(&Bytes::from_static(b"dropped"), 1000).expect("room");
        let mut out = Vec::new();
        flush_taking(&mut outbox, 2, &mut out);
        outbox.replace_by(b"close");
        flush_taking(&mut outbox, 100, &mut out);
        assert_eq!(out, b"begunclose");
        assert_eq!(outbox.bytes(), 0);
    }
}
