//! What one user may have, over all his connections of a node.

use super::reached;
use e2e::{Backend, Cluster, tokens};
use serde_json::json;

async fn cluster(settings: &[&str]) -> Cluster {
    let anonymous = ["auth.anonymous=true"];
    Cluster::of(1, Backend::Memory).with_tokens().settings(&anonymous).settings(settings).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_only_so_many_connections_however_he_shows_who_he_is() {
    let cluster = cluster(&["limits.connections_per_user=2"]).await;
    let first = cluster.user(0, "ann").await;
    let mut second = cluster.client(0).await;
    second.granted(json!({"type": "auth", "token": tokens::of("ann")}), "authed").await;
    second.granted(json!({"type": "auth", "token": tokens::of("ann")}), "authed").await;
    let token = tokens::of("ann");
    let refused = cluster.connect(0).token(&token).refused().await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!((1..=3).contains(&refused.retry_after_s()), "{refused:?}");
    assert_eq!(cluster.connect(0).token(&token).as_page().open().await.expect_close().await, 4100);
    let mut third = cluster.client(0).await;
    third.refused(json!({"type": "auth", "token": token}), "limit_exceeded").await;
    third.granted(json!({"type": "auth", "token": tokens::of("bob")}), "authed").await;
    assert_eq!(reached(&cluster, "connections_per_user").await, 3.0);
    let open = cluster.metric(0, "gateway_connections{dialect=\"json\"}").await;
    first.close().await;
    cluster.metric_becomes(0, "gateway_connections{dialect=\"json\"}", open - 1.0).await;
    cluster.user(0, "ann").await.granted(json!({"type": "ping"}), "pong").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_token_is_asked_for_one_connection_too_many_is_closed() {
    let cluster = cluster(&["limits.connections_per_user=1", "auth.anonymous=false"]).await;
    let _first = cluster.user(0, "ann").await;
    let mut second = cluster.client(0).await;
    second.refused(json!({"type": "auth", "token": tokens::of("ann")}), "limit_exceeded").await;
    assert_eq!(second.expect_close().await, 4100);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_connections_of_a_user_share_what_he_may_say() {
    let cluster = cluster(&["limits.messages_per_user=1/m burst 5"]).await;
    let mut own = [cluster.user(0, "ann").await, cluster.user(0, "ann").await];
    for number in 0..5 {
        own[number % 2].granted(json!({"type": "ping"}), "pong").await;
    }
    for client in &mut own {
        let error = client.refused(json!({"type": "ping"}), "rate_limited").await;
        assert!(error["retry_after_ms"].as_u64().is_some_and(|wait| (30_000..=60_000).contains(&wait)), "{error}");
    }
    cluster.user(0, "bob").await.granted(json!({"type": "ping"}), "pong").await;
    cluster.client(0).await.granted(json!({"type": "ping"}), "pong").await;
    assert_eq!(reached(&cluster, "messages_per_user").await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_opens_only_so_many_channels_that_nobody_uses() {
    let cluster = cluster(&["limits.new_channels=1/m burst 3"]).await;
    let mut popular = cluster.client(0).await;
    popular.subscribe("popular").await;
    let mut client = cluster.client(0).await;
    client.subscribe("a").await;
    client.granted(json!({"type": "history", "channel": "b"}), "history").await;
    client.granted(json!({"type": "unsubscribe", "channel": "a"}), "unsubscribed").await;
    client.subscribe("a").await;
    client.subscribe("c").await;
    for command in [json!({"type": "subscribe", "channel": "d"}), json!({"type": "history", "channel": "e"})] {
        let error = client.refused(command, "rate_limited").await;
        assert!(error["retry_after_ms"].as_u64().is_some_and(|wait| wait > 1000), "{error}");
    }
    client.subscribe("popular").await;
    assert_eq!(reached(&cluster, "new_channels").await, 2.0);
}
