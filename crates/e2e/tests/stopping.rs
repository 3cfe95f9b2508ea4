//! A node that stops: its clients are told and sent elsewhere, nothing they have published is lost, and the other nodes
//! notice nothing.

use e2e::{Backend, Client, Cluster, RawSocket, on_both};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

async fn cluster(nodes: usize, backend: Backend) -> Cluster {
    cluster_with_window("1s", nodes, backend).await
}

async fn cluster_with_window(window: &str, nodes: usize, backend: Backend) -> Cluster {
    let window = format!("drain.window={window}");
    let settings = [&window, "presence.grace=500ms", "limits.messages=100000/s"];
    Cluster::of(nodes, backend).with_tokens().settings(&settings).start().await
}

/// What a client of a stopping node hears: that it will be closed, and when to come back; then the close.
async fn is_sent_away(client: &mut Client) {
    let reconnect = next_but_members(client).await;
    assert_eq!((&reconnect["type"], &reconnect["reason"]), (&json!("reconnect"), &json!("draining")));
    assert!(reconnect["after_ms"].as_u64().is_some_and(|ms| ms <= 1000), "{reconnect}");
    assert_eq!(client.expect_close().await, 4200);
}

async fn next_but_members(client: &mut Client) -> Value {
    loop {
        let push = client.next().await;
        if push["type"] != "join" && push["type"] != "leave" {
            return push;
        }
    }
}

async fn its_clients_are_told_and_closed_over_the_window_and_the_others_notice_nothing(backend: Backend) {
    let mut cluster = cluster_with_window("2s", 3, backend).await;
    let mut leaving = Vec::new();
    for number in 0..40 {
        let mut client = cluster.user(0, &format!("leaving{number}")).await;
        client.subscribe("left").await;
        leaving.push(client);
    }
    let mut staying = [cluster.user(1, "ann").await, cluster.user(2, "bob").await];
    for client in &mut staying {
        client.subscribe("stayed").await;
    }
    let mut raw = cluster.connect_raw(0, "left").token(&e2e::tokens::of("raw")).open_bare().await;
    let began = Instant::now();
    let stopping = tokio::spawn(cluster.stopping(0));
    let raw_closing = tokio::spawn(async move { raw.expect_close().await });
    let closing: Vec<_> = leaving
        .into_iter()
        .map(|mut client| {
            tokio::spawn(async move {
                is_sent_away(&mut client).await;
                began.elapsed()
            })
        })
        .collect();
    let [ann, bob] = &mut staying;
    while !stopping.is_finished() {
        ann.publish("stayed", json!("as ever")).await;
        assert_eq!(bob.next_publication().await["data"], "as ever");
        assert_eq!(ann.next_publication().await["data"], "as ever");
        sleep(Duration::from_millis(20)).await;
    }
    ann.hears_nothing().await;
    bob.hears_nothing().await;
    let mut closed_after = Vec::new();
    for task in closing {
        closed_after.push(task.await.expect("a client that was told"));
    }
    assert_eq!(raw_closing.await.expect("a raw client that was told"), 4200);
    stopping.await.expect("a stop");
    closed_after.sort();
    let spread = closed_after[39] - closed_after[0];
    assert!(spread >= Duration::from_millis(500), "all of them were closed within {spread:?}");
}

async fn it_takes_no_new_clients_and_says_so(backend: Backend) {
    // A worker without clients has nobody to wait for and ends at once.
    let settings = ["drain.window=1s", "presence.grace=500ms", "workers=1"];
    let mut cluster = Cluster::of(2, backend).with_tokens().settings(&settings).start().await;
    let mut last = cluster.user(0, "last").await;
    let mut half_open = RawSocket::connect(cluster.address(0)).await;
    half_open.send(b"GET /ws HTTP/1.1\r\n").await;
    let stopping = tokio::spawn(cluster.stopping(0));
    assert_eq!(last.next().await["type"], "reconnect");
    let readiness = cluster.admin(0, "/readyz").await;
    assert_eq!(readiness.status, 503);
    assert!(readiness.body.contains("draining"), "{readiness:?}");
    assert_eq!(cluster.admin(0, "/healthz").await.status, 200, "it lives until it has ended");
    let handshake = e2e::handshake(cluster.address(0), "/ws");
    half_open.send(handshake.split_once("\r\n").expect("a first line").1.as_bytes()).await;
    let answer = half_open.answer().await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!((1..=3).contains(&answer.retry_after_s()), "{answer:?}");
    assert_eq!(last.expect_close().await, 4200);
    stopping.await.expect("a stop");
    let refused = RawSocket::try_connect(cluster.address(0)).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    cluster.user(1, "last").await.hears_nothing().await;
}

async fn its_clients_are_served_until_they_are_closed(backend: Backend) {
    let mut cluster = cluster(2, backend).await;
    let mut reader = cluster.user(1, "reader").await;
    reader.subscribe("chat").await;
    let mut leaving = cluster.user(0, "leaving").await;
    leaving.subscribe("chat").await;
    let stopping = tokio::spawn(cluster.stopping(0));
    assert_eq!(leaving.next().await["type"], "reconnect");
    leaving.publish("chat", json!("one more")).await;
    assert_eq!(leaving.next_publication().await["data"], "one more");
    assert_eq!(reader.next_publication().await["data"], "one more");
    assert_eq!(leaving.expect_close().await, 4200);
    stopping.await.expect("a stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_published_when_it_stops_is_answered_first() {
    let mut cluster = cluster(2, Backend::Redis).await;
    let mut reader = cluster.user(1, "reader").await;
    reader.subscribe("chat").await;
    let mut writers = Vec::new();
    for number in 0..5 {
        writers.push(cluster.user(0, &format!("writer{number}")).await);
    }
    assert_eq!(cluster.redis().command(&["CLIENT", "PAUSE", "700", "WRITE"]), "+OK");
    for writer in &mut writers {
        writer.send(&json!({"type": "publish", "id": 1, "channel": "chat", "data": "under way"})).await;
        writer.granted(json!({"type": "ping"}), "pong").await;
    }
    let stopping = tokio::spawn(cluster.stopping(0));
    for writer in &mut writers {
        assert_eq!(writer.reply_to(&json!(1)).await["type"], "published");
        assert_eq!(writer.expect_close().await, 4200);
    }
    stopping.await.expect("a stop");
    assert_eq!(reader.next_data(5).await, vec!["under way"; 5]);
}

async fn whoever_follows_its_advice_misses_nothing(backend: Backend) {
    let mut cluster = cluster(3, backend).await;
    let mut reader = cluster.user(0, "reader").await;
    let epoch = reader.subscribe("chat").await["epoch"].take();
    let enough = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn(publish_until(cluster.user(2, "writer").await, enough.clone()));
    let mut reached = 0;
    // A rolling restart would go on so from node to node; the writer's own is the last.
    for node in 0..2 {
        let stopping = tokio::spawn(cluster.stopping(node));
        while read_one(&mut reader, &mut reached).await {}
        reader = cluster.user(node + 1, "reader").await;
        let subscribed = reader.recover("chat", &epoch, reached).await;
        assert_eq!(subscribed["recovered"], true, "{subscribed}");
        for publication in subscribed["publications"].as_array().expect("publications") {
            reached += 1;
            assert_eq!(publication["offset"], reached);
        }
        stopping.await.expect("a stop");
    }
    enough.store(true, Ordering::Relaxed);
    let published = writing.await.expect("a writer that was answered");
    while reached < published {
        assert!(read_one(&mut reader, &mut reached).await);
    }
    reader.hears_nothing().await;
}

/// Reads one push; false once the node has closed the connection.
async fn read_one(reader: &mut Client, reached: &mut u64) -> bool {
    let Some(push) = reader.next_or_close().await else { return false };
    if push["type"] == "publication" {
        *reached += 1;
        assert_eq!(push["offset"], *reached);
    }
    true
}

async fn publish_until(mut writer: Client, enough: Arc<AtomicBool>) -> u64 {
    let mut published = 0;
    while !enough.load(Ordering::Relaxed) {
        published += 1;
        assert_eq!(writer.publish("chat", json!(published)).await["offset"], published);
    }
    published
}

async fn a_restart_makes_no_presence_noise(backend: Backend) {
    let settings = ["drain.window=250ms", "presence.grace=2s"];
    let mut cluster = Cluster::of(2, backend).with_tokens().settings(&settings).start().await;
    let mut watcher = cluster.user(1, "watcher").await;
    watcher.subscribe("chat").await;
    let mut ann = cluster.user(0, "ann").await;
    ann.subscribe("chat").await;
    assert_eq!(watcher.next().await["type"], "join");
    let stopping = tokio::spawn(cluster.stopping(0));
    assert_eq!(ann.next().await["type"], "reconnect");
    assert_eq!(ann.expect_close().await, 4200);
    let mut ann = cluster.user(1, "ann").await;
    ann.subscribe("chat").await;
    stopping.await.expect("a stop");
    watcher.hears_nothing().await;
    let presence = watcher.presence("chat").await;
    assert_eq!((&presence["clients"], &presence["users"]), (&json!(2), &json!(2)));
}

on_both!(
    its_clients_are_told_and_closed_over_the_window_and_the_others_notice_nothing,
    it_takes_no_new_clients_and_says_so,
    its_clients_are_served_until_they_are_closed,
    whoever_follows_its_advice_misses_nothing,
    a_restart_makes_no_presence_noise,
);
