//! `subscribe`: joins a channel, perhaps from where the client left off, without missing or repeating anything.
//!
//! Register first, read second: the channel is opened on this worker, then presence and log are read while live
//! deliveries are held, and only then the subscriber takes its place and is answered, in one step of the thread.

use super::COMMAND_TIMEOUT;
use crate::hub::{Arrival, Opening};
use crate::local::Local;
use crate::local::connection::Connection;
use crate::policy::{Action, Namespace};
use crate::session::{Stage, Unable};
use broker::{Delivery, Page, Range};
use presence::Entry;
use protocol::{Cause, Channel, ErrorCode, Members, Position, Publication, Refusal, Reply, Subscribe};
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::{Instant, timeout, timeout_at};

/// Publications that one recovery reads at the most; what is further back is told as not recovered.
const RECOVER_MAX: u32 = 10_000;

/// Readings of the log before a subscriber that cannot catch up is answered `unavailable`.
const READS_MAX: usize = 3;

pub(super) fn run(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, subscribe: Subscribe) {
    let join = connection.dialect.name() != "raw";
    begin(local, connection, id, subscribe, join);
}

/// Begins a subscription; `join` says whether its client is shown as a member where the channel keeps presence.
pub fn begin(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, subscribe: Subscribe, join: bool) {
    let identity = connection.state.borrow().session.identity.clone();
    let allowed = local.node.config.policy.allow(identity.as_deref(), Action::Subscribe, &subscribe.channel);
    let namespace = match allowed {
        Ok(namespace) => namespace.clone(),
        Err(refusal) => return local.refuse(connection, "subscribe", id, refusal),
    };
    let max = local.node.config.worker.channels_per_connection_max;
    let begun = connection.state.borrow_mut().session.begin(&subscribe.channel, max);
    if let Err(unable) = begun {
        return local.refuse(connection, "subscribe", id, explain(unable, max));
    }
    connection.state.borrow_mut().subscribing += 1;
    enter(local, &subscribe.channel, &namespace);
    let join = join && namespace.presence;
    let (local, connection) = (local.clone(), connection.clone());
    tokio::task::spawn_local(async move {
        let mut guard = Begun { local: &local, connection: &connection, channel: &subscribe.channel, done: false };
        match go_on(&local, &connection, &subscribe, &namespace, join).await {
            Ok(ready) => match finish(&local, &connection, id, &subscribe.channel, ready) {
                Ok(done) => guard.done = done,
                Err(refusal) => local.refuse(&connection, "subscribe", id, refusal),
            },
            Err(refusal) => local.refuse(&connection, "subscribe", id, refusal),
        }
        drop(guard);
        connection.state.borrow_mut().subscribing -= 1;
        super::resume(&local, &connection);
    });
}

fn explain(unable: Unable, max: usize) -> Refusal {
    match unable {
        Unable::Already => Refusal::new(ErrorCode::AlreadySubscribed, "this connection is subscribed to it already"),
        Unable::TooMany => {
            Refusal::new(ErrorCode::LimitExceeded, format!("a connection subscribes to at most {max} channels"))
        }
    }
}

/// Undoes a subscription that does not come to its end: refused, or its connection closed meanwhile.
struct Begun<'a> {
    local: &'a Rc<Local>,
    connection: &'a Rc<Connection>,
    channel: &'a Channel,
    done: bool,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.connection.state.borrow_mut().session.end(self.channel);
        // Whether or not it was written, it is not wanted: leaving what is not there does nothing.
        self.local.node.presence.leave(self.channel, &self.local.client_id(self.connection), Cause::Left);
        self.local.exit(self.channel);
    }
}

/// What a subscriber is answered with.
#[derive(Default)]
struct Ready {
    is_member: bool,
    members: Option<Members>,
    recovered: bool,
    missed: Vec<Publication>,
    /// How far the client is after what it missed, where it asked for that.
    position: Option<Position>,
}

fn enter(local: &Rc<Local>, channel: &Channel, namespace: &Arc<Namespace>) {
    let ticket = local.hub.borrow_mut().enter(channel, namespace);
    if let Some(ticket) = ticket {
        local.node.join(channel, local.index, ticket, namespace.history.is_some());
    }
}

async fn go_on(
    local: &Rc<Local>,
    connection: &Rc<Connection>,
    subscribe: &Subscribe,
    namespace: &Namespace,
    join: bool,
) -> Result<Ready, Refusal> {
    let channel = &subscribe.channel;
    wait_until_open(local, channel).await?;
    let mut ready = Ready::default();
    if join {
        ready.is_member = true;
        let joined = local.node.presence.join(channel, entry(local, connection, namespace));
        // Without presence the channel still works; the entry is written when it can be.
        let _ = timeout(COMMAND_TIMEOUT, joined).await;
    }
    if subscribe.members && namespace.presence {
        let asked = local.node.presence.members(channel, true);
        ready.members = timeout(COMMAND_TIMEOUT, asked).await.ok().and_then(Result::ok);
    }
    if let Some(from) = &subscribe.recover
        && namespace.history.is_some()
    {
        drained(local, connection).await?;
        recover(local, channel, from, &mut ready).await?;
    }
    Ok(ready)
}

async fn wait_until_open(local: &Local, channel: &Channel) -> Result<(), Refusal> {
    let deadline = Instant::now() + COMMAND_TIMEOUT;
    loop {
        let opening = local.hub.borrow().opening(channel);
        match opening {
            Some(Opening::Open) => return Ok(()),
            Some(Opening::Wait(opened)) => {
                if timeout_at(deadline, opened.notified()).await.is_err() {
                    return Err(Refusal::unavailable());
                }
            }
            None => return Err(Refusal::unavailable()),
        }
    }
}

fn entry(local: &Local, connection: &Connection, namespace: &Namespace) -> Entry {
    let origin = local.origin(connection);
    let user = origin.user.unwrap_or_else(|| origin.client.clone());
    Entry { client: origin.client, user, info: origin.info, announce: namespace.join_leave }
}

/// What a client missed may be larger than its outbox: it is read only once nothing else waits for its socket, and one
/// recovery of a connection at a time.
async fn drained(local: &Local, connection: &Connection) -> Result<(), Refusal> {
    let Some(drained) = local.drained(connection) else { return Ok(()) };
    timeout(COMMAND_TIMEOUT, drained.notified()).await.map_err(|_| Refusal::unavailable())
}

/// Brings what the client missed since `from`: the log, and what is published while it is read.
async fn recover(local: &Local, channel: &Channel, from: &Position, ready: &mut Ready) -> Result<(), Refusal> {
    let Some(arrival) = local.hub.borrow_mut().entry(channel).map(|entry| entry.arrive()) else {
        return Err(Refusal::unavailable());
    };
    let _arriving = Arriving { local, channel, arrival: &arrival };
    for _ in 0..READS_MAX {
        // What was held up to here is in the log by now.
        arrival.take();
        let page = read(local, channel, from).await?;
        if let Some(held) = arrival.take() {
            merge(from, page, &held, ready);
            return Ok(());
        }
    }
    Err(Refusal::unavailable())
}

/// Ends the holding of live deliveries, whatever happens to the reading.
struct Arriving<'a> {
    local: &'a Local,
    channel: &'a Channel,
    arrival: &'a Rc<Arrival>,
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.local.hub.borrow_mut().entry(self.channel) {
            entry.arrived(self.arrival);
        }
    }
}

/// The log after `from`, or all of it if it is another one than the client knows.
async fn read(local: &Local, channel: &Channel, from: &Position) -> Result<Page, Refusal> {
    let history = |since| {
        let range = Range { since: Some(since), limit: RECOVER_MAX, reverse: false };
        timeout(COMMAND_TIMEOUT, local.node.broker.history(channel, range))
    };
    let page = history(from.offset).await.ok().and_then(Result::ok).ok_or_else(Refusal::unavailable)?;
    if page.top.epoch == from.epoch {
        return Ok(page);
    }
    history(0).await.ok().and_then(Result::ok).ok_or_else(Refusal::unavailable)
}

/// One contiguous sequence of log and live.
fn merge(from: &Position, page: Page, held: &[Arc<Delivery>], ready: &mut Ready) {
    let same_epoch = page.top.epoch == from.epoch;
    let begins_right = page.publications.first().is_none_or(|first| first.offset == from.offset.checked_add(1));
    let reaches_top =
        page.publications.last().map_or(page.top.offset == from.offset, |last| last.offset == Some(page.top.offset));
    ready.recovered = same_epoch && begins_right && reaches_top;
    ready.missed = page.publications;
    let mut position = page.top;
    for delivery in held {
        match &**delivery {
            Delivery::Publications { epoch: Some(epoch), publications, .. } if *epoch == position.epoch => {
                let next = publications.iter().filter(|p| p.offset.is_some_and(|o| o > position.offset));
                ready.missed.extend(next.cloned());
                position.offset =
                    ready.missed.last().and_then(|p| p.offset).unwrap_or(position.offset).max(position.offset);
            }
            Delivery::Gap { position: Some(after), .. }
                if after.epoch != position.epoch || after.offset > position.offset =>
            {
                ready.recovered = false;
                position = after.clone();
            }
            _ => {}
        }
    }
    ready.position = Some(position);
}

/// Takes the subscriber's place and answers; false if the connection has ended meanwhile.
fn finish(
    local: &Rc<Local>,
    connection: &Rc<Connection>,
    id: Option<u64>,
    channel: &Channel,
    ready: Ready,
) -> Result<bool, Refusal> {
    if connection.has_ended() {
        return Ok(false);
    }
    let (index, position) = attach(local, connection, channel, ready.position).ok_or_else(Refusal::unavailable)?;
    if let Some(subscription) = connection.state.borrow_mut().session.subscription(channel) {
        subscription.stage = Stage::Active(index);
        subscription.is_member = ready.is_member;
    }
    local.node.metrics.subscriptions.inc();
    local.node.metrics.done("subscribe");
    let reply = Reply::Subscribed {
        channel: channel.clone(),
        position,
        recovered: ready.recovered,
        publications: ready.missed,
        members: ready.members,
    };
    local.reply_whole(connection, id, reply);
    Ok(true)
}

/// The place, and from where the client goes on. None while the log that was read is not yet the one that is delivered:
/// the node is about to find that out, and the client tries again.
fn attach(
    local: &Local,
    connection: &Rc<Connection>,
    channel: &Channel,
    read_up_to: Option<Position>,
) -> Option<(u32, Option<Position>)> {
    let mut hub = local.hub.borrow_mut();
    let entry = hub.entry(channel)?;
    let live = entry.position.clone();
    let Some(read) = read_up_to else {
        return Some((entry.attach(connection.clone(), None), live));
    };
    if live.is_some_and(|live| live.epoch != read.epoch) {
        return None;
    }
    Some((entry.attach(connection.clone(), Some(read.offset)), Some(read)))
}

#[cfg(test)]
mod tests;
