//! How fast may be published: by namespace and event, on a connection or on all nodes.

use super::reached;
use e2e::{Backend, Client, Cluster, on_both, tokens};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

const NAMESPACES: &str = r#"
    [[namespace]]
    pattern = "room:*"
    rate = "1/m burst 2"
    rates.typing = "10/s burst 1"
    [[namespace]]
    pattern = "shared:*"
    rate = "1/m burst 3"
    rate_scope = "cluster"
    [[namespace]]
    pattern = "*"
"#;

async fn cluster(nodes: usize, backend: Backend) -> Cluster {
    let plan = Cluster::of(nodes, backend).namespaces(NAMESPACES).with_tokens();
    plan.settings(&["auth.anonymous=true"]).start().await
}

fn publish(channel: &str, event: Option<&str>) -> Value {
    json!({"type": "publish", "channel": channel, "data": 1, "event": event})
}

async fn wait_ms(client: &mut Client, command: Value) -> u64 {
    let error = client.refused(command, "rate_limited").await;
    error["retry_after_ms"].as_u64().expect("when to try again")
}

async fn an_event_with_a_rate_of_its_own_takes_nothing_from_the_others(backend: Backend) {
    let cluster = cluster(1, backend).await;
    let mut client = cluster.client(0).await;
    client.granted(publish("room:1", Some("typing")), "published").await;
    let wait = wait_ms(&mut client, publish("room:1", Some("typing"))).await;
    assert!((1..=100).contains(&wait), "{wait}");
    client.granted(publish("room:1", None), "published").await;
    client.granted(publish("room:2", Some("message")), "published").await;
    assert!(wait_ms(&mut client, publish("room:1", None)).await > 10_000, "one bucket for all channels of a namespace");
    sleep(Duration::from_millis(wait)).await;
    client.granted(publish("room:1", Some("typing")), "published").await;
    client.granted(publish("elsewhere", None), "published").await;
    cluster.client(0).await.granted(publish("room:1", None), "published").await;
    assert_eq!(reached(&cluster, "namespace_rate").await, 2.0);
}

async fn a_raw_client_that_is_too_fast_is_closed(backend: Backend) {
    let cluster = cluster(1, backend).await;
    let mut raw = cluster.connect_raw(0, "room:1").open_bare().await;
    for _ in 0..3 {
        raw.send_text("x").await;
    }
    assert_eq!(raw.expect_close().await, 4101);
}

async fn what_a_user_may_publish_is_counted_on_all_nodes_together(backend: Backend) {
    let cluster = cluster(2, backend).await;
    let mut own = [cluster.user(0, "ann").await, cluster.user(1, "ann").await, cluster.user(1, "ann").await];
    for client in &mut own {
        client.granted(publish("shared:1", None), "published").await;
    }
    for client in &mut own {
        assert!(wait_ms(client, publish("shared:2", None)).await > 10_000);
    }
    cluster.user(1, "bob").await.granted(publish("shared:1", None), "published").await;
    let mut nobody = cluster.client(0).await;
    for _ in 0..3 {
        nobody.granted(publish("shared:1", None), "published").await;
    }
    wait_ms(&mut nobody, publish("shared:1", None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publications_in_one_breath_keep_their_order_while_redis_counts() {
    let namespaces = "[[namespace]]\npattern = \"*\"\nrate = \"1000/s\"\nrate_scope = \"cluster\"\n";
    let plan = Cluster::of(1, Backend::Redis).namespaces(namespaces).with_tokens();
    let cluster = plan.settings(&["limits.messages=10000/s"]).start().await;
    let mut client = cluster.user(0, "ann").await;
    client.subscribe("chat").await;
    let all: Vec<_> = (0..200).map(|n| json!({"type": "publish", "channel": "chat", "data": n})).collect();
    client.send(&json!(all)).await;
    assert_eq!(client.next_data(200).await, (0..200).map(|n| json!(n)).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_asked_only_where_it_is_declared() {
    let cluster = cluster(1, Backend::Redis).await;
    let mut ann = cluster.connect(0).token(&tokens::of("ann")).open().await;
    let asked = "gateway_redis_commands_total{lane=\"buckets\"}";
    ann.granted(publish("room:1", None), "published").await;
    assert_eq!(cluster.metric(0, asked).await, 0.0);
    ann.granted(publish("shared:1", None), "published").await;
    assert_eq!(cluster.metric(0, asked).await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_does_not_answer_nothing_is_published_that_it_has_to_count() {
    let plan = Cluster::of(1, Backend::Redis).namespaces(NAMESPACES).with_tokens();
    let cluster = plan.start().await;
    let mut ann = cluster.user(0, "ann").await;
    ann.granted(publish("shared:1", None), "published").await;
    cluster.redis().command(&["CLIENT", "PAUSE", "3000", "ALL"]);
    let began = std::time::Instant::now();
    ann.refused(publish("shared:1", None), "unavailable").await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

on_both!(
    an_event_with_a_rate_of_its_own_takes_nothing_from_the_others,
    a_raw_client_that_is_too_fast_is_closed,
    what_a_user_may_publish_is_counted_on_all_nodes_together,
);
