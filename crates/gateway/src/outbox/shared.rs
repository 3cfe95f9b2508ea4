//! Frames that many sockets share, and what of them a socket that is behind may do without.

use super::slow::Slow;
use protocol::dialect::Encoding;
use protocol::{Channel, Epoch, Text};
use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

/// How many bytes of shared frames a worker holds: each buffer counts once, however many sockets it waits for.
#[derive(Debug, Clone, Default)]
pub struct Meter(Rc<Cell<usize>>);

impl Meter {
    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.0.get()
    }
}

/// Frames, one after another, encoded once.
#[derive(Debug)]
pub struct Shared {
    frames: Vec<u8>,
    marks: Option<Marks>,
    meter: Meter,
}

impl Shared {
    /// Frames that nobody may do without, unless marks say so.
    pub fn new(frames: Vec<u8>, marks: Option<Marks>, meter: &Meter) -> Rc<Self> {
        meter.0.set(meter.0.get() + frames.len());
        Rc::new(Self { frames, marks, meter: meter.clone() })
    }

    /// The frames.
    pub fn frames(&self) -> &[u8] {
        &self.frames
    }

    /// All of them, as a part.
    pub fn whole(&self) -> Range<usize> {
        0..self.frames.len()
    }

    /// What a socket that is behind may do without.
    pub fn marks(&self) -> Option<&Marks> {
        self.marks.as_ref()
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.meter.0.set(self.meter.0.get().saturating_sub(self.frames.len()));
    }
}

/// The publications among a channel's frames, where its policy lets go of them rather than of the socket.
#[derive(Debug, Clone)]
pub struct Marks {
    /// Whose.
    pub channel: Channel,
    /// Whether the channel has positions: those without an offset are volatile then.
    pub is_positioned: bool,
    /// What the offsets count in, where there are any.
    pub epoch: Option<Epoch>,
    /// Which of them go.
    pub slow: Slow,
    /// How a gap is written.
    pub encoding: Encoding,
    /// Where the first of them may begin: before it something was told that no gap may reach across.
    pub from: usize,
    /// In order.
    pub list: Vec<Mark>,
}

/// One publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Where its frame begins.
    pub start: usize,
    /// And ends.
    pub end: usize,
    /// Its place in the channel's order; absent for volatile ones.
    pub offset: Option<u64>,
    /// The key it is retained under.
    pub retain: Option<Text>,
}

impl Marks {
    /// The numbers of the publications that lie in a part.
    pub(super) fn within(&self, part: &Range<usize>) -> Range<usize> {
        let first = self.list.partition_point(|mark| mark.start < part.start);
        let count = self.list[first..].partition_point(|mark| mark.end <= part.end);
        first..first + count
    }

    /// The same where every frame has another place.
    pub fn moved(&self, to: impl Fn(usize) -> usize) -> Self {
        let mut moved = self.clone();
        moved.from = to(self.from);
        for mark in &mut moved.list {
            (mark.start, mark.end) = (to(mark.start), to(mark.end));
        }
        moved
    }

    /// These parts alone, one after another as they then follow in a buffer of their own.
    pub(super) fn cut_to(&self, parts: &[Range<usize>]) -> Self {
        let mut list = Vec::new();
        let (mut at, mut from) = (0, 0);
        for part in parts {
            let moved = |position: usize| position - part.start + at;
            for mark in &self.list[self.within(part)] {
                list.push(Mark { start: moved(mark.start), end: moved(mark.end), ..mark.clone() });
            }
            if part.start < self.from {
                from = at + self.from.min(part.end) - part.start;
            }
            at += part.len();
        }
        Self {
            channel: self.channel.clone(),
            epoch: self.epoch.clone(),
            encoding: self.encoding.clone(),
            from,
            list,
            ..*self
        }
    }
}
