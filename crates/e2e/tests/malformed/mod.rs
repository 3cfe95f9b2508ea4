//! What no proper client sends: each is refused in words or closed with its code, and nobody else notices.

mod bad_frames;
mod bad_http;
mod bad_messages;

use e2e::{Backend, Client, Cluster};
use serde_json::json;

/// A client that goes about its business while others misbehave.
struct Bystander {
    client: Client,
    published: u64,
}

impl Bystander {
    async fn of(cluster: &Cluster) -> Self {
        let mut client = cluster.client(0).await;
        client.subscribe("bystander").await;
        Self { client, published: 0 }
    }

    /// It publishes, gets its own publication, and has had nothing else.
    async fn is_untouched(&mut self) {
        self.published += 1;
        let published = self.client.publish("bystander", json!(self.published)).await;
        assert_eq!(published["offset"], self.published);
        assert_eq!(self.client.next_publication().await["data"], self.published);
        self.client.hears_nothing().await;
    }
}

async fn patient_cluster() -> Cluster {
    let settings = ["limits.bad_messages=100000", "limits.messages=100000/s"];
    Cluster::of(1, Backend::Memory).settings(&settings).start().await
}
