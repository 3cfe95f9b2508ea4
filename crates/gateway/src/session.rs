//! One client's session, pure: its phase, who it is, and what it subscribes to.

use crate::auth::Identity;
use protocol::Channel;
use std::sync::Arc;

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
        self.subscriptions.push(Subscription { channel, stage: Stage::Pending, is_member: false });
        Ok(())
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
}
