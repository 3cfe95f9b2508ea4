//! More come at once than a node takes: a few get in, the others are refused cheaply and told when to come back, and
//! all get in in the end.

use e2e::{Answer, Backend, Client, Cluster, Connect, tokens};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const OPENED: &str = "gateway_connections_opened_total{dialect=\"json\"}";

/// Comes back when it was told to, until it is let in; how often it was refused.
async fn obeys(address: SocketAddr) -> u32 {
    let mut refusals = 0;
    loop {
        match Connect::to(address, "/ws").try_open().await {
            Ok(client) => {
                client.close().await;
                return refusals;
            }
            Err(refused) => {
                assert_eq!((refused.status, refused.header("connection")), (503, Some("close")), "{refused:?}");
                assert!((1..=60).contains(&refused.retry_after_s()), "{refused:?}");
                refusals += 1;
                sleep(Duration::from_secs(refused.retry_after_s())).await;
            }
        }
    }
}

/// What was counted at a moment between these two.
struct Sample {
    before: Instant,
    count: f64,
    after: Instant,
}

async fn sample(cluster: &Cluster, metric: &str) -> Sample {
    let before = Instant::now();
    let count = cluster.metric(0, metric).await;
    Sample { before, count, after: Instant::now() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_at_once_no_second_lets_in_more_than_the_bucket_holds_and_all_get_in_in_the_end() {
    const CLIENTS: usize = 1000;
    let cluster =
        Cluster::of(1, Backend::Memory).settings(&["admission.rate=200/s burst 100", "workers=2"]).start().await;
    let mut storm = JoinSet::new();
    for _ in 0..CLIENTS {
        storm.spawn(obeys(cluster.address(0)));
    }
    let mut samples = vec![sample(&cluster, OPENED).await];
    while samples.last().is_some_and(|last| last.count < CLIENTS as f64) {
        sleep(Duration::from_millis(20)).await;
        samples.push(sample(&cluster, OPENED).await);
    }
    let refusals: u32 = storm.join_all().await.into_iter().sum();
    for (index, first) in samples.iter().enumerate() {
        for later in &samples[index..] {
            let seconds = later.after.duration_since(first.before).as_secs_f64();
            let (let_in, most) = (later.count - first.count, 100.0 + 200.0 * seconds);
            assert!(let_in <= most + 1.0, "{let_in} were let in within {seconds} s");
        }
    }
    assert!(refusals as usize >= CLIENTS / 2, "it was a storm: {refusals} refusals");
    assert_eq!(cluster.metric(0, "gateway_admission_refusals_total").await, f64::from(refusals));
}

async fn refused(connect: Connect) -> Answer {
    let refused = connect.refused().await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.body.contains("admission.rate") && refused.retry_after_s() >= 1, "{refused:?}");
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bucket_is_one_for_all_workers_and_routes_and_for_browsers_too() {
    let settings = ["admission.rate=1/h burst 3", "workers=4"];
    let cluster = Cluster::of(1, Backend::Memory).settings(&settings).start().await;
    let mut first = cluster.client(0).await;
    let _page = cluster.connect(0).as_page().open().await;
    let _raw = cluster.connect_raw(0, "chat").open_bare().await;
    assert_eq!(cluster.metric(0, "gateway_admission_free").await, 0.0);
    for _ in 0..8 {
        refused(cluster.connect(0)).await;
        refused(cluster.connect(0).as_page()).await;
        refused(cluster.connect_raw(0, "chat")).await;
    }
    assert_eq!(e2e::get(cluster.address(0), "/").await.status, 200, "a page is no connection");
    first.granted(json!({"type": "ping"}), "pong").await;
    assert_eq!(cluster.metric(0, "gateway_admission_refusals_total").await, 24.0);
    assert_eq!(cluster.metric(0, "gateway_http_refusals_total{status=\"503\"}").await, 24.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_refused_for_another_reason_is_not_counted() {
    let plan = Cluster::of(1, Backend::Memory).with_tokens().settings(&["admission.rate=1/h burst 2"]);
    let cluster = plan.start().await;
    for _ in 0..10 {
        assert_eq!(cluster.connect(0).token("wrong").refused().await.status, 401);
        assert_eq!(cluster.connect(0).header("sec-websocket-version", "12").refused().await.status, 400);
    }
    let _ann: Client = cluster.user(0, "ann").await;
    // A page cannot see the 401: it is let in to be told, and that is a connection.
    let page = cluster.connect(0).as_page().token("wrong").open().await.expect_close().await;
    assert_eq!(page, 4001);
    refused(cluster.connect(0).token(&tokens::of("bob"))).await;
}
