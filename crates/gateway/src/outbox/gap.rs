//! What stands in an outbox for publications that it has let go of.

use super::shared::Marks;
use crate::websocket::Frames;
use protocol::dialect::Encoding;
use protocol::{Channel, Epoch, Outgoing, Push};

/// A gap that waits to be told; it may still grow.
#[derive(Debug)]
pub(super) struct Gap {
    channel: Channel,
    epoch: Option<Epoch>,
    encoding: Encoding,
    /// First and last lost offset; absent in channels without positions.
    range: Option<(u64, u64)>,
    /// As it is told; empty while it grows.
    pub(super) frame: Vec<u8>,
}

impl Gap {
    /// For one lost publication; `None` if nobody misses it: a volatile one where others have offsets.
    pub(super) fn of(marks: &Marks, offset: Option<u64>) -> Option<Self> {
        if marks.is_positioned && offset.is_none() {
            return None;
        }
        let range = offset.map(|offset| (offset, offset));
        let (channel, epoch) = (marks.channel.clone(), marks.epoch.clone());
        Some(Self { channel, epoch, encoding: marks.encoding.clone(), range, frame: Vec::new() })
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Goes on with a later one of the same channel and epoch; false if that is another.
    pub(super) fn grow(&mut self, later: &Self) -> bool {
        if self.epoch != later.epoch {
            return false;
        }
        if let (Some((_, last)), Some((_, to))) = (&mut self.range, later.range) {
            *last = to;
        }
        self.frame.clear();
        true
    }

    pub(super) fn write(&mut self) {
        if self.frame.is_empty() {
            let (channel, epoch) = (self.channel.clone(), self.epoch.clone());
            let gap = Outgoing::Push(Push::Gap {
                channel,
                from: self.range.map(|(from, _)| from),
                to: self.range.map(|(_, to)| to),
                epoch,
            });
            self.encoding.encode(&gap, &mut Frames::new(&mut self.frame));
        }
    }
}
