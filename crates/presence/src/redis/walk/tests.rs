//! Walks against a real Redis, more than one at a time.

use super::{Next, Walk};
use crate::redis::RedisPresence;
use crate::{Entry, Presence, PresenceConfig, PresenceMetrics};
use futures_util::future::join_all;
use link::testing::RedisServer;
use link::{Link, LinkConfig, LinkMetrics};
use prometheus::Registry;
use protocol::{Channel, Members};
use redis::AsyncCommands;
use std::time::Duration;

const CHANNELS: usize = 300;
const HOLD: Duration = Duration::from_secs(60);

fn node(server: &RedisServer, name: &str) -> RedisPresence {
    let registry = Registry::new();
    let config = LinkConfig {
        url: server.url(),
        prefix: LinkConfig::DEFAULT_PREFIX.to_owned(),
        sentinel: None,
        tls: Default::default(),
    };
    let link = Link::new(&config, LinkMetrics::new(&registry).unwrap()).unwrap();
    // Nobody reaps by itself within this test.
    let config = PresenceConfig { lease: Duration::from_secs(600), members_max: 100_000, ..PresenceConfig::default() };
    RedisPresence::start(link, name, config, PresenceMetrics::new(&registry).unwrap())
}

fn channel(n: usize) -> Channel {
    Channel::new(&format!("c{n}")).unwrap()
}

/// One connection of each user in one channel of many, and a large channel.
async fn fill(node: &RedisPresence, users: usize) {
    let joins = (0..users).map(|n| {
        let id = format!("{n}");
        let place = if n % 2 == 0 { channel(n % CHANNELS) } else { channel(CHANNELS) };
        node.join(&place, Entry { client: id.as_str().into(), user: id.into(), info: None, announce: true })
    });
    assert!(join_all(joins.collect::<Vec<_>>()).await.iter().all(Result::is_ok));
}

/// Walks to the end; the entries and users that it has removed.
async fn walk(node: &RedisPresence, tenure: &str) -> (u64, u64) {
    let shared = &node.shared;
    let mut walk = Walk::new(tenure);
    loop {
        let turn = walk.turn(&shared.scripts, shared.link.keys(), HOLD);
        let answers = shared.query(&turn.pipe).await.unwrap();
        match walk.take(turn, answers).unwrap() {
            Next::Turn => {}
            Next::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(walk.tally().refused, 0);
    (walk.tally().entries, walk.tally().users)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn walks_at_the_same_time_remove_everything_once_and_tell_of_everybody_once() {
    let server = RedisServer::start();
    let dying = node(&server, "n1.a");
    fill(&dying, 4000).await;
    drop(dying);
    let reapers: Vec<_> = (0..4).map(|n| node(&server, &format!("r{n}.a"))).collect();
    let large = channel(CHANNELS);
    for reaper in &reapers {
        let elsewhere = Entry { client: "other".into(), user: "1".into(), info: None, announce: true };
        reaper.join(&large, elsewhere).await.unwrap();
    }
    let mut redis = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let _: () = redis.del("gw:lease:n1.a").await.unwrap();
    let _: () = redis.set("gw:reap:n1.a", "all of them").await.unwrap();
    redis::cmd("CONFIG").arg("RESETSTAT").exec_async(&mut redis).await.unwrap();

    let removed = join_all(reapers.iter().map(|reaper| walk(reaper, "n1.a"))).await;
    let sum = removed.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert_eq!(sum, (4000, 3999), "{removed:?}");
    assert!(removed.iter().filter(|one| one.0 > 0).count() > 1, "they took no turns: {removed:?}");
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut redis).await.unwrap();
    assert!(info.contains("cmdstat_publish:calls=3999,"), "{info}");
    assert_eq!(reapers[0].members(&large, false).await, Ok(Members { list: None, clients: 1, users: 1 }));
    let left: bool = redis.exists("gw:node:n1.a:here").await.unwrap();
    assert!(!left);
}

#[tokio::test]
async fn a_walk_stops_before_it_removes_anything_when_the_node_lives() {
    let server = RedisServer::start();
    let (living, reaper) = (node(&server, "n1.a"), node(&server, "r1.a"));
    fill(&living, 10).await;
    let mut redis = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let shared = &reaper.shared;
    let _: () = redis.set("gw:reap:n1.a", "r1.a").await.unwrap();
    let mut walk = Walk::new("n1.a");
    let turn = walk.turn(&shared.scripts, shared.link.keys(), HOLD);
    let answers = shared.query(&turn.pipe).await.unwrap();
    assert_eq!(walk.take(turn, answers).unwrap(), Next::OwnerBack);
    assert_eq!(living.members(&channel(0), false).await, Ok(Members { list: None, clients: 1, users: 1 }));
}
