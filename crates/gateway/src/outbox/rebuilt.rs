//! An outbox's chunks while publications are taken out of them: what stays, in its order, and the gaps in between.

use super::Chunk;
use super::gap::Gap;
use super::shared::{Mark, Marks, Shared};
use super::shed::Dropped;
use protocol::Channel;
use smallvec::SmallVec;
use std::ops::Range;
use std::rc::Rc;

/// The chunks as they become.
#[derive(Default)]
pub(super) struct Rebuilt {
    chunks: SmallVec<[Chunk; 1]>,
    /// The last gap of each channel, where nothing has come since that it may not reach across.
    open: Vec<(Channel, usize)>,
    dropped: Dropped,
}

impl Rebuilt {
    /// A gap that has begun to leave: it grows no more.
    pub(super) fn push_begun(&mut self, chunk: Chunk) {
        self.chunks.push(chunk);
    }

    /// The chunks, and what has gone from them.
    pub(super) fn finish(mut self) -> (SmallVec<[Chunk; 1]>, Dropped) {
        self.repack();
        for chunk in &mut self.chunks {
            if let Chunk::Gap(gap) = chunk {
                gap.write();
            }
        }
        (self.chunks, self.dropped)
    }

    /// The socket's own frames: they may be the end of a subscription, or the beginning of one.
    pub(super) fn push_barrier(&mut self, chunk: Chunk) {
        self.open.clear();
        self.chunks.push(chunk);
    }

    /// A gap that waits, which may go on from another one.
    pub(super) fn push_gap(&mut self, gap: Box<Gap>) {
        let open = self.open.iter().find(|(channel, _)| channel == gap.channel());
        if let Some((_, index)) = open
            && let Some(Chunk::Gap(before)) = self.chunks.get_mut(*index)
            && before.grow(&gap)
        {
            return;
        }
        self.close(gap.channel());
        self.open.push((gap.channel().clone(), self.chunks.len()));
        self.chunks.push(Chunk::Gap(gap));
    }

    /// The channel's gap grows no more.
    fn close(&mut self, channel: &Channel) {
        self.open.retain(|(open, _)| open != channel);
    }

    /// A part of a turn without the publications of these numbers.
    pub(super) fn push_shared(&mut self, shared: &Rc<Shared>, part: Range<usize>, gone: &[usize]) {
        let Some(marks) = shared.marks() else { return self.chunks.push(Chunk::Shared(shared.clone(), part)) };
        if part.start < marks.from {
            self.close(&marks.channel);
        }
        let mut start = part.start;
        for number in marks.within(&part) {
            let mark = &marks.list[number];
            if gone.contains(&number) {
                self.push_part(shared, start..mark.start);
                start = mark.end;
                self.lose(marks, mark);
            } else {
                self.close(&marks.channel);
            }
        }
        self.push_part(shared, start..part.end);
    }

    fn push_part(&mut self, shared: &Rc<Shared>, part: Range<usize>) {
        if !part.is_empty() {
            self.chunks.push(Chunk::Shared(shared.clone(), part));
        }
    }

    fn lose(&mut self, marks: &Marks, mark: &Mark) {
        self.dropped.count(marks.slow);
        if let Some(gap) = Gap::of(marks, mark.offset) {
            self.push_gap(Box::new(gap));
        }
    }

    /// What is left of a large buffer would keep all of it: less than half is copied out.
    fn repack(&mut self) {
        let mut index = 0;
        while index < self.chunks.len() {
            let Chunk::Shared(shared, _) = &self.chunks[index] else {
                index += 1;
                continue;
            };
            let shared = shared.clone();
            let of_it = |chunk: &Chunk| match chunk {
                Chunk::Shared(other, part) if Rc::ptr_eq(other, &shared) => Some(part.clone()),
                _ => None,
            };
            let run = self.chunks[index..].iter().take_while(|chunk| !is_other(chunk, &shared)).count();
            let parts: Vec<_> = self.chunks[index..index + run].iter().filter_map(of_it).collect();
            if parts.iter().map(Range::len).sum::<usize>() * 2 < shared.frames().len() {
                self.replace(index..index + run, &shared, &parts);
            }
            index += run;
        }
    }

    fn replace(&mut self, run: Range<usize>, shared: &Rc<Shared>, parts: &[Range<usize>]) {
        let frames: Vec<u8> = parts.iter().flat_map(|part| &shared.frames()[part.clone()]).copied().collect();
        let marks = shared.marks().map(|marks| marks.cut_to(parts));
        let own = Shared::new(frames, marks, shared.meter());
        let mut at = 0;
        for chunk in &mut self.chunks[run] {
            if let Chunk::Shared(_, part) = chunk {
                let length = part.len();
                *chunk = Chunk::Shared(own.clone(), at..at + length);
                at += length;
            }
        }
    }
}

/// Whether a chunk is of another buffer; gaps lie between the parts of one.
fn is_other(chunk: &Chunk, shared: &Rc<Shared>) -> bool {
    match chunk {
        Chunk::Shared(other, _) => !Rc::ptr_eq(other, shared),
        Chunk::Own(_) => true,
        Chunk::Gap(_) => false,
    }
}
