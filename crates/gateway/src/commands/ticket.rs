//! `subscribe` as a client asks for it: with a token of its own for the one subscription, or without.

use super::subscribe::{Means, begin_with};
use crate::auth::{AuthError, Identity};
use crate::local::Local;
use crate::local::connection::Connection;
use crate::local::timers::ticks;
use crate::session::Ticket;
use protocol::{ErrorCode, Refusal, Subscribe};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

pub(super) fn run(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, mut subscribe: Subscribe) {
    let Some(token) = subscribe.token.take() else {
        return begin_with(local, connection, id, subscribe, Means { join: true, ..Means::default() });
    };
    let identity = connection.state.borrow().session.identity.clone();
    let user = identity.map(|identity| identity.user.clone());
    match local.node.auth.admit(&token, &subscribe.channel, user.as_deref()) {
        Err(AuthError::UnknownKey) => super::spawn_subscribing(local, connection, async move |local, connection| {
            let admitted = local.node.auth.admit_waiting(&token, &subscribe.channel, user.as_deref()).await;
            if !connection.has_ended() {
                begin_admitted(local, connection, id, subscribe, admitted);
            }
        }),
        admitted => begin_admitted(local, connection, id, subscribe, admitted),
    }
}

/// Begins a subscription by its own token: `admitted` is what that says, or why it is not taken.
fn begin_admitted(
    local: &Rc<Local>,
    connection: &Rc<Connection>,
    id: Option<u64>,
    subscribe: Subscribe,
    admitted: Result<Identity, AuthError>,
) {
    let refusal = match admitted {
        Ok(token) => {
            let holds_for = token.expires_in(SystemTime::now());
            let ends = holds_for.map(|time| local.tick().saturating_add(ticks(time)));
            let ticket = Ticket { ends, token_id: token.token_id, issued_at: token.issued_at };
            let means = Means { join: true, ticket: Some(Arc::new(ticket)), past: None };
            return begin_with(local, connection, id, subscribe, means);
        }
        Err(AuthError::Refused(why)) => Refusal::new(ErrorCode::Unauthenticated, why),
        Err(AuthError::UnknownKey | AuthError::Unavailable) => super::auth::no_keys(),
    };
    local.refuse(connection, "subscribe", id, refusal);
}
