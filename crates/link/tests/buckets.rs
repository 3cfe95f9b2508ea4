//! Buckets that all nodes share, in a real Redis.

use link::testing::RedisServer;
use link::{Buckets, Denied, Link, LinkConfig, LinkMetrics};
use prometheus::Registry;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

async fn node(server: &RedisServer) -> Buckets {
    let config = LinkConfig {
        url: server.url(),
        prefix: LinkConfig::DEFAULT_PREFIX.to_owned(),
        sentinel: None,
        tls: Default::default(),
    };
    let link = Link::new(&config, LinkMetrics::new(&Registry::new()).expect("metrics")).expect("a link");
    let buckets = Buckets::start(&link);
    let began = Instant::now();
    // Until the connection stands there is no answer.
    while buckets.take("probe", "x", Duration::from_micros(1), 1000).await.is_err() {
        assert!(began.elapsed() < MINUTE, "Redis is not reached");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    buckets
}

fn empty_for(taken: Result<(), Denied>) -> Duration {
    match taken {
        Err(Denied::Empty(wait)) => wait,
        other => panic!("it should have been empty: {other:?}"),
    }
}

#[tokio::test]
async fn nodes_share_a_bucket_for_each_user_that_ends_by_itself() {
    let server = RedisServer::start();
    let nodes = [node(&server).await, node(&server).await];
    for _ in 0..3 {
        assert_eq!(nodes[0].take("room:* typing", "ann", MINUTE, 3).await, Ok(()));
    }
    for node in &nodes {
        let wait = empty_for(node.take("room:* typing", "ann", MINUTE, 3).await);
        assert!((Duration::from_secs(50)..=MINUTE).contains(&wait), "{wait:?}");
    }
    assert_eq!(nodes[1].take("room:* typing", "bob", MINUTE, 3).await, Ok(()), "another user's");
    assert_eq!(nodes[1].take("room:*", " typing:ann", MINUTE, 3).await, Ok(()), "another rule's");
    let ttl_ms = server.command(&["PTTL", "gw:limit:13:room:* typing:ann"]);
    let ttl_ms: u64 = ttl_ms.trim_start_matches(':').parse().expect("a time to live");
    assert!((150_000..=180_000).contains(&ttl_ms), "{ttl_ms}");
}

#[tokio::test]
async fn after_the_time_that_was_named_there_is_one_again() {
    let server = RedisServer::start();
    let node = node(&server).await;
    let refill = Duration::from_millis(100);
    let mut taken = 0;
    let began = Instant::now();
    while taken < 5 {
        match node.take("quick", "ann", refill, 1).await {
            Ok(()) => taken += 1,
            denied => tokio::time::sleep(empty_for(denied)).await,
        }
    }
    assert!(began.elapsed() >= 4 * refill - Duration::from_millis(10), "five came in {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_who_ask_at_once_as_many_are_let_through_as_there_are() {
    let server = RedisServer::start();
    let node = std::sync::Arc::new(node(&server).await);
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let node = node.clone();
        asking.spawn(async move { node.take("storm", "ann", 60 * MINUTE, 100).await });
    }
    let taken = asking.join_all().await.into_iter().filter(Result::is_ok).count();
    assert_eq!(taken, 100);
}

#[tokio::test]
async fn a_redis_that_has_forgotten_the_script_is_given_it_again() {
    let server = RedisServer::start();
    let node = node(&server).await;
    server.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(node.take("what", "ann", MINUTE, 1).await, Ok(()));
    empty_for(node.take("what", "ann", MINUTE, 1).await);
}

#[tokio::test]
async fn without_an_answer_in_time_nothing_was_taken_for_certain() {
    let server = RedisServer::start();
    let node = node(&server).await;
    server.command(&["CLIENT", "PAUSE", "60000", "ALL"]);
    let began = Instant::now();
    assert_eq!(node.take("what", "ann", MINUTE, 1).await, Err(Denied::NoAnswer));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
