//! What becomes due with time: pings, deadlines of a phase, and the end of tokens.

use super::Local;
use super::connection::{Connection, State, Times};
use super::flushing::Reason;
use super::timers::{TICK_MS, Tick, ticks};
use crate::pipe::Release;
use crate::session::Phase;
use crate::websocket::{Frames, ping_frame};
use protocol::dialect::socketio::engine::PING;
use protocol::dialect::{Dialect, Messages, events};
use protocol::{CloseCode, Outgoing, Push};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// How long before a token ends its client is told, if the token holds that long.
const EXPIRY_NOTICE: Duration = Duration::from_secs(30);

/// A worker that did not look at its timers for so long stood still, and heard nobody meanwhile.
const STANDSTILL: Duration = Duration::from_secs(2);

/// What is due of one connection.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Ping,
    TellExpiry(Tick),
    Close(CloseCode),
    /// Something waits for its socket, and nothing has been taken for too long.
    CloseStalled,
    /// The other side has had its time to answer the close.
    Abandon,
}

impl Local {
    /// Looks at everything that is due now.
    pub fn check_timers(&self) {
        self.hub.borrow_mut().forget_stale(Instant::now());
        let now = self.tick();
        let silent = now.saturating_sub(self.recent_tick.replace(now));
        if silent >= ticks(STANDSTILL) {
            for connection in self.connections.borrow().values() {
                let mut state = connection.state.borrow_mut();
                let phase = state.session.phase;
                let heard = state.times.heard;
                state.times.forgive(phase, now, silent);
                if state.engine.is_some() {
                    // Its client counts on pings, and has had none meanwhile.
                    state.times.heard = heard;
                }
                state.outbox.forgive(now);
            }
        }
        let due = self.wheel.borrow_mut().advance(now);
        for number in due {
            let connection = self.connections.borrow().get(&number).cloned();
            if let Some(connection) = connection {
                self.check(&connection, now);
            }
        }
    }

    fn check(&self, connection: &Rc<Connection>, now: Tick) {
        let ((phase, times, stalled_since, tickets_end), patience, is_busy, is_polled) = {
            let mut state = connection.state.borrow_mut();
            let is_busy = state.waiting.is_some();
            if is_busy {
                // Its socket is not read while commands wait: silence says nothing.
                let is_scheduled = state.engine.is_some();
                state.times.alive(now, is_scheduled);
            }
            let is_polled = state.polled.is_some();
            if is_polled && connection.socket.pipe().is_some_and(|pipe| pipe.reader().is_some()) {
                state.times.heard = now;
            }
            let patience = self.patience(&state);
            let stalled_since = state.outbox.stalled_since();
            let state = (state.session.phase, state.times, stalled_since, state.session.tickets_end());
            (state, patience, is_busy, is_polled)
        };
        // An entry that a later one has replaced.
        if times.due > now {
            return;
        }
        if phase == Phase::Ready && tickets_end.is_some_and(|end| end <= now) {
            self.end_tickets(connection);
        }
        match due(phase, &times, stalled_since, now, &patience) {
            // Its client asks by itself, and has not for so long.
            Some(Due::Ping) if is_polled => return self.close(connection, CloseCode::PingTimeout),
            Some(Due::Ping) => self.ping(connection, now),
            Some(Due::TellExpiry(left)) => {
                connection.state.borrow_mut().times.expiry_told = true;
                let in_ms = u64::from(left) * u64::from(TICK_MS);
                self.send(connection, &Outgoing::Push(Push::Expiring { in_ms }));
            }
            Some(Due::Close(code)) => {
                // Its token is being looked at: nobody knows that it is bad.
                let is_unknown = is_busy && code == CloseCode::Unauthenticated;
                let code = if is_unknown { CloseCode::Unavailable } else { code };
                self.node.metrics.limits.of_close(code);
                return self.close(connection, code);
            }
            Some(Due::CloseStalled) => return self.close_slow(connection, Reason::Stalled),
            Some(Due::Abandon) => {
                connection.task.get().inspect(|task| task.abort());
                return;
            }
            None => {}
        }
        self.set_timer(connection);
    }

    fn ping(&self, connection: &Rc<Connection>, now: Tick) {
        let alias = {
            let mut state = connection.state.borrow_mut();
            if connection.dialect == Dialect::Events {
                // Nobody answers there: what shows that somebody is there is that he takes it.
                state.times.heard = now;
            } else {
                state.times.pinged = Some(now);
            }
            state.engine.as_ref().and_then(|engine| engine.alias.clone())
        };
        if let Some(alias) = alias {
            self.renew_alias(connection, &alias);
        }
        self.ask_for_life(connection);
    }

    /// Sends what a client that lives answers, in the words of its dialect.
    pub(super) fn ask_for_life(&self, connection: &Rc<Connection>) {
        let mut frame = Vec::new();
        match &connection.dialect {
            Dialect::SocketIo(_) => {
                Frames::new(&mut frame).text(&mut |buffer| buffer.extend_from_slice(PING.as_bytes()));
            }
            Dialect::Events => events::heartbeat(&mut Frames::new(&mut frame)),
            // Its answer is the next poll.
            Dialect::Polled => {
                return connection.socket.pipe().into_iter().for_each(|pipe| pipe.release(Release::Nothing));
            }
            Dialect::Json | Dialect::Msgpack | Dialect::Raw(_) => ping_frame(&mut frame),
        }
        self.send_frames(connection, &frame);
    }

    /// Has the connection looked at when the next of its deadlines comes.
    pub fn set_timer(&self, connection: &Rc<Connection>) {
        let mut state = connection.state.borrow_mut();
        let patience = self.patience(&state);
        let mut next = next_look(state.session.phase, &state.times, state.outbox.stalled_since(), &patience);
        if state.session.phase == Phase::Ready {
            next = next.min(state.session.tickets_end().unwrap_or(Tick::MAX));
        }
        state.times.due = self.wheel.borrow_mut().set(connection.number, next);
    }

    fn patience(&self, state: &State) -> Patience {
        let config = &self.node.config.worker;
        let is_unused = state.session.subscriptions().is_empty() && !config.idle.is_zero();
        // Nobody is pinged who polls.
        let quiet = if state.polled.is_some() { config.ping_timeout } else { Duration::ZERO };
        Patience {
            ping: ticks(config.ping_interval + quiet),
            pong: ticks(config.ping_timeout),
            stall: self.stall_ticks(),
            message: ticks(config.message_time),
            idle: is_unused.then(|| ticks(config.idle)),
        }
    }

    /// A message has begun to come in pieces, or goes on to, or none does.
    pub fn note_unfinished(&self, connection: &Rc<Connection>, began: Option<Tick>) {
        let is_late = {
            let mut state = connection.state.borrow_mut();
            state.times.message_began = began;
            began.is_some_and(|began| state.times.due > began + ticks(self.node.config.worker.message_time))
        };
        // The connection is looked at every few seconds anyhow: mostly there is nothing to set.
        if is_late {
            self.set_timer(connection);
        }
    }

    /// The present phase ends so many ticks from now.
    pub fn set_phase_end(&self, connection: &Rc<Connection>, in_ticks: Tick) {
        connection.state.borrow_mut().times.phase_ends = Some(self.tick() + in_ticks);
        self.set_timer(connection);
    }

    /// The session is known, or known anew: no phase to end, and a token that ends then.
    pub fn set_expiry(&self, connection: &Rc<Connection>, expires_in: Option<Duration>) {
        {
            let mut state = connection.state.borrow_mut();
            state.times.expires = expires_in.map(|left| self.tick().saturating_add(ticks(left)));
            state.times.expiry_told = false;
            if state.session.phase == Phase::Ready {
                state.times.phase_ends = None;
            }
        }
        self.set_timer(connection);
    }
}

impl Times {
    /// There is another sign of life than an answer to the ping. Whose pings are scheduled gets them all the same: its
    /// client ends the connection if they do not come.
    pub fn alive(&mut self, now: Tick, is_scheduled: bool) {
        if is_scheduled {
            self.pinged = self.pinged.map(|_| now);
        } else {
            self.heard = self.heard.max(now);
            self.pinged = None;
        }
    }

    /// This side did not listen for so long: what clients said meanwhile is still to be read.
    fn forgive(&mut self, phase: Phase, now: Tick, silent: Tick) {
        self.heard = now;
        self.pinged = None;
        self.spoke = self.spoke.saturating_add(silent).min(now);
        self.message_began = self.message_began.map(|began| began.saturating_add(silent).min(now));
        if phase == Phase::Connecting {
            self.phase_ends = self.phase_ends.map(|end| end.saturating_add(silent));
        }
    }
}

/// How long what may take, in ticks.
struct Patience {
    /// A quiet connection is pinged after that.
    ping: Tick,
    /// Its answer.
    pong: Tick,
    /// A socket that takes nothing.
    stall: Tick,
    /// A message, from its first byte to its last.
    message: Tick,
    /// A connection that is of no use, where that has an end.
    idle: Option<Tick>,
}

impl Patience {
    /// When the connection ends for what its client leaves undone, and how.
    fn undone(&self, phase: Phase, times: &Times) -> [Option<(Tick, CloseCode)>; 2] {
        let idle = self.idle.filter(|_| phase == Phase::Ready);
        [
            times.message_began.map(|began| (began.saturating_add(self.message), CloseCode::MessageTimeout)),
            idle.map(|idle| (times.spoke.saturating_add(idle), CloseCode::Idle)),
        ]
    }
}

fn due(phase: Phase, times: &Times, stalled_since: Option<Tick>, now: Tick, patience: &Patience) -> Option<Due> {
    let phase_over = times.phase_ends.is_some_and(|end| end <= now);
    match phase {
        Phase::Closing if phase_over => return Some(Due::Abandon),
        Phase::Closing => return None,
        Phase::Connecting if phase_over => return Some(Due::Close(CloseCode::Unauthenticated)),
        Phase::Connecting | Phase::Ready => {}
    }
    if stalled_since.is_some_and(|since| since.saturating_add(patience.stall) <= now) {
        return Some(Due::CloseStalled);
    }
    if let Some((_, code)) = patience.undone(phase, times).into_iter().flatten().find(|(end, _)| *end <= now) {
        return Some(Due::Close(code));
    }
    if let Some(expires) = times.expires {
        if expires <= now {
            return Some(Due::Close(CloseCode::TokenExpired));
        }
        if !times.expiry_told && expires - now <= ticks(EXPIRY_NOTICE) {
            return Some(Due::TellExpiry(expires - now));
        }
    }
    match times.pinged {
        Some(pinged) => (pinged.saturating_add(patience.pong) <= now).then_some(Due::Close(CloseCode::PingTimeout)),
        None => (times.heard.saturating_add(patience.ping) <= now).then_some(Due::Ping),
    }
}

fn next_look(phase: Phase, times: &Times, stalled_since: Option<Tick>, patience: &Patience) -> Tick {
    let mut next = times.phase_ends.unwrap_or(Tick::MAX);
    if phase == Phase::Closing {
        return next;
    }
    if let Some(since) = stalled_since {
        next = next.min(since.saturating_add(patience.stall));
    }
    for (end, _) in patience.undone(phase, times).into_iter().flatten() {
        next = next.min(end);
    }
    if let Some(expires) = times.expires {
        next = next.min(if times.expiry_told { expires } else { expires.saturating_sub(ticks(EXPIRY_NOTICE)) });
    }
    next.min(match times.pinged {
        Some(pinged) => pinged.saturating_add(patience.pong),
        None => times.heard.saturating_add(patience.ping),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        heard: 100,
        pinged: None,
        spoke: 100,
        message_began: None,
        phase_ends: None,
        expires: None,
        expiry_told: false,
        due: 0,
    };

    const PATIENCE: Patience = Patience { ping: 100, pong: 80, stall: 120, message: 60, idle: None };

    fn at(times: &Times, now: Tick) -> Option<Due> {
        due(Phase::Ready, times, None, now, &PATIENCE)
    }

    #[test]
    fn a_socket_that_takes_nothing_is_closed_in_time_however_much_its_client_says() {
        let talks = Times { heard: 1000, ..TIMES };
        let stalled = |now| due(Phase::Ready, &talks, Some(900), now, &PATIENCE);
        assert_eq!(stalled(1019), None);
        assert_eq!(stalled(1020), Some(Due::CloseStalled));
        assert_eq!(next_look(Phase::Ready, &talks, Some(900), &PATIENCE), 1020);
        assert_eq!(due(Phase::Closing, &talks, Some(900), 5000, &PATIENCE), None, "that has its own end");
    }

    #[test]
    fn a_quiet_connection_is_pinged_and_given_up_when_it_stays_quiet() {
        assert_eq!(at(&TIMES, 199), None);
        assert_eq!(at(&TIMES, 200), Some(Due::Ping));
        let pinged = Times { pinged: Some(200), ..TIMES };
        assert_eq!(at(&pinged, 279), None);
        assert_eq!(at(&pinged, 280), Some(Due::Close(CloseCode::PingTimeout)));
        let answered = Times { heard: 201, pinged: None, ..pinged };
        assert_eq!(at(&answered, 280), None);
        assert_eq!(at(&answered, 301), Some(Due::Ping));
    }

    #[test]
    fn a_token_s_end_is_told_and_then_enforced() {
        let notice = ticks(EXPIRY_NOTICE);
        let times = Times { heard: 10_000, expires: Some(10_000 + notice), ..TIMES };
        assert_eq!(at(&times, 9_999), None);
        assert_eq!(at(&times, 10_000), Some(Due::TellExpiry(notice)));
        let told = Times { expiry_told: true, heard: 10_000 + notice, ..times };
        assert_eq!(at(&told, 10_000 + notice - 1), None);
        assert_eq!(at(&told, 10_000 + notice), Some(Due::Close(CloseCode::TokenExpired)));
    }

    #[test]
    fn whoever_shows_no_token_in_time_is_closed_and_a_closing_one_is_let_go() {
        let times = Times { phase_ends: Some(140), ..TIMES };
        let due_in = |phase, now| due(phase, &times, None, now, &PATIENCE);
        assert_eq!(due_in(Phase::Connecting, 139), None);
        assert_eq!(due_in(Phase::Connecting, 140), Some(Due::Close(CloseCode::Unauthenticated)));
        assert_eq!(due_in(Phase::Closing, 139), None);
        assert_eq!(due_in(Phase::Closing, 140), Some(Due::Abandon));
    }

    #[test]
    fn a_worker_that_stood_still_holds_it_against_nobody() {
        let mut pinged = Times { pinged: Some(150), ..TIMES };
        let mut connecting = Times { phase_ends: Some(160), ..TIMES };
        assert_eq!(due(Phase::Ready, &pinged, None, 240, &PATIENCE), Some(Due::Close(CloseCode::PingTimeout)));
        pinged.forgive(Phase::Ready, 240, 80);
        connecting.forgive(Phase::Connecting, 240, 80);
        assert_eq!(due(Phase::Ready, &pinged, None, 240, &PATIENCE), None);
        assert_eq!(due(Phase::Connecting, &connecting, None, 239, &PATIENCE), None);
        assert_eq!(
            due(Phase::Connecting, &connecting, None, 240, &PATIENCE),
            Some(Due::Close(CloseCode::Unauthenticated))
        );
    }

    #[test]
    fn a_message_that_does_not_end_in_time_ends_its_connection_however_much_comes() {
        let trickles = Times { heard: 1000, message_began: Some(950), ..TIMES };
        assert_eq!(at(&trickles, 1009), None);
        assert_eq!(at(&trickles, 1010), Some(Due::Close(CloseCode::MessageTimeout)));
        assert_eq!(next_look(Phase::Ready, &trickles, None, &PATIENCE), 1010);
        assert_eq!(
            due(Phase::Connecting, &trickles, None, 1010, &PATIENCE),
            at(&trickles, 1010),
            "nor before the token"
        );
        let mut paused = trickles;
        paused.forgive(Phase::Ready, 1040, 40);
        assert_eq!(at(&paused, 1049), None, "the time in which nobody listened does not count");
        assert_eq!(at(&paused, 1050), Some(Due::Close(CloseCode::MessageTimeout)));
    }

    #[test]
    fn whoever_subscribes_to_nothing_and_says_nothing_may_be_sent_away() {
        let unused = Patience { idle: Some(300), ..PATIENCE };
        let times = Times { heard: 390, ..TIMES };
        assert_eq!(due(Phase::Ready, &times, None, 399, &unused), None);
        assert_eq!(due(Phase::Ready, &times, None, 400, &unused), Some(Due::Close(CloseCode::Idle)));
        assert_eq!(next_look(Phase::Ready, &times, None, &unused), 400);
        assert_eq!(due(Phase::Ready, &times, None, 400, &PATIENCE), None, "whoever subscribes stays");
    }

    #[test]
    fn the_next_look_is_at_the_nearest_deadline() {
        assert_eq!(next_look(Phase::Ready, &TIMES, None, &PATIENCE), 200);
        assert_eq!(next_look(Phase::Ready, &Times { pinged: Some(150), ..TIMES }, None, &PATIENCE), 230);
        assert_eq!(next_look(Phase::Connecting, &Times { phase_ends: Some(120), ..TIMES }, None, &PATIENCE), 120);
        let expiring = Times { expires: Some(300), ..TIMES };
        assert_eq!(next_look(Phase::Ready, &expiring, None, &PATIENCE), 300 - ticks(EXPIRY_NOTICE));
        assert_eq!(next_look(Phase::Closing, &Times { phase_ends: Some(500), ..TIMES }, None, &PATIENCE), 500);
    }
}
