//! What presence in Redis costs, and what it leaves there.

#![allow(clippy::unwrap_used, reason = "a test may end where its expectation does")]

mod support;

use futures_util::StreamExt;
use futures_util::future::join_all;
use link::testing::RedisServer;
use presence::{Entry, Presence, PresenceConfig};
use protocol::envelope::{Membership, encode_membership};
use protocol::{Cause, Member};
use redis::AsyncCommands;
use std::time::{Duration, Instant};
use support::{Told, calls, channel, commands, counts, entry, forget_calls, members, redis_node, text, until};

fn config() -> PresenceConfig {
    PresenceConfig { lease: Duration::from_millis(900), ..PresenceConfig::default() }
}

/// Long enough that a busy machine does not keep renewals apart for two thirds of it: then nobody is taken for dead.
fn config_to_reap() -> PresenceConfig {
    PresenceConfig { lease: Duration::from_secs(3), ..PresenceConfig::default() }
}

#[tokio::test]
async fn the_scripts_write_the_envelopes_that_protocol_writes() {
    let server = RedisServer::start();
    let (node, _) = redis_node(&server, "n1.a", &config());
    let client = redis::Client::open(server.url()).unwrap();
    let mut pubsub = client.get_async_pubsub().await.unwrap();
    pubsub.subscribe("gw:{lobby}").await.unwrap();
    let mut messages = pubsub.into_on_message();
    let lobby = channel("lobby");
    let long = "ö".repeat(40_000);
    for info in [None, Some(text("[1]")), Some(text(&format!("\"{long}\"")))] {
        for user in ["alice", "x", &long, &format!("x{long}")] {
            let alice = Entry { info: info.clone(), ..entry("c1", user) };
            node.join(&lobby, alice.clone()).await.unwrap();
            node.leave(&lobby, &alice.client, Cause::Left);
            for (left, clients) in [(None, 1), (Some(Cause::Left), 0)] {
                let member = Member { user: alice.user.clone(), clients, info: info.clone() };
                let expected = encode_membership(&Membership { member, client: alice.client.clone(), left });
                assert_eq!(messages.next().await.unwrap().get_payload_bytes(), expected);
            }
        }
    }
}

#[tokio::test]
async fn a_storm_of_joins_costs_few_writes() {
    let server = RedisServer::start();
    let (node, metrics) = redis_node(&server, "n1.a", &config());
    node.join(&channel("first"), entry("c0", "u0")).await.unwrap();
    let before = metrics.flushes.get();
    let joins = (0..5000).map(|n| node.join(&channel(&format!("c{}", n % 100)), entry(&format!("c{n}"), "alice")));
    let joins: Vec<_> = joins.collect();
    node.measure();
    assert_eq!(metrics.entries.get(), 5001);
    assert!(join_all(joins).await.iter().all(Result::is_ok));
    let flushes = metrics.flushes.get() - before;
    assert!((10..=12).contains(&flushes), "{flushes} writes");
    node.measure();
    assert_eq!(metrics.dirty.get(), 0);
    assert_eq!(metrics.flush_failures.get(), 0);
}

#[tokio::test]
async fn a_thousand_idle_connections_cost_renewals_of_one_lease() {
    let server = RedisServer::start();
    let (node, metrics) = redis_node(&server, "n1.a", &config());
    let joins = (0..1000).map(|n| node.join(&channel(&format!("c{n}")), entry(&format!("c{n}"), "alice")));
    let joins: Vec<_> = joins.collect();
    assert!(join_all(joins).await.iter().all(Result::is_ok));
    let mut redis = commands(&server).await;
    forget_calls(&mut redis).await;
    let mut seen = calls(&mut redis).await;
    until("the lease has been renewed five times", async || {
        seen = calls(&mut redis).await;
        seen.get("pexpire").is_some_and(|renewals| *renewals >= 5)
    })
    .await;
    // The lane's heartbeat asks for the time; the rest is this test's own.
    seen.retain(|name, _| !matches!(&**name, "time" | "info" | "config|resetstat"));
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [("pexpire".to_owned(), 5)]);
    assert!(node.lease_age().unwrap() < config().lease);
    node.measure();
    assert!(metrics.lease_age.get() < config().lease.as_secs_f64());
}

#[tokio::test]
async fn every_key_ends_by_itself() {
    let server = RedisServer::start();
    let (node, _) = redis_node(&server, "n1.a", &config());
    node.join(&channel("lobby"), entry("c1", "alice")).await.unwrap();
    let mut redis = commands(&server).await;
    let mut keys: Vec<String> = redis.keys("*").await.unwrap();
    keys.sort_unstable();
    let expected = ["gw:lease:n1.a", "gw:node:n1.a:here", "gw:nodes", "gw:{lobby}:here", "gw:{lobby}:users"];
    assert_eq!(keys, expected);
    let week_ms = 7 * 24 * 3600 * 1000;
    for key in keys {
        let ttl_ms: i64 = redis.pttl(&key).await.unwrap();
        let range = if key == "gw:lease:n1.a" { 1..=900 } else { week_ms - 60_000..=week_ms };
        assert!(range.contains(&ttl_ms), "{key} ends in {ttl_ms} ms");
    }
}

#[tokio::test]
async fn a_node_that_stops_leaves_nothing_in_redis() {
    let server = RedisServer::start();
    let (node, metrics) = redis_node(&server, "n1.a", &config());
    let joins = (0..1500).map(|n| node.join(&channel(&format!("c{}", n % 700)), entry(&format!("c{n}"), "alice")));
    let joins: Vec<_> = joins.collect();
    assert!(join_all(joins).await.iter().all(Result::is_ok));
    node.stop().await;
    let keys: Vec<String> = commands(&server).await.keys("*").await.unwrap();
    assert_eq!(keys, ["gw:nodes"; 0]);
    node.measure();
    assert_eq!(metrics.entries.get(), 0);
}

#[tokio::test]
async fn those_who_part_for_longer_than_a_stopping_node_stays_are_left_to_the_others_for_as_long() {
    let server = RedisServer::start();
    let mut told = Told::by(&server).await;
    let mut redis = commands(&server).await;
    let (node, _) = redis_node(&server, "n1.a", &config_to_reap());
    let (other, _) = redis_node(&server, "n2.a", &config_to_reap());
    let lobby = channel("lobby");
    for (client, user) in [("c1", "alice"), ("c2", "bob"), ("c3", "carl")] {
        node.join(&lobby, entry(client, user)).await.unwrap();
        told.expect_join(user).await;
    }
    let began = Instant::now();
    let away = Duration::from_secs(15);
    node.send_away(&lobby, &text("c1"), away);
    node.send_away(&lobby, &text("c2"), away);
    node.leave(&lobby, &text("c3"), Cause::Lost);
    node.stop().await;
    assert!(began.elapsed() < away, "it has stayed for {:?}", began.elapsed());
    drop(node);
    told.expect_leave("carl", Cause::Lost).await;
    other.join(&lobby, entry("c4", "alice")).await.unwrap();
    assert_eq!(other.members(&lobby, true).await, Ok(members(&[("alice", 2), ("bob", 1)])));
    told.expect_leave("bob", Cause::NodeLost).await;
    assert!(began.elapsed() >= away, "after {:?}", began.elapsed());
    support::until_members(&other, &lobby, &Ok(members(&[("alice", 1)]))).await;
    until("nothing of it is left", async || {
        let nodes: Vec<String> = redis.hkeys("gw:nodes").await.unwrap();
        nodes == ["n2.a"]
    })
    .await;
}

#[tokio::test]
async fn the_index_names_the_channels_in_which_the_node_has_entries() {
    let server = RedisServer::start();
    let (node, _) = redis_node(&server, "n1.a", &config());
    let mut redis = commands(&server).await;
    let (lobby, other) = (channel("lobby"), channel("other"));
    node.join(&lobby, entry("c1", "alice")).await.unwrap();
    node.join(&lobby, entry("c2", "bob")).await.unwrap();
    node.join(&other, entry("c1", "alice")).await.unwrap();
    let mut indexed: Vec<String> = redis.smembers("gw:node:n1.a:here").await.unwrap();
    indexed.sort_unstable();
    assert_eq!(indexed, ["lobby", "other"]);
    node.leave(&lobby, &text("c1"), Cause::Left);
    node.leave(&other, &text("c1"), Cause::Left);
    until("the other channel is off the index", async || {
        let indexed: Vec<String> = redis.smembers("gw:node:n1.a:here").await.unwrap();
        indexed == ["lobby"]
    })
    .await;
    node.join(&other, entry("c1", "alice")).await.unwrap();
    let is_back: bool = redis.sismember("gw:node:n1.a:here", "other").await.unwrap();
    assert!(is_back);
}

#[tokio::test]
async fn entries_of_a_dead_node_are_not_listed_when_its_lease_is_over_nor_counted_when_it_is_reaped() {
    let server = RedisServer::start();
    let (dying, _) = redis_node(&server, "n1.a", &config_to_reap());
    let (node, _) = redis_node(&server, "n2.a", &config_to_reap());
    let lobby = channel("lobby");
    dying.join(&lobby, entry("c1", "alice")).await.unwrap();
    dying.join(&lobby, entry("c2", "bob")).await.unwrap();
    node.join(&lobby, entry("c3", "bob")).await.unwrap();
    assert_eq!(node.members(&lobby, true).await, Ok(members(&[("alice", 1), ("bob", 2)])));
    drop(dying);
    support::until_members(&node, &lobby, &Ok(members(&[("bob", 1)]))).await;
    support::until_members(&node, &lobby, &Ok(counts(1, 1))).await;
}

#[tokio::test]
async fn a_dropped_node_ends_its_connections() {
    let server = RedisServer::start();
    let mut redis = commands(&server).await;
    let (node, _) = redis_node(&server, "n1.a", &config());
    node.join(&channel("lobby"), entry("c1", "alice")).await.unwrap();
    assert_eq!(node.members(&channel("lobby"), false).await, Ok(counts(1, 1)));
    drop(node);
    until("only the test is connected", async || {
        let clients: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut redis).await.unwrap();
        clients.lines().count() == 1
    })
    .await;
}

#[tokio::test]
async fn a_new_incarnation_does_not_revive_its_predecessor_but_reaps_it() {
    let server = RedisServer::start();
    let mut told = Told::by(&server).await;
    let lobby = channel("lobby");
    let (first, _) = redis_node(&server, "n1.a", &config_to_reap());
    first.join(&lobby, entry("c1", "alice")).await.unwrap();
    drop(first);
    let (second, _) = redis_node(&server, "n1.b", &config_to_reap());
    second.join(&lobby, entry("c2", "bob")).await.unwrap();
    support::until_members(&second, &lobby, &Ok(members(&[("bob", 1)]))).await;
    second.leave(&lobby, &text("c1"), Cause::Left);
    told.expect_join("alice").await;
    told.expect_join("bob").await;
    told.expect_leave("alice", Cause::NodeLost).await;
    let mut redis = commands(&server).await;
    until("only one incarnation is left", async || {
        let nodes: Vec<String> = redis.hkeys("gw:nodes").await.unwrap();
        nodes == ["n1.b"]
    })
    .await;
    assert_eq!(second.members(&lobby, false).await, Ok(counts(1, 1)));
}
