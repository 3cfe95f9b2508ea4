//! How many, how fast, and who: what a connection, an address and a node may have, and what namespaces allow.

use e2e::{Backend, Cluster, on_both};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

fn subscribe(channel: &str) -> Value {
    json!({"type": "subscribe", "channel": channel})
}

fn publish(channel: &str, data: &str) -> Value {
    json!({"type": "publish", "channel": channel, "data": data})
}

async fn a_connection_has_only_so_many_subscriptions(backend: Backend) {
    let cluster = Cluster::of(1, backend).settings(&["limits.channels_per_connection=2"]).start().await;
    let mut client = cluster.client(0).await;
    client.subscribe("a").await;
    client.subscribe("b").await;
    let error = client.refused(subscribe("c"), "limit_exceeded").await;
    assert_eq!(error["temporary"], false);
    client.granted(json!({"type": "unsubscribe", "channel": "a"}), "unsubscribed").await;
    client.subscribe("c").await;
}

async fn whoever_is_too_fast_is_told_when_to_go_on(backend: Backend) {
    let cluster = Cluster::of(1, backend).settings(&["limits.messages=5/s burst 10"]).start().await;
    let mut client = cluster.client(0).await;
    let pings: Vec<_> = (0..11).map(|id| json!({"type": "ping", "id": id})).collect();
    client.send(&json!(pings)).await;
    for id in 0..10 {
        assert_eq!(client.reply_to(&json!(id)).await["type"], "pong", "the burst passes");
    }
    let error = client.reply_to(&json!(10)).await;
    assert_eq!((&error["code"], &error["temporary"]), (&json!("rate_limited"), &json!(true)));
    let wait_ms = error["retry_after_ms"].as_u64().expect("when to try again");
    assert!((1..=200).contains(&wait_ms), "{error}");
    sleep(Duration::from_millis(wait_ms)).await;
    client.granted(json!({"type": "ping"}), "pong").await;
}

async fn namespaces_say_who_may_do_what(backend: Backend) {
    let namespaces = r#"
        [[namespace]]
        pattern = "news"
        publish = "nobody"
        [[namespace]]
        pattern = "members:*"
        subscribe = "authenticated"
        publish = "authenticated"
        [[namespace]]
        pattern = "small"
        max_message = "10"
        presence = false
    "#;
    let plan = Cluster::of(1, backend).namespaces(namespaces).with_tokens().settings(&["auth.anonymous=true"]);
    let cluster = plan.start().await;
    let mut anyone = cluster.client(0).await;
    anyone.subscribe("news").await;
    anyone.refused(publish("news", "fake"), "permission_denied").await;
    for command in [
        subscribe("members:1"),
        publish("members:1", "hi"),
        json!({"type": "presence", "channel": "members:1"}),
        json!({"type": "history", "channel": "members:1"}),
    ] {
        // To be refused as a publisher is another rule than as a reader; here both ask for a token.
        anyone.refused(command, "permission_denied").await;
    }
    for command in [subscribe("elsewhere"), publish("elsewhere", "hi")] {
        anyone.refused(command, "unknown_channel").await;
    }
    anyone.granted(publish("small", "12345678"), "published").await;
    anyone.refused(publish("small", "123456789"), "too_large").await;
    anyone.refused(json!({"type": "presence", "channel": "small"}), "bad_request").await;
    let mut ann = cluster.user(0, "ann").await;
    ann.subscribe("members:1").await;
    ann.publish("members:1", json!("hi")).await;
    assert_eq!(ann.next_publication().await["from"]["user"], "ann");
}

/// Opens a connection once there is a place: one that has just ended gives its own back a moment later.
async fn finds_a_place(cluster: &Cluster, open: u32) {
    cluster.metric_becomes(0, "gateway_connections{dialect=\"json\"}", f64::from(open)).await;
    cluster.client(0).await.granted(json!({"type": "ping"}), "pong").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_says_when_to_come_back() {
    let cluster = Cluster::of(1, Backend::Memory).settings(&["limits.connections=2"]).start().await;
    let (first, mut second) = (cluster.client(0).await, cluster.client(0).await);
    for refused in [cluster.connect(0).refused().await, cluster.connect(0).as_page().refused().await] {
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!((1..=3).contains(&refused.retry_after_s()), "{refused:?}");
    }
    second.granted(json!({"type": "ping"}), "pong").await;
    first.close().await;
    finds_a_place(&cluster, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_only_so_many_connections() {
    let settings = ["limits.connections_per_address=2", "trusted_proxies=127.0.0.0/8"];
    let cluster = Cluster::of(1, Backend::Memory).settings(&settings).start().await;
    let from = |address: &str| cluster.connect(0).header("x-forwarded-for", address);
    let first = from("192.0.2.1").open().await;
    let mut second = from("192.0.2.1").open().await;
    let refused = from("192.0.2.1").refused().await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!((1..=3).contains(&refused.retry_after_s()), "{refused:?}");
    assert_eq!(from("192.0.2.1").as_page().open().await.expect_close().await, 4100);
    from("192.0.2.2").open().await.close().await;
    first.close().await;
    cluster.metric_becomes(0, "gateway_connections{dialect=\"json\"}", 1.0).await;
    from("192.0.2.1").open().await.close().await;
    second.granted(json!({"type": "ping"}), "pong").await;
}

on_both!(
    a_connection_has_only_so_many_subscriptions,
    whoever_is_too_fast_is_told_when_to_go_on,
    namespaces_say_who_may_do_what,
);
