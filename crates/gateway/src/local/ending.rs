//! The one way in which connections end, whatever the cause, and the order in which they are undone.

use super::Local;
use super::connection::Connection;
use super::timers::ticks;
use crate::session::{Phase, Stage, Subscription};
use crate::websocket::{Reader, close_frame};
use protocol::{Cause, Channel, CloseCode, Outgoing, Push, Reconnect};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// How long the other side has to answer a close and end its stream.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection is remembered that has gone on elsewhere; its new node says so within milliseconds.
const MOVED_TIME: Duration = Duration::from_secs(5);

/// How a subscription ends, as presence sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// Its client said so.
    Left,
    /// Its connection broke.
    Lost,
    /// This node closed its connection, and its client comes back after so long.
    SentAway(Duration),
}

impl Local {
    /// Ends a connection from this side: says why, undoes it, and waits a little for the other side.
    pub fn close(&self, connection: &Rc<Connection>, code: CloseCode) {
        let mut frame = Vec::new();
        crate::engine::goodbye(connection, code, &mut frame);
        close_frame(&mut frame, Some(code.code()), code.reason());
        self.end(connection, code, &frame, parting(connection, code));
    }

    /// Tells a client that its connection will be closed with this code, and to come back so long after that.
    pub fn tell_to_come_back(&self, connection: &Rc<Connection>, after_ms: u64, reason: CloseCode) {
        connection.state.borrow_mut().away_ms = u32::try_from(after_ms).unwrap_or(u32::MAX);
        self.send(connection, &Outgoing::Push(Push::Reconnect { after_ms, reason }));
    }

    /// The client has said goodbye: answers with its own code (RFC 6455 section 5.5.1).
    ///
    /// Whoever closes with 1000 or without a code has left; a page that goes away (1001) may be a reload.
    pub fn close_answered(&self, connection: &Rc<Connection>, code: Option<u16>) {
        let mut frame = Vec::new();
        close_frame(&mut frame, code, "");
        let left = matches!(code, None | Some(1000));
        self.end(connection, CloseCode::Normal, &frame, if left { Parting::Left } else { Parting::Lost });
    }

    fn end(&self, connection: &Rc<Connection>, code: CloseCode, last_frame: &[u8], parting: Parting) {
        self.tell_places_of(connection);
        {
            let mut state = connection.state.borrow_mut();
            if state.ended.is_some() {
                return;
            }
            state.ended = Some(code);
            state.session.phase = Phase::Closing;
            state.waiting.take().inspect(|waiting| waiting.done.notify_waiters());
            // Nothing that comes from here on is looked at.
            state.reader = Reader::default();
            match code {
                CloseCode::SlowConsumer => state.outbox.replace_by(last_frame),
                // One small frame more than the bound, once.
                _ => {
                    let _ = state.outbox.push_own(last_frame, usize::MAX);
                }
            }
            self.recount(&mut state);
        }
        self.node.metrics.closed(code);
        self.set_phase_end(connection, ticks(CLOSING_TIMEOUT));
        self.mark_dirty(connection);
        self.undo(connection, parting);
    }

    /// Ends a connection whose session goes on elsewhere: its client is told nothing, and nobody is told that it left.
    pub fn let_go(&self, connection: &Rc<Connection>, away: Duration) {
        {
            let mut state = connection.state.borrow_mut();
            if state.ended.replace(CloseCode::Normal).is_some() {
                return;
            }
            state.session.phase = Phase::Closing;
        }
        let (id, now) = (self.public_id(connection), Instant::now());
        {
            let mut moved = self.moved.borrow_mut();
            moved.retain(|_, (_, since)| now.duration_since(*since) < MOVED_TIME);
            moved.insert(connection.number, (id, now));
        }
        self.undo(connection, Parting::SentAway(away));
        self.retire(connection);
        connection.task.get().inspect(|task| task.abort());
    }

    /// The socket is gone, or its reading task is: whatever has not been undone is undone now.
    pub fn retire(&self, connection: &Rc<Connection>) {
        connection.socket.shutdown();
        let abrupt = {
            let mut state = connection.state.borrow_mut();
            state.outbox.clear();
            state.unsent_bytes = 0;
            state.waiting.take().inspect(|waiting| waiting.done.notify_waiters());
            state.reader = Reader::default();
            self.recount(&mut state);
            state.session.phase = Phase::Closing;
            let is_abrupt = state.ended.is_none();
            // What is still under way asks why: one that was shut out stays that.
            state.ended.get_or_insert(CloseCode::Normal);
            is_abrupt
        };
        if abrupt {
            self.node.metrics.closes.with_label_values(&["connection lost"]).inc();
            self.undo(connection, Parting::Lost);
        }
        if let Some(alias) = connection.state.borrow_mut().engine.as_mut().and_then(|engine| engine.alias.take()) {
            self.aliases.borrow_mut().remove(&alias);
        }
        if self.connections.borrow_mut().remove(&connection.number).is_some() {
            self.node.shedding.ended(self.index);
            self.node.metrics.connections.with_label_values(&[connection.dialect.name()]).dec();
        }
        if self.connections.borrow().is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// Its place among its user's, hub, interest of the node, presence, gauges; the permit goes with the connection itself.
    fn undo(&self, connection: &Rc<Connection>, parting: Parting) {
        self.tell_disconnected(connection, parting);
        if let Some(sessions) = &self.node.sessions
            && let Some(identity) = &connection.state.borrow().session.identity
        {
            sessions.release(&identity.user, connection.number);
        }
        let subscriptions = connection.state.borrow_mut().session.end_all();
        for subscription in &subscriptions {
            self.undo_subscription(connection, subscription, parting);
        }
    }

    /// Undoes one subscription that the session has already forgotten. One that is still on its way undoes itself when
    /// it finds that out.
    pub fn undo_subscription(&self, connection: &Rc<Connection>, subscription: &Subscription, parting: Parting) {
        let Stage::Active(index) = subscription.stage else { return };
        let channel = &subscription.channel;
        let moved = self.hub.borrow_mut().detach(channel, index);
        if let Some(moved) = moved
            && let Some(other) = moved.state.borrow_mut().session.subscription(channel)
        {
            other.stage = Stage::Active(index);
        }
        self.exit(channel);
        if subscription.is_member {
            self.part(connection, channel, parting);
        }
        self.node.metrics.subscriptions.dec();
    }

    /// Undoes a subscription that was on its way: whether or not its member was written, it is not wanted, and leaving what
    /// is not there does nothing.
    pub fn undo_begun(&self, connection: &Connection, channel: &Channel) {
        let ended = connection.state.borrow().ended;
        // One that was sent away comes back and subscribes again: that is no coming and going.
        let sent_away = ended.map(|code| parting(connection, code)).filter(|parting| *parting != Parting::Lost);
        self.part(connection, channel, sent_away.unwrap_or(Parting::Left));
        self.exit(channel);
    }

    /// A connection's member is no longer in a channel.
    fn part(&self, connection: &Connection, channel: &Channel, parting: Parting) {
        let (presence, client) = (&self.node.presence, self.client_id(connection));
        match parting {
            Parting::Left => presence.leave(channel, &client, Cause::Left),
            Parting::Lost => presence.leave(channel, &client, Cause::Lost),
            Parting::SentAway(after) => presence.send_away(channel, &client, after),
        }
    }

    /// One subscriber of a channel less on this worker.
    pub fn exit(&self, channel: &Channel) {
        let was_last = self.hub.borrow_mut().exit(channel);
        if was_last {
            self.node.leave(channel, self.index);
        }
    }
}

fn parting(connection: &Connection, code: CloseCode) -> Parting {
    match code.reconnect() {
        Reconnect::WhenTold => Parting::SentAway(Duration::from_millis(connection.state.borrow().away_ms.into())),
        Reconnect::Never | Reconnect::Backoff => Parting::Lost,
    }
}
