//! `history`: reads a part of a channel's log.

use super::wait_drained;
use crate::grant::Action;
use crate::hub::replay::weight;
use crate::local::Local;
use crate::local::connection::Connection;
use crate::local::speaker::Speaker;
use broker::{Page, Range};
use protocol::{Channel, History, Publication, Refusal, Reply};
use std::rc::Rc;
use tokio::time::timeout;

/// The most publications in one answer.
const LIMIT_MAX: u32 = 1000;

pub(super) fn run(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, history: History) {
    if let Err(refusal) = may_read(local, &**connection, &history.channel) {
        return local.refuse(connection, "history", id, refusal);
    }
    super::spawn_alone(local, connection, async move |local, connection| {
        match answer(local, connection, &history).await {
            Ok(page) => {
                local.node.metrics.done("history");
                let History { channel, .. } = history;
                let reply = Reply::History { channel, publications: page.publications, position: Some(page.top) };
                local.reply_whole(connection, id, reply);
            }
            Err(refusal) => local.refuse(connection, "history", id, refusal),
        }
    });
}

/// Whether whoever speaks may read this channel's log now, if it has one.
pub(super) fn may_read(local: &Local, who: &impl Speaker, channel: &Channel) -> Result<(), Refusal> {
    let namespace = local.may(who, Action::History, channel)?;
    if namespace.history.is_none() {
        return Err(Refusal::bad_request("this channel keeps no history"));
    }
    super::opens(local, who, channel)
}

async fn answer(local: &Local, connection: &Connection, history: &History) -> Result<Page, Refusal> {
    wait_drained(local, connection).await?;
    let read = timeout(super::COMMAND_TIMEOUT, read(local, history));
    let mut page = read.await.ok().and_then(Result::ok).ok_or_else(Refusal::unavailable)?;
    // As much as half an outbox takes: the client asks on from there.
    let fits = fitting(page.publications.iter(), local.node.config.worker.outbox_bytes / 2);
    page.publications.truncate(fits);
    Ok(page)
}

/// How many of these fit into so many bytes; one always does.
pub(super) fn fitting<'a>(publications: impl Iterator<Item = &'a Publication>, mut room: usize) -> usize {
    let fits = publications.take_while(|publication| {
        let fits = weight(publication) <= room;
        room = room.saturating_sub(weight(publication));
        fits
    });
    fits.count().max(1)
}

/// An offset of another epoch says nothing about this one: then the reading begins at the log's end.
async fn read(local: &Local, history: &History) -> Result<Page, broker::Unavailable> {
    let limit = history.limit.min(LIMIT_MAX);
    let since = history.since.as_ref().map(|since| since.offset);
    let range = Range { since, limit, reverse: history.reverse };
    let page = local.node.broker.history(&history.channel, range).await?;
    let asked_epoch = history.since.as_ref().and_then(|since| since.epoch.as_ref());
    if asked_epoch.is_none_or(|epoch| *epoch == page.top.epoch) {
        return Ok(page);
    }
    local.node.broker.history(&history.channel, Range { since: None, ..range }).await
}
