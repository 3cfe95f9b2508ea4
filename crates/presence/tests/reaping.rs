//! What becomes of the members of a node that dies, or that only seems to: each user leaves once, or not at all.

#![allow(clippy::unwrap_used, reason = "a test may end where its expectation does")]

mod support;

use futures_util::future::join_all;
use link::testing::RedisServer;
use presence::{Entry, Presence, PresenceConfig, PresenceMetrics, RedisPresence};
use protocol::Cause;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use std::collections::BTreeMap;
use std::time::Duration;
use support::road::Road;
use support::{Told, calls, channel, commands, counts, entry, members, node_at, redis_node, until, until_members};
use tokio::time::sleep;

/// Short, and still long enough that a busy machine does not keep renewals apart for two thirds of it: then nobody is taken
/// for dead.
const LEASE: Duration = Duration::from_secs(3);

fn config() -> PresenceConfig {
    PresenceConfig { lease: LEASE, members_max: 100_000, ..PresenceConfig::default() }
}

/// Each user of so many is in one channel, with a connection of its own.
async fn fill(node: &RedisPresence, name: &str, users: usize) {
    let channel = channel(name);
    for first in (0..users).step_by(2000) {
        let some = first..users.min(first + 2000);
        let joins = some.map(|n| node.join(&channel, entry(&format!("{name}-{n}"), &format!("{name}-{n}"))));
        assert!(join_all(joins.collect::<Vec<_>>()).await.iter().all(Result::is_ok));
    }
}

/// A node that lives for a moment: once its only user has left, whatever the nodes would tell of others has been told.
async fn canary(server: &RedisServer, name: &str) {
    let (node, _) = redis_node(server, name, &config());
    node.join(&channel("canaries"), entry(name, name)).await.unwrap();
}

/// Counts the joins and the leaves of each user until this one has left, and checks that they take turns.
async fn until_left(told: &mut Told, last: &str) -> BTreeMap<String, (u64, u64)> {
    let mut users: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    loop {
        let (_, change) = told.next().await;
        let user = change.member.user.to_string();
        let (joins, leaves) = users.entry(user.clone()).or_default();
        match change.left {
            None => *joins += 1,
            Some(cause) => {
                assert_eq!(cause, Cause::NodeLost, "{change:?}");
                *leaves += 1;
            }
        }
        assert!(joins.abs_diff(*leaves) <= 1, "{user} came {joins} times and left {leaves} times");
        if user == last && change.left.is_some() {
            users.remove(last);
            return users;
        }
    }
}

async fn nodes(redis: &mut MultiplexedConnection) -> Vec<String> {
    let mut nodes: Vec<String> = redis.hkeys("gw:nodes").await.unwrap();
    nodes.sort_unstable();
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_reap_at_once_each_user_leaves_once() {
    let server = RedisServer::start();
    let mut told = Told::by(&server).await;
    let mut redis = commands(&server).await;
    let reapers: Vec<_> = (0..5).map(|n| redis_node(&server, &format!("r{n}.a"), &config())).collect();
    canary(&server, "first.a").await;
    until_left(&mut told, "first.a").await;
    let (dying, _) = redis_node(&server, "n1.a", &config());
    for name in ["a", "b", "c"] {
        fill(&dying, name, 3000).await;
    }
    // Some are elsewhere, too.
    for n in 0..100 {
        reapers[n % 5].0.join(&channel("a"), entry(&format!("too-{n}"), &format!("a-{n}"))).await.unwrap();
    }
    drop(dying);
    // Nobody's claim lasts: each takes over from another that is still at work.
    let unclaiming = tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(20)).await;
            let _: () = redis.del("gw:reap:n1.a").await.unwrap();
        }
    });
    let all_left = async {
        let mut users = BTreeMap::new();
        while users.len() < 3 * 3000 - 100 {
            let (_, change) = told.next().await;
            if change.left == Some(Cause::NodeLost) {
                let leaves: &mut u64 = users.entry(change.member.user.to_string()).or_default();
                *leaves += 1;
            }
        }
        users
    };
    let users = all_left.await;
    unclaiming.abort();
    canary(&server, "last.a").await;
    assert_eq!(until_left(&mut told, "last.a").await, BTreeMap::new(), "told twice");
    assert!(users.values().all(|leaves| *leaves == 1));
    assert!((0..100).all(|n| !users.contains_key(&format!("a-{n}"))));
    assert_eq!(reapers[0].0.members(&channel("a"), false).await, Ok(counts(100, 100)));
    let metric = |of: fn(&PresenceMetrics) -> u64| reapers.iter().map(|(_, metrics)| of(metrics)).sum::<u64>();
    until("all nodes are counted", async || metric(|metrics| metrics.reaped_nodes.get()) == 3).await;
    assert_eq!(metric(|metrics| metrics.reaped_entries.get()), 9002);
    assert!(reapers.iter().filter(|(_, metrics)| metrics.reaped_entries.get() > 100).count() > 1, "no race");
}

#[tokio::test]
async fn when_a_reaper_dies_another_one_goes_on_and_the_work_is_done_in_small_parts() {
    const USERS: usize = 20_000;
    let server = RedisServer::start();
    let mut told = Told::by(&server).await;
    let mut redis = commands(&server).await;
    let mut reapers: BTreeMap<_, _> =
        ["r1.a", "r2.a"].map(|name| (name.to_owned(), redis_node(&server, name, &config()).0)).into();
    canary(&server, "first.a").await;
    until_left(&mut told, "first.a").await;
    let (dying, _) = redis_node(&server, "n1.a", &config());
    fill(&dying, "crowd", USERS).await;
    let mut left = BTreeMap::new();
    support::forget_calls(&mut redis).await;
    drop(dying);
    while left.is_empty() {
        let (_, change) = told.next().await;
        if change.left.is_some() {
            left.insert(change.member.user, 1);
        }
    }
    let reaper: String = redis.get("gw:reap:n1.a").await.unwrap();
    drop(reapers.remove(&reaper).unwrap());
    let (_, other) = reapers.pop_first().unwrap();
    // Nobody waits for it: the node goes on with its own.
    other.join(&channel("crowd"), entry("new", "new")).await.unwrap();
    let rest: usize = redis.hlen("gw:{crowd}:here").await.unwrap();
    assert!(rest > 1, "the first reaper has done everything");
    while left.len() < USERS {
        let (_, change) = told.next().await;
        if change.left.is_some() {
            *left.entry(change.member.user).or_default() += 1;
        }
    }
    until_members(&other, &channel("crowd"), &Ok(members(&[("new", 1)]))).await;
    assert!(left.values().all(|leaves| *leaves == 1));
    let readings = calls(&mut redis).await["hscan"] as usize;
    assert!(readings >= USERS / 512, "{readings} readings of {USERS} entries");
    until("the dead are forgotten", async || nodes(&mut redis).await.len() == 1).await;
    let left_behind: Vec<String> = redis.keys("gw:node:*").await.unwrap();
    assert_eq!(left_behind.len(), 1, "{left_behind:?}");
    let marks: Vec<String> = redis.keys("gw:reap*").await.unwrap();
    for mark in &marks {
        let ttl_ms: i64 = redis.pttl(mark).await.unwrap();
        assert!(ttl_ms > 0, "{mark} would stay for ever");
    }
}

/// How much later than another one a node may find its Redis again.
const LATER: Duration = Duration::from_secs(2);

/// Redis is away for longer than a lease, for all nodes, in one way or another; then it is found again, by one node
/// earlier than by the other.
async fn nobody_dies_of(server: RedisServer, outage: impl AsyncFnOnce(RedisServer) -> RedisServer) {
    let (one, _) = redis_node(&server, "n1.a", &config());
    let road = Road::to(server.port()).await;
    let (two, _) = node_at(&road.url(), "n2.a", &config());
    fill(&one, "lobby", 3000).await;
    two.join(&channel("lobby"), entry("c1", "alice")).await.unwrap();
    let mut told = Told::by(&server).await;
    canary(&server, "first.a").await;
    until_left(&mut told, "first.a").await;
    support::forget_calls(&mut commands(&server).await).await;
    let server = outage(server).await;
    let mut redis = commands(&server).await;
    road.close();
    until("the first one is back", async || redis.exists("gw:lease:n1.a").await.unwrap()).await;
    sleep(LATER).await;
    road.open();
    let mut told = Told::by(&server).await;
    until_members(&one, &channel("lobby"), &Ok(counts(3001, 3001))).await;
    canary(&server, "last.a").await;
    until_left(&mut told, "last.a").await;
    assert_eq!(calls(&mut redis).await["publish"], 2, "besides the last one somebody was told of");
    for node in [&one, &two] {
        assert_eq!(node.members(&channel("lobby"), false).await, Ok(counts(3001, 3001)));
    }
    until("former names are gone", async || {
        let nodes = nodes(&mut redis).await;
        nodes.len() == 2 && nodes[0].starts_with("n1.a") && nodes[1].starts_with("n2.a")
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_stood_still_for_20_s_has_killed_nobody() {
    let server = RedisServer::start_with(&["--save", "", "--enable-debug-command", "yes"]);
    nobody_dies_of(server, async |server| {
        let standing_still = move || {
            assert_eq!(server.command(&["DEBUG", "SLEEP", "20"]), "+OK");
            server
        };
        tokio::task::spawn_blocking(standing_still).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_was_away_has_killed_nobody() {
    nobody_dies_of(RedisServer::start_durable(), async |mut server| {
        server.kill();
        sleep(LEASE * 3).await;
        assert!(server.start_again());
        server
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_has_killed_nobody() {
    nobody_dies_of(RedisServer::start(), async |mut server| {
        server.kill();
        sleep(LEASE * 3).await;
        assert!(server.start_again());
        server
    })
    .await;
}

#[tokio::test]
async fn a_node_that_is_cut_off_is_reaped_and_registers_as_it_was_when_it_is_back() {
    let server = RedisServer::start();
    let mut told = Told::by(&server).await;
    let mut redis = commands(&server).await;
    let (other, _) = redis_node(&server, "n2.a", &config());
    let road = Road::to(server.port()).await;
    let (node, metrics) = node_at(&road.url(), "n1.a", &config());
    let (lobby, quiet) = (channel("lobby"), channel("quiet"));
    node.join(&lobby, entry("c1", "alice")).await.unwrap();
    other.join(&lobby, entry("c2", "bob")).await.unwrap();
    node.join(&lobby, entry("c3", "bob")).await.unwrap();
    node.join(&quiet, Entry { announce: false, ..entry("c1", "alice") }).await.unwrap();
    told.expect_join("alice").await;
    told.expect_join("bob").await;
    road.close();
    told.expect_leave("alice", Cause::NodeLost).await;
    until_members(&other, &lobby, &Ok(members(&[("bob", 1)]))).await;
    until_members(&other, &quiet, &Ok(members(&[]))).await;
    until("it is forgotten", async || nodes(&mut redis).await == ["n2.a"]).await;
    // What its connections do meanwhile is not forgotten.
    drop(node.join(&lobby, entry("c4", "carl")));
    road.open();
    let mut back = [told.next().await.1, told.next().await.1];
    back.sort_unstable_by_key(|change| change.member.user.clone());
    assert_eq!(back.map(|change| (change.member.user, change.left)), [("alice".into(), None), ("carl".into(), None)]);
    until_members(&other, &lobby, &Ok(members(&[("alice", 1), ("bob", 2), ("carl", 1)]))).await;
    until_members(&other, &quiet, &Ok(members(&[("alice", 1)]))).await;
    assert_eq!(metrics.leases_lost.get(), 1);
    until("its former name is gone", async || nodes(&mut redis).await == ["n1.a~2", "n2.a"]).await;
    // As good as new: its connections leave as they do, and it can die once more.
    node.leave(&lobby, &"c4".into(), Cause::Left);
    told.expect_leave("carl", Cause::Left).await;
    drop(node);
    told.expect_leave("alice", Cause::NodeLost).await;
    until_members(&other, &lobby, &Ok(members(&[("bob", 1)]))).await;
    until("nothing of it is left", async || {
        let indexes: Vec<String> = redis.keys("gw:node:n1*").await.unwrap();
        indexes.is_empty() && nodes(&mut redis).await == ["n2.a"]
    })
    .await;
}

#[tokio::test]
async fn a_node_that_comes_back_while_it_is_reaped_has_all_its_members_in_the_end() {
    const USERS: usize = 20_000;
    let server = RedisServer::start();
    let mut told = Told::by(&server).await;
    let mut redis = commands(&server).await;
    let (other, _) = redis_node(&server, "n2.a", &config());
    let road = Road::to(server.port()).await;
    let (node, _) = node_at(&road.url(), "n1.a", &config());
    fill(&node, "crowd", USERS).await;
    road.close();
    // It takes a moment to find its Redis again; the reaper is not faster when there is much to do.
    until("its lease is over", async || !redis.exists::<_, bool>("gw:lease:n1.a").await.unwrap()).await;
    road.open();
    until("it is back", async || redis.exists("gw:lease:n1.a").await.unwrap()).await;
    until_members(&other, &channel("crowd"), &Ok(counts(USERS as u64, USERS as u64))).await;
    until("its former name is gone", async || nodes(&mut redis).await == ["n1.a~2", "n2.a"]).await;
    canary(&server, "last.a").await;
    let users = until_left(&mut told, "last.a").await;
    assert_eq!(users.len(), USERS);
    for (user, (joins, leaves)) in users {
        assert_eq!(joins, leaves + 1, "{user}");
    }
    assert_eq!(other.members(&channel("crowd"), false).await, Ok(counts(USERS as u64, USERS as u64)));
}

#[tokio::test]
async fn a_full_redis_and_a_channel_that_it_refuses_keep_nobody_from_being_reaped() {
    let server = RedisServer::start();
    let mut told = Told::by(&server).await;
    let mut redis = commands(&server).await;
    let (_reaper, metrics) = redis_node(&server, "n2.a", &config());
    let (dying, _) = redis_node(&server, "n1.a", &config());
    for name in ["a", "spoilt", "z"] {
        dying.join(&channel(name), entry("c1", "alice")).await.unwrap();
        told.expect_join("alice").await;
    }
    server.command(&["SET", "gw:{spoilt}:here", "not a hash"]);
    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    drop(dying);
    told.expect_leave("alice", Cause::NodeLost).await;
    told.expect_leave("alice", Cause::NodeLost).await;
    until("both are counted", async || metrics.reaped_entries.get() == 2).await;
    assert_eq!(metrics.reaped_nodes.get(), 0);
    // It is tried again.
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    server.command(&["DEL", "gw:{spoilt}:here"]);
    until("it is forgotten", async || nodes(&mut redis).await == ["n2.a"]).await;
}

#[tokio::test]
async fn whoever_is_not_announced_is_reaped_in_silence() {
    let server = RedisServer::start();
    let mut told = Told::by(&server).await;
    let (other, _) = redis_node(&server, "n2.a", &config());
    let (dying, _) = redis_node(&server, "n1.a", &config());
    let lobby = channel("lobby");
    dying.join(&lobby, Entry { announce: false, ..entry("c1", "ghost") }).await.unwrap();
    dying.join(&lobby, entry("c2", "alice")).await.unwrap();
    told.expect_join("alice").await;
    drop(dying);
    told.expect_leave("alice", Cause::NodeLost).await;
    until_members(&other, &lobby, &Ok(counts(0, 0))).await;
    canary(&server, "last.a").await;
    assert_eq!(until_left(&mut told, "last.a").await, BTreeMap::new());
}

#[tokio::test]
async fn a_node_that_was_evicted_from_the_nodes_is_there_again_before_it_dies() {
    let server = RedisServer::start();
    let mut told = Told::by(&server).await;
    let mut redis = commands(&server).await;
    let (_other, _) = redis_node(&server, "n2.a", &config());
    let (node, _) = redis_node(&server, "n1.a", &config());
    node.join(&channel("lobby"), entry("c1", "alice")).await.unwrap();
    told.expect_join("alice").await;
    let _: () = redis.del("gw:nodes").await.unwrap();
    until("both are there again", async || nodes(&mut redis).await.len() == 2).await;
    drop(node);
    told.expect_leave("alice", Cause::NodeLost).await;
}
