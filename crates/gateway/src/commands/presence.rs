//! `presence`: who is in a channel, or how many.

use crate::local::Local;
use crate::local::connection::Connection;
use crate::policy::Action;
use protocol::{Channel, Refusal, Reply};
use std::rc::Rc;
use tokio::time::timeout;

pub(super) fn run(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, channel: Channel, count_only: bool) {
    let identity = connection.state.borrow().session.identity.clone();
    let allowed = local.node.config.policy.allow(identity.as_deref(), Action::Subscribe, &channel);
    match allowed.map(|namespace| namespace.presence) {
        Ok(true) => {}
        Ok(false) => {
            let refusal = Refusal::bad_request("presence is not kept in this channel");
            return local.refuse(connection, "presence", id, refusal);
        }
        Err(refusal) => return local.refuse(connection, "presence", id, refusal),
    }
    let (local, connection) = (local.clone(), connection.clone());
    tokio::task::spawn_local(async move {
        let asked = local.node.presence.members(&channel, !count_only);
        match timeout(super::COMMAND_TIMEOUT, asked).await {
            Ok(Ok(members)) => {
                local.node.metrics.done("presence");
                local.reply(&connection, id, Reply::Presence { channel, members });
            }
            Ok(Err(_)) | Err(_) => local.refuse(&connection, "presence", id, Refusal::unavailable()),
        }
    });
}
