//! Whose connections are here: what backends ask by way of any node.

use super::Local;
use super::connection::Connection;
use crate::whereabouts::ANSWER_TIMEOUT;
use protocol::Text;
use protocol::dialect::Dialect;
use protocol::order::Order;
use protocol::whereabouts::{CHANNELS_MAX, CONNECTIONS_MAX, Connected, Part};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// How long a worker leaves its connections alone between two looks through them. One look takes some 10 ms for 100,000,
/// and all who ask meanwhile are answered by the next: however many ask, it is a tenth of the worker's time.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Those who wait for a look; more are not answered, and their nodes say so.
const SOUGHT_MAX: usize = 256;

/// Users that are asked for.
#[derive(Debug, Default)]
pub struct Searches {
    sought: Vec<Sought>,
    is_looking: bool,
    looked_at: Option<Instant>,
}

/// A question for the connections of a user.
#[derive(Debug)]
pub struct Sought {
    /// Whose.
    pub user: Text,
    /// How many are to be told of at the most.
    pub limit: u16,
    /// The question's number.
    pub ticket: u64,
    /// The node that waits for the answer.
    pub answer_to: Text,
}

impl Local {
    /// Has a question answered with the next look.
    pub fn locate(self: &Rc<Self>, sought: Sought) {
        let mut searches = self.searches.borrow_mut();
        if searches.sought.len() >= SOUGHT_MAX {
            return self.node.metrics.inbox_overflows.inc();
        }
        searches.sought.push(sought);
        if !std::mem::replace(&mut searches.is_looking, true) {
            tokio::task::spawn_local(look_while_sought(self.clone()));
        }
    }

    /// One look, for all users that are asked for.
    fn connections_of(&self, sought: &[Sought]) -> HashMap<Text, Vec<Rc<Connection>>> {
        let mut found: HashMap<_, Vec<_>> = sought.iter().map(|sought| (sought.user.clone(), Vec::new())).collect();
        for connection in self.connections.borrow().values() {
            let state = connection.state.borrow();
            let Some(identity) = state.session.identity.as_ref().filter(|_| state.ended.is_none()) else { continue };
            if let Some(of_user) = found.get_mut(&identity.user) {
                of_user.push(connection.clone());
            }
        }
        found
    }

    fn connected(&self, connection: &Connection) -> Connected {
        let transport = match connection.dialect {
            Dialect::Events => "sse",
            _ if connection.socket.pipe().is_some() => "polling",
            _ => "websocket",
        };
        let state = connection.state.borrow();
        let alias = state.engine.as_ref().and_then(|engine| engine.alias.clone());
        let channels = || state.session.channels();
        Connected {
            number: connection.number,
            since_ms: connection.since_ms,
            seen_as: alias,
            dialect: connection.dialect.name().into(),
            transport: transport.into(),
            subscriptions: u32::try_from(channels().count()).unwrap_or(u32::MAX),
            channels: channels().take(CHANNELS_MAX).map(|channel| channel.as_str().into()).collect(),
        }
    }

    fn found_part(&self, connections: &[Rc<Connection>], limit: usize) -> Part {
        let told = connections.iter().take(limit.min(CONNECTIONS_MAX));
        Part {
            node: self.node.name.as_str().into(),
            parts: u8::try_from(self.node.config.workers).unwrap_or(u8::MAX),
            part: u8::try_from(self.index).unwrap_or(u8::MAX),
            count: u32::try_from(connections.len()).unwrap_or(u32::MAX),
            connections: told.map(|connection| self.connected(connection)).collect(),
        }
    }
}

async fn look_while_sought(local: Rc<Local>) {
    loop {
        let looked_at = local.searches.borrow().looked_at;
        if let Some(looked_at) = looked_at {
            sleep_until(looked_at + LOOK_PAUSE).await;
        }
        let sought = {
            let mut searches = local.searches.borrow_mut();
            searches.is_looking = !searches.sought.is_empty();
            searches.looked_at = Some(Instant::now());
            std::mem::take(&mut searches.sought)
        };
        if sought.is_empty() {
            return;
        }
        // Nobody waits longer for any of it. One at a time: an answer may be large.
        let _ = timeout(ANSWER_TIMEOUT, answer(&local, sought)).await;
    }
}

async fn answer(local: &Local, sought: Vec<Sought>) {
    let mut found = local.connections_of(&sought);
    for connections in found.values_mut() {
        connections.sort_unstable_by_key(|connection| (connection.since_ms, connection.number));
    }
    for Sought { user, limit, ticket, answer_to } in sought {
        let connections = found.get(&user).map(Vec::as_slice).unwrap_or_default();
        let part = local.found_part(connections, usize::from(limit)).encode();
        local.node.order(&answer_to, Order::Located { ticket, part }).await;
    }
}
