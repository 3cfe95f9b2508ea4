//! Where a connection is in its channels: told to its client, and gone on from when it comes back to whatever node.

use super::{calls, frames, rules, secrets};
use crate::commands;
use crate::local::connection::Connection;
use crate::local::{Local, alias_note};
use crate::node::parse_client_id;
use crate::session::Stage;
use broker::{Note, Range};
use protocol::dialect::socketio::positions::{self, Place};
use protocol::dialect::socketio::{Ask, encode};
use protocol::forward::{Ask as CallAsk, Request as Call};
use protocol::{Channel, Outgoing, Position, Push, Subscribe, Text};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;

/// How long the log may take to say whether it holds all that was missed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Tells all whose places have changed.
pub fn tell_due(local: &Rc<Local>) {
    let due = std::mem::take(&mut *local.positions_due.borrow_mut());
    for connection in due {
        let Some(rules) = rules(&connection) else { continue };
        let (entered, places) = {
            let mut state = connection.state.borrow_mut();
            let Some(engine) = &mut state.engine else { continue };
            engine.positions_due = false;
            let entered: Vec<u8> = engine.session.namespaces().collect();
            drop(state);
            (entered, of(local, &connection))
        };
        for namespace in entered {
            let here: Vec<Place> = places.iter().filter(|(c, _)| rules.room(c).0 == namespace).cloned().collect();
            frames(local, &connection, |out| encode::positions(rules, namespace, &positions::write(&here), out));
        }
    }
}

/// The channels that a connection is in, and up to where it has everything.
pub fn of(local: &Local, connection: &Connection) -> Vec<Place> {
    let state = connection.state.borrow();
    let mut hub = local.hub.borrow_mut();
    let mut places = Vec::new();
    for subscription in state.session.subscriptions() {
        let Stage::Active(index) = subscription.stage else { continue };
        let position = hub.entry(&subscription.channel).and_then(|entry| entry.position_of(index));
        places.push((subscription.channel.clone(), position));
    }
    places
}

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
        return false;
    }
    for (channel, position) in &places {
        let Some(position) = position else { continue };
        let whole = timeout(CHECK_TIMEOUT, is_whole(local, channel, position)).await;
        if !whole.unwrap_or(false) {
            return false;
        }
    }
    // It may have been this one all along: out of the namespace and in again, or another namespace came first.
    if *local.public_id(connection) != *sid {
        supersede(local, &sid).await;
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

/// Whether it goes by another id already, which somebody may have been told.
fn has_other_id(local: &Local, connection: &Connection, sid: &str) -> bool {
    let state = connection.state.borrow();
    let Some(engine) = &state.engine else { return true };
    let has_entered = engine.session.namespaces().count() > 1;
    drop(state);
    let id = local.public_id(connection);
    has_entered && *id != *sid
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
async fn supersede(local: &Rc<Local>, sid: &str) {
    let noted = local.node.broker.note(&alias_note(sid), Note::Read);
    let noted = timeout(CHECK_TIMEOUT, noted).await.ok().and_then(Result::ok).flatten();
    for id in noted.iter().map(String::as_str).chain([sid]) {
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
