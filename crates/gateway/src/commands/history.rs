//! `history`: reads a part of a channel's log.

use super::wait_drained;
use crate::grant::Action;
use crate::hub::replay::weight;
use crate::local::Local;
use crate::local::connection::Connection;
use broker::{Page, Range};
use protocol::{History, Refusal, Reply};
use std::rc::Rc;
use tokio::time::timeout;

/// The most publications in one answer.
const LIMIT_MAX: u32 = 1000;

pub(super) fn run(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, history: History) {
    let allowed = local.allow(connection, Action::History, &history.channel);
    match allowed.map(|namespace| namespace.history.is_some()) {
        Ok(true) => {}
        Ok(false) => {
            let refusal = Refusal::bad_request("this channel keeps no history");
            return local.refuse(connection, "history", id, refusal);
        }
        Err(refusal) => return local.refuse(connection, "history", id, refusal),
    }
    if let Err(refusal) = super::opens(local, connection, &history.channel) {
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

async fn answer(local: &Local, connection: &Connection, history: &History) -> Result<Page, Refusal> {
    wait_drained(local, connection).await?;
    let read = timeout(super::COMMAND_TIMEOUT, read(local, history));
    let mut page = read.await.ok().and_then(Result::ok).ok_or_else(Refusal::unavailable)?;
    // As much as half an outbox takes: the client asks on from there.
    let mut room = local.node.config.worker.outbox_bytes / 2;
    let fits = page.publications.iter().take_while(|publication| {
        let fits = weight(publication) <= room;
        room = room.saturating_sub(weight(publication));
        fits
    });
    let fits = fits.count().max(1);
    page.publications.truncate(fits);
    Ok(page)
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
