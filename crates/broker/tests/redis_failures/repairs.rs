//! Envelopes that do not arrive, one at a time and in numbers.

use crate::support::{RETENTION, channel, kept, publication, redis_node, start_node, until};
use broker::redis::BrokerConfig;
use broker::{Delivery, Publish, Retention};
use link::testing::RedisServer;
use protocol::Channel;
use protocol::envelope::encode_record;
use std::time::Duration;

/// Publications that are in the log, and whose envelopes never were on the topic.
async fn log_in_silence(server: &RedisServer, channel: &Channel, offsets: std::ops::RangeInclusive<u64>) {
    let client = redis::Client::open(server.url()).expect("a client");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let mut pipe = redis::pipe();
    let last = *offsets.end();
    let mut stamp = 0;
    for offset in offsets {
        let publication = publication(&offset.to_string());
        stamp = publication.stamp;
        let record = encode_record(&publication);
        pipe.cmd("XADD").arg(format!("gw:{{{channel}}}:log")).arg(format!("{offset}-0")).arg("r").arg(&record[..]);
    }
    pipe.cmd("HSET").arg(format!("gw:{{{channel}}}:meta")).arg("o").arg(last).arg("s").arg(&stamp.to_be_bytes());
    pipe.exec_async(&mut connection).await.expect("logged");
}

fn numbered(offsets: std::ops::RangeInclusive<u64>) -> Vec<(Option<u64>, String)> {
    offsets.map(|offset| (Some(offset), offset.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_skipped_offset_gives_away_is_read_and_delivered_in_its_place() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channel = channel("c");
    node.open(&channel).await;
    node.say(&channel, "1").await;
    log_in_silence(&server, &channel, 2..=4).await;
    assert_eq!(node.say(&channel, "5").await, 5);
    assert_eq!(node.inbox.texts(5).await, numbered(1..=5));
    assert_eq!(node.metric("broker_gaps_total"), 0);
    assert_eq!(node.metric("broker_repairs_total"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_one_reading_brings_is_read_in_parts_while_more_is_published() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channel = channel("c");
    node.open(&channel).await;
    node.say(&channel, "1").await;
    log_in_silence(&server, &channel, 2..=1000).await;
    for i in 1001..=1200 {
        node.say(&channel, &i.to_string()).await;
    }
    assert_eq!(node.inbox.texts(1200).await, numbered(1..=1200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_was_quiet_before_the_connection_was_lost_is_compared_too() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channels: Vec<_> = (0..600).map(|i| channel(&format!("c{i}"))).collect();
    for channel in &channels {
        node.broker.subscribe(channel, true);
    }
    for _ in &channels {
        assert!(matches!(node.inbox.next().await, Delivery::Opened { .. }));
    }
    for channel in &channels[..40] {
        log_in_silence(&server, channel, 1..=3).await;
    }
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let mut delivered = std::collections::HashMap::new();
    for _ in 0..40 {
        match node.inbox.next().await {
            Delivery::Publications { channel, publications, .. } => delivered.insert(channel, publications.len()),
            other => panic!("unexpected: {other:?}"),
        };
    }
    assert!(channels[..40].iter().all(|channel| delivered.get(channel) == Some(&3)));
    node.until_ready(true).await;
    node.say(&channels[500], "1").await;
    assert_eq!(node.inbox.texts(1).await, numbered(1..=1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_no_longer_holds_is_one_gap_and_the_rest_follows() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channel = channel("c");
    let begin = node.open(&channel).await.expect("a position");
    node.say(&channel, "1").await;
    assert_eq!(node.inbox.texts(1).await, numbered(1..=1));
    log_in_silence(&server, &channel, 2..=9).await;
    server.command(&["XTRIM", "gw:{c}:log", "MINID", "6-0"]);
    node.say(&channel, "10").await;
    let position = Some(protocol::Position { offset: 5, ..begin });
    assert_eq!(node.inbox.next().await, Delivery::Gap { channel: channel.clone(), range: Some((2, 5)), position });
    assert_eq!(node.inbox.texts(5).await, numbered(6..=10));
    assert_eq!(node.metric("broker_gaps_total"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_gone_is_one_gap_up_to_its_top() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channel = channel("c");
    let begin = node.open(&channel).await.expect("a position");
    log_in_silence(&server, &channel, 1..=9).await;
    server.command(&["DEL", "gw:{c}:log"]);
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let position = Some(protocol::Position { offset: 9, ..begin });
    assert_eq!(node.inbox.next().await, Delivery::Gap { channel: channel.clone(), range: Some((1, 9)), position });
    node.until_ready(true).await;
    node.say(&channel, "10").await;
    assert_eq!(node.inbox.texts(1).await, numbered(10..=10));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_read_is_a_gap_of_one() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channel = channel("c");
    let begin = node.open(&channel).await.expect("a position");
    log_in_silence(&server, &channel, 1..=2).await;
    server.command(&["XADD", "gw:{c}:log", "3-0", "r", "nonsense"]);
    log_in_silence(&server, &channel, 4..=4).await;
    node.say(&channel, "5").await;
    assert_eq!(node.inbox.texts(2).await, numbered(1..=2));
    let position = Some(protocol::Position { offset: 3, ..begin });
    assert_eq!(node.inbox.next().await, Delivery::Gap { channel: channel.clone(), range: Some((3, 3)), position });
    assert_eq!(node.inbox.texts(2).await, numbered(4..=5));
    assert_eq!(node.metric("broker_undecodable_total"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_that_cannot_be_read_is_looked_up_or_told_as_a_gap() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let (with, without) = (channel("with"), channel("without"));
    node.open(&with).await;
    node.broker.subscribe(&without, false);
    node.inbox.opened(&without).await;
    log_in_silence(&server, &with, 1..=2).await;
    assert_eq!(server.command(&["PUBLISH", "gw:{with}", "nonsense"]), ":1");
    assert_eq!(node.inbox.texts(2).await, numbered(1..=2));
    assert_eq!(server.command(&["PUBLISH", "gw:{without}", "nonsense"]), ":1");
    assert_eq!(node.inbox.next().await, Delivery::Gap { channel: without, range: None, position: None });
    assert_eq!(node.metric("broker_undecodable_total"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_cannot_be_read_does_not_take_others_with_it() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let (ill, well) = (channel("ill"), channel("well"));
    server.command(&["SET", "gw:{ill}:meta", "not a hash"]);
    node.broker.subscribe(&ill, true);
    node.open(&well).await;
    let begun = tokio::time::Instant::now();
    for i in 1..=200 {
        log_in_silence(&server, &well, 2 * i - 1..=2 * i - 1).await;
        node.say(&well, &(2 * i).to_string()).await;
        assert_eq!(node.inbox.texts(2).await, numbered(2 * i - 1..=2 * i));
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    server.command(&["DEL", "gw:{ill}:meta"]);
    assert_eq!(node.inbox.opened(&ill).await.expect("a position").offset, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_no_room_to_hold_anything_back_all_of_it_is_read() {
    let server = RedisServer::start();
    let config = BrokerConfig { held_bytes: 0, ..BrokerConfig::default() };
    let node = start_node(&server.url(), "gw:", "n1.a", &config);
    node.until_ready(true).await;
    let channel = channel("c");
    node.open(&channel).await;
    log_in_silence(&server, &channel, 1..=300).await;
    for i in 301..=400 {
        node.say(&channel, &i.to_string()).await;
    }
    assert_eq!(node.inbox.texts(400).await, numbered(1..=400));
    assert_ne!(node.metric("broker_held_overflows_total"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_misses_more_than_a_small_log_holds_is_told_each_loss_once() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channel = channel("c");
    node.open(&channel).await;
    let retention = Some(Retention { size: 10, ..RETENTION });
    let mut expected = 0;
    for round in 0..3 {
        assert_eq!(server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]), ":1");
        let batch = (0..900).map(|_| Publish { retention, ..kept(&channel, "x") }).collect();
        node.broker.publish(batch).await.into_iter().for_each(|outcome| drop(outcome.expect("published")));
        let top = (round + 1) * 900;
        while expected < top {
            match node.inbox.next().await {
                Delivery::Publications { publications, .. } => {
                    for publication in publications {
                        expected += 1;
                        assert_eq!(publication.offset, Some(expected));
                    }
                }
                Delivery::Gap { range: Some((first, last)), position: Some(position), .. } => {
                    assert_eq!((first, last), (expected + 1, position.offset));
                    expected = last;
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
        until(|| node.metric("broker_subscriber_reconnects_total") == round + 1).await;
        node.until_ready(true).await;
    }
}
