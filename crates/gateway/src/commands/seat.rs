//! A connection's place among those of its user, where they are counted: claimed when it is known whose it is.

use super::COMMAND_TIMEOUT;
use crate::local::Local;
use crate::local::connection::Connection;
use protocol::order::{Order, Whom};
use protocol::{CloseCode, Text};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use users::{Claim, Other};

/// How soon a claim that could not be made is made again.
const RETRY: Duration = Duration::from_millis(100);

/// Connections that are asked for a sign of life when one is refused.
const ASKED_MAX: usize = 16;

/// Has a connection counted whose handshake said whose it is, then goes on. Until it has its place, all that its client says
/// waits.
pub fn take(local: &Rc<Local>, connection: &Rc<Connection>, then: impl FnOnce(&Rc<Local>, &Rc<Connection>) + 'static) {
    let identity = connection.state.borrow().session.identity.clone();
    match identity.filter(|_| local.node.sessions.is_some()) {
        Some(identity) => claim_for(local, connection, identity.user.clone(), then),
        None => then(local, connection),
    }
}

/// Claims a place among this user's, then goes on; without one the connection is closed.
pub(super) fn claim_for(
    local: &Rc<Local>,
    connection: &Rc<Connection>,
    user: Text,
    then: impl FnOnce(&Rc<Local>, &Rc<Connection>) + 'static,
) {
    connection.state.borrow_mut().waiting.get_or_insert_default();
    super::spawn_alone(local, connection, async move |local, connection| {
        let claimed = claim(local, connection, &user).await;
        if connection.has_ended() {
            return local.release_seat(connection, &user);
        }
        match claimed {
            Ok(()) => then(local, connection),
            Err(code) => {
                local.release_seat(connection, &user);
                local.close(connection, code);
            }
        }
    });
}

async fn claim(local: &Rc<Local>, connection: &Connection, user: &Text) -> Result<(), CloseCode> {
    let Some(sessions) = local.node.sessions.clone() else { return Ok(()) };
    let claiming = async {
        loop {
            match sessions.claim(user, connection.number).await {
                Ok(claim) => return claim,
                // A primary that is being changed is soon there again.
                Err(users::Unavailable) => sleep(RETRY).await,
            }
        }
    };
    match timeout(COMMAND_TIMEOUT, claiming).await {
        Ok(Claim::Granted { replaced }) => {
            let close =
                |connection| Order::Disconnect { whom: Whom::Connection(connection), code: CloseCode::Replaced };
            tell(local, replaced, close);
            Ok(())
        }
        Ok(Claim::Refused { mut holders }) => {
            holders.truncate(ASKED_MAX);
            tell(local, holders, |connection| Order::Prove { connection });
            Err(CloseCode::TooManySessions)
        }
        Err(_) => Err(CloseCode::Unavailable),
    }
}

/// Only makes it faster: whoever has lost its place hears of it from Redis too, and who is dead is found out by its pings.
fn tell(local: &Rc<Local>, others: Vec<Other>, order: impl Fn(u64) -> Order + 'static) {
    if others.is_empty() {
        return;
    }
    let node = local.node.clone();
    tokio::task::spawn_local(async move {
        for Other { node: name, connection } in others {
            let _ = timeout(COMMAND_TIMEOUT, node.order(&name, order(connection))).await;
        }
    });
}
