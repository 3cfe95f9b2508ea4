//! Clients that do not read: they cost what they may and no more, and nobody waits for them.

use e2e::frames::{self, TEXT};
use e2e::{Backend, Client, Cluster, End, RawSocket, on_both};
use serde_json::{Value, json};

const OUTBOX_BYTES: f64 = 64.0 * 1024.0;
/// A chunk that waits costs a little more than its bytes, and a close may follow it.
const OVERHEAD_BYTES: f64 = 1024.0;
const MESSAGES: u64 = 400;
const STEP: u64 = 4;

async fn cluster(backend: Backend) -> Cluster {
    let namespaces = "[[namespace]]\npattern = \"*\"\npresence = false\n";
    let settings = ["outbox.bytes=64KiB", "limits.messages=100000/s"];
    Cluster::of(2, backend).namespaces(namespaces).settings(&settings).start().await
}

/// Publishes 4 MB, a hundred times what may wait, never more of it at once than `reader` can leave waiting.
async fn publish_much(cluster: &Cluster, reader: &mut Client) {
    let mut writer = cluster.client(1).await;
    let padding = "x".repeat(10_000);
    for step in 0..MESSAGES / STEP {
        let numbers = step * STEP + 1..=(step + 1) * STEP;
        for number in numbers.clone() {
            writer.publish("chat", json!([number, padding])).await;
        }
        for number in numbers {
            let publication = reader.next_publication().await;
            assert_eq!((&publication["offset"], &publication["data"][0]), (&json!(number), &json!(number)));
        }
        if step % 10 == 0 {
            let waiting = cluster.metric(0, "gateway_outbox_bytes").await;
            assert!(waiting <= OUTBOX_BYTES + OVERHEAD_BYTES, "{waiting} bytes wait, and only for one client");
        }
    }
}

async fn whoever_does_not_read_is_closed_and_the_others_get_everything(backend: Backend) {
    let cluster = cluster(backend).await;
    let mut fast = cluster.client(0).await;
    fast.subscribe("chat").await;
    let mut slow = cluster.connect(0).receive_buffer(4096).open().await;
    slow.subscribe("chat").await;
    publish_much(&cluster, &mut fast).await;
    assert_eq!(cluster.metric(0, "gateway_slow_consumers_total{policy=\"close\"}").await, 1.0);
    assert_eq!(slow.expect_close().await, 4102);
    let mut reached = 0;
    while reached < MESSAGES {
        // What it did get is whole and in order.
        let Some(publication) = slow.kept() else { break };
        reached += 1;
        assert_eq!(publication["offset"], reached);
    }
    assert!((1..MESSAGES / 2).contains(&reached), "{reached} of {MESSAGES} had left for it");
    cluster.metric_becomes(0, "gateway_outbox_bytes", 0.0).await;
    fast.hears_nothing().await;
}

async fn whoever_never_reads_again_is_dropped_in_the_end(backend: Backend) {
    let cluster = cluster(backend).await;
    let mut fast = cluster.client(0).await;
    fast.subscribe("chat").await;
    let mut slow = cluster.connect(0).receive_buffer(4096).open().await;
    slow.subscribe("chat").await;
    publish_much(&cluster, &mut fast).await;
    cluster.metric_becomes(0, "gateway_connections{dialect=\"json\"}", 1.0).await;
    assert_eq!(cluster.metric(0, "gateway_outbox_bytes").await, 0.0);
    assert_eq!(cluster.metric(0, "gateway_subscriptions").await, 1.0);
    drop(slow);
}

async fn a_pause_that_the_outbox_can_bridge_costs_nothing(backend: Backend) {
    let cluster = cluster(backend).await;
    let mut pausing = cluster.connect(0).receive_buffer(4096).open().await;
    pausing.subscribe("chat").await;
    let mut writer = cluster.client(1).await;
    for round in 0..10 {
        for number in 1..=5 {
            writer.publish("chat", json!([round * 5 + number, "x".repeat(10_000)])).await;
        }
        for number in 1..=5 {
            assert_eq!(pausing.next_publication().await["offset"], round * 5 + number);
        }
    }
    pausing.hears_nothing().await;
    assert_eq!(cluster.metric(0, "gateway_slow_consumers_total{policy=\"close\"}").await, 0.0);
}

async fn whoever_asks_and_does_not_read_the_answers_is_closed_too(backend: Backend) {
    let cluster = cluster(backend).await;
    let mut bystander = cluster.client(0).await;
    bystander.subscribe("chat").await;
    let mut asker = RawSocket::upgraded_with(cluster.address(0), "/ws", Some(4096)).await;
    let ping = frames::whole(TEXT, br#"{"type":"ping","id":1}"#).repeat(1000);
    for _ in 0..50 {
        asker.send(&ping).await;
    }
    assert_eq!(asker.end().await, End::Closed(Some(4102)));
    bystander.publish("chat", json!("untouched")).await;
    assert_eq!(bystander.next_publication().await["data"], "untouched");
}

async fn what_was_missed_may_be_larger_than_what_may_wait(backend: Backend) {
    let cluster = cluster(backend).await;
    let mut writer = cluster.client(1).await;
    let mut epoch = Value::Null;
    for number in 1..=90 {
        epoch = writer.publish("chat", json!([number, "x".repeat(10_000)])).await["epoch"].take();
    }
    let mut reader = cluster.client(0).await;
    let subscribed = reader.recover("chat", &epoch, 0).await;
    assert_eq!(subscribed["recovered"], true);
    let mut offsets: Vec<_> = subscribed["publications"].as_array().expect("a part of it").iter().map(offset).collect();
    assert_eq!(subscribed["offset"], json!(offsets.len()), "the answer is where its part ends");
    while offsets.len() < 90 {
        offsets.push(offset(&reader.next_publication().await));
    }
    assert_eq!(offsets, (1..=90).collect::<Vec<_>>());
    writer.publish("chat", json!("live")).await;
    assert_eq!(offset(&reader.next_publication().await), 91);
    reader.hears_nothing().await;
}

fn offset(publication: &Value) -> u64 {
    publication["offset"].as_u64().unwrap_or_else(|| panic!("no offset in {publication}"))
}

async fn a_history_larger_than_what_may_wait_is_read_in_parts(backend: Backend) {
    let cluster = cluster(backend).await;
    let mut client = cluster.client(0).await;
    for number in 1..=90 {
        client.publish("chat", json!([number, "x".repeat(10_000)])).await;
    }
    let mut offsets = Vec::new();
    while offsets.last() != Some(&90) {
        let since = offsets.last().copied().unwrap_or(0);
        let answer = client.granted(json!({"type": "history", "channel": "chat", "since": since}), "history").await;
        let part: Vec<_> = answer["publications"].as_array().expect("a list").iter().map(offset).collect();
        assert!((1..90).contains(&part.len()), "{} of 90 in one answer", part.len());
        offsets.extend(part);
    }
    assert_eq!(offsets, (1..=90).collect::<Vec<_>>());
    client.hears_nothing().await;
}

on_both!(
    whoever_does_not_read_is_closed_and_the_others_get_everything,
    whoever_never_reads_again_is_dropped_in_the_end,
    a_pause_that_the_outbox_can_bridge_costs_nothing,
    whoever_asks_and_does_not_read_the_answers_is_closed_too,
    what_was_missed_may_be_larger_than_what_may_wait,
    a_history_larger_than_what_may_wait_is_read_in_parts,
);
