//! A worker that fell behind and lost deliveries reads what it missed from the log: its clients notice nothing.

use super::turn::deliver;
use crate::inbox::Overflow;
use crate::local::Local;
use broker::{Delivery, Page, Range};
use link::Backoff;
use protocol::{Channel, Position};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Publications of one reading.
const PAGE_MAX: u32 = 1000;

/// How long one reading may take.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Readings that may fail before what is missing is told as a gap.
const ATTEMPTS: u32 = 5;

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_CEILING: Duration = Duration::from_secs(1);

/// Begins to repair a channel; where there is no log to read, the overflow is a gap.
pub(super) fn begin(local: &Rc<Local>, channel: Channel, overflow: Overflow) {
    let from = local.hub.borrow_mut().begin_repair(&channel);
    match from {
        Some(from) => {
            let local = local.clone();
            tokio::task::spawn_local(async move { repair(&local, &channel, from, overflow).await });
        }
        None => tell_gap(local, &channel, overflow.range, overflow.position),
    }
}

async fn repair(local: &Rc<Local>, channel: &Channel, mut from: Position, overflow: Overflow) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING);
    let mut failures = 0;
    loop {
        let range = Range { since: Some(from.offset), limit: PAGE_MAX, reverse: false };
        match timeout(READ_TIMEOUT, local.node.broker.history(channel, range)).await {
            Ok(Ok(page)) => {
                if take_page(local, channel, &mut from, page) {
                    break;
                }
            }
            Ok(Err(_)) | Err(_) if failures + 1 < ATTEMPTS => {
                failures += 1;
                tokio::time::sleep(backoff.next_delay()).await;
            }
            Ok(Err(_)) | Err(_) => {
                tell_gap(local, channel, overflow.range, overflow.position.or(Some(from)));
                break;
            }
        }
    }
    go_live(local, channel);
}

/// Fans out a page; true when it reaches the log's end.
fn take_page(local: &Rc<Local>, channel: &Channel, from: &mut Position, page: Page) -> bool {
    if page.top.epoch != from.epoch || page.top.offset < from.offset {
        tell_gap(local, channel, None, Some(page.top.clone()));
        *from = page.top;
        return true;
    }
    let first = page.publications.first().and_then(|p| p.offset).unwrap_or(page.top.offset + 1);
    if first > from.offset + 1 {
        let position = Position { epoch: from.epoch.clone(), offset: first - 1 };
        tell_gap(local, channel, Some((from.offset + 1, first - 1)), Some(position.clone()));
        *from = position;
    }
    if let Some(last) = page.publications.last().and_then(|p| p.offset) {
        from.offset = last;
        let (channel, epoch) = (channel.clone(), Some(from.epoch.clone()));
        deliver(local, vec![Arc::new(Delivery::Publications { channel, epoch, publications: page.publications })]);
    }
    from.offset >= page.top.offset
}

/// What arrived during the repair follows.
fn go_live(local: &Rc<Local>, channel: &Channel) {
    let Some(held) = local.hub.borrow_mut().end_repair(channel) else { return };
    let Some(held) = held else {
        // More than may be held: what is missing now is what was held.
        return begin(local, channel.clone(), Overflow { range: None, position: None });
    };
    // What the log has brought already is left out on the way.
    deliver(local, held);
}

fn tell_gap(local: &Rc<Local>, channel: &Channel, range: Option<(u64, u64)>, position: Option<Position>) {
    deliver(local, vec![Arc::new(Delivery::Gap { channel: channel.clone(), range, position })]);
}
