//! `auth`: says who one is, or refreshes that on a live session.

use crate::auth::{AuthError, Identity};
use crate::local::Local;
use crate::local::connection::Connection;
use crate::session::{Phase, Session};
use protocol::{CloseCode, ErrorCode, Refusal, Reply};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

pub(super) fn run(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, token: &str) {
    match local.node.auth.identify(token) {
        Err(AuthError::UnknownKey) => {
            let token = token.to_owned();
            // Until it is known who speaks everything waits, subscriptions too.
            connection.state.borrow_mut().waiting.get_or_insert_default();
            super::spawn_alone(local, connection, async move |local, connection| {
                let identified = local.node.auth.identify_waiting(&token).await;
                if !connection.has_ended() {
                    answer(local, connection, id, identified);
                }
            });
        }
        identified => answer(local, connection, id, identified),
    }
}

fn answer(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, identified: Result<Identity, AuthError>) {
    match identified {
        Ok(identity) => accept(local, connection, id, identity),
        Err(AuthError::Refused(why)) => {
            local.refuse(connection, "auth", id, Refusal::new(ErrorCode::Unauthenticated, why));
            // Whoever has not shown a good token yet gets one try; a live session keeps what it has until that ends.
            if connection.state.borrow().session.phase == Phase::Connecting {
                local.close(connection, CloseCode::Unauthenticated);
            }
        }
        Err(AuthError::UnknownKey | AuthError::Unavailable) => local.refuse(connection, "auth", id, no_keys()),
    }
}

/// What is answered while a token's key cannot be fetched: the same may succeed later.
pub fn no_keys() -> Refusal {
    Refusal::new(ErrorCode::Unavailable, "the keys that tokens are checked with cannot be fetched now")
}

fn accept(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, identity: Identity) {
    let expires_in = identity.expires_in(SystemTime::now());
    let user = identity.user.clone();
    let changed = {
        let mut state = connection.state.borrow_mut();
        let allowed = may_become(&state.session, &identity);
        if allowed {
            state.session.identity = Some(Arc::new(identity));
            state.session.phase = Phase::Ready;
        }
        allowed
    };
    if !changed {
        let refusal =
            Refusal::new(ErrorCode::PermissionDenied, "this connection is another user's already: open a new one");
        return local.refuse(connection, "auth", id, refusal);
    }
    local.set_expiry(connection, expires_in);
    local.node.metrics.done("auth");
    local.reply(connection, id, Reply::Authed { user, expires_in: expires_in.map(|left| left.as_secs()) });
    local.review(connection);
}

/// Members and publications bear the user's name, so it stays the same while there are any.
pub fn may_become(session: &Session, identity: &Identity) -> bool {
    match &session.identity {
        Some(before) => before.user == identity.user,
        None => session.subscriptions().is_empty(),
    }
}
