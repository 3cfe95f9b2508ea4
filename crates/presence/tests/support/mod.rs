//! Nodes with presence, on a roster or on a Redis of their own, and what their subscribers are told.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod road;

use futures_util::StreamExt;
use link::testing::RedisServer;
use link::{KeySpace, Link, LinkConfig, LinkMetrics};
use presence::{
    Entry, MemoryPresence, MemoryRoster, Presence, PresenceConfig, PresenceMetrics, RedisPresence, Unavailable,
};
use prometheus::Registry;
use protocol::envelope::{Envelope, Membership};
use protocol::{Cause, Channel, Member, Members, Text};
use redis::aio::MultiplexedConnection;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Where nodes meet.
pub(crate) struct Fixture {
    pub(crate) config: PresenceConfig,
    pub(crate) told: Told,
    backend: Backend,
}

enum Backend {
    Memory(MemoryRoster),
    Redis(RedisServer),
}

/// What the subscribers of all channels were told, in order.
pub(crate) struct Told(mpsc::Receiver<(Channel, Membership)>);

impl Fixture {
    pub(crate) fn in_memory() -> Self {
        let (sender, receiver) = mpsc::channel(1024);
        let roster = MemoryRoster::new(Arc::new(move |channel: &Channel, change| {
            sender.try_send((channel.clone(), change)).expect("room for what is told");
        }));
        let config = PresenceConfig { members_max: 3, ..PresenceConfig::default() };
        Self { config, told: Told(receiver), backend: Backend::Memory(roster) }
    }

    pub(crate) async fn in_redis() -> Self {
        let server = RedisServer::start();
        let (lease, grace) = (Duration::from_secs(3), Duration::from_secs(1));
        let config = PresenceConfig { lease, grace, members_max: 3 };
        Self { config, told: Told::by(&server).await, backend: Backend::Redis(server) }
    }

    pub(crate) fn node(&self, name: &str) -> Arc<dyn Presence> {
        match &self.backend {
            Backend::Memory(roster) => Arc::new(MemoryPresence::attach(roster, name, self.config.clone())),
            Backend::Redis(server) => Arc::new(redis_node(server, name, &self.config).0),
        }
    }
}

impl Fixture {
    /// Waits until one of the nodes has removed what a node of this name left when it died.
    pub(crate) async fn until_the_dead_are_reaped(&mut self) {
        let canary = self.node("canary.a");
        canary.join(&channel("mine"), entry("canary.a.1", "canary")).await.unwrap();
        drop(canary);
        self.told.expect_join("canary").await;
        self.told.expect_leave("canary", Cause::NodeLost).await;
    }
}

impl Told {
    /// Listens to all topics of this Redis.
    pub(crate) async fn by(server: &RedisServer) -> Self {
        let client = redis::Client::open(server.url()).unwrap();
        let mut pubsub = client.get_async_pubsub().await.unwrap();
        pubsub.psubscribe("gw:{*").await.unwrap();
        let (sender, receiver) = mpsc::channel(1024);
        tokio::spawn(async move {
            let keys = KeySpace::new(LinkConfig::DEFAULT_PREFIX);
            let mut messages = pubsub.into_on_message();
            while let Some(message) = messages.next().await {
                let channel = Channel::new(keys.channel_of_topic(message.get_channel_name()).unwrap()).unwrap();
                let Ok(Envelope::Membership(change)) = Envelope::decode(message.get_payload_bytes().to_vec().into())
                else {
                    panic!("no membership envelope: {:?}", message.get_payload_bytes());
                };
                if sender.send((channel, change)).await.is_err() {
                    return;
                }
            }
        });
        Self(receiver)
    }

    pub(crate) async fn next(&mut self) -> (Channel, Membership) {
        timeout(PATIENCE, self.0.recv()).await.expect("nothing was told").expect("the topics ended")
    }

    pub(crate) async fn expect_join(&mut self, user: &str) {
        let (_, change) = self.next().await;
        assert_eq!((&*change.member.user, change.left), (user, None), "{change:?}");
    }

    pub(crate) async fn expect_leave(&mut self, user: &str, cause: Cause) {
        let (_, change) = self.next().await;
        assert_eq!((&*change.member.user, change.left), (user, Some(cause)), "{change:?}");
    }
}

pub(crate) fn link_to(url: &str) -> Link {
    let config = LinkConfig {
        url: url.to_owned(),
        prefix: LinkConfig::DEFAULT_PREFIX.to_owned(),
        sentinel: None,
        tls: Default::default(),
    };
    Link::new(&config, LinkMetrics::new(&Registry::new()).unwrap()).unwrap()
}

pub(crate) fn redis_node(
    server: &RedisServer,
    name: &str,
    config: &PresenceConfig,
) -> (RedisPresence, PresenceMetrics) {
    node_at(&server.url(), name, config)
}

pub(crate) fn node_at(url: &str, name: &str, config: &PresenceConfig) -> (RedisPresence, PresenceMetrics) {
    let metrics = PresenceMetrics::new(&Registry::new()).unwrap();
    (RedisPresence::start(link_to(url), name, config.clone(), metrics.clone()), metrics)
}

/// Commands over a connection of the test's own.
pub(crate) async fn commands(server: &RedisServer) -> MultiplexedConnection {
    redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// How often Redis has done each command since it started or [`forget_calls`].
pub(crate) async fn calls(redis: &mut MultiplexedConnection) -> BTreeMap<String, u64> {
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(redis).await.unwrap();
    let lines = info.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
    lines.map(|(name, stats)| (name.to_owned(), stats.split(',').next().unwrap().parse().unwrap())).collect()
}

pub(crate) async fn forget_calls(redis: &mut MultiplexedConnection) {
    redis::cmd("CONFIG").arg("RESETSTAT").exec_async(redis).await.unwrap();
}

/// Waits until Redis itself shows something.
pub(crate) async fn until(what: &str, mut shows: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !shows().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("still waiting until {what}"));
}

pub(crate) fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

pub(crate) fn entry(client: &str, user: &str) -> Entry {
    Entry { client: client.into(), user: user.into(), info: None, announce: true }
}

pub(crate) fn text(text: &str) -> Text {
    text.into()
}

pub(crate) fn member(user: &str, clients: u64) -> Member {
    Member { user: user.into(), clients, info: None }
}

pub(crate) fn members(list: &[(&str, u64)]) -> Members {
    let list: Vec<Member> = list.iter().map(|(user, clients)| member(user, *clients)).collect();
    let clients = list.iter().map(|member| member.clients).sum();
    Members { clients, users: list.len() as u64, list: Some(list) }
}

pub(crate) fn counts(clients: u64, users: u64) -> Members {
    Members { list: None, clients, users }
}

/// Asks until the answer is this one.
pub(crate) async fn until_members(node: &dyn Presence, channel: &Channel, expected: &Result<Members, Unavailable>) {
    let list = expected.as_ref().is_ok_and(|members| members.list.is_some());
    let mut last = None;
    let asking = async {
        loop {
            let answer = node.members(channel, list).await;
            if answer == *expected {
                return;
            }
            last = Some(answer);
            sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = timeout(PATIENCE, asking).await.is_ok();
    assert!(in_time, "expected {expected:?}, last seen {last:?}");
}
