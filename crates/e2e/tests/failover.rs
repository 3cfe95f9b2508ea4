//! Another Redis becomes primary under a cluster, as sentinels see to it.

use e2e::{Backend, Client, Cluster};
use link::testing::Failover;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// The deadline of a publication, and what its answer takes on a busy machine.
const ANSWERED: Duration = Duration::from_millis(3000);

/// A client that repeats each publication with its key until it is acknowledged.
struct Writer {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    task: JoinHandle<Vec<(u64, Value)>>,
}

impl Writer {
    fn start(client: Client, name: &'static str) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn(write(client, name, stop.clone(), acknowledged.clone()));
        Self { stop, acknowledged, task }
    }

    /// Waits until so many more are acknowledged.
    async fn goes_on(&self, count: usize) {
        let count = self.acknowledged.load(Ordering::Acquire) + count;
        let begun = Instant::now();
        while self.acknowledged.load(Ordering::Acquire) < count {
            assert!(begun.elapsed() < e2e::PATIENCE, "nothing is published any more");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) -> Vec<(u64, Value)> {
        self.stop.store(true, Ordering::Release);
        self.task.await.expect("the writer")
    }
}

async fn write(
    mut client: Client,
    name: &'static str,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
) -> Vec<(u64, Value)> {
    let mut published = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let data = json!(format!("{name}-{}", published.len()));
        let publish = json!({"type": "publish", "channel": "chat", "data": data, "key": data});
        let offset = loop {
            let begun = Instant::now();
            let answer = client.command(publish.clone()).await;
            assert!(begun.elapsed() < ANSWERED, "answered only after {:?}: {answer}", begun.elapsed());
            match answer["code"].as_str() {
                None => break answer["offset"].as_u64().expect("an offset"),
                Some("unavailable" | "unknown_outcome") => tokio::time::sleep(Duration::from_millis(10)).await,
                Some(_) => panic!("{answer}"),
            }
        };
        published.push((offset, data));
        acknowledged.fetch_add(1, Ordering::Release);
    }
    published
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_notice_a_failover_by_nothing_but_refused_publications() {
    let failover = Failover::start();
    let url = format!("redis.url={}", failover.url());
    let settings = ["redis.mode=sentinel", &url, "limits.messages=100000/s", "outbox.bytes=64MiB"];
    let namespaces = "[[namespace]]\npattern = \"*\"\nhistory.size = 100000\n";
    let cluster = Cluster::of(2, Backend::OfSettings).settings(&settings).namespaces(namespaces).start().await;
    let mut readers = [cluster.client(0).await, cluster.client(1).await];
    let epoch = readers[0].subscribe("chat").await["epoch"].take();
    assert_eq!(readers[1].subscribe("chat").await["epoch"], epoch);
    let writers = [Writer::start(cluster.client(0).await, "a"), Writer::start(cluster.client(1).await, "b")];
    writers[0].goes_on(20).await;
    failover.hold_writes();
    failover.fail_over();
    let known = Instant::now();
    for (node, writer) in writers.iter().enumerate() {
        writer.goes_on(5).await;
        assert_eq!(cluster.metric(node, "gateway_redis_failovers_total").await, 1.0);
    }
    assert!(known.elapsed() < Duration::from_secs(3), "back only after {:?}", known.elapsed());
    failover.let_writes_go();
    failover.until_followed();
    writers[1].goes_on(20).await;
    let mut published = Vec::new();
    for writer in writers {
        published.extend(writer.stop().await);
    }
    published.sort_by_key(|(offset, _)| *offset);
    for reader in &mut readers {
        for (offset, data) in &published {
            let publication = reader.next_publication().await;
            assert_eq!((&publication["offset"], &publication["data"]), (&json!(offset), data));
        }
        reader.hears_nothing().await;
        let there = reader.presence("chat").await;
        assert_eq!(there["clients"], 2, "{there}");
    }
    // Somebody who was not there reads the same from the new primary.
    let recovered = cluster.client(1).await.recover("chat", &epoch, published.len() as u64 - 1).await;
    assert_eq!(
        (&recovered["recovered"], &recovered["publications"][0]["data"]),
        (&json!(true), &published.last().expect("one").1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lagging_replica_has_lost_is_one_gap_for_each_client_and_channel() {
    let mut failover = Failover::start();
    let url = format!("redis.url={}", failover.url());
    let namespaces = "[[namespace]]\npattern = \"*\"\npresence = false\n";
    let plan = Cluster::of(2, Backend::OfSettings).settings(&["redis.mode=sentinel", &url]).namespaces(namespaces);
    let cluster = plan.start().await;
    let mut readers = [cluster.client(0).await, cluster.client(1).await];
    let mut writer = cluster.client(0).await;
    let mut epoch = Value::Null;
    for reader in &mut readers {
        epoch = reader.subscribe("lost").await["epoch"].take();
        reader.subscribe("kept").await;
    }
    writer.publish("lost", json!(1)).await;
    writer.publish("kept", json!(1)).await;
    failover.hold_writes();
    failover.let_writes_go();
    failover.cut_replication();
    writer.publish("lost", json!(2)).await;
    for reader in &mut readers {
        assert_eq!(reader.next_data(3).await, [1, 1, 2]);
    }
    failover.kill_primary();
    for reader in &mut readers {
        let gap = reader.next().await;
        assert_eq!((&gap["type"], &gap["channel"]), (&json!("gap"), &json!("lost")));
        assert_ne!(gap["epoch"], epoch);
    }
    for (channel, offset) in [("lost", 2), ("kept", 2)] {
        assert_eq!(writer.publish(channel, json!("after")).await["offset"], offset);
    }
    for reader in &mut readers {
        assert_eq!(reader.next_data(2).await, ["after", "after"]);
        reader.hears_nothing().await;
    }
    // Whoever comes back with a position that is gone is told so.
    let recovered = cluster.client(1).await.recover("lost", &epoch, 2).await;
    assert_eq!(recovered["recovered"], false, "{recovered}");
}
