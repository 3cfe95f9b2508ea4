//! Nodes behind a proxy that knows no HTTP: whom it speaks for is who is counted, and only a proxy may say it.

use e2e::tls;
use e2e::{Backend, Cluster, RawSocket};
use std::time::Duration;
use tokio::time::Instant;

const ANN: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 443\r\n";
const BOB: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x2a\
    \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\
    \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\
    \x9c\x40\x01\xbb\x04\0\x03abc";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

async fn cluster(trusted: &str, settings: &[&str]) -> Cluster {
    let trusted = format!("trusted_proxies={trusted}");
    let own = ["proxy_protocol=true", &trusted, "limits.connections_per_address=1"];
    Cluster::of(1, Backend::Memory).settings(&own).settings(settings).start().await
}

async fn failures(cluster: &Cluster, reason: &str, count: f64) {
    cluster.metric_becomes(0, &format!("gateway_arrival_failures_total{{reason=\"{reason}\"}}"), count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_is_the_one_that_the_proxy_speaks_for() {
    let cluster = cluster("127.0.0.0/8", &[]).await;
    let ann = cluster.connect(0).preamble(ANN).open().await;
    let bob = cluster.connect(0).preamble(BOB).open().await;
    for again in [ANN, BOB] {
        assert_eq!(cluster.connect(0).preamble(again).refused().await.status, 429);
        // Whom the proxy names is a stranger, whose word about itself is not believed.
        let claims = cluster.connect(0).preamble(again).header("x-forwarded-for", "203.0.113.9");
        assert_eq!(claims.refused().await.status, 429);
    }
    ann.close().await;
    bob.close().await;
    cluster.metric_becomes(0, "gateway_connections{dialect=\"json\"}", 0.0).await;
    cluster.connect(0).preamble(ANN).open().await.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_s_word_comes_before_tls() {
    let pair = tls::settings();
    let cluster = cluster("127.0.0.0/8", &pair.each_ref().map(String::as_str)).await;
    let trust = tls::trust();
    let ann = cluster.connect(0).preamble(ANN).by_tls(&trust).open().await;
    assert_eq!(cluster.connect(0).preamble(ANN).by_tls(&trust).refused().await.status, 429);
    let bob = cluster.connect(0).preamble(BOB).by_tls(&trust).open().await;
    ann.close().await;
    bob.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_speaks_for_itself_is_served() {
    let cluster = cluster("127.0.0.0/8", &[]).await;
    let mut check = RawSocket::connect(cluster.address(0)).await;
    check.send(&[LOCAL, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"].concat()).await;
    assert_eq!(check.answer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_a_proxy_may_say_whom_it_speaks_for() {
    let cluster = cluster("192.0.2.0/24", &[]).await;
    let mut stranger = RawSocket::connect(cluster.address(0)).await;
    stranger.send(&[ANN, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"].concat()).await;
    assert_eq!(stranger.rest_within(e2e::PATIENCE).await, b"");
    failures(&cluster, "proxy_stranger", 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_say_it_or_not_in_time_is_closed() {
    let cluster = cluster("127.0.0.0/8", &[]).await;
    let mut bare = RawSocket::connect(cluster.address(0)).await;
    bare.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(bare.rest_within(e2e::PATIENCE).await, b"");
    failures(&cluster, "proxy_header", 1.0).await;
    let began = Instant::now();
    let mut half = RawSocket::connect(cluster.address(0)).await;
    half.send(&BOB[..20]).await;
    assert_eq!(half.rest_within(Duration::from_secs(9)).await, b"");
    assert!(began.elapsed() >= Duration::from_secs(5), "after {:?}", began.elapsed());
    failures(&cluster, "late", 1.0).await;
}
