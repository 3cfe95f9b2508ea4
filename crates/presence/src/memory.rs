//! Presence within one process: a roster that all its nodes share, for a gateway without Redis and for tests.

use crate::census::Census;
use crate::grace::{Grace, Ticket};
use crate::{Change, ChannelsPage, Cursor, Entry, Living, Populated, Presence, PresenceConfig, Unavailable, Watch};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use protocol::envelope::Membership;
use protocol::{Cause, Channel, Member, Members, Text};
use std::collections::hash_map::Entry::Occupied;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

/// Told of each user that comes or goes, in order. It is called while the roster is locked, so it must neither block nor
/// call presence.
pub type Announcer = Arc<dyn Fn(&Channel, Membership) + Send + Sync>;

/// Who is in which channel, over all nodes of one process. Cheap to clone.
#[derive(Clone)]
pub struct MemoryRoster(Arc<Roster>);

struct Roster {
    rooms: Mutex<HashMap<Channel, Room>>,
    /// What the nodes that live say of themselves.
    nodes: Mutex<BTreeMap<Arc<str>, Text>>,
    /// Nodes that ended without a word, and when they are taken for dead.
    deaths: watch::Sender<Vec<(Instant, Arc<str>)>>,
    announcer: Announcer,
}

#[derive(Default)]
struct Room {
    clients: HashMap<Text, Held>,
    users: HashMap<Text, u64>,
}

struct Held {
    node: Arc<str>,
    entry: Entry,
    parting: Option<Ticket>,
}

/// One node's presence on a [`MemoryRoster`]. Dropped without having been stopped, it is a node that died: the others remove
/// its entries after the time of a lease.
pub struct MemoryPresence {
    node: Arc<Node>,
    timer: AbortHandle,
}

struct Node {
    roster: MemoryRoster,
    name: Arc<str>,
    config: PresenceConfig,
    /// Locked after the roster, never before it.
    grace: Mutex<Grace<(Channel, Text)>>,
    parted: Notify,
    watcher: OnceLock<Arc<dyn Watch>>,
    /// Nobody joins any more.
    stopped: AtomicBool,
    /// Nothing is left to remove.
    gone: AtomicBool,
}

impl MemoryRoster {
    /// An empty roster.
    pub fn new(announcer: Announcer) -> Self {
        Self(Arc::new(Roster {
            rooms: Mutex::default(),
            nodes: Mutex::default(),
            deaths: watch::Sender::default(),
            announcer,
        }))
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<Channel, Room>> {
        self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Text>> {
        self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By name, so that a survey goes on after the last name it has seen.
    fn channels(&self, prefix: &str, after: Option<&Cursor>, limit: usize) -> ChannelsPage {
        let rooms = self.rooms();
        let is_meant = |name: &str| name.starts_with(prefix) && after.is_none_or(|after| *name > *after.of);
        let mut found: Vec<_> = rooms.iter().filter(|(channel, _)| is_meant(channel)).collect();
        found.sort_unstable_by_key(|(channel, _)| *channel);
        let rest = found.split_off(limit.max(1).min(found.len()));
        let last = found.last().filter(|_| !rest.is_empty());
        let next = last.map(|(channel, _)| Cursor { place: 0, of: channel.to_string() });
        let populated = |(channel, room): (&Channel, &Room)| Populated {
            channel: channel.clone(),
            clients: room.clients.len() as u64,
            users: room.users.len() as u64,
        };
        ChannelsPage { channels: found.into_iter().map(populated).collect(), next }
    }
}

impl MemoryPresence {
    /// A node begins to use the roster. `node` is `<id>.<incarnation>`; must be called within a tokio runtime.
    pub fn attach(roster: &MemoryRoster, node: &str, config: PresenceConfig) -> Self {
        let grace = Mutex::new(Grace::new(config.grace));
        roster.nodes().insert(node.into(), Text::default());
        let node = Arc::new(Node {
            roster: roster.clone(),
            name: node.into(),
            config,
            grace,
            parted: Notify::new(),
            watcher: OnceLock::new(),
            stopped: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        });
        let timer = tokio::spawn(keep_time(node.clone())).abort_handle();
        Self { node, timer }
    }
}

impl Drop for MemoryPresence {
    fn drop(&mut self) {
        self.timer.abort();
        self.node.roster.nodes().remove(&self.node.name);
        if !self.node.gone.load(Ordering::Relaxed) {
            let death = (Instant::now() + self.node.config.lease, self.node.name.clone());
            self.node.roster.0.deaths.send_modify(|deaths| deaths.push(death));
        }
    }
}

impl Presence for MemoryPresence {
    fn join(&self, channel: &Channel, entry: Entry) -> BoxFuture<'static, Result<(), Unavailable>> {
        ready(self.node.join(channel, &entry)).boxed()
    }

    fn leave(&self, channel: &Channel, client: &Text, cause: Cause) {
        self.node.leave(channel, client, cause);
    }

    fn send_away(&self, channel: &Channel, client: &Text, after: Duration) {
        self.node.part(channel, client, after);
    }

    fn members(&self, channel: &Channel, list: bool) -> BoxFuture<'static, Result<Members, Unavailable>> {
        let rooms = self.node.roster.rooms();
        let members = rooms.get(channel).map_or_else(
            || Members { list: list.then(Vec::new), ..Members::default() },
            |room| room.members(list, &self.node.config),
        );
        ready(Ok(members)).boxed()
    }

    fn channels(
        &self,
        prefix: &str,
        after: Option<Cursor>,
        limit: usize,
    ) -> BoxFuture<'static, Result<ChannelsPage, Unavailable>> {
        ready(Ok(self.node.roster.channels(prefix, after.as_ref(), limit))).boxed()
    }

    fn describe(&self, about: String) {
        if let Some(known) = self.node.roster.nodes().get_mut(&self.node.name) {
            *known = about.into();
        }
    }

    fn nodes(&self) -> BoxFuture<'static, Result<Vec<Living>, Unavailable>> {
        let nodes = self.node.roster.nodes();
        let living = nodes.iter().map(|(name, about)| Living { node: (&**name).into(), about: about.clone() });
        ready(Ok(living.collect())).boxed()
    }

    fn stop(&self) -> BoxFuture<'static, ()> {
        self.node.stop();
        let node = self.node.clone();
        async move {
            loop {
                let next = node.grace().next_end();
                let Some(end) = next else { break };
                sleep_until(end).await;
                node.end_due_partings();
            }
            node.gone.store(true, Ordering::Relaxed);
            node.roster.nodes().remove(&node.name);
        }
        .boxed()
    }

    fn lease_age(&self) -> Option<Duration> {
        None
    }

    fn watch(&self, watcher: Arc<dyn Watch>) {
        // Told once.
        let _ = self.node.watcher.set(watcher);
    }
}

impl Node {
    fn grace(&self) -> MutexGuard<'_, Grace<(Channel, Text)>> {
        self.grace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, channel: &Channel, entry: &Entry) -> Result<(), Unavailable> {
        let mut rooms = self.roster.rooms();
        if self.stopped.load(Ordering::Relaxed) {
            return Err(Unavailable);
        }
        let room = rooms.entry(channel.clone()).or_default();
        let held = Held { node: self.name.clone(), entry: entry.clone(), parting: None };
        let before = room.clients.insert(entry.client.clone(), held);
        if let Some(ticket) = before.as_ref().filter(|b| b.node == self.name).and_then(|b| b.parting) {
            self.grace().take_back(ticket);
        }
        let before = before.map(|held| held.entry);
        if before.as_ref().is_some_and(|before| before.user == entry.user) {
            return Ok(());
        }
        // The same connection may come back as another user: its token was renewed.
        if let Some(before) = before {
            self.forget(channel, room, &before, Cause::Left);
        }
        let connections = room.users.entry(entry.user.clone()).or_default();
        *connections += 1;
        if *connections == 1 {
            self.announce(channel, room.users.len(), entry, None);
        }
        Ok(())
    }

    fn leave(&self, channel: &Channel, client: &Text, cause: Cause) {
        if cause == Cause::Lost {
            return self.part(channel, client, Duration::ZERO);
        }
        let mut rooms = self.roster.rooms();
        let Some(held) = self.held(&mut rooms, channel, client) else { return };
        if let Some(ticket) = held.parting {
            self.grace().take_back(ticket);
        }
        self.remove(&mut rooms, channel, client, cause);
    }

    fn part(&self, channel: &Channel, client: &Text, after: Duration) {
        let mut rooms = self.roster.rooms();
        if let Some(held) = self.held(&mut rooms, channel, client).filter(|held| held.parting.is_none()) {
            held.parting = Some(self.grace().add((channel.clone(), client.clone()), after));
            self.parted.notify_one();
        }
    }

    /// A connection of this node's own.
    fn held<'a>(
        &self,
        rooms: &'a mut HashMap<Channel, Room>,
        channel: &Channel,
        client: &Text,
    ) -> Option<&'a mut Held> {
        rooms.get_mut(channel)?.clients.get_mut(client).filter(|held| held.node == self.name)
    }

    fn end_due_partings(&self) {
        let mut rooms = self.roster.rooms();
        loop {
            let ended = self.grace().pop_ended(Instant::now());
            let Some((ticket, (channel, client))) = ended else { return };
            let held = rooms.get(&channel).and_then(|room| room.clients.get(&client));
            // Another node may have taken the connection over meanwhile.
            if held.is_some_and(|held| held.node == self.name && held.parting == Some(ticket)) {
                self.remove(&mut rooms, &channel, &client, Cause::Lost);
            }
        }
    }

    /// All leave but those who are parting.
    fn stop(&self) {
        let mut rooms = self.roster.rooms();
        self.stopped.store(true, Ordering::Relaxed);
        self.remove_all(&mut rooms, Cause::Left, |held| held.node == self.name && held.parting.is_none());
    }

    /// When the next node is taken for dead.
    fn next_death(&self) -> Option<Instant> {
        self.roster.0.deaths.borrow().iter().map(|(end, _)| *end).min()
    }

    /// Whichever node is first to see that another one is dead removes its entries.
    fn reap_due(&self) {
        let mut rooms = self.roster.rooms();
        let now = Instant::now();
        let mut dead = Vec::new();
        self.roster.0.deaths.send_if_modified(|deaths| {
            dead.extend(deaths.extract_if(.., |(end, _)| *end <= now).map(|(_, name)| name));
            false
        });
        if !dead.is_empty() {
            self.remove_all(&mut rooms, Cause::NodeLost, |held| dead.contains(&held.node));
        }
    }

    fn remove_all(&self, rooms: &mut HashMap<Channel, Room>, cause: Cause, is_meant: impl Fn(&Held) -> bool) {
        let mut all = Vec::new();
        for (channel, room) in rooms.iter() {
            let clients = room.clients.iter().filter(|(_, held)| is_meant(held));
            all.extend(clients.map(|(client, _)| (channel.clone(), client.clone())));
        }
        for (channel, client) in all {
            self.remove(rooms, &channel, &client, cause);
        }
    }

    fn remove(&self, rooms: &mut HashMap<Channel, Room>, channel: &Channel, client: &Text, cause: Cause) {
        let Some(room) = rooms.get_mut(channel) else { return };
        if let Some(held) = room.clients.remove(client) {
            self.forget(channel, room, &held.entry, cause);
        }
        if room.clients.is_empty() {
            rooms.remove(channel);
        }
    }

    /// One connection less for a user; the last one is announced.
    fn forget(&self, channel: &Channel, room: &mut Room, entry: &Entry, cause: Cause) {
        let users = room.users.len();
        let Occupied(mut connections) = room.users.entry(entry.user.clone()) else { return };
        *connections.get_mut() -= 1;
        if *connections.get() == 0 {
            connections.remove();
            self.announce(channel, users, entry, Some(cause));
        }
    }

    /// `users` counts the one who comes or goes, so that who was announced coming into a channel is announced going out
    /// of it at the same size.
    fn announce(&self, channel: &Channel, users: usize, entry: &Entry, left: Option<Cause>) {
        if let Some(watcher) = self.watcher.get() {
            let Entry { client, user, info, .. } = entry.clone();
            watcher.changed(Change { channel: channel.clone(), client, user, info, left, is_edge: users == 1 });
        }
        if !entry.announce || users as u64 > self.config.members_max {
            return;
        }
        let clients = u64::from(left.is_none());
        let member = Member { user: entry.user.clone(), clients, info: entry.info.clone() };
        (self.roster.0.announcer)(channel, Membership { member, client: entry.client.clone(), left });
    }
}

impl Room {
    fn members(&self, list: bool, config: &PresenceConfig) -> Members {
        let (clients, users) = (self.clients.len() as u64, self.users.len() as u64);
        if !list || !config.can_list(clients, users) {
            return Members { list: None, clients, users };
        }
        let mut census = Census::default();
        for Held { entry, .. } in self.clients.values() {
            census.count(entry.user.clone(), entry.info.clone());
        }
        census.into_members()
    }
}

/// Ends partings and reaps the dead when it is time.
async fn keep_time(node: Arc<Node>) {
    let mut deaths = node.roster.0.deaths.subscribe();
    loop {
        let parting_end = node.grace().next_end();
        let next = [parting_end, node.next_death()].into_iter().flatten().min();
        let is_due = async {
            match next {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = is_due => {}
            () = node.parted.notified() => {}
            _ = deaths.changed() => {}
        }
        node.end_due_partings();
        node.reap_due();
    }
}
