//! A backend closes connections and revokes tokens, wherever they are.

use super::{KEY, body, get, post, problem};
use e2e::{Backend, Cluster, on_both};
use serde_json::json;

/// A cluster that asks for tokens.
async fn cluster(backend: Backend) -> Cluster {
    let key = format!("api.key={KEY}");
    Cluster::of(2, backend).with_tokens().settings(&[&key]).start().await
}

async fn connections_are_closed_on_whatever_node_they_are(backend: Backend) {
    let cluster = cluster(backend).await;
    let (mut ann, mut other) = (cluster.user(1, "ann").await, cluster.user(1, "ann").await);
    let mut bob = cluster.user(0, "bob").await;
    bob.subscribe("room:1").await;
    let one = post(&cluster, 0, "disconnect", &json!({"client": ann.id()})).await;
    assert_eq!((one.status, body(&one)), (202, json!({"code": 4011})));
    assert_eq!(ann.expect_close().await, 4011);
    assert_eq!(post(&cluster, 0, "disconnect", &json!({"user": "ann", "reconnect": true})).await.status, 202);
    assert_eq!(other.expect_close().await, 4110);
    assert_eq!(post(&cluster, 1, "disconnect", &json!({"channel": "room:1"})).await.status, 202);
    assert_eq!(bob.expect_close().await, 4011);
    let gone = post(&cluster, 0, "disconnect", &json!({"client": "n9.gone.0000000000000001"})).await;
    assert_eq!(problem(&gone), (404, "unknown_client".to_owned()));
    for wrong in
        [json!({}), json!({"user": "ann", "client": "x"}), json!({"user": "ann", "code": 1000}), json!({"client": "x"})]
    {
        assert_eq!(problem(&post(&cluster, 0, "disconnect", &wrong).await).0, 400, "{wrong}");
    }
}

async fn a_revoked_user_is_closed_and_kept_out(backend: Backend) {
    let cluster = cluster(backend).await;
    let mut ann = cluster.user(1, "ann").await;
    let revoked = post(&cluster, 0, "revoke", &json!({"user": "ann", "issued_before": "now"})).await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    assert_eq!(ann.expect_close().await, 4009);
    let list = body(&get(&cluster, 0, "revocations").await);
    assert_eq!((&list["count"], &list["revocations"][0]["user"]), (&json!(1), &json!("ann")));
    for wrong in [json!({}), json!({"user": "ann", "token_id": "t"}), json!({"user": "ann", "until": 1})] {
        assert_eq!(problem(&post(&cluster, 0, "revoke", &wrong).await).0, 400, "{wrong}");
    }
    assert_eq!(problem(&get(&cluster, 0, "revocations?limit=0").await).0, 400);
}

on_both! {
    connections_are_closed_on_whatever_node_they_are,
    a_revoked_user_is_closed_and_kept_out,
}
