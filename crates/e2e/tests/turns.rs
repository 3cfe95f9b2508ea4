//! What is published in one breath leaves in one write for each subscriber, not in one for each message.

use e2e::{Backend, Cluster};
use serde_json::json;

const SUBSCRIBERS: usize = 20;
const PUBLICATIONS: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_in_one_breath_leaves_in_one_write() {
    let namespaces = "[[namespace]]\npattern = \"*\"\npresence = false\n";
    let cluster = Cluster::of(2, Backend::Redis).namespaces(namespaces).start().await;
    let mut subscribers = Vec::new();
    for _ in 0..SUBSCRIBERS {
        let mut client = cluster.client(0).await;
        client.subscribe("chat").await;
        subscribers.push(client);
    }
    let writes_before = cluster.metric(0, "gateway_socket_writes_total").await;
    let mut publisher = cluster.client(1).await;
    let array: Vec<_> = (0..PUBLICATIONS).map(|n| json!({"type": "publish", "channel": "chat", "data": n})).collect();
    publisher.send(&json!(array)).await;
    for subscriber in &mut subscribers {
        let expected: Vec<_> = (0..PUBLICATIONS).map(|n| json!(n)).collect();
        assert_eq!(subscriber.next_data(PUBLICATIONS).await, expected);
    }
    let deliveries = (SUBSCRIBERS * PUBLICATIONS) as f64;
    cluster.metric_becomes(0, "gateway_deliveries_total", deliveries).await;
    let writes = cluster.metric(0, "gateway_socket_writes_total").await - writes_before;
    assert!(writes >= SUBSCRIBERS as f64, "{writes} writes cannot have reached {SUBSCRIBERS} sockets");
    assert!(
        writes <= 2.0 * SUBSCRIBERS as f64,
        "{deliveries} deliveries to {SUBSCRIBERS} sockets took {writes} writes"
    );
}
