//! A worker that fell behind and lost deliveries reads what it missed from the log: its clients notice nothing.

use super::turn::deliver;
use crate::hub::past::{Errand, Repaired};
use crate::inbox::Overflow;
use crate::local::Local;
use broker::{Delivery, Page, Range};
use link::Backoff;
use protocol::{Channel, Position, Publication};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Publications of one reading: small, so that they leave before the next ones fill the outboxes.
const PAGE_MAX: u32 = 64;

/// How long one reading may take.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Readings that may fail before what is missing is told as a gap.
const ATTEMPTS: u32 = 5;

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_CEILING: Duration = Duration::from_secs(1);

/// Begins to repair a channel; where there is no log to read, the overflow is a gap.
pub(super) fn begin(local: &Rc<Local>, channel: Channel, overflow: Overflow) {
    let begun = local.hub.borrow_mut().begin_repair(&channel);
    match begun {
        Some((errand, from)) => {
            let repair = Repair { local: local.clone(), channel, errand, from };
            tokio::task::spawn_local(repair.run(overflow));
        }
        None => {
            let Overflow { range, position } = overflow;
            deliver(local, vec![Arc::new(Delivery::Gap { channel, range, position })]);
        }
    }
}

struct Repair {
    local: Rc<Local>,
    channel: Channel,
    errand: Errand,
    from: Position,
}

impl Repair {
    async fn run(mut self, overflow: Overflow) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING);
        let mut failures = 0;
        loop {
            let range = Range { since: Some(self.from.offset), limit: PAGE_MAX, reverse: false };
            let page = timeout(READ_TIMEOUT, self.local.node.broker.history(&self.channel, range)).await;
            if !self.local.hub.borrow_mut().is_repairing(&self.channel, self.errand) {
                return;
            }
            match page {
                Ok(Ok(page)) => {
                    if self.take(page) {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                Ok(Err(_)) | Err(_) if failures + 1 < ATTEMPTS => {
                    failures += 1;
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                Ok(Err(_)) | Err(_) => {
                    self.tell_gap(overflow.range, overflow.position);
                    break;
                }
            }
        }
        self.go_live();
    }

    /// Fans out a page; true when it reaches the log's end.
    fn take(&mut self, page: Page) -> bool {
        if page.top.epoch != self.from.epoch || page.top.offset < self.from.offset {
            self.tell_gap(None, Some(page.top));
            return true;
        }
        let is_last = page.reaches_top();
        let mut run = Vec::new();
        for publication in page.publications {
            let offset = publication.offset.unwrap_or_default();
            if offset > self.from.offset + 1 {
                self.fan_out(std::mem::take(&mut run));
                self.skip_to(offset - 1);
            }
            self.from.offset = offset;
            run.push(publication);
        }
        self.fan_out(run);
        if is_last && self.from.offset < page.top.offset {
            self.skip_to(page.top.offset);
        }
        is_last
    }

    fn fan_out(&self, publications: Vec<Publication>) {
        if !publications.is_empty() {
            let (channel, epoch) = (self.channel.clone(), Some(self.from.epoch.clone()));
            deliver(&self.local, vec![Arc::new(Delivery::Publications { channel, epoch, publications })]);
        }
    }

    /// What the log no longer holds.
    fn skip_to(&mut self, offset: u64) {
        let range = (self.from.offset + 1, offset);
        self.from.offset = offset;
        self.tell_gap(Some(range), Some(self.from.clone()));
    }

    fn tell_gap(&self, range: Option<(u64, u64)>, position: Option<Position>) {
        deliver(&self.local, vec![Arc::new(Delivery::Gap { channel: self.channel.clone(), range, position })]);
    }

    /// What arrived during the repair follows; what the log has brought already is left out on the way.
    fn go_live(self) {
        let repaired = self.local.hub.borrow_mut().end_repair(&self.channel, self.errand);
        match repaired {
            Repaired::Held(held) => deliver(&self.local, held),
            Repaired::Spoiled => begin(&self.local, self.channel, Overflow { range: None, position: None }),
            Repaired::Void => {}
        }
    }
}
