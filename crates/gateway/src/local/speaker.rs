//! Who speaks: what the rules of commands ask of whoever sent one, be it a connection or a single HTTP request.

use super::Local;
use super::connection::Connection;
use crate::auth::Identity;
use crate::grant::Action;
use crate::policy::{Namespace, Who};
use crate::rule::Rule;
use protocol::{Channel, CloseCode, Origin, Refusal, Text};
use std::sync::Arc;
use std::time::Duration;

/// What a speaker has a bucket for.
#[derive(Debug, Clone, Copy)]
pub enum Spends<'a> {
    /// A command.
    Command,
    /// A channel that nobody else of the node uses.
    NewChannel(&'a Channel),
    /// A publication under a namespace's rule.
    Rule(&'a Rule),
}

/// Somebody who sends commands.
pub trait Speaker {
    /// In the words of refusals.
    const WHO: &'static str;

    /// Who that is; none: anonymous.
    fn identity(&self) -> Option<Arc<Identity>>;

    /// Whether a subscription's own token grants this.
    fn has_ticket(&self, channel: &Channel, action: Action) -> bool;

    /// The id, as others see it.
    fn client_id(&self, local: &Local) -> Text;

    /// Takes one of a bucket of its own.
    ///
    /// # Errors
    /// How long until there is one.
    fn spend(&self, local: &Local, what: Spends<'_>) -> Result<(), Duration>;

    /// Whether it has been shut out since it began to speak: it says nothing any more.
    fn is_shut_out(&self, local: &Local) -> bool;
}

impl Speaker for Connection {
    const WHO: &'static str = "this connection";

    fn identity(&self) -> Option<Arc<Identity>> {
        self.state.borrow().session.identity.clone()
    }

    fn has_ticket(&self, channel: &Channel, action: Action) -> bool {
        self.state.borrow().session.has_ticket(channel, action)
    }

    fn client_id(&self, local: &Local) -> Text {
        local.public_id(self)
    }

    fn spend(&self, local: &Local, what: Spends<'_>) -> Result<(), Duration> {
        let (rates, now_ms) = (&local.node.config.worker.rates, local.now_ms());
        let buckets = &mut self.state.borrow_mut().buckets;
        match what {
            Spends::Command => buckets.messages.take(&rates.messages, now_ms),
            Spends::NewChannel(_) => buckets.new_channels.take(&rates.new_channels, now_ms),
            Spends::Rule(rule) => buckets.take_of_rule(rule.id, &rule.rate, now_ms),
        }
    }

    /// What somebody says and then goes away is said, unless it is revoked by now.
    fn is_shut_out(&self, local: &Local) -> bool {
        let ended = self.state.borrow().ended;
        ended.is_some_and(|code| code != CloseCode::Normal || local.is_revoked(self))
    }
}

impl Local {
    /// The namespace of a channel, if this speaker may do this there.
    ///
    /// # Errors
    /// Why not.
    pub fn may(&self, who: &impl Speaker, action: Action, channel: &Channel) -> Result<Arc<Namespace>, Refusal> {
        let has_ticket = who.has_ticket(channel, action);
        let identity = who.identity();
        let who = Who { identity: identity.as_deref(), has_ticket };
        self.node.config.policy.allow(who, action, channel).cloned()
    }

    /// A speaker, as others see it.
    pub fn origin_of(&self, who: &impl Speaker) -> Origin {
        let identity = who.identity();
        Origin {
            client: who.client_id(self),
            user: identity.as_ref().map(|i| i.user.clone()),
            info: identity.and_then(|i| i.info.clone()),
        }
    }
}
