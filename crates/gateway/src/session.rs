//! One client's session, pure: its phase, who it is, and what it subscribes to.

use crate::auth::Identity;
use crate::grant::{Action, Actions};
use protocol::{Channel, Text};
use std::sync::Arc;
use users::Shown;

/// A moment, in ticks since the worker began (34 years until it wraps).
pub type Tick = u32;

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No token yet, and one is asked for.
    Connecting,
    /// Commands are taken.
    Ready,
    /// The close has been said; only the other side's is awaited.
    Closing,
}

/// How far a subscription is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Asked for; not answered yet.
    Pending,
    /// Delivered; the number is the subscriber's place in the hub.
    Active(u32),
}

/// One subscription of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Which.
    pub channel: Channel,
    /// How far.
    pub stage: Stage,
    /// Whether the client is shown as a member.
    pub is_member: bool,
    /// Whether it is told who comes and goes.
    pub sees_members: bool,
    /// The token it stands by, where that is one of its own.
    pub ticket: Option<Arc<Ticket>>,
}

/// A subscription's own token: as long as it holds, nobody asks what the session's token says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ticket {
    /// When it ends.
    pub ends: Option<Tick>,
    /// `jti`.
    pub token_id: Option<Text>,
    /// `iat`, in Unix seconds.
    pub issued_at: Option<u64>,
}

impl Ticket {
    /// What it can be revoked by; its user is the session's.
    pub fn shown<'a>(&'a self, user: &'a str) -> Shown<'a> {
        Shown { user, token_id: self.token_id.as_deref(), issued_at: self.issued_at }
    }
}

/// One client's session.
#[derive(Debug)]
pub struct Session {
    /// Where it is.
    pub phase: Phase,
    /// Who it is; absent for an anonymous one.
    pub identity: Option<Arc<Identity>>,
    subscriptions: Vec<Subscription>,
}

/// Why a subscription cannot begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unable {
    /// There is one already, or one is on its way.
    Already,
    /// The session has as many as it may.
    TooMany,
}

impl Session {
    /// A session of someone known, or of anyone (`Ready`), or of someone who has yet to say (`Connecting`).
    pub fn new(phase: Phase, identity: Option<Arc<Identity>>) -> Self {
        Self { phase, identity, subscriptions: Vec::new() }
    }

    /// What it subscribes to.
    pub fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// The channels that it has.
    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.subscriptions.iter().filter(|s| s.stage != Stage::Pending).map(|s| &s.channel)
    }

    /// One subscription.
    pub fn subscription(&mut self, channel: &Channel) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().find(|s| s.channel == *channel)
    }

    /// Notes a subscription that is on its way.
    pub fn begin(&mut self, channel: &Channel, max: usize) -> Result<(), Unable> {
        if self.subscription(channel).is_some() {
            return Err(Unable::Already);
        }
        if self.subscriptions.len() >= max {
            return Err(Unable::TooMany);
        }
        // Most have one or two: a Vec would begin with room for four.
        self.subscriptions.reserve_exact(1);
        let channel = channel.clone();
        let stage = Stage::Pending;
        self.subscriptions.push(Subscription { channel, stage, is_member: false, sees_members: false, ticket: None });
        Ok(())
    }

    /// Whether a subscription's own token grants this: what belongs to having the channel.
    pub fn has_ticket(&self, channel: &Channel, action: Action) -> bool {
        let of = || self.subscriptions.iter().find(|s| s.channel == *channel);
        Actions::READ.has(action) && of().is_some_and(|s| s.ticket.is_some())
    }

    /// When the first of the subscriptions' own tokens ends.
    pub fn tickets_end(&self) -> Option<Tick> {
        self.subscriptions.iter().filter_map(|s| s.ticket.as_ref()?.ends).min()
    }

    /// The subscriptions in place whose own token has ended.
    pub fn ended_tickets(&self, now: Tick) -> Vec<Channel> {
        let has_ended = |s: &&Subscription| s.ticket.as_ref().and_then(|t| t.ends).is_some_and(|end| end <= now);
        let in_place = self.subscriptions.iter().filter(|s| s.stage != Stage::Pending);
        in_place.filter(has_ended).map(|s| s.channel.clone()).collect()
    }

    /// The subscriptions in place whose own token is revoked. One that is on its way looks by itself when it arrives.
    pub fn revoked_tickets(&self, is_revoked: impl Fn(&Shown<'_>) -> bool) -> Vec<Channel> {
        let Some(identity) = &self.identity else { return Vec::new() };
        let revoked = |s: &&Subscription| s.ticket.as_ref().is_some_and(|t| is_revoked(&t.shown(&identity.user)));
        let in_place = self.subscriptions.iter().filter(|s| s.stage != Stage::Pending);
        in_place.filter(revoked).map(|s| s.channel.clone()).collect()
    }

    /// Forgets a subscription.
    pub fn end(&mut self, channel: &Channel) -> Option<Subscription> {
        let index = self.subscriptions.iter().position(|s| s.channel == *channel)?;
        Some(self.subscriptions.swap_remove(index))
    }

    /// Forgets all of them.
    pub fn end_all(&mut self) -> Vec<Subscription> {
        std::mem::take(&mut self.subscriptions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_subscribed_to_once_and_only_so_many() {
        let channel = |name: &str| Channel::new(name).unwrap();
        let mut session = Session::new(Phase::Ready, None);
        assert_eq!(session.begin(&channel("a"), 2), Ok(()));
        assert_eq!(session.begin(&channel("a"), 2), Err(Unable::Already));
        assert_eq!(session.begin(&channel("b"), 2), Ok(()));
        assert_eq!(session.begin(&channel("c"), 2), Err(Unable::TooMany));
        assert_eq!(session.end(&channel("a")).map(|s| s.stage), Some(Stage::Pending));
        assert_eq!(session.begin(&channel("c"), 2), Ok(()));
    }

    #[test]
    fn a_ticket_counts_for_reading_its_channel_and_ends_by_itself() {
        let channel = |name: &str| Channel::new(name).unwrap();
        let mut session = Session::new(Phase::Ready, None);
        for (name, ends) in [("a", Some(7)), ("b", Some(5)), ("c", None)] {
            session.begin(&channel(name), 9).unwrap();
            session.subscription(&channel(name)).unwrap().ticket = Some(Arc::new(Ticket { ends, ..Ticket::default() }));
        }
        session.begin(&channel("d"), 9).unwrap();
        assert!(session.has_ticket(&channel("a"), Action::History));
        assert!(
            !session.has_ticket(&channel("a"), Action::Publish) && !session.has_ticket(&channel("d"), Action::History)
        );
        assert_eq!(session.tickets_end(), Some(5));
        assert!(session.ended_tickets(9).is_empty(), "what is on its way is let arrive");
        for name in ["a", "b", "c", "d"] {
            session.subscription(&channel(name)).unwrap().stage = Stage::Active(0);
        }
        assert_eq!(session.ended_tickets(4), []);
        assert_eq!(session.ended_tickets(5), [channel("b")]);
        assert_eq!(session.ended_tickets(9), [channel("a"), channel("b")]);
    }
}
