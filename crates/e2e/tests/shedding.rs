//! Orders on the admin port: a node that is drained by hand, one that hands a share of its clients to others, and the pace
//! at which they go.

use e2e::{Backend, Client, Cluster, Connect, get, on_both, post};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// When a client that was sent away was closed, with which code, and what it was told before.
struct Sent {
    closed_at: Instant,
    code: u16,
    after_ms: u64,
    reason: Value,
}

async fn clients(cluster: &Cluster, node: usize, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(cluster.client(node).await);
    }
    clients
}

/// Waits until each of them has been sent away.
async fn sent_away(clients: Vec<Client>) -> Vec<Sent> {
    let mut tasks = JoinSet::new();
    for mut client in clients {
        tasks.spawn(async move {
            let told = client.next().await;
            assert_eq!(told["type"], "reconnect", "{told}");
            let code = client.expect_close().await;
            let after_ms = told["after_ms"].as_u64().expect("when to come back");
            Sent { closed_at: Instant::now(), code, after_ms, reason: told["reason"].clone() }
        });
    }
    let mut sent = tasks.join_all().await;
    sent.sort_by_key(|sent| sent.closed_at);
    sent
}

fn progress(answer: &e2e::Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error} in {answer:?}"))
}

/// Waits until the node sends nobody away any more.
async fn is_done(cluster: &Cluster, node: usize) -> Value {
    let waiting = async {
        loop {
            let progress = progress(&cluster.admin(node, "/shedding").await);
            if progress["under_way"].is_null() {
                return progress;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(e2e::PATIENCE, waiting).await.expect("it comes to an end")
}

async fn a_share_is_sent_elsewhere_while_the_node_serves_on(backend: Backend) {
    let cluster = Cluster::of(2, backend).settings(&["workers=2"]).start().await;
    let mut all = clients(&cluster, 0, 40).await;
    for client in &mut all {
        client.send(&json!({"type": "subscribe", "channel": "chat", "id": 1})).await;
    }
    for client in &mut all {
        assert_eq!(client.reply_to(&json!(1)).await["type"], "subscribed");
        while client.kept().is_some() {}
    }
    let begun = cluster.order(0, "/rebalance?percent=25&window=1s").await;
    assert_eq!(begun.status, 202, "{begun:?}");
    assert_eq!(progress(&begun)["under_way"]["total"], 10);
    let readiness = cluster.admin(0, "/readyz").await;
    assert_eq!(readiness.status, 200, "{readiness:?}");
    assert!(readiness.body.contains("rebalancing: "), "{readiness:?}");
    let again = cluster.order(0, "/rebalance?percent=25").await;
    assert_eq!(again.status, 409, "one at a time: {again:?}");
    assert!(again.body.contains("rebalancing: "), "{again:?}");
    cluster.client(0).await.close().await;
    is_done(&cluster, 0).await;
    let mut gone = 0;
    for mut client in all {
        // Joins and leaves of the others come as well.
        client.send(&json!({"type": "ping", "id": 2})).await;
        loop {
            let push = match client.next_or_close().await {
                Some(push) if push["type"] == "reconnect" => {
                    assert_eq!(push["reason"], "rebalance");
                    assert_eq!(client.expect_close().await, 4201);
                    gone += 1;
                    break;
                }
                Some(push) => push,
                None => panic!("closed without a word"),
            };
            if push["type"] == "pong" {
                break;
            }
        }
    }
    assert_eq!(gone, 10);
    for (name, count) in [
        ("gateway_shed_connections_total{occasion=\"rebalance\"}", 10.0),
        ("gateway_closes_total{code=\"rebalance\"}", 10.0),
        ("gateway_sheds_total{occasion=\"rebalance\"}", 1.0),
        ("gateway_shed_left", 0.0),
        ("gateway_draining", 0.0),
        ("gateway_ready", 1.0),
    ] {
        assert_eq!(cluster.metric(0, name).await, count, "{name}");
    }
    assert_eq!(cluster.order(0, "/rebalance?percent=1&window=100ms").await.status, 202, "and another one may follow");
}

async fn a_node_that_is_drained_by_hand_stays_and_can_be_taken_back(backend: Backend) {
    let cluster = Cluster::of(2, backend).settings(&["workers=2"]).start().await;
    let all = clients(&cluster, 0, 20).await;
    let begun = cluster.order(0, "/drain?exit=false&window=1s").await;
    assert_eq!((begun.status, &progress(&begun)["mode"]), (202, &json!("resting")), "{begun:?}");
    let readiness = cluster.admin(0, "/readyz").await;
    assert_eq!(readiness.status, 503);
    assert!(readiness.body.contains("of 20 connections have yet to go"), "{readiness:?}");
    assert_eq!(cluster.metric(0, "gateway_draining").await, 1.0);
    let again = cluster.order(0, "/drain?exit=false").await;
    assert_eq!((again.status, &progress(&again)["under_way"]["total"]), (202, &json!(20)), "asked twice is asked once");
    assert_eq!(cluster.order(0, "/rebalance?percent=10").await.status, 409);
    let refused = cluster.connect(0).refused().await;
    assert_eq!(refused.status, 503, "{refused:?}");
    for sent in sent_away(all).await {
        assert_eq!((sent.code, sent.reason), (4200, json!("draining")));
    }
    let done = is_done(&cluster, 0).await;
    assert_eq!((&done["mode"], &done["open"]), (&json!("resting"), &json!(0)));
    let readiness = cluster.admin(0, "/readyz").await;
    assert!(readiness.status == 503 && readiness.body.contains("POST /resume"), "{readiness:?}");
    assert_eq!(cluster.connect(0).refused().await.status, 503, "its port stays open, to say so");
    assert_eq!(cluster.order(0, "/resume").await.status, 200);
    assert_eq!(cluster.order(0, "/resume").await.status, 200, "it is the same to say it twice");
    cluster.client(0).await.hears_nothing().await;
}

async fn whoever_is_left_when_a_drain_is_taken_back_may_stay(backend: Backend) {
    let cluster = Cluster::of(1, backend).start().await;
    let mut client = cluster.client(0).await;
    assert_eq!(cluster.order(0, "/drain?exit=false&window=1h").await.status, 202);
    assert_eq!(client.next().await["type"], "reconnect");
    assert_eq!(cluster.order(0, "/resume").await.status, 200);
    client.hears_nothing().await;
    assert_eq!(cluster.order(0, "/rebalance?percent=100&window=100ms").await.status, 202);
    assert_eq!(client.next().await["reason"], "rebalance");
    assert_eq!(client.expect_close().await, 4201);
}

async fn a_node_that_is_drained_by_hand_ends_as_after_a_signal(backend: Backend) {
    let mut cluster = Cluster::of(2, backend).settings(&["presence.grace=100ms"]).start().await;
    let all = clients(&cluster, 0, 5).await;
    assert_eq!(cluster.order(0, "/rebalance?percent=20&window=1h").await.status, 202);
    let begun = cluster.order(0, "/drain?window=500ms").await;
    assert_eq!(
        (begun.status, &progress(&begun)["mode"]),
        (202, &json!("stopping")),
        "it takes the place of a rebalance"
    );
    assert_eq!(cluster.order(0, "/drain?exit=false").await.status, 409);
    assert_eq!(cluster.order(0, "/resume").await.status, 409);
    let mut tasks = JoinSet::new();
    for mut client in all {
        tasks.spawn(async move { client.expect_close().await });
    }
    assert_eq!(tasks.join_all().await, [4200; 5]);
    cluster.ended(0).await;
    cluster.start_again(0).await;
    cluster.client(0).await.hears_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_workers_together_keep_the_pace_and_the_window() {
    const CLIENTS: usize = 90;
    let settings = ["workers=4", "drain.window=3s"];
    let mut cluster = Cluster::of(1, Backend::Memory).settings(&settings).start().await;
    let all = clients(&cluster, 0, CLIENTS).await;
    let began = Instant::now();
    let stopping = tokio::spawn(cluster.stopping(0));
    let sent = sent_away(all).await;
    for (index, sent) in sent.iter().enumerate() {
        let seconds = sent.closed_at.duration_since(began).as_secs_f64();
        // A wave ahead, and one for what is not a whole connection.
        let most = CLIENTS as f64 / 3.0 * (seconds + 0.1) + 1.0;
        assert!(index as f64 + 1.0 <= most, "{} are closed after {seconds} s", index + 1);
        assert_eq!(sent.code, 4200);
        assert!(sent.after_ms < 1000);
    }
    let last = sent[CLIENTS - 1].closed_at.duration_since(began);
    assert!(last > Duration::from_millis(2500), "all were closed after {last:?}");
    stopping.await.expect("a stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_window_is_too_short_it_is_kept_and_the_last_come_back_later() {
    const CLIENTS: usize = 60;
    let cluster = Cluster::of(1, Backend::Memory).settings(&["workers=2", "drain.rate=20/s"]).start().await;
    let all = clients(&cluster, 0, CLIENTS).await;
    let began = Instant::now();
    assert_eq!(cluster.order(0, "/drain?exit=false&window=1s").await.status, 202);
    let sent = sent_away(all).await;
    is_done(&cluster, 0).await;
    assert!(began.elapsed() < Duration::from_secs(2), "the window is a promise: {:?}", began.elapsed());
    let longest = sent.iter().map(|sent| sent.after_ms).max().expect("some");
    assert!((1500..3000).contains(&longest), "60 at 20 a second take 3 s: {longest} ms");
    let mut back: Vec<_> = sent.iter().map(|sent| sent.closed_at + Duration::from_millis(sent.after_ms)).collect();
    back.sort();
    for (index, first) in back.iter().enumerate() {
        let within = back[index..].iter().filter(|at| **at < *first + Duration::from_secs(1)).count();
        // Twenty by the rate; each is moved by up to a second, so that a second may have some of the next.
        assert!(within <= 32, "{within} come back within a second");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_behind_a_trusted_proxy_is_passed_on_by_a_503_and_any_other_is_told_by_a_close() {
    for (proxies, is_passed_on) in [("trusted_proxies=127.0.0.0/8", true), ("trusted_proxies=192.0.2.0/24", false)] {
        let cluster = Cluster::of(1, Backend::Memory).settings(&[proxies]).start().await;
        assert_eq!(cluster.order(0, "/drain?exit=false").await.status, 202);
        let page = || -> Connect { cluster.connect(0).as_page() };
        if is_passed_on {
            let refused = page().refused().await;
            assert_eq!(refused.status, 503, "{refused:?}");
            assert!((1..=3).contains(&refused.retry_after_s()));
        } else {
            assert_eq!(page().open().await.expect_close().await, 4100);
        }
        // What every node would say is told to the page.
        assert_eq!(cluster.order(0, "/resume").await.status, 200);
        let forbidden = cluster.connect(0).origin("https://elsewhere.example").open().await.expect_close().await;
        assert_eq!(forbidden, 4003);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_make_no_sense_are_refused_with_a_reason_and_nothing_happens() {
    let cluster = Cluster::start(1, Backend::Memory).await;
    for (path, reason) in [
        ("/rebalance", "percent"),
        ("/rebalance?percent=0", "from 1 to 100"),
        ("/rebalance?percent=101", "from 1 to 100"),
        ("/rebalance?percent=1000", "percent"),
        ("/rebalance?percent=half", "percent"),
        ("/rebalance?percent=10&window=0s", "more than 0s"),
        ("/drain?window=soon", "is not a time"),
        ("/drain?window=25h", "up to 24h"),
        ("/drain?exit=perhaps", "exit"),
        ("/drain?windw=1s", "windw"),
    ] {
        let refused = cluster.order(0, path).await;
        assert_eq!(refused.status, 400, "{path}: {refused:?}");
        assert!(refused.body.contains(reason), "{path}: {refused:?}");
    }
    for path in ["/drain", "/rebalance?percent=10", "/resume"] {
        let hint = cluster.admin(0, path).await;
        assert_eq!((hint.status, hint.header("allow")), (405, Some("POST")), "{path}: {hint:?}");
        assert!(hint.body.contains("/readyz"), "{hint:?}");
    }
    let sheds = ["stop", "rest", "rebalance"].map(|occasion| format!("gateway_sheds_total{{occasion=\"{occasion}\"}}"));
    for name in &sheds {
        assert_eq!(cluster.metric(0, name).await, 0.0);
    }
    assert_eq!(cluster.admin(0, "/readyz").await.body, "ready\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gives_orders_on_the_public_port_nor_from_a_page() {
    let cluster = Cluster::start(1, Backend::Memory).await;
    for path in ["/drain", "/rebalance?percent=10", "/resume", "/shedding"] {
        assert_eq!(get(cluster.address(0), path).await.status, 404, "{path}");
        assert_eq!(post(cluster.address(0), path, "").await.status, 404, "{path}");
    }
    for path in ["/drain", "/rebalance?percent=10", "/resume"] {
        for header in ["origin: https://evil.example\r\n", "sec-fetch-site: cross-site\r\n"] {
            let refused = cluster.order_with(0, path, header).await;
            assert_eq!(refused.status, 403, "{path}: {refused:?}");
        }
    }
    assert_eq!(cluster.admin(0, "/readyz").await.body, "ready\n");
}

on_both!(
    a_share_is_sent_elsewhere_while_the_node_serves_on,
    a_node_that_is_drained_by_hand_stays_and_can_be_taken_back,
    whoever_is_left_when_a_drain_is_taken_back_may_stay,
    a_node_that_is_drained_by_hand_ends_as_after_a_signal,
);
