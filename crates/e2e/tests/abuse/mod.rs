//! Floods, and clients that begin and never end: each is stopped with its code, while a client beside them misses nothing
//! and the node holds no more than before.

mod floods;
mod namespaces;
mod slow;
mod users;

use e2e::{Backend, Client, Cluster, RawSocket};
use serde_json::json;

/// A client that goes about its business while others misbehave, and what the process held before.
struct Bystander {
    client: Client,
    published: u64,
    held_kib: u64,
}

/// What a test process may grow by, the abuser's own buffers and pages that the allocator keeps included.
const GROWTH_MAX_KIB: u64 = 64 * 1024;

impl Bystander {
    async fn of(cluster: &Cluster) -> Self {
        let mut client = cluster.client(0).await;
        let published = client.subscribe("bystander").await["offset"].as_u64().expect("an offset");
        Self { client, published, held_kib: held_kib() }
    }

    /// It publishes, gets its own publication, and has had nothing else.
    async fn is_untouched(&mut self) {
        self.published += 1;
        let published = self.client.publish("bystander", json!(self.published)).await;
        assert_eq!(published["offset"], self.published);
        assert_eq!(self.client.next_publication().await["data"], self.published);
        self.client.hears_nothing().await;
    }

    /// And nothing of what was sent is held any more.
    async fn ends(mut self, cluster: &Cluster) {
        self.is_untouched().await;
        cluster.metric_becomes(0, "gateway_budget_used_bytes", 0.0).await;
        let grown = held_kib().saturating_sub(self.held_kib);
        assert!(grown < GROWTH_MAX_KIB, "the process has grown by {grown} KiB");
    }
}

/// What the process holds in memory.
fn held_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the process' state");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().strip_suffix("kB").expect("in KiB").trim().parse().expect("a number")
}

async fn cluster(settings: &[&str]) -> Cluster {
    Cluster::of(1, Backend::Memory).settings(settings).start().await
}

/// A stream that has shaken hands and been greeted.
async fn greeted(cluster: &Cluster) -> RawSocket {
    let mut socket = RawSocket::upgraded(cluster.address(0), "/ws").await;
    assert!(socket.text().await.contains("welcome"));
    socket
}

/// How often a limit was reached on the first node.
async fn reached(cluster: &Cluster, limit: &str) -> f64 {
    cluster.metric(0, &format!("gateway_limits_total{{limit=\"{limit}\"}}")).await
}
