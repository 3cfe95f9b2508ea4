//! The one door: every command that is about a channel asks here, and what stands is looked at again when a token changes.

use super::Local;
use super::connection::Connection;
use super::ending::Parting;
use crate::grant::Action;
use crate::policy::{Namespace, Who};
use protocol::{Channel, ErrorCode, Outgoing, Push, Refusal};
use std::rc::Rc;
use std::sync::Arc;

impl Local {
    /// The namespace of a channel, if this connection may do this there.
    pub fn allow(&self, connection: &Connection, action: Action, channel: &Channel) -> Result<Arc<Namespace>, Refusal> {
        self.may(connection, action, channel)
    }

    /// The same with a token that the command itself has brought, if `has_ticket`.
    pub fn allow_with(
        &self,
        connection: &Connection,
        action: Action,
        channel: &Channel,
        has_ticket: bool,
    ) -> Result<Arc<Namespace>, Refusal> {
        let identity = connection.state.borrow().session.identity.clone();
        let who = Who { identity: identity.as_deref(), has_ticket };
        self.node.config.policy.allow(who, action, channel).cloned()
    }

    /// A new token may say less: subscriptions that it does not allow end.
    pub fn review(&self, connection: &Rc<Connection>) {
        let channels: Vec<Channel> =
            connection.state.borrow().session.subscriptions().iter().map(|s| s.channel.clone()).collect();
        for channel in channels {
            if let Err(refusal) = self.allow(connection, Action::Subscribe, &channel) {
                self.end_subscription(connection, &channel, &refusal);
                continue;
            }
            let sees_members = self.allow(connection, Action::Presence, &channel).is_ok();
            if let Some(subscription) = connection.state.borrow_mut().session.subscription(&channel) {
                subscription.sees_members = sees_members;
            }
        }
    }

    /// The subscriptions whose own token has ended end with it.
    pub(super) fn end_tickets(&self, connection: &Rc<Connection>) {
        let ended = connection.state.borrow().session.ended_tickets(self.tick());
        for channel in ended {
            let refusal = Refusal::new(ErrorCode::Unauthenticated, "the subscription's token has ended");
            self.end_subscription(connection, &channel, &refusal);
        }
    }

    /// Ends a subscription from this side, and says why.
    pub fn end_subscription(&self, connection: &Rc<Connection>, channel: &Channel, refusal: &Refusal) {
        let ended = connection.state.borrow_mut().session.end(channel);
        let Some(subscription) = ended else { return };
        self.undo_subscription(connection, &subscription, Parting::Left);
        self.note_places(connection);
        let (channel, code, reason) = (channel.clone(), refusal.code, refusal.message.as_ref().into());
        self.send(connection, &Outgoing::Push(Push::Unsubscribed { channel, code, reason }));
    }
}
