//! Clients without a WebSocket: they publish by POST and ask every now and then what is new, from any node, and lose no more
//! than those who have one.

mod doors;
mod polling;
mod publishing;

use e2e::{Answer, Cluster, request, tokens};
use serde_json::{Value, json};

/// Publishes what this body says, with these headers.
async fn post(cluster: &Cluster, node: usize, headers: &str, body: &str) -> Answer {
    request(cluster.address(node), "POST", "/publish", headers, body).await
}

/// The same as a user.
async fn post_as(cluster: &Cluster, node: usize, user: &str, body: &Value) -> Answer {
    post(cluster, node, &bearer(&tokens::of(user)), &body.to_string()).await
}

/// Reads a channel, with a query and these headers.
async fn read(cluster: &Cluster, node: usize, headers: &str, channel_and_query: &str) -> Answer {
    let (channel, query) = channel_and_query.split_once('?').unwrap_or((channel_and_query, ""));
    request(cluster.address(node), "GET", &format!("/channels/{channel}/messages?{query}"), headers, "").await
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

fn object(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error} in {answer:?}"))
}

/// Expects a refusal with this status and code.
fn refused(answer: &Answer, status: u16, code: &str) -> Value {
    let object = object(answer);
    assert_eq!(
        (answer.status, &object["type"], &object["code"]),
        (status, &json!("error"), &json!(code)),
        "{answer:?}"
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    object
}

/// Expects an answer, which nobody may keep.
fn answered(answer: &Answer) -> Value {
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{answer:?}");
    object(answer)
}

/// Where to go on from after an answer.
fn place(messages: &Value) -> String {
    format!("{}:{}", messages["epoch"].as_str().expect("an epoch"), messages["offset"])
}

fn data(messages: &Value) -> Vec<Value> {
    messages["publications"].as_array().expect("publications").iter().map(|p| p["data"].clone()).collect()
}
