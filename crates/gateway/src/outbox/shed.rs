//! What a socket that is behind does without: the oldest publications, or all but the newest, as their channels have it.
//! In place of what goes stands a gap, before whatever came after it.
//!
//! Nothing else ever goes: no reply, no control frame, no publication of another policy, nothing that has begun to leave.

use super::rebuilt::Rebuilt;
use super::shared::{Mark, Shared};
use super::slow::Slow;
use super::{CHUNK_OVERHEAD_BYTES, Chunk, Full, Outbox, begun_frame};
use smallvec::SmallVec;
use std::collections::HashSet;
use std::ops::AddAssign;

/// Publications that were let go of, by the policy of their channels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// See [`Slow::DropOldest`].
    pub drop_oldest: u64,
    /// See [`Slow::Latest`].
    pub latest: u64,
}

impl Dropped {
    pub(super) fn count(&mut self, slow: Slow) {
        match slow {
            Slow::Close => {}
            Slow::DropOldest => self.drop_oldest += 1,
            Slow::Latest => self.latest += 1,
        }
    }
}

impl AddAssign for Dropped {
    fn add_assign(&mut self, more: Self) {
        self.drop_oldest += more.drop_oldest;
        self.latest += more.latest;
    }
}

/// Whether only the newest of these frames' publications is wanted by a socket that is behind.
pub(super) fn is_news(frames: &Shared) -> bool {
    frames.marks().is_some_and(|marks| marks.slow == Slow::Latest)
}

/// A publication that may go: the number of its chunk, and its own in the chunk's marks.
type Place = (usize, usize);

impl Outbox {
    /// What this socket has lost since it fell behind.
    pub fn dropped(&self) -> Dropped {
        self.behind.as_ref().map_or_else(Dropped::default, |behind| behind.dropped)
    }

    /// Keeps only the newest publication of each key, and of those without one, in channels that want no more. Costs nothing
    /// if none has come since the last time.
    pub fn conflate(&mut self) -> Dropped {
        let has_news = self.behind.as_mut().is_some_and(|behind| std::mem::take(&mut behind.has_news));
        if has_news { self.let_go(&self.superseded()) } else { Dropped::default() }
    }

    /// Makes room: by what is not wanted any more, then by the oldest down to three quarters of the bound, so that not every
    /// push looks through all that waits; what came last goes last of all. `Full` if all of that is not enough.
    pub fn shed(&mut self, limit_bytes: usize) -> (Dropped, Result<(), Full>) {
        let mut dropped = self.conflate();
        for (goal, spared) in [(limit_bytes - limit_bytes / 4, 1), (limit_bytes, 0)] {
            // A gap takes a little room too, so once may not be enough.
            while self.bytes > limit_bytes {
                let places = self.oldest(self.bytes - goal, self.chunks.len().saturating_sub(spared));
                if places.is_empty() {
                    break;
                }
                dropped += self.let_go(&places);
            }
        }
        (dropped, if self.bytes > limit_bytes { Err(Full) } else { Ok(()) })
    }

    /// Lets go of all that may go.
    pub fn shed_all(&mut self) -> Dropped {
        self.let_go(&self.oldest(usize::MAX, self.chunks.len()))
    }

    /// The publications that may go, in order.
    fn droppable(&self, index: usize) -> impl DoubleEndedIterator<Item = (usize, &Mark)> {
        let of_chunk = match &self.chunks[index] {
            Chunk::Shared(shared, part) => shared.marks().map(|marks| (marks, part)),
            _ => None,
        };
        let begun = if index == 0 { self.written } else { 0 };
        of_chunk.into_iter().flat_map(move |(marks, part)| {
            let left = marks.within(part).filter(move |number| marks.list[*number].start >= part.start + begun);
            left.map(|number| (number, &marks.list[number]))
        })
    }

    /// The oldest that take so many bytes together, from the first so many chunks.
    fn oldest(&self, bytes: usize, chunks: usize) -> Vec<Place> {
        let (mut places, mut freed) = (Vec::new(), 0);
        for index in 0..chunks {
            let mut left = self.chunks[index].as_slice().len();
            for (number, mark) in self.droppable(index) {
                if freed >= bytes {
                    return places;
                }
                let length = mark.end - mark.start;
                left -= length;
                freed += length + if left == 0 { CHUNK_OVERHEAD_BYTES } else { 0 };
                places.push((index, number));
            }
        }
        places
    }

    /// Those of which there is a newer one. One without an offset does not stand for one that has it.
    fn superseded(&self) -> Vec<Place> {
        let (mut places, mut seen) = (Vec::new(), HashSet::new());
        for (index, chunk) in self.chunks.iter().enumerate().rev() {
            let Chunk::Shared(shared, _) = chunk else { continue };
            let Some(marks) = shared.marks().filter(|marks| marks.slow == Slow::Latest) else { continue };
            for (number, mark) in self.droppable(index).rev() {
                if !seen.insert((&marks.channel, &mark.retain, mark.offset.is_some())) {
                    places.push((index, number));
                }
            }
        }
        places.reverse();
        places
    }

    /// Takes these out, in order of their places, and tells their gaps.
    fn let_go(&mut self, places: &[Place]) -> Dropped {
        if places.is_empty() {
            return Dropped::default();
        }
        self.trim();
        let mut rebuilt = Rebuilt::default();
        let mut places = places.iter().copied().peekable();
        for (index, chunk) in std::mem::take(&mut self.chunks).into_iter().enumerate() {
            match chunk {
                Chunk::Own(_) => rebuilt.push_barrier(chunk),
                Chunk::Gap(_) if index == 0 && self.written > 0 => rebuilt.push_begun(chunk),
                Chunk::Gap(gap) => rebuilt.push_gap(gap),
                Chunk::Shared(shared, part) => {
                    let mut gone = SmallVec::<[usize; 8]>::new();
                    while let Some((_, number)) = places.next_if(|(of, _)| *of == index) {
                        gone.push(number);
                    }
                    rebuilt.push_shared(&shared, part, &gone);
                }
            }
        }
        let (chunks, dropped) = rebuilt.finish();
        self.chunks = chunks;
        self.recount(dropped);
        dropped
    }

    /// Leaves off what has left of the first chunk, up to the frame that has begun to: that much would be copied for nothing.
    fn trim(&mut self) {
        if let Some(Chunk::Shared(shared, part)) = self.chunks.first_mut()
            && self.written > 0
        {
            let begun = begun_frame(&shared.frames()[part.clone()], self.written);
            part.start += begun.start;
            self.written -= begun.start;
        }
    }

    fn recount(&mut self, dropped: Dropped) {
        let lengths = |chunk: &Chunk| (chunk.as_slice().len(), chunk.is_shared());
        self.bytes = self.chunks.iter().map(|chunk| lengths(chunk).0 + CHUNK_OVERHEAD_BYTES).sum();
        self.bytes -= self.written;
        if let Some(behind) = &mut self.behind {
            let shared = self.chunks.iter().map(lengths).filter(|(_, is_shared)| *is_shared);
            let begun = self.chunks.first().filter(|chunk| chunk.is_shared()).map_or(0, |_| self.written);
            behind.shared = shared.map(|(length, _)| length).sum::<usize>() - begun;
            behind.dropped += dropped;
        }
        if self.chunks.is_empty() {
            self.clear();
        }
    }
}
