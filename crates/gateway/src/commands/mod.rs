//! What becomes of a client's message: one file a command, each `run(local, connection, id, …)`.

mod auth;
mod history;
mod messages;
mod presence;
mod publish;
mod rate;
mod recover;
mod seat;
mod send;
mod state;
mod subscribe;
mod ticket;
mod unsubscribe;

pub use auth::{Asked, no_keys, run as identify};
pub use messages::read as read_messages;
pub(crate) use publish::check as check_publication;
pub use publish::publish_all;
pub use seat::take as take_seat;
pub use send::take_order;
pub use subscribe::alone as subscribe_alone;
pub use subscribe::begin_raw as subscribe_raw;

use crate::local::Local;
use crate::local::connection::{Connection, Held, State, Step};
use crate::local::speaker::{Speaker, Spends};
use crate::metrics::Limit;
use crate::session::Phase;
use protocol::dialect::Malformed;
use protocol::{Channel, CloseCode, Command, ErrorCode, Refusal, Reply, Request};
use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a command may wait for broker or presence before it is answered `unavailable`.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an answer that may be large waits for the ones before it to leave.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// Commands of one connection that may wait for another one.
const WAITING_MAX: usize = 512;

/// Takes one decoded message.
///
/// A client's commands take effect in the order it sent them: whatever follows one that is still under way (a
/// subscription, a reading of history or of members) waits for it. Plain subscriptions do not wait for one another.
pub fn take(local: &Rc<Local>, connection: &Rc<Connection>, decoded: Result<Request, Malformed>) {
    let mut state = connection.state.borrow_mut();
    let overlaps = match &decoded {
        Ok(Request { command: Command::Subscribe(s), .. }) => s.recover.is_none() && !s.members,
        _ => false,
    };
    let waits_for = state.under_way - if overlaps { state.subscribing } else { 0 };
    match decoded {
        Ok(request) if state.waiting.is_some() || waits_for > 0 => {
            let (name, id) = (request.command.name(), request.id);
            if !hold(local, &mut state, Held::Command(request)) {
                drop(state);
                local.refuse(connection, name, id, too_many_wait());
            }
        }
        decoded => {
            drop(state);
            carry_out(local, connection, decoded);
        }
    }
}

/// Carries out what only a dialect knows, in its turn among the commands. What is refused has not been run: too much waits.
pub fn take_step(local: &Rc<Local>, connection: &Rc<Connection>, step: Step, bytes: usize) -> Result<(), Refusal> {
    {
        let mut state = connection.state.borrow_mut();
        if state.waiting.is_some() {
            return if hold(local, &mut state, Held::Step(step, bytes)) { Ok(()) } else { Err(too_many_wait()) };
        }
    }
    step(local, connection);
    Ok(())
}

/// Has something wait; false where too much does.
fn hold(local: &Local, state: &mut State, held: Held) -> bool {
    let waiting = state.waiting.get_or_insert_default();
    if waiting.commands.len() >= WAITING_MAX {
        return false;
    }
    waiting.bytes += weight(&held);
    waiting.commands.push_back(held);
    local.recount(state);
    true
}

fn too_many_wait() -> Refusal {
    Refusal::new(ErrorCode::LimitExceeded, "too many commands wait for one that is under way")
}

/// About what something holds while it waits.
fn weight(held: &Held) -> usize {
    let payload = match held {
        Held::Step(_, bytes) => *bytes,
        Held::Command(Request { command, .. }) => match command {
            Command::Publish(publish) => publish.data.bytes.len(),
            Command::Send(send) => send.data.bytes.len(),
            Command::Auth { token } => token.len(),
            _ => 0,
        },
    };
    payload + size_of::<Held>()
}

/// Waits until nothing waits for the connection's socket: what follows may be larger than its outbox.
async fn wait_drained(local: &Local, connection: &Connection) -> Result<(), Refusal> {
    let Some(drained) = local.drained(connection) else { return Ok(()) };
    timeout(DRAIN_TIMEOUT, drained.notified()).await.map_err(|_| Refusal::unavailable())
}

/// Carries out what may answer at length: one at a time for a connection, and what follows waits for it.
pub fn spawn_alone(
    local: &Rc<Local>,
    connection: &Rc<Connection>,
    run: impl AsyncFnOnce(&Rc<Local>, &Rc<Connection>) + 'static,
) {
    connection.state.borrow_mut().under_way += 1;
    let (local, connection) = (local.clone(), connection.clone());
    tokio::task::spawn_local(async move {
        run(&local, &connection).await;
        connection.state.borrow_mut().under_way -= 1;
        resume(&local, &connection);
    });
}

/// The same for a subscription: others may overtake it.
fn spawn_subscribing(
    local: &Rc<Local>,
    connection: &Rc<Connection>,
    run: impl AsyncFnOnce(&Rc<Local>, &Rc<Connection>) + 'static,
) {
    connection.state.borrow_mut().subscribing += 1;
    spawn_alone(local, connection, async move |local, connection| {
        run(local, connection).await;
        connection.state.borrow_mut().subscribing -= 1;
    });
}

/// What was under way has been answered: what waited for it goes on.
fn resume(local: &Rc<Local>, connection: &Rc<Connection>) {
    loop {
        let next = {
            let mut state = connection.state.borrow_mut();
            if state.under_way > 0 {
                return;
            }
            let Some(waiting) = &mut state.waiting else { return };
            let next = waiting.commands.pop_front();
            match &next {
                Some(next) => waiting.bytes -= weight(next),
                None => {
                    // Its stream waits, and perhaps a POST.
                    waiting.done.notify_waiters();
                    state.waiting = None;
                }
            }
            local.recount(&mut state);
            match next {
                Some(next) => next,
                None => return,
            }
        };
        match next {
            Held::Command(request) => carry_out(local, connection, Ok(request)),
            Held::Step(step, _) if !connection.has_ended() => step(local, connection),
            Held::Step(..) => {}
        }
    }
}

fn carry_out(local: &Rc<Local>, connection: &Rc<Connection>, decoded: Result<Request, Malformed>) {
    let phase = connection.state.borrow().session.phase;
    if phase == Phase::Closing {
        return;
    }
    let request = match decoded {
        Ok(request) => request,
        Err(malformed) => return bad_message(local, connection, malformed),
    };
    let Request { id, command } = request;
    let name = command.name();
    if let Err(refusal) = admit(local, connection, phase, &command) {
        return local.refuse(connection, name, id, refusal);
    }
    match command {
        Command::Auth { token } => auth::run(local, connection, Asked::Command(id), &token),
        Command::Subscribe(subscribe) => ticket::run(local, connection, id, subscribe),
        Command::Unsubscribe { channel } => unsubscribe::run(local, connection, id, channel),
        Command::Publish(publish) => publish::run(local, connection, id, publish),
        Command::Send(send) => send::run(local, connection, id, send),
        Command::Presence { channel, count_only } => presence::run(local, connection, id, channel, count_only),
        Command::History(history) => history::run(local, connection, id, history),
        Command::Ping => {
            local.node.metrics.done(name);
            local.reply(connection, id, Reply::Pong);
        }
    }
}

/// What holds for every command: the phase, and the rate.
fn admit(local: &Local, connection: &Connection, phase: Phase, command: &Command) -> Result<(), Refusal> {
    take_turn(local, connection)?;
    if phase == Phase::Connecting && !matches!(command, Command::Auth { .. } | Command::Ping) {
        return Err(Refusal::new(ErrorCode::Unauthenticated, "send `auth` with a token first"));
    }
    Ok(())
}

/// How fast commands may come: those of one speaker, and those of one user on this node.
fn take_turn<S: Speaker>(local: &Local, who: &S) -> Result<(), Refusal> {
    let limits = &local.node.metrics.limits;
    if let Err(wait) = who.spend(local, Spends::Command) {
        limits.reached(Limit::Messages);
        return Err(too_fast(format!("commands come faster than {} may send them", S::WHO), wait));
    }
    if let Some(users) = &local.node.messages_per_user
        && let Some(identity) = who.identity()
        && let Err(wait) = users.take(&identity.user)
    {
        limits.reached(Limit::MessagesPerUser);
        return Err(too_fast("commands come faster than this user may send them altogether", wait));
    }
    Ok(())
}

fn too_fast(message: impl Into<Cow<'static, str>>, wait: Duration) -> Refusal {
    let mut refusal = Refusal::new(ErrorCode::RateLimited, message);
    refusal.retry_after_ms = Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
    refusal
}

/// A channel that nobody of this node uses costs Redis a key, so everybody opens only so many.
fn opens<S: Speaker>(local: &Local, who: &S, channel: &Channel) -> Result<(), Refusal> {
    if local.node.router.has(channel) {
        return Ok(());
    }
    who.spend(local, Spends::NewChannel(channel)).map_err(|wait| {
        local.node.metrics.limits.reached(Limit::NewChannels);
        too_fast(format!("{} opens channels that nobody uses faster than it may", S::WHO), wait)
    })
}

fn bad_message(local: &Rc<Local>, connection: &Rc<Connection>, malformed: Malformed) {
    local.node.metrics.bad_messages.inc();
    let count = {
        let mut state = connection.state.borrow_mut();
        state.bad_messages += 1;
        state.bad_messages
    };
    local.refuse(connection, "unknown", malformed.id, malformed.refusal);
    if count >= local.node.config.worker.bad_messages_max {
        local.node.metrics.limits.of_close(CloseCode::BadMessages);
        local.close(connection, CloseCode::BadMessages);
    }
}
