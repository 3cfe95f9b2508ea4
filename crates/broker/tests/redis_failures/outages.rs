//! Redis cannot be reached, or does not answer.

use crate::support::proxy::Proxy;
use crate::support::{channel, kept, passing, redis_node, start_node, until};
use crate::{Publisher, in_order};
use broker::redis::BrokerConfig;
use broker::{Delivery, Health, Publish, PublishError, Range, Unavailable};
use bytes::Bytes;
use futures_util::FutureExt;
use link::testing::RedisServer;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_known_to_be_down_everything_is_unavailable_at_once() {
    let mut server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channel = channel("c");
    server.kill();
    let deadline = Instant::now() + Duration::from_secs(1);
    let outcome = node.publish(Publish { deadline, ..kept(&channel, "before it is known") }).await;
    assert!(outcome.is_err() && Instant::now() < deadline + Duration::from_millis(200), "{outcome:?}");
    node.until_ready(false).await;
    let batch = vec![kept(&channel, "1"), passing(&channel, "2")];
    let outcomes = node.broker.publish(batch).now_or_never();
    assert_eq!(outcomes, Some(vec![Err(PublishError::Unavailable); 2]));
    assert_eq!(node.broker.direct("n1.a", Bytes::new()).await, Err(Unavailable));
    assert_eq!(node.broker.control(Bytes::new()).await, Err(Unavailable));
    let range = Range { since: None, limit: 1, reverse: false };
    assert_eq!(node.broker.history(&channel, range).await, Err(Unavailable));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_may_start_before_its_redis() {
    let mut server = RedisServer::start();
    server.kill();
    let node = start_node(&server.url(), "gw:", "n1.a", &BrokerConfig::default());
    let (with, without) = (channel("with"), channel("without"));
    node.broker.subscribe(&with, true);
    assert!(matches!(node.broker.health(), Health::NotReady(_)));
    server.start_again();
    node.until_ready(true).await;
    assert_eq!(node.inbox.opened(&with).await.expect("a position").offset, 0);
    node.broker.subscribe(&without, false);
    assert_eq!(node.inbox.opened(&without).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_data_loses_and_doubles_nothing() {
    let mut server = RedisServer::start_durable();
    let nodes = [redis_node(&server, "n1.a").await, redis_node(&server, "n2.a").await];
    let (busy, quiet) = (channel("busy"), channel("quiet"));
    for node in &nodes {
        node.open(&busy).await;
        node.open(&quiet).await;
    }
    let publishers = ["a", "b"].map(|name| Publisher::start(&nodes[0].broker, &busy, name));
    for _ in 0..3 {
        publishers[0].goes_on(20).await;
        server.kill();
        nodes[1].until_ready(false).await;
        assert!(server.start_again());
        publishers[1].goes_on(20).await;
    }
    let mut acknowledged = Vec::new();
    for publisher in publishers {
        acknowledged.extend(publisher.stop().await);
    }
    let expected = in_order(acknowledged);
    for node in &nodes {
        assert_eq!(node.inbox.texts(expected.len()).await, expected);
        node.until_ready(true).await;
    }
    nodes[1].say(&quiet, "still here").await;
    for node in &nodes {
        assert_eq!(node.inbox.texts(1).await, [(Some(1), "still here".to_owned())]);
        assert_eq!(node.inbox.so_far(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_subscriber_connections_lose_and_double_nothing() {
    let server = RedisServer::start();
    let nodes = [redis_node(&server, "n1.a").await, redis_node(&server, "n2.a").await];
    let channel = channel("c");
    for node in &nodes {
        node.open(&channel).await;
    }
    let publishers = nodes.each_ref().map(|node| Publisher::start(&node.broker, &channel, "x"));
    // Both publish the same texts under the same keys: each counts once.
    for round in 1..=5 {
        publishers[0].goes_on(100).await;
        assert_eq!(server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]), ":2");
        for node in &nodes {
            until(|| node.metric("broker_subscriber_reconnects_total") == round).await;
            node.until_ready(true).await;
        }
    }
    let mut acknowledged = Vec::new();
    for publisher in publishers {
        acknowledged.extend(publisher.stop().await);
    }
    let mut expected = in_order(acknowledged);
    expected.dedup();
    for node in &nodes {
        assert_eq!(node.inbox.texts(expected.len()).await, expected);
        assert_eq!(node.inbox.so_far(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_without_positions_are_told_that_something_may_be_missing() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channel = channel("c");
    node.broker.subscribe(&channel, false);
    node.inbox.opened(&channel).await;
    for _ in 0..3 {
        server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        let gap = Delivery::Gap { channel: channel.clone(), range: None, position: None };
        assert_eq!(node.inbox.next().await, gap);
        node.publish(passing(&channel, "on")).await.expect("published");
        assert_eq!(node.inbox.texts(1).await, [(None, "on".to_owned())]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_pauses_gets_answers_by_the_deadline_and_delivers_nothing_that_was_refused() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channel = channel("c");
    node.open(&channel).await;
    node.say(&channel, "before").await;
    server.command(&["CLIENT", "PAUSE", "3000", "ALL"]);
    let begun = Instant::now();
    let deadline = begun + Duration::from_millis(1000);
    let paused = |text| node.broker.publish(vec![Publish { deadline, ..kept(&channel, text) }]);
    let sent = tokio::spawn(paused("sent"));
    // The first one is out, so these wait behind it until their time is up.
    node.flight_begins(2).await;
    let queued = [tokio::spawn(paused("queued")), tokio::spawn(paused("queued too"))];
    assert_eq!(sent.await.expect("an answer"), [Err(PublishError::UnknownOutcome)]);
    for queued in queued {
        assert_eq!(queued.await.expect("an answer"), [Err(PublishError::Unavailable)]);
    }
    assert!(begun.elapsed() < Duration::from_millis(1500), "answers came after {:?}", begun.elapsed());
    sleep_until(begun + Duration::from_millis(3000)).await;
    node.until_ready(true).await;
    super::publish_until_acknowledged(&*node.broker, &channel, "after").await;
    let expected = [(1, "before"), (2, "after")].map(|(offset, text)| (Some(offset), text.to_owned()));
    assert_eq!(node.inbox.texts(2).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_is_found_and_left() {
    let server = RedisServer::start();
    let proxy = Proxy::start(&server).await;
    let (near, far) =
        (redis_node(&server, "n1.a").await, start_node(&proxy.url(), "gw:", "n2.a", &BrokerConfig::default()));
    far.until_ready(true).await;
    let channel = channel("c");
    far.open(&channel).await;
    let publisher = Publisher::start(&near.broker, &channel, "x");
    publisher.goes_on(10).await;
    proxy.swallow(true);
    let begun = Instant::now();
    let deadline = begun + Duration::from_millis(500);
    let outcome = far.publish(Publish { deadline, ..kept(&channel, "swallowed") }).await;
    assert_eq!(outcome, Err(PublishError::UnknownOutcome));
    assert!(begun.elapsed() < Duration::from_millis(800), "the answer came after {:?}", begun.elapsed());
    far.until_ready(false).await;
    assert!(begun.elapsed() < Duration::from_secs(6), "found only after {:?}", begun.elapsed());
    publisher.goes_on(10).await;
    proxy.swallow(false);
    far.until_ready(true).await;
    publisher.goes_on(10).await;
    let expected = in_order(publisher.stop().await);
    assert_eq!(far.inbox.texts(expected.len()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_redis_forgets_are_loaded_again_unnoticed() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let (a, b) = (channel("a"), channel("b"));
    node.open(&a).await;
    for i in 1..=3 {
        assert_eq!(server.command(&["SCRIPT", "FLUSH"]), "+OK");
        let batch = vec![kept(&a, "a"), kept(&b, "b"), passing(&a, "passing"), kept(&a, "a")];
        let outcomes = node.broker.publish(batch).await;
        let offsets: Vec<_> = outcomes.into_iter().map(|o| o.expect("published").map(|p| p.offset)).collect();
        assert_eq!(offsets, [Some(2 * i - 1), Some(i), None, Some(2 * i)]);
    }
    server.command(&["SCRIPT", "FLUSH"]);
    let range = Range { since: None, limit: 10, reverse: false };
    assert_eq!(node.broker.history(&b, range).await.expect("a page").publications.len(), 3);
    node.inbox.so_far();
    server.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(node.open(&b).await.expect("a position").offset, 3);
}
