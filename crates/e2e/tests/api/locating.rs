//! Where a user is connected, as a backend asks any node of it.

use super::{KEY, body, get, problem};
use e2e::{Backend, Cluster, Events, on_both, tokens};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

/// A cluster of nodes with two workers each.
async fn cluster(nodes: usize, backend: Backend) -> Cluster {
    let key = format!("api.key={KEY}");
    Cluster::of(nodes, backend).with_tokens().settings(&[&key, "workers=2"]).start().await
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn clients(answer: &Value) -> BTreeSet<&str> {
    answer["connections"].as_array().unwrap().iter().map(|c| c["client"].as_str().unwrap()).collect()
}

async fn the_connections_of_all_nodes_and_workers_are_told(backend: Backend) {
    let cluster = cluster(2, backend).await;
    let began = now_ms();
    // So many that the kernel gives some to each worker.
    let mut of_ann = Vec::new();
    for at in 0..12 {
        of_ann.push(cluster.user(at % 2, "ann").await);
    }
    let _bob = cluster.user(0, "bob").await;
    of_ann[0].subscribe("chat").await;
    of_ann[0].subscribe("news").await;
    let _raw = cluster.connect_raw(1, "chat").token(&tokens::of("ann")).open_bare().await;
    cluster.metric_becomes(1, "gateway_connections{dialect=\"raw\"}", 1.0).await;
    for node in 0..2 {
        let answer = body(&get(&cluster, node, "connections?user=ann").await);
        assert_eq!((&answer["user"], &answer["count"], &answer["more"]), (&json!("ann"), &json!(13), &json!(false)));
        assert_eq!(answer["unanswered"], json!([]));
        let told = clients(&answer);
        assert!(told.len() == 13 && of_ann.iter().all(|client| told.contains(client.id())), "{answer}");
        let first = &answer["connections"][0];
        assert_eq!((&first["client"], &first["subscriptions"]), (&json!(of_ann[0].id()), &json!(2)), "{answer}");
        assert_eq!(first["channels"], json!(["chat", "news"]));
        assert_eq!((&first["dialect"], &first["transport"]), (&json!("json"), &json!("websocket")));
        assert!(first["client"].as_str().unwrap().starts_with(first["node"].as_str().unwrap()));
        assert!((began..=now_ms()).contains(&first["since"].as_u64().unwrap()), "{first}");
        assert!(first.get("seen_as").is_none() && first.get("address").is_none(), "{first}");
        assert_eq!(answer["connections"][12]["dialect"], "raw");
    }
    let part = body(&get(&cluster, 1, "connections?user=ann&limit=5").await);
    assert_eq!((clients(&part).len(), &part["count"], &part["more"]), (5, &json!(13), &json!(true)));
}

async fn a_user_that_is_nowhere_has_no_connections_and_is_no_error(backend: Backend) {
    let cluster = cluster(2, backend).await;
    let gone = cluster.user(0, "ann").await;
    assert_eq!(body(&get(&cluster, 1, "connections?user=ann").await)["count"], 1);
    drop(gone);
    cluster.metric_becomes(0, "gateway_connections{dialect=\"json\"}", 0.0).await;
    for user in ["ann", "nobody", "a/b%20%C3%A9"] {
        let answer = get(&cluster, 1, &format!("connections?user={user}")).await;
        assert_eq!(answer.status, 200);
        let answer = body(&answer);
        assert_eq!((&answer["connections"], &answer["unanswered"]), (&json!([]), &json!([])));
        assert_eq!((&answer["count"], &answer["more"]), (&json!(0), &json!(false)));
    }
    for wrong in ["", "?user=", "?user=ann&limit=0", "?user=ann&limit=1001", "?user=ann&node=n1"] {
        let answer = get(&cluster, 0, &format!("connections{wrong}")).await;
        assert_eq!(problem(&answer), (400, "bad_request".to_owned()), "{wrong}");
    }
}

async fn who_polls_is_told_as_such(backend: Backend) {
    let cluster = cluster(2, backend).await;
    let token = format!("authorization: Bearer {}\r\n", tokens::of("ann"));
    let open = "/socket.io/?EIO=4&transport=polling";
    let opened = e2e::request(cluster.address(0), "GET", open, &token, "").await;
    assert_eq!(opened.status, 200, "{opened:?}");
    let answer = body(&get(&cluster, 1, "connections?user=ann").await);
    let one = &answer["connections"][0];
    assert_eq!((&one["dialect"], &one["transport"]), (&json!("socketio"), &json!("polling")), "{answer}");
    // By long polling of the native dialect, too; whoever takes events has one stream all along.
    let token = format!("content-length: 0\r\nauthorization: Bearer {}\r\n", tokens::of("bob"));
    assert_eq!(e2e::request(cluster.address(0), "POST", "/poll", &token, "").await.status, 200);
    let token = format!("authorization: Bearer {}\r\n", tokens::of("cat"));
    let _events = Events::open(cluster.address(0), "/sse?channel=chat", &token).await;
    for (user, dialect, transport) in [("bob", "poll", "polling"), ("cat", "sse", "sse")] {
        let answer = body(&get(&cluster, 1, &format!("connections?user={user}")).await);
        let one = &answer["connections"][0];
        assert_eq!((&one["dialect"], &one["transport"]), (&json!(dialect), &json!(transport)), "{answer}");
    }
}

#[tokio::test]
async fn a_node_that_has_died_is_named_at_once_and_the_others_are_told() {
    let mut cluster = cluster(2, Backend::Redis).await;
    let (here, there) = (cluster.user(0, "ann").await, cluster.user(1, "ann").await);
    cluster.kill_node(1).await;
    let answer = body(&get(&cluster, 0, "connections?user=ann").await);
    assert_eq!(clients(&answer), [here.id()].into());
    let dead = there.id().rsplit_once('.').unwrap().0;
    assert_eq!((&answer["unanswered"], &answer["count"]), (&json!([dead]), &json!(1)));
}

#[tokio::test]
async fn a_node_that_stands_still_is_named_when_its_time_is_up() {
    let key = format!("api.key={KEY}");
    let plan = Cluster::of(2, Backend::Redis).with_tokens().settings(&[&key, "workers=2"]).by_road(1);
    let cluster = plan.start().await;
    let (here, there) = (cluster.user(0, "ann").await, cluster.user(1, "ann").await);
    assert_eq!(clients(&body(&get(&cluster, 0, "connections?user=ann").await)), [here.id(), there.id()].into());
    cluster.road().hold();
    let answer = body(&get(&cluster, 0, "connections?user=ann").await);
    assert_eq!(clients(&answer), [here.id()].into());
    let still = there.id().rsplit_once('.').unwrap().0;
    assert_eq!((&answer["unanswered"], &answer["count"]), (&json!([still]), &json!(1)));
    assert_eq!(cluster.metric(0, "gateway_locate_unanswered_total").await, 1.0);
    cluster.road().open();
}

#[tokio::test]
async fn without_redis_nobody_knows_which_nodes_there_are() {
    let mut cluster = cluster(2, Backend::Redis).await;
    let _here = cluster.user(0, "ann").await;
    cluster.redis_mut().kill();
    assert_eq!(problem(&get(&cluster, 0, "connections?user=ann").await), (503, "unavailable".to_owned()));
}

on_both! {
    the_connections_of_all_nodes_and_workers_are_told,
    a_user_that_is_nowhere_has_no_connections_and_is_no_error,
    who_polls_is_told_as_such
}
