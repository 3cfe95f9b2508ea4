//! The server API, as a backend speaks it to any node of a cluster.

#![allow(clippy::unwrap_used, reason = "a test may end where its expectation does")]

mod dismissing;
mod document;
mod doors;
mod locating;
mod publishing;
mod reading;

use e2e::{Answer, Backend, Cluster, request};
use serde_json::Value;

/// The key that may do everything.
const KEY: &str = "the-key-of-the-backend-0123456789";

/// A cluster whose backend has [`KEY`], and a namespace of each kind beside the one that takes every channel.
async fn cluster(nodes: usize, backend: Backend) -> Cluster {
    let key = format!("api.key={KEY}");
    Cluster::of(nodes, backend).settings(&[&key]).namespaces(NAMESPACES).start().await
}

const NAMESPACES: &str = r#"
[[namespace]]
pattern = "closed:*"
subscribe = "nobody"
publish = "nobody"
events = ["news"]
max_message = 20

[[namespace]]
pattern = "fleeting:*"
history.size = 0
presence = false

[[namespace]]
pattern = "tight:*"
state.keys = 1

[[namespace]]
pattern = "room:*"
"#;

/// Asks a node with the key.
async fn get(cluster: &Cluster, node: usize, path_and_query: &str) -> Answer {
    let path = format!("/api/v1/{path_and_query}");
    request(cluster.address(node), "GET", &path, &format!("authorization: Bearer {KEY}\r\n"), "").await
}

/// Posts a body to a node with the key.
async fn post(cluster: &Cluster, node: usize, path: &str, body: &Value) -> Answer {
    post_with(cluster, node, path, body, "").await
}

/// The same with further headers.
async fn post_with(cluster: &Cluster, node: usize, path: &str, body: &Value, headers: &str) -> Answer {
    let headers = format!("authorization: Bearer {KEY}\r\ncontent-type: application/json\r\n{headers}");
    request(cluster.address(node), "POST", &format!("/api/v1/{path}"), &headers, &body.to_string()).await
}

/// The body of an answer that is no problem.
fn body(answer: &Answer) -> Value {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// The status and code of a problem, which is as RFC 9457 has it.
fn problem(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let problem: Value = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    let code = problem["code"].as_str().unwrap_or_else(|| panic!("no code: {problem}"));
    assert_eq!(problem["type"], format!("urn:gateway:problem:{code}"), "{problem}");
    assert_eq!(problem["status"], answer.status, "{problem}");
    assert!(problem["title"].is_string() && problem["temporary"].is_boolean(), "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
    assert_eq!(matches!(answer.status, 429 | 503), answer.header("retry-after").is_some(), "{answer:?}");
    (answer.status, code.to_owned())
}

/// What a refusal says to people.
fn detail(answer: &Answer) -> String {
    let problem: Value = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    problem["detail"].as_str().unwrap_or_default().to_owned()
}
