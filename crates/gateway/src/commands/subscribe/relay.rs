//! A raw connection, and the history it asks for: what was kept goes out as it was sent, and then what is live.

use super::{Begun, Means, begin_with, wait_until_open};
use crate::commands::recover::next_chunk;
use crate::local::Local;
use crate::local::connection::Connection;
use crate::policy::Namespace;
use protocol::dialect::raw::{Past, Raw};
use protocol::{Outgoing, Position, Push, Refusal, Subscribe};
use std::rc::Rc;

/// Subscribes a raw connection to its channel.
pub fn begin_raw(local: &Rc<Local>, connection: &Rc<Connection>, raw: &Raw) {
    let channel = raw.channel.clone();
    let subscribe = Subscribe { channel, recover: None, members: false, state: false, token: None };
    begin_with(local, connection, None, subscribe, Means { past: raw.past.clone(), ..Means::default() });
}

impl Begun<'_> {
    /// There are no words for what cannot be had: whoever names a position after which something is lost is told a gap,
    /// which closes.
    pub(super) async fn relay(&mut self, namespace: &Namespace, past: &Past) -> Result<(), Refusal> {
        wait_until_open(self.local, &self.subscribe.channel).await?;
        if namespace.history.is_none() {
            if past.is_what_is_kept() {
                self.take_place(None, false)?;
                self.local.node.metrics.done("subscribe");
            } else {
                self.tell_gap();
            }
            return Ok(());
        }
        let mut from = self.beginning(past)?;
        let mut may_begin_later = past.is_what_is_kept();
        loop {
            let mut chunk = next_chunk(self.local, self.connection, &self.subscribe.channel, &from).await?;
            chunk.is_contiguous |= std::mem::take(&mut may_begin_later);
            if !chunk.is_contiguous {
                self.tell_gap();
                return Ok(());
            }
            from = chunk.position.clone();
            let reaches_live = chunk.reaches_live;
            if reaches_live {
                self.take_place(Some(&from), false)?;
                self.local.node.metrics.done("subscribe");
            }
            self.push(chunk);
            if reaches_live || self.connection.has_ended() {
                return Ok(());
            }
        }
    }

    /// The position that `past` begins after.
    fn beginning(&self, past: &Past) -> Result<Position, Refusal> {
        let mut hub = self.local.hub.borrow_mut();
        let live = hub.entry(&self.subscribe.channel).and_then(|entry| entry.position.clone());
        let Position { epoch, offset } = live.ok_or_else(Refusal::unavailable)?;
        Ok(match past {
            Past::Since(since) => Position { epoch: since.epoch.clone().unwrap_or(epoch), offset: since.offset },
            Past::Last(number) => Position { epoch, offset: offset.saturating_sub(*number) },
        })
    }

    fn tell_gap(&self) {
        let gap = Push::Gap { channel: self.subscribe.channel.clone(), from: None, to: None, epoch: None };
        self.local.send(self.connection, &Outgoing::Push(gap));
    }
}
