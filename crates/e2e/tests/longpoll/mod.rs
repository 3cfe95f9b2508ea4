//! Native sessions whose clients poll: on any node, and with everything that a WebSocket has.

mod doors;
mod lives;
mod sessions;

use e2e::{Answer, Cluster, request};
use serde_json::{Value, json};
use std::collections::VecDeque;

/// A client that polls.
struct Poller {
    session: String,
    wait_ms: u64,
    /// What has come and was not asked for yet.
    kept: VecDeque<Value>,
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

fn objects(answer: &Answer) -> Vec<Value> {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error} in {answer:?}"))
}

/// Expects a refusal.
fn refused(answer: &Answer, status: u16, code: &str) -> Value {
    let object: Value = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error} in {answer:?}"));
    let (kind, given) = (&object["type"], &object["code"]);
    assert_eq!((answer.status, kind, given), (status, &json!("error"), &json!(code)), "{answer:?}");
    object
}

async fn open(cluster: &Cluster, node: usize, headers: &str, body: &str) -> Answer {
    let headers = if body.is_empty() { format!("content-length: 0\r\n{headers}") } else { headers.to_owned() };
    request(cluster.address(node), "POST", "/poll", &headers, body).await
}

impl Poller {
    async fn open(cluster: &Cluster, node: usize, headers: &str, body: &str) -> Self {
        let mut kept: VecDeque<Value> = objects(&open(cluster, node, headers, body).await).into();
        let opened = kept.pop_front().expect("the word that it is open");
        assert_eq!((&opened["type"], &kept[0]["type"]), (&json!("opened"), &json!("welcome")), "{opened} {kept:?}");
        let session = opened["session"].as_str().expect("a session").to_owned();
        let wait_ms = opened["wait_ms"].as_u64().expect("how long a poll waits");
        Self { session, wait_ms, kept }
    }

    async fn ask(&self, cluster: &Cluster, node: usize, method: &str, body: &str) -> Answer {
        let path = format!("/poll?session={}", self.session);
        request(cluster.address(node), method, &path, "", body).await
    }

    async fn get(&self, cluster: &Cluster, node: usize) -> Answer {
        self.ask(cluster, node, "GET", "").await
    }

    async fn say(&self, cluster: &Cluster, node: usize, command: &Value) {
        let answer = self.ask(cluster, node, "POST", &command.to_string()).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{answer:?}");
    }

    /// Polls until there is an object of this type, by way of these nodes in turn.
    async fn until(&mut self, cluster: &Cluster, nodes: &[usize], kind: &str) -> Value {
        for node in nodes.iter().cycle() {
            while let Some(object) = self.kept.pop_front() {
                if object["type"] == kind {
                    return object;
                }
            }
            self.kept.extend(objects(&self.get(cluster, *node).await));
        }
        panic!("there is no node to ask");
    }

    async fn subscribe(&mut self, cluster: &Cluster, nodes: &[usize], more: &Value) -> Value {
        let mut command = json!({"type": "subscribe", "id": 1});
        command.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        self.say(cluster, nodes[0], &command).await;
        self.until(cluster, nodes, "subscribed").await
    }

    /// Polls until it hears that it was closed, and with what.
    async fn expect_close(&mut self, cluster: &Cluster, nodes: &[usize]) -> Value {
        let close = self.until(cluster, nodes, "close").await;
        assert_eq!(self.kept.len(), 0, "something comes after the close");
        refused(&self.get(cluster, nodes[0]).await, 404, "unknown_session");
        close
    }
}
