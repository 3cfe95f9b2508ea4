//! `subscribe`: joins a channel, perhaps from where the client left off, without missing or repeating anything.
//!
//! Register first, read second: the channel is opened on this worker, then presence and log are read, and the subscriber
//! takes its place in the same step of the thread in which it is told the position that live deliveries go on from.

use super::recover::next_chunk;
use super::state::{Found, StateOf};
use super::{COMMAND_TIMEOUT, opens, wait_drained};
use crate::grant::Action;
use crate::hooks::Asker;
use crate::hub::Opening;
use crate::hub::replay::Chunk;
use crate::hub::state::Snapshot;
use crate::local::Local;
use crate::local::connection::Connection;
use crate::metrics::Limit;
use crate::policy::Namespace;
use crate::session::{Stage, Ticket, Unable};
use presence::Entry;
use protocol::dialect::raw::Past;
use protocol::{Channel, ErrorCode, Members, Outgoing, Position, Push, Refusal, Reply, Subscribe};
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::{Instant, timeout, timeout_at};

mod relay;

pub use relay::begin_raw;

/// How a subscription is begun.
#[derive(Default)]
pub(super) struct Means {
    /// Whether its client is shown as a member where the channel keeps presence.
    pub(super) join: bool,
    /// Its own token, if it has one.
    pub(super) ticket: Option<Arc<Ticket>>,
    /// What of the history a raw connection gets first.
    pub(super) past: Option<Past>,
}

pub(super) fn begin_with(
    local: &Rc<Local>,
    connection: &Rc<Connection>,
    id: Option<u64>,
    subscribe: Subscribe,
    means: Means,
) {
    let Some(admitted) = admit(local, connection, id, subscribe, means) else { return };
    super::spawn_subscribing(local, connection, async move |local, connection| {
        carry_out(local, connection, id, &admitted).await;
    });
}

/// Begins a subscription and waits until it stands or is refused: for a task that is alone already.
pub async fn alone(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, subscribe: Subscribe) {
    let means = Means { join: true, ..Means::default() };
    if let Some(admitted) = admit(local, connection, id, subscribe, means) {
        carry_out(local, connection, id, &admitted).await;
    }
}

/// A subscription that may be, and is noted.
struct Admitted {
    subscribe: Subscribe,
    namespace: Arc<Namespace>,
    join: bool,
    /// The application is asked first.
    asks: bool,
    past: Option<Past>,
}

async fn carry_out(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, admitted: &Admitted) {
    let Admitted { subscribe, namespace, join, asks, past } = admitted;
    if *asks {
        if !is_permitted(local, connection, &subscribe.channel, id).await {
            return;
        }
        enter(local, connection, &subscribe.channel, namespace);
    }
    let mut begun = Begun { local, connection, subscribe, id, answered: false, done: false };
    let carried_out = match past {
        Some(past) => begun.relay(namespace, past).await,
        None => begun.carry_out(namespace, *join).await,
    };
    if let Err(refusal) = carried_out {
        begun.fail(refusal);
    }
}

/// Looks whether a subscription may be, and notes it; a refusal is answered.
fn admit(
    local: &Rc<Local>,
    connection: &Rc<Connection>,
    id: Option<u64>,
    mut subscribe: Subscribe,
    means: Means,
) -> Option<Admitted> {
    let allow = |action| local.allow_with(connection, action, &subscribe.channel, means.ticket.is_some());
    let members = allow(Action::Presence);
    let allowed = allow(Action::Subscribe).and_then(|namespace| match &members {
        // It was asked for: better no answer than one that looks as if nobody were there.
        Err(refusal) if subscribe.members && namespace.presence => Err(refusal.clone()),
        _ => Ok(namespace),
    });
    let namespace = match allowed {
        Ok(namespace) => namespace,
        Err(refusal) => {
            local.refuse(connection, "subscribe", id, refusal);
            return None;
        }
    };
    // To recover is to read the log: without that the answer says that nothing was recovered.
    if let Err(refusal) = allow(Action::History) {
        subscribe.recover = None;
        // A raw connection has no answer that could say so.
        if means.past.is_some() {
            local.refuse(connection, "subscribe", id, refusal);
            return None;
        }
    }
    if let Err(refusal) = opens(local, &**connection, &subscribe.channel) {
        local.refuse(connection, "subscribe", id, refusal);
        return None;
    }
    let max = local.node.config.worker.channels_per_connection_max;
    let begun = connection.state.borrow_mut().session.begin(&subscribe.channel, max);
    if let Err(unable) = begun {
        if unable == Unable::TooMany {
            local.node.metrics.limits.reached(Limit::ChannelsPerConnection);
        }
        local.refuse(connection, "subscribe", id, explain(unable, max));
        return None;
    }
    if let Some(subscription) = connection.state.borrow_mut().session.subscription(&subscribe.channel) {
        subscription.sees_members = members.is_ok();
        subscription.ticket = means.ticket;
    }
    local.set_timer(connection);
    let join = means.join && namespace.presence;
    let asks = local.node.hooks.asks_subscribe(namespace.hooks);
    if !asks {
        enter(local, connection, &subscribe.channel, &namespace);
    }
    Some(Admitted { subscribe, namespace, join, asks, past: means.past })
}

/// What the application says. A no undoes what has been noted of the subscription, and is answered.
async fn is_permitted(local: &Rc<Local>, connection: &Rc<Connection>, channel: &Channel, id: Option<u64>) -> bool {
    let identity = connection.state.borrow().session.identity.clone();
    let client = local.client_id(connection);
    let asker = Asker { client: &client, identity: identity.as_deref() };
    let asked = local.node.hooks.subscribe(asker, channel).await;
    let is_awaited = connection.state.borrow_mut().session.subscription(channel).is_some();
    if connection.has_ended() || !is_awaited {
        return false;
    }
    let Err(denial) = asked else { return true };
    connection.state.borrow_mut().session.end(channel);
    local.refuse(connection, "subscribe", id, denial.refusal());
    false
}

fn explain(unable: Unable, max: usize) -> Refusal {
    match unable {
        Unable::Already => Refusal::new(ErrorCode::AlreadySubscribed, "this connection is subscribed to it already"),
        Unable::TooMany => {
            Refusal::new(ErrorCode::LimitExceeded, format!("a connection subscribes to at most {max} channels"))
        }
    }
}

fn enter(local: &Rc<Local>, connection: &Connection, channel: &Channel, namespace: &Arc<Namespace>) {
    let ticket = local.hub.borrow_mut().enter(channel, namespace);
    // The session keeps the name in the memory of all who are in the channel, not in that of its command.
    let shared = local.hub.borrow().shared_name(channel);
    if let (Some(shared), Some(noted)) = (shared, connection.state.borrow_mut().session.subscription(channel)) {
        noted.channel = shared;
    }
    if let Some(ticket) = ticket {
        local.node.join(channel, local.index, ticket, namespace.history.is_some());
    }
}

/// Readings of who is there, for one answer.
const MEMBER_READS_MAX: usize = 3;

/// What an answer brings beside the position.
#[derive(Default)]
struct Parts {
    chunk: Option<Chunk>,
    state: Option<Rc<Snapshot>>,
    members: Option<Members>,
}

/// A subscription on its way. Dropped before it is done (refused, or its connection closed meanwhile), it is undone.
struct Begun<'a> {
    local: &'a Rc<Local>,
    connection: &'a Rc<Connection>,
    subscribe: &'a Subscribe,
    id: Option<u64>,
    answered: bool,
    done: bool,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let channel = &self.subscribe.channel;
        self.connection.state.borrow_mut().session.end(channel);
        self.local.undo_begun(self.connection, channel);
    }
}

impl Begun<'_> {
    async fn carry_out(&mut self, namespace: &Namespace, join: bool) -> Result<(), Refusal> {
        wait_until_open(self.local, &self.subscribe.channel).await?;
        if join {
            let entry = entry(self.local, self.connection, namespace);
            let joined = self.local.node.presence.join(&self.subscribe.channel, entry);
            // Without presence the channel still works; the entry is written when it can be.
            let _ = timeout(COMMAND_TIMEOUT, joined).await;
        }
        let wants_members = self.subscribe.members && namespace.presence;
        // Without an `id` there is no answer that could carry it.
        let wants_state = self.subscribe.state && self.id.is_some() && namespace.history.is_some();
        let state = StateOf::new(self.local, self.connection, &self.subscribe.channel, wants_state);
        match &self.subscribe.recover {
            Some(from) if namespace.history.is_some() => self.recover(from, state, join, wants_members).await,
            _ => self.begin_live(state, join, wants_members).await,
        }
    }

    /// From the present on. The state is as old as the position that the subscriber takes its place with.
    async fn begin_live(&mut self, state: StateOf<'_>, join: bool, wants_members: bool) -> Result<(), Refusal> {
        loop {
            state.prepare().await?;
            let members = if wants_members { self.members().await? } else { None };
            let found = match state.find() {
                Found::NotYet => continue,
                Found::None => None,
                Found::Here(state) => Some(state),
            };
            let read_up_to = found.as_ref().map(|state| &state.page.top);
            let position = self.take_place(read_up_to, join)?;
            self.answer(position, false, Parts { state: found, members, ..Parts::default() });
            return Ok(());
        }
    }

    /// Who is there. Whoever comes or goes after the reading and before the subscriber has its place would be missed, so it
    /// is read again then; in a channel where that never ends, the last reading has to do.
    async fn members(&self) -> Result<Option<Members>, Refusal> {
        wait_drained(self.local, self.connection).await?;
        let changes =
            || self.local.hub.borrow_mut().entry(&self.subscribe.channel).map(|entry| entry.membership_changes);
        let mut members = None;
        for _ in 0..MEMBER_READS_MAX {
            let before = changes();
            let asked = self.local.node.presence.members(&self.subscribe.channel, true);
            members = timeout(COMMAND_TIMEOUT, asked).await.ok().and_then(Result::ok);
            if changes() == before {
                break;
            }
        }
        Ok(members)
    }

    /// The first part of what was missed comes with the answer, the others as publications; with the last one the
    /// subscriber takes its place.
    async fn recover(
        &mut self,
        from: &Position,
        state: StateOf<'_>,
        join: bool,
        wants_members: bool,
    ) -> Result<(), Refusal> {
        let mut from = from.clone();
        let mut members = if wants_members { self.members().await? } else { None };
        loop {
            if !self.answered {
                state.prepare().await?;
            }
            let chunk = next_chunk(self.local, self.connection, &self.subscribe.channel, &from).await?;
            let found = match if self.answered { Found::None } else { state.find_for(&chunk.position) } {
                Found::NotYet => continue,
                Found::None => None,
                Found::Here(state) => Some(state),
            };
            from = chunk.position.clone();
            let reaches_live = chunk.reaches_live;
            if reaches_live {
                self.take_place(Some(&from), join)?;
            }
            if self.answered {
                self.push(chunk);
            } else {
                let parts = Parts { chunk: Some(chunk), state: found, members: members.take() };
                self.answer(Some(from.clone()), parts.chunk.as_ref().is_some_and(|c| c.is_contiguous), parts);
            }
            if reaches_live || self.connection.has_ended() {
                return Ok(());
            }
        }
    }

    /// Takes the subscriber's place, and returns where it goes on. `read_up_to` is how far it has read log or state: that may
    /// be further than the live deliveries are. A log of another epoch than the live one is no base: the node is about to
    /// find that out.
    fn take_place(&mut self, read_up_to: Option<&Position>, is_member: bool) -> Result<Option<Position>, Refusal> {
        if self.connection.has_ended() {
            return Ok(None);
        }
        let channel = &self.subscribe.channel;
        if self.local.has_revoked_ticket(self.connection, channel) {
            return Err(Local::revoked());
        }
        let (index, live) = {
            let mut hub = self.local.hub.borrow_mut();
            let entry = hub.entry(channel).ok_or_else(Refusal::unavailable)?;
            let live = entry.position.clone();
            if read_up_to.zip(live.as_ref()).is_some_and(|(read, live)| read.epoch != live.epoch) {
                return Err(Refusal::unavailable());
            }
            (entry.attach(self.connection.clone(), read_up_to), live)
        };
        if let Some(subscription) = self.connection.state.borrow_mut().session.subscription(channel) {
            subscription.stage = Stage::Active(index);
            subscription.is_member = is_member;
        }
        self.done = true;
        self.local.note_places(self.connection);
        self.local.node.metrics.subscriptions.inc();
        let is_ahead = read_up_to.zip(live.as_ref()).is_some_and(|(read, live)| read.offset > live.offset);
        Ok(if is_ahead { read_up_to.cloned() } else { live })
    }

    fn answer(&mut self, position: Option<Position>, recovered: bool, parts: Parts) {
        self.answered = true;
        self.local.node.metrics.done("subscribe");
        if parts.chunk.is_some() {
            let outcome = if recovered { "recovered" } else { "not_recovered" };
            self.local.node.metrics.recoveries.with_label_values(&[outcome]).inc();
        }
        let channel = self.subscribe.channel.clone();
        let publications = parts.chunk.map(|chunk| chunk.publications).unwrap_or_default();
        let state = parts.state.map(|state| state.page.publications.clone()).unwrap_or_default();
        let reply = Reply::Subscribed { channel, position, recovered, publications, state, members: parts.members };
        self.local.reply_whole(self.connection, self.id, reply);
    }

    /// A further part of a long past. What the log has lost meanwhile is told as a gap.
    fn push(&self, chunk: Chunk) {
        let channel = &self.subscribe.channel;
        if !chunk.is_contiguous {
            let epoch = Some(chunk.position.epoch.clone());
            let first = chunk.publications.first().and_then(|publication| publication.offset);
            let to = first.map_or(chunk.position.offset, |first| first.saturating_sub(1));
            let gap = Push::Gap { channel: channel.clone(), from: None, to: Some(to), epoch };
            self.local.send(self.connection, &Outgoing::Push(gap));
        }
        for publication in chunk.publications {
            let push = Push::Publication { channel: channel.clone(), publication };
            self.local.send(self.connection, &Outgoing::Push(push));
        }
    }

    /// Before the answer it is a refusal; after it, the end of the subscription.
    fn fail(&self, refusal: Refusal) {
        if !self.answered {
            return self.local.refuse(self.connection, "subscribe", self.id, refusal);
        }
        let channel = self.subscribe.channel.clone();
        let push = Push::Unsubscribed { channel, code: refusal.code, reason: refusal.message.as_ref().into() };
        self.local.send(self.connection, &Outgoing::Push(push));
    }
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
    Entry { client: local.client_id(connection), user, info: origin.info, announce: namespace.join_leave }
}
