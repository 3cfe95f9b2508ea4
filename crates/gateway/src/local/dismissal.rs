//! Connections that are closed because somebody else says so: what is revoked, what an operator ends, and what has to show
//! that it lives.

use super::Local;
use super::connection::Connection;
use super::timers::{Tick, ticks};
use crate::session::Phase;
use protocol::dialect::Dialect;
use protocol::order::Whom;
use protocol::{Channel, CloseCode, ErrorCode, Refusal, Text};
use std::rc::Rc;
use std::time::Duration;

/// How long a connection may take to show that it lives, when its place is wanted: a ping and its answer.
const PROOF_TIMEOUT: Duration = Duration::from_secs(5);

impl Local {
    /// Whether the token that a connection stands by is revoked.
    pub fn is_revoked(&self, connection: &Connection) -> bool {
        let state = connection.state.borrow();
        state.session.identity.as_ref().is_some_and(|identity| self.node.auth.is_revoked(&identity.shown()))
    }

    /// Whether the token is that a subscription stands by.
    pub fn has_revoked_ticket(&self, connection: &Connection, channel: &Channel) -> bool {
        let mut state = connection.state.borrow_mut();
        let Some(identity) = state.session.identity.clone() else { return false };
        let ticket = state.session.subscription(channel).and_then(|subscription| subscription.ticket.clone());
        ticket.is_some_and(|ticket| self.node.auth.is_revoked(&ticket.shown(&identity.user)))
    }

    /// What is said of a subscription whose token is revoked.
    pub fn revoked() -> Refusal {
        Refusal::new(ErrorCode::Unauthenticated, "the subscription's token has been revoked")
    }

    /// Something was revoked: ends what stands by it.
    pub fn end_revoked(&self) {
        self.node.router.begins_review(self.index);
        for connection in self.open_connections(|_| true) {
            if self.is_revoked(&connection) {
                self.close(&connection, CloseCode::Revoked);
                continue;
            }
            let is_revoked = |shown: &users::Shown<'_>| self.node.auth.is_revoked(shown);
            let tickets = connection.state.borrow().session.revoked_tickets(is_revoked);
            for channel in tickets {
                self.end_subscription(&connection, &channel, &Self::revoked());
            }
        }
    }

    /// Closes connections because an operator, or another session of the same user, has said so.
    pub fn disconnect(&self, whom: &Whom, code: CloseCode) {
        let closed = match whom {
            Whom::Connection(number) => {
                self.connections.borrow().get(number).filter(|c| !c.has_ended()).cloned().into_iter().collect()
            }
            Whom::User(user) => self.open_connections(|connection| {
                connection.state.borrow().session.identity.as_ref().is_some_and(|identity| identity.user == *user)
            }),
            // Those whose subscription is on its way, too.
            Whom::Channel(channel) => self.open_connections(|connection| {
                connection.state.borrow().session.subscriptions().iter().any(|s| s.channel == *channel)
            }),
        };
        closed.iter().for_each(|connection| self.close(connection, code));
    }

    fn open_connections(&self, is_meant: impl Fn(&Connection) -> bool) -> Vec<Rc<Connection>> {
        let connections = self.connections.borrow();
        connections.values().filter(|c| !c.has_ended() && is_meant(c)).cloned().collect()
    }

    /// Another connection of its user wants this one's place: if its socket is dead, that is found out now and not with the
    /// next ping.
    pub fn have_prove(&self, number: u64) {
        let Some(connection) = self.connections.borrow().get(&number).cloned() else { return };
        {
            let mut state = connection.state.borrow_mut();
            if state.session.phase == Phase::Closing {
                return;
            }
            // As if it had been pinged so long ago that only this time is left. Who only listens answers nothing: that its
            // socket is dead is found out by what is written to it.
            let pong = ticks(self.node.config.worker.ping_timeout);
            let pinged: Tick = self.tick().saturating_sub(pong.saturating_sub(ticks(PROOF_TIMEOUT)));
            let earlier = state.times.pinged.map_or(pinged, |before| before.min(pinged));
            state.times.pinged = Some(earlier).filter(|_| connection.dialect != Dialect::Events);
        }
        self.ask_for_life(&connection);
        self.set_timer(&connection);
    }

    /// Gives back the place among its user's that a connection has claimed, or may have.
    pub fn release_seat(&self, connection: &Connection, user: &Text) {
        if let Some(sessions) = &self.node.sessions {
            sessions.release(user, connection.number);
        }
    }
}
