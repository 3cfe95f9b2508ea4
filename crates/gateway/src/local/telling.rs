//! What the application is told of connections.

use super::Local;
use super::connection::Connection;
use super::ending::Parting;
use crate::session::Phase;
use crate::webhooks::{Kind, Webhooks};

impl Local {
    /// A connection may give commands, if it may: told once.
    pub fn tell_connected(&self, connection: &Connection) {
        let Some(webhooks) = self.webhooks_of_connections() else { return };
        {
            let mut state = connection.state.borrow_mut();
            if state.session.phase != Phase::Ready || std::mem::replace(&mut state.is_told, true) {
                return;
            }
        }
        webhooks.connected(&self.origin(connection), connection.dialect.name());
    }

    pub(super) fn tell_disconnected(&self, connection: &Connection, parting: Parting) {
        let Some(webhooks) = self.webhooks_of_connections() else { return };
        if !std::mem::take(&mut connection.state.borrow_mut().is_told) {
            return;
        }
        let cause = match parting {
            Parting::Left => "left",
            Parting::Lost => "lost",
            Parting::SentAway(_) => "sent_away",
        };
        webhooks.disconnected(&self.origin(connection), connection.dialect.name(), cause);
    }

    fn webhooks_of_connections(&self) -> Option<&Webhooks> {
        let webhooks = self.node.webhooks.as_deref()?;
        (webhooks.tells(Kind::Connected) || webhooks.tells(Kind::Disconnected)).then_some(webhooks)
    }
}
