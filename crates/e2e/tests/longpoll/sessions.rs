//! A session is served by whichever node is asked, in order and without loss; and it ends as a WebSocket does.

use super::*;
use e2e::{Backend, RawSocket, on_both};

on_both! {
    any_node_takes_any_request_and_everything_comes_once_and_in_order,
    a_session_is_lost_with_its_node_and_another_one_goes_on_from_its_positions,
    a_poll_whose_client_has_gone_ends_its_session_whichever_node_had_it,
    only_the_newest_poll_waits,
    a_node_that_stops_lets_polls_for_others_go_and_their_sessions_lose_nothing,
    whoever_leaves_is_gone_at_once,
}

async fn any_node_takes_any_request_and_everything_comes_once_and_in_order(backend: Backend) {
    let cluster = Cluster::start(3, backend).await;
    let mut poller = Poller::open(&cluster, 0, "", r#"[{"type":"ping","id":7}]"#).await;
    assert_eq!(poller.until(&cluster, &[1], "pong").await["id"], 7);
    assert_eq!(poller.wait_ms, 25_000);
    let subscribed = poller.subscribe(&cluster, &[1, 2, 0], &json!({"channel": "chat"})).await;
    assert_eq!((&subscribed["channel"], &subscribed["offset"]), (&json!("chat"), &json!(0)));
    let mut writer = cluster.client(2).await;
    let written = async {
        for number in 1..=60 {
            writer.publish("chat", json!(number)).await;
        }
    };
    let read = async {
        for number in 1..=60 {
            let publication = poller.until(&cluster, &[0, 1, 2], "publication").await;
            assert_eq!((&publication["data"], &publication["offset"]), (&json!(number), &json!(number)));
        }
    };
    tokio::join!(written, read);
    // What it says comes to others, by whatever node.
    let mut reader = cluster.client(1).await;
    reader.subscribe("back").await;
    poller.say(&cluster, 2, &json!({"type": "publish", "channel": "back", "data": "hi", "id": 3})).await;
    assert_eq!(reader.next_publication().await["data"], "hi");
    assert_eq!(poller.until(&cluster, &[1], "published").await["id"], 3);
    // Several are one body, as they are one message.
    poller.say(&cluster, 1, &json!([{"type": "ping", "id": 4}, {"type": "nonsense", "id": 5}])).await;
    assert_eq!(poller.until(&cluster, &[2], "pong").await["id"], 4);
    assert_eq!(poller.until(&cluster, &[2], "error").await["code"], "bad_request");
    assert_eq!(cluster.metric(0, "gateway_connections{dialect=\"poll\"}").await, 1.0);
}

async fn a_session_is_lost_with_its_node_and_another_one_goes_on_from_its_positions(backend: Backend) {
    let mut cluster = Cluster::start(2, backend).await;
    let mut poller = Poller::open(&cluster, 0, "", "").await;
    let epoch = poller.subscribe(&cluster, &[1], &json!({"channel": "chat"})).await["epoch"].take();
    let mut writer = cluster.client(1).await;
    writer.publish("chat", json!(1)).await;
    assert_eq!(poller.until(&cluster, &[1], "publication").await["data"], 1);
    cluster.kill_node(0).await;
    writer.publish("chat", json!(2)).await;
    writer.publish("chat", json!(3)).await;
    // With Redis nobody listens on that node's topic any more; with the store of this process nobody ever answers there.
    let answer = poller.ask(&cluster, 1, "POST", r#"{"type":"ping"}"#).await;
    let code = if answer.status == 404 { "unknown_session" } else { "unavailable" };
    assert_eq!(refused(&answer, if code == "unavailable" { 503 } else { 404 }, code)["temporary"], true);
    let mut poller = Poller::open(&cluster, 1, "", "").await;
    let from = json!({"channel": "chat", "recover": {"epoch": epoch, "offset": 1}});
    let subscribed = poller.subscribe(&cluster, &[1], &from).await;
    assert_eq!(subscribed["recovered"], true, "{subscribed}");
    let missed: Vec<_> =
        subscribed["publications"].as_array().expect("publications").iter().map(|p| p["data"].clone()).collect();
    assert_eq!(missed, [2, 3]);
}

async fn a_poll_whose_client_has_gone_ends_its_session_whichever_node_had_it(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    for node in [0, 1] {
        let mut poller = Poller::open(&cluster, 0, "", "").await;
        poller.subscribe(&cluster, &[0], &json!({"channel": "chat"})).await;
        let left = the_one_that_waits(&cluster, [node, node], &poller).await;
        drop(left);
        cluster.metric_becomes(0, "gateway_connections{dialect=\"poll\"}", 0.0).await;
        let lost = cluster.metric(0, "gateway_closes_total{code=\"connection lost\"}").await;
        assert_eq!(lost, (node + 1) as f64);
        refused(&poller.get(&cluster, 1).await, 404, "unknown_session");
    }
}

/// With Redis alone, which knows that a node listens no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_reaches_nobody_ends_its_session_and_no_later_poll_passes_over_it() {
    let mut cluster = Cluster::start(2, Backend::Redis).await;
    let mut poller = Poller::open(&cluster, 0, "", "").await;
    poller.subscribe(&cluster, &[0], &json!({"channel": "chat"})).await;
    let mut held = RawSocket::connect(cluster.address(1)).await;
    held.send(format!("GET /poll?session={} HTTP/1.1\r\nhost: a\r\n\r\n", poller.session).as_bytes()).await;
    cluster.metric_becomes(0, "gateway_polls_waiting", 1.0).await;
    cluster.kill_node(1).await;
    cluster.client(0).await.publish("chat", json!("on its way to nobody")).await;
    cluster.metric_becomes(0, "gateway_connections{dialect=\"poll\"}", 0.0).await;
    refused(&poller.get(&cluster, 0).await, 404, "unknown_session");
}

async fn a_node_that_stops_lets_polls_for_others_go_and_their_sessions_lose_nothing(backend: Backend) {
    let mut cluster = Cluster::start(2, backend).await;
    let mut poller = Poller::open(&cluster, 0, "", "").await;
    poller.subscribe(&cluster, &[0], &json!({"channel": "chat"})).await;
    let mut held = RawSocket::connect(cluster.address(1)).await;
    held.send(format!("GET /poll?session={} HTTP/1.1\r\nhost: a\r\n\r\n", poller.session).as_bytes()).await;
    cluster.metric_becomes(0, "gateway_polls_waiting", 1.0).await;
    cluster.stop_node(1).await;
    let answer = held.answer().await;
    let told = (answer.status, answer.header("connection"), answer.header("content-length"));
    assert_eq!(told, (200, Some("close"), Some("2")), "nothing is what it is answered");
    cluster.client(0).await.publish("chat", json!("still there")).await;
    assert_eq!(poller.until(&cluster, &[0], "publication").await["data"], "still there");
}

async fn only_the_newest_poll_waits(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut poller = Poller::open(&cluster, 0, "", "").await;
    poller.subscribe(&cluster, &[0], &json!({"channel": "chat"})).await;
    let left = the_one_that_waits(&cluster, [0, 1], &poller).await;
    cluster.client(1).await.publish("chat", json!("news")).await;
    assert_eq!(objects(&whole(left).await)[0]["data"], "news");
}

/// Sends two polls, of which one is answered with nothing, because the other one came later. Returns that: it waits.
async fn the_one_that_waits(cluster: &Cluster, nodes: [usize; 2], poller: &Poller) -> RawSocket {
    let poll = format!("GET /poll?session={} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", poller.session);
    let mut one = RawSocket::connect(cluster.address(nodes[0])).await;
    let mut other = RawSocket::connect(cluster.address(nodes[1])).await;
    one.send(poll.as_bytes()).await;
    other.send(poll.as_bytes()).await;
    let (answer, left) = tokio::select! {
        answer = one.answer() => (answer, other),
        answer = other.answer() => (answer, one),
    };
    assert!(answer.head.contains("content-length: 2"), "it is answered with nothing: {answer:?}");
    left
}

async fn whole(poll: RawSocket) -> Answer {
    Answer::parse(&poll.rest_within(e2e::PATIENCE).await)
}

async fn whoever_leaves_is_gone_at_once(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let namespaces = json!({"channel": "chat"});
    let mut watcher = cluster.client(1).await;
    watcher.subscribe("chat").await;
    for waits in [true, false] {
        let mut poller = Poller::open(&cluster, 0, "", "").await;
        poller.subscribe(&cluster, &[1], &namespaces).await;
        assert_eq!(watcher.presence("chat").await["clients"], 2);
        let left = if waits { Some(the_one_that_waits(&cluster, [0, 1], &poller).await) } else { None };
        assert_eq!(poller.ask(&cluster, 1, "DELETE", "").await.status, 204);
        if let Some(left) = left {
            let last = objects(&whole(left).await);
            assert_eq!(last, [json!({"type": "close", "code": 1000, "reason": "normal", "reconnect": "never"})]);
        }
        for method in ["GET", "POST", "DELETE"] {
            let body = if method == "POST" { "{}" } else { "" };
            refused(&poller.ask(&cluster, 1, method, body).await, 404, "unknown_session");
        }
        cluster.metric_becomes(0, "gateway_connections{dialect=\"poll\"}", 0.0).await;
        assert_eq!(watcher.presence("chat").await["clients"], 1);
    }
}
