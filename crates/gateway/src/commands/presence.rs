//! `presence`: who is in a channel, or how many.

use super::wait_drained;
use crate::grant::Action;
use crate::local::Local;
use crate::local::connection::Connection;
use protocol::{Channel, Members, Refusal, Reply};
use std::rc::Rc;
use tokio::time::timeout;

pub(super) fn run(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, channel: Channel, count_only: bool) {
    let allowed = local.allow(connection, Action::Presence, &channel);
    match allowed.map(|namespace| namespace.presence) {
        Ok(true) => {}
        Ok(false) => {
            let refusal = Refusal::bad_request("presence is not kept in this channel");
            return local.refuse(connection, "presence", id, refusal);
        }
        Err(refusal) => return local.refuse(connection, "presence", id, refusal),
    }
    super::spawn_alone(local, connection, async move |local, connection| {
        match ask(local, connection, &channel, !count_only).await {
            Ok(members) => {
                local.node.metrics.done("presence");
                local.reply_whole(connection, id, Reply::Presence { channel, members });
            }
            Err(refusal) => local.refuse(connection, "presence", id, refusal),
        }
    });
}

async fn ask(local: &Local, connection: &Connection, channel: &Channel, list: bool) -> Result<Members, Refusal> {
    wait_drained(local, connection).await?;
    let asked = timeout(super::COMMAND_TIMEOUT, local.node.presence.members(channel, list));
    asked.await.ok().and_then(Result::ok).ok_or_else(Refusal::unavailable)
}
