//! What revocations and sessions do when Redis, or the way to it, fails.

#![allow(clippy::unwrap_used, reason = "a test may end where its expectation does")]

mod support;

use link::testing::RedisServer;
use support::{Fixture, in_an_hour, token, until, user};
use users::{RevokeError, Rule};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocations_survive_every_node() {
    let f = Fixture::in_redis();
    let one = f.listener(100).await;
    one.revoke(token("t1")).await.unwrap();
    drop(one);
    assert!(f.listener(100).await.refuses("ann", Some("t1"), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_was_emptied_is_given_back_what_nodes_know_and_nobody_forgets() {
    let mut f = Fixture::in_redis();
    let one = f.listener(1).await;
    one.revoke(user("ann")).await.unwrap();
    f.redis().command(&["FLUSHALL"]);
    until("it is written again", async || one.metrics.revocations_restored.get() == 1).await;
    assert!(one.refuses("ann", None, Some(9)));
    assert_eq!(one.revoke(token("t1")).await, Err(RevokeError::Full(1)), "it counts as before");
    assert!(f.listener(1).await.refuses("ann", None, Some(9)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_came_back_empty_is_too_and_an_outage_refuses_what_it_cannot_keep() {
    let mut f = Fixture::in_redis();
    let (one, two) = (f.listener(100).await, f.listener(100).await);
    one.revoke(token("t1")).await.unwrap();
    two.comes_to_refuse("ann", Some("t1")).await;
    f.redis().kill();
    until("it is known that Redis is away", async || one.revoke(token("t2")).await == Err(RevokeError::Unavailable))
        .await;
    assert!(two.refuses("ann", Some("t1"), None), "what is known is known");
    assert!(f.redis().start_again());
    until("it can be revoked again", async || one.revoke(token("t3")).await.is_ok()).await;
    until("Redis has both", async || f.redis_has("gw:revoked", 2)).await;
    two.comes_to_refuse("ann", Some("t3")).await;
    let three = f.listener(100).await;
    assert!(three.refuses("ann", Some("t1"), None) && !three.refuses("ann", Some("t2"), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_that_was_evicted_is_written_again() {
    let mut f = Fixture::in_redis();
    let one = f.listener(100).await;
    one.revoke(token("t1")).await.unwrap();
    // With the key, its order is of no use; the epoch tells nothing.
    f.redis().command(&["DEL", "gw:revoked", "gw:revoked:order", "gw:revoked:ends"]);
    f.redis().command(&["CLIENT", "KILL", "TYPE", "normal"]);
    until("it is written again", async || f.redis_has("gw:revoked", 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_fit_one_page_are_read_and_nothing_is_left_behind_in_redis() {
    let mut f = Fixture::in_redis();
    let (one, two) = (f.listener(10_000).await, f.listener(10_000).await);
    let until_ms = in_an_hour();
    let revoking = (0..2500).map(|n| one.revoke_until(token(&format!("t{n}")), until_ms));
    futures_util::future::try_join_all(revoking).await.unwrap();
    until("all are known", async || two.revocations.list(0).1 == 2500).await;
    assert_eq!(f.listener(1).await.revocations.list(0).1, 2500, "by whoever starts, too");
    for key in ["gw:revoked", "gw:revoked:order", "gw:revoked:ends", "gw:revoked:meta"] {
        let left_ms: i64 = f.redis().command(&["PTTL", key])[1..].parse().unwrap();
        assert!((3_500_000..3_700_000).contains(&left_ms), "{key}: {left_ms}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_redis_has_forgotten_are_loaded_again() {
    let mut f = Fixture::in_redis();
    let (one, node) = (f.listener(100).await, f.node("n1.a", Rule::Limit(1)));
    assert!(node.is_granted("ann", 1).await);
    f.redis().command(&["SCRIPT", "FLUSH"]);
    one.revoke(token("t1")).await.unwrap();
    assert!(node.is_granted("bob", 2).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_are_taken_again_in_a_redis_that_came_back_empty() {
    let mut f = Fixture::in_redis();
    let (mut one, mut two) = (f.node("n1.a", Rule::Limit(1)), f.node("n2.a", Rule::Limit(1)));
    assert!(one.is_granted("ann", 1).await);
    f.redis().command(&["FLUSHALL"]);
    until("it is there again", async || f.redis_has("gw:user:ann", 1)).await;
    assert!(!two.is_granted("ann", 2).await);
    f.redis().kill();
    assert!(two.sessions.claim(&"bob".into(), 3).await.is_err());
    assert!(f.redis().start_again());
    until("it is there again", async || f.redis_has("gw:user:ann", 1)).await;
    assert!(!two.is_granted("ann", 4).await);
    assert!(one.has_lost_nothing() && two.has_lost_nothing());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_back_during_an_outage_is_free_after_it() {
    let mut f = Fixture::Redis(RedisServer::start_durable());
    let (one, two) = (f.node("n1.a", Rule::Limit(1)), f.node("n2.a", Rule::Limit(1)));
    assert!(one.is_granted("ann", 1).await);
    f.redis().kill();
    one.sessions.release(&"ann".into(), 1);
    assert!(f.redis().start_again());
    two.comes_in("ann", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_taken_for_dead_finds_out_what_it_has_lost() {
    let mut f = Fixture::in_redis();
    let (mut one, mut two) = (f.node("n1.a", Rule::Limit(1)), f.node("n2.a", Rule::Limit(1)));
    assert!(one.is_granted("ann", 1).await && one.is_granted("bob", 2).await);
    // As if it had stood still: its lease ends, and the others go on.
    f.redis().command(&["HSET", "gw:sessions", "n1.a", "1"]);
    let mut was_dead = two.is_granted("ann", 7).await;
    while !was_dead {
        f.redis().command(&["HSET", "gw:sessions", "n1.a", "1"]);
        was_dead = two.is_granted("ann", 7).await;
    }
    assert_eq!(one.loses().await, 1);
    assert!(!two.is_granted("bob", 8).await, "what nobody has taken is its own again");
    assert!(two.has_lost_nothing());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_users_who_are_gone_and_a_dead_node_s_news_end() {
    let mut f = Fixture::in_redis();
    let (one, two) = (f.node("n1.a", Rule::Newest), f.node("n2.a", Rule::Newest));
    assert!(one.is_granted("ann", 1).await);
    drop(one);
    assert!(two.is_granted("ann", 2).await);
    two.sessions.release(&"ann".into(), 2);
    until("the user is gone", async || f.redis().command(&["EXISTS", "gw:user:ann"]) == ":0").await;
    let left: i64 = f.redis().command(&["PTTL", "gw:node:n1.a:replaced"])[1..].parse().unwrap();
    assert!(left > 0 || left == -2, "{left}");
}

impl Fixture {
    fn redis_has(&mut self, hash: &str, count: usize) -> bool {
        self.redis().command(&["HLEN", hash]) == format!(":{count}")
    }
}
