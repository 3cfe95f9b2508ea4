//! `auth`: says who one is, or refreshes that on a live session.

use crate::auth::{AuthError, Identity, REVOKED};
use crate::hooks::Denial;
use crate::local::Local;
use crate::local::connection::Connection;
use crate::metrics::Limit;
use crate::session::{Phase, Session};
use protocol::{CloseCode, ErrorCode, Refusal, Reply};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

/// Who asks, and what is done with the answer.
pub enum Asked {
    /// The command: answered in words.
    Command(Option<u64>),
    /// A dialect that says it in its own way.
    Dialect(Then),
}

/// What a dialect does with the answer.
pub(super) type Then = Box<dyn FnOnce(&Rc<Local>, &Rc<Connection>, Result<(), Refusal>)>;

impl Asked {
    /// A refusal, and what a connection that is nobody yet is closed with where there is no other way to try again.
    fn refuse(self, local: &Rc<Local>, connection: &Rc<Connection>, refusal: Refusal, close: Option<CloseCode>) {
        match self {
            Self::Command(id) => {
                local.refuse(connection, "auth", id, refusal);
                let is_connecting = connection.state.borrow().session.phase == Phase::Connecting;
                if let Some(code) = close.filter(|_| is_connecting) {
                    local.close(connection, code);
                }
            }
            Self::Dialect(then) => then(local, connection, Err(refusal)),
        }
    }
}

/// Finds out whom a token names, and has the connection be that.
pub fn run(local: &Rc<Local>, connection: &Rc<Connection>, id: Asked, token: &str) {
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

fn answer(local: &Rc<Local>, connection: &Rc<Connection>, id: Asked, identified: Result<Identity, AuthError>) {
    match identified {
        Ok(identity) => consult(local, connection, id, identity),
        Err(AuthError::Refused(why)) => {
            // Whoever has not shown a good token yet gets one try; a live session keeps what it has until that ends.
            let refusal = Refusal::new(ErrorCode::Unauthenticated, why);
            id.refuse(local, connection, refusal, Some(CloseCode::Unauthenticated));
        }
        Err(AuthError::UnknownKey | AuthError::Unavailable) => id.refuse(local, connection, no_keys(), None),
    }
}

/// Has the application asked, where it wants to be, of a token that is new to it too.
fn consult(local: &Rc<Local>, connection: &Rc<Connection>, id: Asked, identity: Identity) {
    if connection.visitor.is_none() || !may_become(&connection.state.borrow().session, &identity) {
        return accept(local, connection, id, identity);
    }
    // Until it is known who speaks everything waits, subscriptions too.
    connection.state.borrow_mut().waiting.get_or_insert_default();
    super::spawn_alone(local, connection, async move |local, connection| {
        let Some(visitor) = &connection.visitor else { return };
        let is_live = connection.state.borrow().session.phase == Phase::Ready;
        let asked = local.node.hooks.connect(visitor, Some(identity), is_live).await;
        if connection.has_ended() {
            return;
        }
        match asked {
            // Meanwhile.
            Ok(Some(identity)) if local.node.auth.is_revoked(&identity.shown()) => {
                answer(local, connection, id, Err(REVOKED));
            }
            Ok(Some(identity)) => accept(local, connection, id, identity),
            Ok(None) => {}
            Err(denial) => deny(local, connection, id, denial),
        }
    });
}

/// As a token that is not good: a live session keeps what it has.
fn deny(local: &Rc<Local>, connection: &Rc<Connection>, id: Asked, denial: Denial) {
    let close = match denial.code {
        ErrorCode::Unavailable => None,
        ErrorCode::Unauthenticated => Some(CloseCode::Unauthenticated),
        _ => Some(CloseCode::Forbidden),
    };
    id.refuse(local, connection, denial.refusal(), close);
}

/// What is answered while a token's key cannot be fetched: the same may succeed later.
pub fn no_keys() -> Refusal {
    Refusal::new(ErrorCode::Unavailable, "the keys that tokens are checked with cannot be fetched now")
}

/// Whoever has been nobody until now is one connection more of that user.
fn accept(local: &Rc<Local>, connection: &Rc<Connection>, id: Asked, identity: Identity) {
    let is_first = connection.state.borrow().session.identity.is_none();
    if !is_first || local.node.sessions.is_none() || !may_become(&connection.state.borrow().session, &identity) {
        return become_known(local, connection, id, identity);
    }
    super::seat::claim_for(local, connection, identity.user.clone(), move |local, connection| {
        if local.node.auth.is_revoked(&identity.shown()) {
            local.release_seat(connection, &identity.user);
            return answer(local, connection, id, Err(REVOKED));
        }
        become_known(local, connection, id, identity);
    });
}

fn become_known(local: &Rc<Local>, connection: &Rc<Connection>, id: Asked, identity: Identity) {
    let expires_in = identity.expires_in(SystemTime::now());
    let user = identity.user.clone();
    if !may_become(&connection.state.borrow().session, &identity) {
        let refusal =
            Refusal::new(ErrorCode::PermissionDenied, "this connection is another user's already: open a new one");
        return id.refuse(local, connection, refusal, None);
    }
    if local.node.places.assign_user(&mut connection.place.borrow_mut(), &user).is_err() {
        local.release_seat(connection, &user);
        return too_many_of_user(local, connection, id);
    }
    {
        let mut state = connection.state.borrow_mut();
        state.session.identity = Some(Arc::new(identity));
        state.session.phase = Phase::Ready;
    }
    local.set_expiry(connection, expires_in);
    local.node.metrics.done("auth");
    let then = match id {
        Asked::Command(id) => {
            local.reply(connection, id, Reply::Authed { user, expires_in: expires_in.map(|left| left.as_secs()) });
            None
        }
        Asked::Dialect(then) => Some(then),
    };
    local.review(connection);
    local.tell_connected(connection);
    if let Some(then) = then {
        then(local, connection, Ok(()));
    }
}

/// A connection that was without a user cannot stay for that: it is closed as its handshake would have been refused.
fn too_many_of_user(local: &Rc<Local>, connection: &Rc<Connection>, id: Asked) {
    local.node.metrics.limits.reached(Limit::ConnectionsPerUser);
    let message = "this user has as many connections here as a user may";
    let refusal = Refusal::new(ErrorCode::LimitExceeded, message);
    id.refuse(local, connection, refusal, Some(CloseCode::OverCapacity));
}

/// Members and publications bear the user's name, so it stays the same while there are any.
fn may_become(session: &Session, identity: &Identity) -> bool {
    match &session.identity {
        Some(before) => before.user == identity.user,
        None => session.subscriptions().is_empty(),
    }
}
