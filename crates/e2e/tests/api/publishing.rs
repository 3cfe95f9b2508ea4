//! What a backend publishes reaches subscribers on all nodes, and it is told honestly what became of it.

use super::{KEY, NAMESPACES, body, cluster, detail, get, post, post_with, problem};
use e2e::{Backend, Cluster, PATIENCE, on_both};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{sleep, timeout};

async fn a_publication_reaches_the_subscribers_of_all_nodes(backend: Backend) {
    let cluster = cluster(2, backend).await;
    let mut readers = [cluster.client(0).await, cluster.client(1).await];
    for reader in &mut readers {
        reader.subscribe("room:1").await;
    }
    let data = json!({"text": "hello", "n": 1.50});
    let answer = post(&cluster, 0, "publish", &json!({"channel": "room:1", "event": "greeting", "data": data})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let published = body(&answer);
    assert_eq!((&published["channel"], &published["offset"]), (&json!("room:1"), &json!(1)));
    for reader in &mut readers {
        let publication = reader.next_publication().await;
        assert_eq!((&publication["data"], &publication["event"]), (&data, &json!("greeting")));
        assert_eq!((&publication["offset"], &publication["from"]), (&json!(1), &Value::Null), "nobody's connection");
    }
}

async fn rules_of_access_do_not_hold_for_a_key(backend: Backend) {
    let cluster = cluster(1, backend).await;
    let body_of = json!({"channel": "closed:1", "event": "news", "data": "for nobody"});
    assert_eq!(post(&cluster, 0, "publish", &body_of).await.status, 200);
    let history = body(&get(&cluster, 0, "history?channel=closed:1").await);
    assert_eq!(history["publications"][0]["data"], "for nobody");
    assert_eq!(get(&cluster, 0, "presence?channel=closed:1").await.status, 200);
}

async fn a_repeat_with_the_same_key_is_one_publication(backend: Backend) {
    let cluster = cluster(2, backend).await;
    let keyed = json!({"channel": "room:1", "data": "pizza", "key": "order-1"});
    let first = body(&post(&cluster, 0, "publish", &keyed).await);
    let second = body(&post(&cluster, 1, "publish", &keyed).await);
    let bare = json!({"channel": "room:1", "data": "pizza"});
    let third = body(&post_with(&cluster, 1, "publish", &bare, "idempotency-key: order-1\r\n").await);
    let fourth = body(&post_with(&cluster, 1, "publish", &bare, "idempotency-key: \"order-1\"\r\n").await);
    assert_eq!([&second, &third, &fourth], [&first; 3]);
    let other = post_with(&cluster, 0, "publish", &keyed, "idempotency-key: order-2\r\n").await;
    assert_eq!(problem(&other).0, 400, "two keys are none");
    let batch = json!({"publications": [{"channel": "room:1", "data": 1}, {"channel": "room:1", "data": 2}]});
    let once = body(&post_with(&cluster, 0, "batch", &batch, "idempotency-key: b\r\n").await);
    let twice = body(&post_with(&cluster, 1, "batch", &batch, "idempotency-key: b\r\n").await);
    assert_eq!(once, twice);
    assert_eq!(once["outcomes"][1]["offset"], 3);
}

async fn a_broadcast_has_an_outcome_for_each_channel(backend: Backend) {
    let cluster = cluster(2, backend).await;
    let mut reader = cluster.client(1).await;
    reader.subscribe("room:1").await;
    reader.subscribe("fleeting:1").await;
    let ok = post(&cluster, 0, "broadcast", &json!({"channels": ["room:1", "fleeting:1"], "data": "all"})).await;
    assert_eq!(ok.status, 200);
    let outcomes = body(&ok);
    assert_eq!((&outcomes["failed"], &outcomes["outcomes"][0]["offset"]), (&json!(0), &json!(1)));
    assert_eq!(outcomes["outcomes"][1], json!({"channel": "fleeting:1"}), "without history there is no position");
    assert_eq!(
        [reader.next_publication().await["data"].clone(), reader.next_publication().await["data"].clone()],
        ["all", "all"]
    );
    let some =
        post(&cluster, 0, "broadcast", &json!({"channels": ["room:1", "closed:1", "elsewhere"], "data": "some"})).await;
    assert_eq!(some.status, 207, "{some:?}");
    let outcomes = body(&some);
    assert_eq!(outcomes["failed"], 2);
    assert_eq!(outcomes["outcomes"][1]["error"]["code"], "permission_denied");
    assert_eq!(outcomes["outcomes"][2]["error"]["status"], 404);
    assert_eq!(reader.next_publication().await["data"], "some");
    for wrong in [json!([]), json!(["a", "a"]), json!(["room:1", "a b"])] {
        let wrong = json!({"channels": wrong, "data": 1});
        assert_eq!(problem(&post(&cluster, 0, "broadcast", &wrong).await).0, 400);
    }
}

async fn a_batch_goes_in_order_and_each_publication_stands_for_itself(backend: Backend) {
    let cluster = cluster(1, backend).await;
    let mut reader = cluster.client(0).await;
    reader.subscribe("room:1").await;
    let publications: Vec<Value> = (0..500).map(|n| json!({"channel": "room:1", "data": n})).collect();
    let answer = post(&cluster, 0, "batch", &json!({"publications": publications})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(reader.next_data(500).await, (0..500).map(|n| json!(n)).collect::<Vec<_>>());
    let full = json!({"publications": [
        {"channel": "tight:1", "data": 1, "retain": "a"},
        {"channel": "tight:1", "data": 2, "retain": "b"},
        {"channel": "room:1", "data": "goes on", "volatile": true},
    ]});
    let answer = post(&cluster, 0, "batch", &full).await;
    assert_eq!(answer.status, 207);
    let outcomes = body(&answer);
    assert_eq!((&outcomes["failed"], &outcomes["outcomes"][1]["error"]["code"]), (&json!(1), &json!("limit_exceeded")));
    assert_eq!(reader.next_publication().await["data"], "goes on");
    let too_many: Vec<Value> = (0..1001).map(|n| json!({"channel": "room:1", "data": n})).collect();
    assert_eq!(problem(&post(&cluster, 0, "batch", &json!({"publications": too_many})).await).0, 400);
    for malformed in [
        json!(["room:1", 2]),
        json!({"channel": "a b", "data": 2}),
        json!({"channel": "room:1", "data": 2, "event": ""}),
    ] {
        let batch = json!({"publications": [{"channel": "room:1", "data": "never"}, malformed]});
        let refused = post(&cluster, 0, "batch", &batch).await;
        assert_eq!(problem(&refused).0, 400, "{refused:?}");
        assert!(malformed.is_array() || detail(&refused).contains("publications[1]: "), "{refused:?}");
    }
    reader.hears_nothing().await;
}

on_both! {
    a_publication_reaches_the_subscribers_of_all_nodes,
    rules_of_access_do_not_hold_for_a_key,
    a_repeat_with_the_same_key_is_one_publication,
    a_broadcast_has_an_outcome_for_each_channel,
    a_batch_goes_in_order_and_each_publication_stands_for_itself
}

#[tokio::test]
async fn without_redis_nothing_was_done_and_that_is_said_at_once() {
    let key = format!("api.key={KEY}");
    let cluster = Cluster::of(1, Backend::Redis).by_road(0).settings(&[&key]).namespaces(NAMESPACES).start().await;
    assert_eq!(post(&cluster, 0, "publish", &json!({"channel": "room:1", "data": 1})).await.status, 200);
    cluster.road().close();
    // A cut that nobody has noticed yet would leave the first in doubt.
    let noticed = async {
        while cluster.admin(0, "/readyz").await.status == 200 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, noticed).await.expect("the node notices");
    let unavailable = (503, "unavailable".to_owned());
    assert_eq!(problem(&post(&cluster, 0, "publish", &json!({"channel": "room:1", "data": 2})).await), unavailable);
    let batch = json!({"publications": [{"channel": "room:1", "data": 1}, {"channel": "fleeting:1", "data": 2}]});
    assert_eq!(problem(&post(&cluster, 0, "batch", &batch).await), unavailable);
    let mixed = post(&cluster, 0, "broadcast", &json!({"channels": ["room:1", "elsewhere"], "data": 2})).await;
    assert_eq!((mixed.status, &body(&mixed)["outcomes"][0]["error"]["code"]), (207, &json!("unavailable")));
    for path in ["history?channel=room:1", "presence?channel=room:1", "channels", "nodes", "counts"] {
        assert_eq!(problem(&get(&cluster, 0, path).await), unavailable, "{path}");
    }
}

#[tokio::test]
async fn a_frozen_redis_leaves_one_in_doubt_by_its_deadline() {
    let cluster = cluster(1, Backend::Redis).await;
    assert_eq!(post(&cluster, 0, "publish", &json!({"channel": "room:1", "data": 1})).await.status, 200);
    cluster.redis().command(&["CLIENT", "PAUSE", "60000", "ALL"]);
    let answer = post(&cluster, 0, "publish", &json!({"channel": "room:1", "data": 2, "key": "k"})).await;
    assert_eq!(problem(&answer), (504, "unknown_outcome".to_owned()));
}
