//! `unsubscribe`: leaves a channel.

use crate::local::Local;
use crate::local::connection::Connection;
use crate::local::ending::Parting;
use protocol::{Channel, ErrorCode, Refusal, Reply};
use std::rc::Rc;

pub(super) fn run(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, channel: Channel) {
    let ended = connection.state.borrow_mut().session.end(&channel);
    let Some(subscription) = ended else {
        let refusal = Refusal::new(ErrorCode::NotSubscribed, "there is no subscription to this channel");
        return local.refuse(connection, "unsubscribe", id, refusal);
    };
    local.undo_subscription(connection, &subscription, Parting::Left);
    local.note_places(connection);
    local.node.metrics.done("unsubscribe");
    local.reply(connection, id, Reply::Unsubscribed { channel });
}
