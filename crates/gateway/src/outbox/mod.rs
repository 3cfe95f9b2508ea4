//! The bounded queue of frames to one socket: shared bytes of fan-out and a connection's own bytes, in one order.
//!
//! As long as the kernel takes what is written, pushing is all there is. Once it does not, the socket is *behind*: from then
//! on it is known what of the waiting bytes is shared, and publications may be let go of (`shed`).

mod gap;
#[cfg(test)]
mod properties;
mod rebuilt;
mod shared;
mod shed;
mod slow;
#[cfg(test)]
mod tests;

pub use shared::{Mark, Marks, Meter, Shared};
pub use shed::Dropped;
pub use slow::Slow;

use gap::Gap;
use smallvec::SmallVec;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::rc::Rc;

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
    /// Only while the kernel does not take what waits.
    behind: Option<Box<Behind>>,
}

/// What is known of a socket that is behind.
#[derive(Debug)]
struct Behind {
    /// Of the waiting bytes, those that others may wait for too.
    shared: usize,
    /// When the kernel last took anything, by the clock of whoever flushes.
    stalled_since: u32,
    /// Something came of which only the newest is wanted.
    has_news: bool,
    /// What it has lost since it fell behind.
    dropped: Dropped,
}

#[derive(Debug)]
enum Chunk {
    /// A part of what was encoded once for many sockets.
    Shared(Rc<Shared>, Range<usize>),
    /// This socket's alone; later frames are appended.
    Own(Vec<u8>),
    /// In place of publications that were let go.
    Gap(Box<Gap>),
}

impl Chunk {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Shared(shared, part) => &shared.frames()[part.clone()],
            Self::Own(bytes) => bytes,
            Self::Gap(gap) => &gap.frame,
        }
    }

    fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(..))
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

    /// Whether the kernel has refused what waits.
    pub fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// What waits for a socket that is behind, and of it what is the socket's alone.
    pub fn held(&self) -> (usize, usize) {
        self.behind.as_ref().map_or((0, 0), |behind| (self.bytes, self.bytes.saturating_sub(behind.shared)))
    }

    /// This side stood still until now: what the socket took meanwhile is not known.
    pub fn forgive(&mut self, now: u32) {
        if let Some(behind) = &mut self.behind {
            behind.stalled_since = now;
        }
    }

    /// Since when the kernel has taken nothing, by the clock given to [`Outbox::flush`].
    pub fn stalled_since(&self) -> Option<u32> {
        self.behind.as_ref().map(|behind| behind.stalled_since)
    }

    /// Queues a part of frames that many sockets share.
    pub fn push_shared(&mut self, frames: &Rc<Shared>, part: Range<usize>, limit_bytes: usize) -> Result<(), Full> {
        let length = part.len();
        self.admit(length + CHUNK_OVERHEAD_BYTES, limit_bytes)?;
        self.chunks.push(Chunk::Shared(frames.clone(), part));
        if let Some(behind) = &mut self.behind {
            behind.shared += length;
            behind.has_news |= shed::is_news(frames);
        }
        Ok(())
    }

    /// Queues frames of this socket's own.
    pub fn push_own(&mut self, frames: &[u8], limit_bytes: usize) -> Result<(), Full> {
        if let Some(Chunk::Own(last)) = self.chunks.last_mut() {
            if self.bytes.saturating_add(frames.len()) > limit_bytes {
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
        if self.bytes.saturating_add(bytes) > limit_bytes && !self.chunks.is_empty() {
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
        let behind = self.behind.take();
        self.clear();
        self.behind = behind.map(|behind| Box::new(Behind { shared: 0, has_news: false, ..*behind }));
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

    /// Writes as much as the kernel takes, in as few calls as can be; `write` is one vectored write. `now` is any clock's:
    /// a socket that is behind remembers when something was last taken.
    pub fn flush(
        &mut self,
        now: u32,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<Flushed> {
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
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.fall_behind(now);
                    return Ok(Flushed::Blocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if let Some(behind) = &mut self.behind {
                behind.stalled_since = now;
            }
            self.advance(taken);
        }
        Ok(Flushed::All)
    }

    fn fall_behind(&mut self, now: u32) {
        if self.behind.is_none() {
            let shared = self.chunks.iter().filter(|chunk| chunk.is_shared()).map(|chunk| chunk.as_slice().len());
            let begun = self.chunks.first().filter(|chunk| chunk.is_shared()).map_or(0, |_| self.written);
            let shared = shared.sum::<usize>() - begun;
            let has_news = self.chunks.iter().any(|chunk| matches!(chunk, Chunk::Shared(it, _) if shed::is_news(it)));
            let dropped = Dropped::default();
            self.behind = Some(Box::new(Behind { shared, stalled_since: now, has_news, dropped }));
        }
    }

    fn advance(&mut self, taken: usize) {
        let (mut left, mut gone) = (taken, 0);
        for chunk in &self.chunks {
            let rest = chunk.as_slice().len() - self.written;
            let now = rest.min(left);
            left -= now;
            self.bytes -= now;
            if let (Some(behind), true) = (&mut self.behind, chunk.is_shared()) {
                behind.shared -= now;
            }
            if now < rest {
                self.written += now;
                break;
            }
            self.written = 0;
            self.bytes -= CHUNK_OVERHEAD_BYTES;
            gone += 1;
            if left == 0 {
                break;
            }
        }
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
    begun_frame(frames, at).end
}

/// The frame that holds the byte before `at`.
fn begun_frame(frames: &[u8], at: usize) -> Range<usize> {
    let (mut start, mut end) = (0, 0);
    while end < at {
        let rest = &frames[end..];
        let length = match rest.get(1) {
            Some(126) => 4 + rest.get(2..4).map_or(0, |b| usize::from(u16::from_be_bytes([b[0], b[1]]))),
            Some(127) => 10 + rest.get(2..10).map_or(0, |b| b.iter().fold(0, |n, byte| n << 8 | usize::from(*byte))),
            Some(short) => 2 + usize::from(*short),
            None => frames.len() - end,
        };
        start = end;
        end = end.saturating_add(length).min(frames.len());
    }
    start..end
}
