//! What presence does when Redis fails: nothing that a connection stated is forgotten, and nothing is told twice.

#![allow(clippy::unwrap_used, reason = "a test may end where its expectation does")]

mod support;

use futures_util::future::join_all;
use link::testing::RedisServer;
use presence::{Presence, PresenceConfig, Unavailable};
use protocol::Cause;
use redis::AsyncCommands;
use std::time::Duration;
use support::{
    Told, calls, channel, commands, counts, entry, forget_calls, members, redis_node, text, until, until_members,
};
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_millis(500);

fn config() -> PresenceConfig {
    PresenceConfig { lease: Duration::from_millis(900), ..PresenceConfig::default() }
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_is_filled_again_by_those_who_know_and_nobody_is_told() {
    let mut server = RedisServer::start();
    let (one, _) = redis_node(&server, "n1.a", &config());
    let (two, _) = redis_node(&server, "n2.a", &config());
    let (lobby, large) = (channel("lobby"), channel("large"));
    one.join(&lobby, entry("c1", "alice")).await.unwrap();
    one.join(&lobby, entry("c2", "bob")).await.unwrap();
    two.join(&lobby, entry("c3", "alice")).await.unwrap();
    let joins = (0..2000).map(|n| two.join(&large, entry(&format!("l{n}"), &format!("u{n}"))));
    assert!(join_all(joins.collect::<Vec<_>>()).await.iter().all(Result::is_ok));
    server.kill();
    assert!(server.start_again());
    until_members(&one, &lobby, &Ok(members(&[("alice", 2), ("bob", 1)]))).await;
    until_members(&one, &large, &Ok(counts(2000, 2000))).await;
    let mut redis = commands(&server).await;
    assert_eq!(calls(&mut redis).await.get("publish"), None);
    let indexed: Vec<String> = redis.smembers("gw:node:n1.a~2:here").await.unwrap();
    assert_eq!(indexed, ["lobby"]);
    let nodes: usize = redis.hlen("gw:nodes").await.unwrap();
    assert_eq!(nodes, 2);
    // As good as new: the last ones to leave are told.
    let mut told = Told::by(&server).await;
    one.leave(&lobby, &text("c1"), Cause::Left);
    one.leave(&lobby, &text("c2"), Cause::Left);
    told.expect_leave("bob", Cause::Left).await;
    assert_eq!(two.members(&lobby, true).await, Ok(members(&[("alice", 1)])));
}

#[tokio::test]
async fn a_redis_that_comes_back_with_its_data_counts_nobody_twice() {
    let mut server = RedisServer::start_durable();
    let lease = Duration::from_secs(60);
    let (node, metrics) = redis_node(&server, "n1.a", &PresenceConfig { lease, ..config() });
    let lobby = channel("lobby");
    node.join(&lobby, entry("c1", "alice")).await.unwrap();
    node.join(&lobby, entry("c2", "alice")).await.unwrap();
    server.kill();
    // Stated while Redis is away.
    node.leave(&lobby, &text("c1"), Cause::Left);
    drop(node.join(&lobby, entry("c3", "bob")));
    assert!(server.start_again());
    until_members(&node, &lobby, &Ok(members(&[("alice", 1), ("bob", 1)]))).await;
    assert_eq!(node.members(&lobby, false).await, Ok(counts(2, 2)));
    assert_eq!(calls(&mut commands(&server).await).await.get("publish"), Some(&1));
    assert_eq!(metrics.leases_lost.get(), 0);
}

#[tokio::test]
async fn a_lease_that_vanished_is_taken_again_and_entries_are_made_sure_of() {
    let server = RedisServer::start();
    let mut redis = commands(&server).await;
    let (node, metrics) = redis_node(&server, "n1.a", &config());
    let (other, _) = redis_node(&server, "n2.a", &config());
    let lobby = channel("lobby");
    node.join(&lobby, entry("c1", "alice")).await.unwrap();
    node.join(&lobby, entry("c2", "bob")).await.unwrap();
    let mut told = Told::by(&server).await;
    forget_calls(&mut redis).await;
    let _: () = redis.del("gw:lease:n1.a").await.unwrap();
    until_members(&other, &lobby, &Ok(members(&[("alice", 1), ("bob", 1)]))).await;
    until("both entries are made sure of", async || calls(&mut redis).await.get("hset").is_some_and(|n| *n >= 3)).await;
    assert_eq!(node.members(&lobby, false).await, Ok(counts(2, 2)));
    assert_eq!(metrics.leases_lost.get(), 1);
    let lives: bool = redis.exists("gw:lease:n1.a").await.unwrap();
    assert!(lives);
    node.leave(&lobby, &text("c2"), Cause::Left);
    told.expect_leave("bob", Cause::Left).await;
}

#[tokio::test]
async fn a_node_that_was_reaped_and_lives_tells_its_joins_anew() {
    let server = RedisServer::start();
    let mut told = Told::by(&server).await;
    let mut redis = commands(&server).await;
    let (node, _) = redis_node(&server, "n1.a", &config());
    let lobby = channel("lobby");
    node.join(&lobby, entry("c1", "alice")).await.unwrap();
    told.expect_join("alice").await;
    // What a reaper does.
    let mut reaping = redis::pipe();
    reaping.atomic().set("gw:reaped:n1.a", "n2.a");
    reaping.del(&["gw:lease:n1.a", "gw:node:n1.a:here", "gw:{lobby}:here", "gw:{lobby}:users"]);
    reaping.exec_async(&mut redis).await.unwrap();
    told.expect_join("alice").await;
    assert_eq!(node.members(&lobby, true).await, Ok(members(&[("alice", 1)])));
    let indexed: Vec<String> = redis.smembers("gw:node:n1.a~2:here").await.unwrap();
    assert_eq!(indexed, ["lobby"]);
}

#[tokio::test]
async fn joins_while_redis_is_away_are_refused_quickly_and_seen_when_it_is_back() {
    let mut server = RedisServer::start();
    let (node, metrics) = redis_node(&server, "n1.a", &config());
    let lobby = channel("lobby");
    node.join(&lobby, entry("c1", "alice")).await.unwrap();
    server.kill();
    let asked_at = Instant::now();
    assert_eq!(node.join(&lobby, entry("c2", "bob")).await, Err(Unavailable));
    assert!(asked_at.elapsed() < SOON, "{:?}", asked_at.elapsed());
    assert_eq!(node.join(&lobby, entry("c3", "carl")).await, Err(Unavailable));
    assert_eq!(node.members(&lobby, true).await, Err(Unavailable));
    // Who came and went meanwhile leaves no trace.
    for n in 0..3000 {
        drop(node.join(&lobby, entry(&format!("x{n}"), "dave")));
        node.leave(&lobby, &text(&format!("x{n}")), Cause::Left);
    }
    assert!(asked_at.elapsed() < SOON * 2, "{:?}", asked_at.elapsed());
    node.measure();
    assert!(metrics.entries.get() <= 3 && metrics.dirty.get() <= 3);
    assert!(server.start_again());
    let (other, _) = redis_node(&server, "n2.a", &config());
    until_members(&other, &lobby, &Ok(members(&[("alice", 1), ("bob", 1), ("carl", 1)]))).await;
    // Alice was told of before; Bob and Carl were not.
    assert_eq!(calls(&mut commands(&server).await).await.get("publish"), Some(&2));
}

#[tokio::test]
async fn a_node_that_starts_without_redis_registers_when_it_comes() {
    let mut server = RedisServer::start();
    server.kill();
    let (node, _) = redis_node(&server, "n1.a", &config());
    let lobby = channel("lobby");
    let asked_at = Instant::now();
    assert_eq!(node.join(&lobby, entry("c1", "alice")).await, Err(Unavailable));
    assert!(asked_at.elapsed() < Duration::from_secs(3));
    assert!(server.start_again());
    until_members(&node, &lobby, &Ok(members(&[("alice", 1)]))).await;
}

#[tokio::test]
async fn a_redis_that_does_not_answer_refuses_joins_within_the_deadline_and_loses_none() {
    let server = RedisServer::start();
    let (node, _) = redis_node(&server, "n1.a", &config());
    let (other, _) = redis_node(&server, "n2.a", &config());
    let (lobby, quiet) = (channel("lobby"), channel("quiet"));
    node.join(&lobby, entry("c1", "alice")).await.unwrap();
    node.join(&quiet, entry("c1", "alice")).await.unwrap();
    server.command(&["CLIENT", "PAUSE", "4000", "ALL"]);
    let asked_at = Instant::now();
    let (joined, read) = tokio::join!(node.join(&lobby, entry("c2", "bob")), other.members(&lobby, true));
    assert_eq!((joined, read), (Err(Unavailable), Err(Unavailable)));
    assert!(asked_at.elapsed() < Duration::from_secs(3), "{:?}", asked_at.elapsed());
    node.leave(&lobby, &text("c1"), Cause::Left);
    until_members(&other, &lobby, &Ok(members(&[("bob", 1)]))).await;
    until_members(&other, &quiet, &Ok(members(&[("alice", 1)]))).await;
    assert_eq!(other.members(&lobby, false).await, Ok(counts(1, 1)));
}

#[tokio::test]
async fn forgotten_scripts_are_loaded_again() {
    let server = RedisServer::start();
    let (node, metrics) = redis_node(&server, "n1.a", &config());
    let lobby = channel("lobby");
    node.join(&lobby, entry("c1", "alice")).await.unwrap();
    server.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(node.join(&lobby, entry("c2", "bob")).await, Ok(()));
    assert_eq!(node.members(&lobby, true).await, Ok(members(&[("alice", 1), ("bob", 1)])));
    assert_eq!(metrics.flush_failures.get(), 0);
}

#[tokio::test]
async fn a_channel_that_redis_refuses_holds_up_no_other() {
    let server = RedisServer::start();
    let (node, _) = redis_node(&server, "n1.a", &config());
    let (spoilt, lobby) = (channel("spoilt"), channel("lobby"));
    server.command(&["SET", "gw:{spoilt}:here", "not a hash"]);
    let joins = (0..1000).map(|n| node.join(&lobby, entry(&format!("c{n}"), "bob")));
    let (refused, taken) = tokio::join!(node.join(&spoilt, entry("c1", "alice")), join_all(joins.collect::<Vec<_>>()));
    assert_eq!(refused, Err(Unavailable));
    assert!(taken.iter().all(Result::is_ok));
    assert_eq!(node.members(&lobby, false).await, Ok(counts(1000, 1)));
    server.command(&["DEL", "gw:{spoilt}:here"]);
    until_members(&node, &spoilt, &Ok(members(&[("alice", 1)]))).await;
}

#[tokio::test]
async fn a_full_redis_still_takes_presence_and_leases() {
    let server = RedisServer::start();
    let (node, metrics) = redis_node(&server, "n1.a", &config());
    let lobby = channel("lobby");
    node.join(&lobby, entry("c1", "alice")).await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(server.command(&["SET", "anything", "else"]).starts_with("-OOM"));
    assert_eq!(node.join(&lobby, entry("c2", "bob")).await, Ok(()));
    server.command(&["DEL", "gw:lease:n1.a"]);
    let mut redis = commands(&server).await;
    until("the lease is taken again", async || redis.exists("gw:lease:n1.a").await.unwrap()).await;
    assert_eq!(node.members(&lobby, true).await, Ok(members(&[("alice", 1), ("bob", 1)])));
    assert_eq!(metrics.leases_lost.get(), 1);
}

#[tokio::test]
async fn a_node_stops_in_time_while_redis_is_away() {
    let mut server = RedisServer::start();
    let (node, _) = redis_node(&server, "n1.a", &config());
    node.join(&channel("lobby"), entry("c1", "alice")).await.unwrap();
    server.kill();
    assert!(timeout(Duration::from_secs(5), node.stop()).await.is_ok());
}

#[tokio::test]
async fn a_connection_killed_under_load_loses_and_doubles_nothing() {
    let server = RedisServer::start();
    let (node, _) = redis_node(&server, "n1.a", &config());
    let lobby = channel("lobby");
    node.join(&lobby, entry("c", "first")).await.unwrap();
    for round in 0..10 {
        let first = round * 1000;
        for n in first..first + 1000 {
            drop(node.join(&lobby, entry(&format!("c{n}"), &format!("u{}", n % 50))));
        }
        server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        for n in (first..first + 1000).filter(|n| n % 10 != 0) {
            node.leave(&lobby, &text(&format!("c{n}")), Cause::Left);
        }
    }
    until_members(&node, &lobby, &Ok(counts(1001, 6))).await;
    assert_eq!(node.members(&lobby, true).await.unwrap().list.unwrap().len(), 6);
}

#[tokio::test]
async fn a_join_that_arrives_after_its_leave_is_not_done() {
    let server = RedisServer::start();
    let mut told = Told::by(&server).await;
    let road = support::road::Road::to(server.port()).await;
    let (node, _) = support::node_at(&road.url(), "n1.a", &config());
    let lobby = channel("lobby");
    node.join(&lobby, entry("c1", "alice")).await.unwrap();
    told.expect_join("alice").await;
    // The join is on its way when the connection breaks...
    let held = road.hold();
    let joining = node.join(&lobby, entry("c2", "bob"));
    held.until_holds("EVALSHA").await;
    held.cut();
    assert_eq!(joining.await, Err(Unavailable));
    // ...so it is sent again over the next one, and its leave follows.
    told.expect_join("bob").await;
    node.leave(&lobby, &text("c2"), Cause::Left);
    told.expect_leave("bob", Cause::Left).await;
    held.let_go().await;
    assert_eq!(node.members(&lobby, true).await, Ok(members(&[("alice", 1)])));
}
