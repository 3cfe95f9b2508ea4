//! Listeners that do not read: they cost what a WebSocket may that does not, and are cut.

use super::*;
use e2e::{Backend, RawSocket};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_read_is_cut_and_the_others_get_everything() {
    let namespaces = "[[namespace]]\npattern = \"*\"\npresence = false\nhistory.size = 1000\n";
    let settings = ["outbox.bytes=64KiB", "outbox.timeout=2s", "limits.messages=100000/s"];
    let cluster = Cluster::of(1, Backend::Memory).namespaces(namespaces).settings(&settings).start().await;
    let mut slow = RawSocket::connect(cluster.address(0)).await;
    slow.send(b"GET /sse?channel=chat HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut fast = open(&cluster, 0, "channel=chat", "").await;
    fast.until("subscribed").await;
    cluster.metric_becomes(0, "gateway_connections{dialect=\"sse\"}", 2.0).await;
    let mut writer = cluster.client(0).await;
    let padding = "x".repeat(10_000);
    for number in 1..=600 {
        writer.publish("chat", json!([number, padding])).await;
        assert_eq!(fast.until("publication").await["data"][0], number);
        let waiting = cluster.metric(0, "gateway_outbox_bytes").await;
        assert!(waiting <= 66_000.0, "{waiting} bytes wait");
    }
    cluster.metric_becomes(0, "gateway_closes_total{code=\"slow consumer\"}", 1.0).await;
    cluster.metric_becomes(0, "gateway_connections{dialect=\"sse\"}", 1.0).await;
    // What had left for it is no more than the kernel and one reading hold; then its stream was cut.
    let rest = slow.rest_within(e2e::PATIENCE).await;
    assert!(rest.len() < 6_000_000, "{} bytes", rest.len());
}
