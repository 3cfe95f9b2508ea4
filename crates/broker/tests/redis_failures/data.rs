//! Redis answers, but its data is gone, older, or may not be written.

use crate::support::{channel, kept, offset, passing, redis_node, retained, text_of};
use crate::{Publisher, in_order};
use broker::{Delivery, Health, PublishError};
use link::testing::RedisServer;
use protocol::{Channel, Position};

fn new_epoch(delivery: Delivery, of: &Channel, old: &Position) -> Position {
    match delivery {
        Delivery::Gap { channel, range: None, position: Some(position) } if channel == *of => {
            assert_ne!(position.epoch, old.epoch);
            position
        }
        other => panic!("a gap should have been told, but: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_without_data_is_one_new_epoch_for_all_and_one_gap_for_each() {
    let mut server = RedisServer::start();
    let nodes = [redis_node(&server, "n1.a").await, redis_node(&server, "n2.a").await];
    let channels = [channel("a"), channel("b")];
    let mut old = Vec::new();
    for channel in &channels {
        for node in &nodes {
            old.push(node.open(channel).await.expect("a position"));
        }
    }
    for channel in &channels {
        nodes[0].say(channel, "1").await;
        nodes[0].say(channel, "2").await;
    }
    for node in &nodes {
        node.inbox.texts(4).await;
    }
    server.kill();
    server.start_again();
    let mut told = Vec::new();
    for node in &nodes {
        let mut positions = Vec::new();
        for _ in &channels {
            let gap = node.inbox.next().await;
            let of = channels.iter().find(|c| matches!(&gap, Delivery::Gap { channel, .. } if channel == *c));
            let of = of.expect("a gap");
            positions.push((of.clone(), new_epoch(gap, of, &old[0])));
        }
        positions.sort_by_key(|(channel, _)| channel.clone());
        told.push(positions);
    }
    assert_eq!(told[0], told[1]);
    for node in &nodes {
        node.until_ready(true).await;
    }
    for (channel, position) in &told[0] {
        assert_eq!(position.offset, 0);
        let published = nodes[1].publish(kept(channel, "new")).await.expect("published").expect("a position");
        assert_eq!(published, Position { offset: 1, ..position.clone() });
        for node in &nodes {
            assert_eq!(node.inbox.texts(1).await, [(Some(1), "new".to_owned())]);
        }
    }
    for node in &nodes {
        assert_eq!(node.inbox.so_far(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_into_the_new_epoch_before_anyone_has_noticed_is_delivered_after_the_gap() {
    let mut server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channel = channel("c");
    let old = node.open(&channel).await.expect("a position");
    node.say(&channel, "old").await;
    node.inbox.texts(1).await;
    server.kill();
    node.until_ready(false).await;
    let publisher = Publisher::start(&node.broker, &channel, "x");
    server.start_again();
    publisher.goes_on(20).await;
    let expected = in_order(publisher.stop().await);
    assert_eq!(new_epoch(node.inbox.next().await, &channel, &old).offset, 0);
    assert_eq!(node.inbox.texts(expected.len()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_dataset_ends_the_epoch_for_all_with_one_gap() {
    let mut server = RedisServer::start();
    let nodes = [redis_node(&server, "n1.a").await, redis_node(&server, "n2.a").await];
    let channel = channel("c");
    let mut old = None;
    for node in &nodes {
        old = node.open(&channel).await;
    }
    for i in 1..=5 {
        nodes[0].say(&channel, &i.to_string()).await;
    }
    assert_eq!(server.command(&["SAVE"]), "+OK");
    for i in 6..=8 {
        nodes[0].say(&channel, &i.to_string()).await;
    }
    for node in &nodes {
        node.inbox.texts(8).await;
    }
    server.kill();
    server.start_again();
    let mut gaps = Vec::new();
    for node in &nodes {
        gaps.push(new_epoch(node.inbox.next().await, &channel, old.as_ref().expect("a position")));
    }
    assert_eq!(gaps[0], gaps[1]);
    assert_eq!(gaps[0].offset, 5);
    for node in &nodes {
        node.until_ready(true).await;
    }
    let published = nodes[1].publish(kept(&channel, "another six")).await;
    assert_eq!(offset(&published), 6);
    for node in &nodes {
        assert_eq!(node.inbox.texts(1).await, [(Some(6), "another six".to_owned())]);
        assert_eq!(node.inbox.so_far(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reused_offset_is_never_taken_for_a_repeat() {
    let mut server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channel = channel("c");
    let old = node.open(&channel).await.expect("a position");
    node.say(&channel, "1").await;
    server.command(&["SAVE"]);
    node.say(&channel, "2").await;
    node.inbox.texts(2).await;
    server.kill();
    // On a copy of the older dataset somebody else publishes as many: the same epoch, the same offsets, another past.
    let directory = server.directory().to_str().expect("a path").to_owned();
    let mut copy = RedisServer::start_with(&["--save", "", "--appendonly", "no", "--dir", &directory]);
    redis_node(&copy, "n9.a").await.say(&channel, "another two").await;
    assert_eq!(copy.command(&["SAVE"]), "+OK");
    copy.kill();
    server.start_again();
    assert_eq!(new_epoch(node.inbox.next().await, &channel, &old).offset, 2);
    node.until_ready(true).await;
    node.say(&channel, "3").await;
    assert_eq!(node.inbox.texts(1).await, [(Some(3), "3".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_only_what_is_kept_is_refused() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let (old, new) = (channel("old"), channel("new"));
    node.open(&old).await;
    node.say(&old, "1").await;
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "1"]), "+OK");
    let outcomes = node.broker.publish(vec![kept(&old, "2"), passing(&old, "passing"), kept(&new, "3")]).await;
    let refused = Err(PublishError::Unavailable);
    assert_eq!(outcomes, [refused.clone(), Ok(None), refused]);
    let Health::Refusing(reason) = node.broker.health() else { panic!("it should refuse") };
    assert!(reason.contains("OOM"), "{reason}");
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "0"]), "+OK");
    assert_eq!((node.say(&old, "2").await, node.say(&new, "1").await), (2, 1));
    assert_eq!(node.broker.health(), Health::Ready);
    let expected = [(Some(1), "1"), (None, "passing"), (Some(2), "2")].map(|(o, t)| (o, t.to_owned()));
    assert_eq!(node.inbox.texts(3).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_publishes_nothing_tells_of_a_full_redis_and_of_its_end() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "1"]), "+OK");
    node.until_ready(false).await;
    let Health::Refusing(reason) = node.broker.health() else { panic!("it should refuse") };
    assert!(reason.contains("memory is full"), "{reason}");
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "0"]), "+OK");
    node.until_ready(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_replica_refuses_until_it_is_primary() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channel = channel("c");
    node.open(&channel).await;
    node.say(&channel, "1").await;
    // It never finds this primary, and keeps its data.
    assert_eq!(server.command(&["REPLICAOF", "127.0.0.1", "1"]), "+OK");
    assert_eq!(node.publish(kept(&channel, "2")).await, Err(PublishError::Unavailable));
    assert_eq!(server.command(&["REPLICAOF", "NO", "ONE"]), "+OK");
    let position = super::publish_until_acknowledged(&*node.broker, &channel, "2").await;
    assert_eq!(position.offset, 2);
    let expected = [(1, "1"), (2, "2")].map(|(o, t)| (Some(o), t.to_owned()));
    assert_eq!(node.inbox.texts(2).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_dataset_brings_its_older_state_and_both_go_on_in_the_new_epoch() {
    let mut server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channel = channel("c");
    let old = node.open(&channel).await.expect("a position");
    node.publish(retained(&channel, "a", "old")).await.expect("published");
    node.publish(retained(&channel, "b", "old")).await.expect("published");
    assert_eq!(server.command(&["SAVE"]), "+OK");
    node.publish(retained(&channel, "a", "lost")).await.expect("published");
    node.inbox.texts(3).await;
    server.kill();
    server.start_again();
    let began = new_epoch(node.inbox.next().await, &channel, &old);
    node.until_ready(true).await;
    let page = node.broker.state(&channel).await.expect("a state");
    assert_eq!((page.top, page.publications.iter().map(text_of).collect::<Vec<_>>()), (began, vec!["old".into(); 2]));
    assert_eq!(offset(&node.publish(retained(&channel, "a", "new")).await), 3);
    let page = node.broker.state(&channel).await.expect("a state");
    assert_eq!(page.publications.iter().map(text_of).collect::<Vec<_>>(), ["old", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_nothing_is_retained_and_nothing_is_half_done() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channel = channel("c");
    node.publish(retained(&channel, "a", "1")).await.expect("published");
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "1"]), "+OK");
    assert_eq!(node.publish(retained(&channel, "a", "2")).await, Err(PublishError::Unavailable));
    let page = node.broker.state(&channel).await.expect("a state can be read");
    assert_eq!(page.publications.iter().map(text_of).collect::<Vec<_>>(), ["1"]);
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "0"]), "+OK");
    assert_eq!(offset(&node.publish(retained(&channel, "a", "2")).await), 2);
}
