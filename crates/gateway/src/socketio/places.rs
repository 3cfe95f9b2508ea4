//! Where a connection is in its channels: told to its client, and gone on from when it comes back to whatever node.

use super::secrets;
use crate::commands;
use crate::local::connection::Connection;
use crate::local::{Local, alias_note};
use crate::node::parse_client_id;
use crate::polling::calls;
use broker::{Note, Range};
use protocol::dialect::socketio::Ask;
use protocol::dialect::socketio::positions::Place;
use protocol::forward::{Ask as CallAsk, Request as Call};
use protocol::{Channel, Outgoing, Position, Push, Subscribe, Text};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;

/// How long the log may take to say whether it holds all that was missed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Goes on as what a client was before: with its id, in its channels, from where it was. False if not all of that can be;
/// then nothing has been done.
pub(super) async fn recover(
    local: &Rc<Local>,
    connection: &Rc<Connection>,
    namespace: u8,
    pid: &str,
    places: Vec<Place>,
) -> bool {
    let Some(key) = local.node.recovery_key.get() else { return false };
    let user = connection.state.borrow().session.identity.as_ref().map(|identity| identity.user.clone());
    let Some(sid) = secrets::sid_of(key, pid, user.as_deref()) else { return false };
    if has_other_id(local, connection, &sid) {
        tracing::debug!("not recovered: its client has been told another id already");
        return false;
    }
    for (channel, position) in &places {
        let Some(position) = position else { continue };
        let whole = timeout(CHECK_TIMEOUT, is_whole(local, channel, position)).await;
        if !whole.unwrap_or(false) {
            tracing::debug!(%channel, "not recovered: the log does not hold all that was missed, or cannot be read");
            return false;
        }
    }
    // It may have been this one all along: out of the namespace and in again, or another namespace came first.
    if *local.public_id(connection) != *sid {
        supersede(local, connection, &sid).await;
        // Meanwhile.
        if connection.has_ended() || has_other_id(local, connection, &sid) {
            return false;
        }
        take_id(local, connection, &sid);
    }
    go_on(local, connection, namespace, places).await;
    true
}

/// Subscribes from where the connection was; what was missed is told as if it had just come.
pub async fn go_on(local: &Rc<Local>, connection: &Rc<Connection>, namespace: u8, places: Vec<Place>) {
    for (channel, recover) in places {
        let is_told = recover.is_some();
        let subscribe = Subscribe { channel: channel.clone(), recover, members: false, state: false, token: None };
        commands::subscribe_alone(local, connection, Some(Ask::recovering(namespace)), subscribe).await;
        if !is_told {
            // Nobody knows what was said meanwhile: nothing is kept there.
            let gap = Push::Gap { channel, from: None, to: None, epoch: None };
            local.send(connection, &Outgoing::Push(gap));
        }
    }
}

/// Whether its client has been told another id already, in another namespace.
fn has_other_id(local: &Local, connection: &Connection, sid: &str) -> bool {
    let has_told = connection.state.borrow().engine.as_ref().is_none_or(|engine| engine.has_told_id);
    has_told && *local.public_id(connection) != *sid
}

/// Whether the log holds everything after a position.
async fn is_whole(local: &Local, channel: &Channel, position: &Position) -> bool {
    let range = Range { since: Some(position.offset), limit: 1, reverse: false };
    let Ok(page) = local.node.broker.history(channel, range).await else { return false };
    let first = page.publications.first().and_then(|publication| publication.offset);
    let is_next =
        first.map_or(page.top.offset == position.offset, |first| position.offset.checked_add(1) == Some(first));
    page.top.epoch == position.epoch && is_next
}

/// Ends the connection that went by this id before, if it has not noticed by itself that its client is gone.
async fn supersede(local: &Rc<Local>, connection: &Connection, sid: &str) {
    let noted = local.node.broker.note(&alias_note(sid), Note::Read);
    let noted = timeout(CHECK_TIMEOUT, noted).await.ok().and_then(Result::ok).flatten();
    // Its namespaces recover side by side: one of them may have taken the id for it.
    let own = local.client_id(connection);
    for id in noted.iter().map(String::as_str).chain([sid]).filter(|id| **id != *own) {
        if let Some((node, number)) = parse_client_id(id) {
            let call = Call { ask: CallAsk::Supersede, secret: [0; 16], token: None, body: bytes::Bytes::new() };
            calls::tell(local, node, number, &call).await;
        }
    }
}

/// Goes by an id that was another connection's.
pub fn take_id(local: &Rc<Local>, connection: &Rc<Connection>, sid: &str) {
    if *local.client_id(connection) == *sid {
        return;
    }
    let sid = Text::from(sid);
    if let Some(engine) = &mut connection.state.borrow_mut().engine {
        engine.alias = Some(sid.clone());
    }
    local.aliases.borrow_mut().insert(sid.clone(), connection.number);
    local.renew_alias(connection, &sid);
}
