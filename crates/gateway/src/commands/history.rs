//! `history`: reads a part of a channel's log.

use crate::local::Local;
use crate::local::connection::Connection;
use crate::policy::Action;
use broker::Range;
use protocol::{History, Refusal, Reply};
use std::rc::Rc;
use tokio::time::timeout;

/// The most publications in one answer.
const LIMIT_MAX: u32 = 1000;

pub(super) fn run(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, history: History) {
    let identity = connection.state.borrow().session.identity.clone();
    let allowed = local.node.config.policy.allow(identity.as_deref(), Action::Subscribe, &history.channel);
    match allowed.map(|namespace| namespace.history.is_some()) {
        Ok(true) => {}
        Ok(false) => {
            let refusal = Refusal::bad_request("this channel keeps no history");
            return local.refuse(connection, "history", id, refusal);
        }
        Err(refusal) => return local.refuse(connection, "history", id, refusal),
    }
    // One at a time, as recoveries are: answers that are larger than an outbox must not add up.
    connection.state.borrow_mut().subscribing += 1;
    let (local, connection) = (local.clone(), connection.clone());
    tokio::task::spawn_local(async move {
        answer(&local, &connection, id, history).await;
        connection.state.borrow_mut().subscribing -= 1;
        super::resume(&local, &connection);
    });
}

async fn answer(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, history: History) {
    let page = timeout(super::COMMAND_TIMEOUT, async {
        if let Some(drained) = local.drained(connection) {
            drained.notified().await;
        }
        read(local, &history).await
    });
    match page.await {
        Ok(Ok(page)) => {
            local.node.metrics.done("history");
            let History { channel, .. } = history;
            let reply = Reply::History { channel, publications: page.publications, position: Some(page.top) };
            local.reply_whole(connection, id, reply);
        }
        Ok(Err(_)) | Err(_) => local.refuse(connection, "history", id, Refusal::unavailable()),
    }
}

/// An offset of another epoch says nothing about this one: then the reading begins at the log's end.
async fn read(local: &Local, history: &History) -> Result<broker::Page, broker::Unavailable> {
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
