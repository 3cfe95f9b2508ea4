//! Streams of server-sent events: what a browser's `EventSource` needs, and nothing lost or repeated between nodes.

mod doors;
mod slow;
mod streams;

use e2e::{Answer, Cluster, Events};
use serde_json::{Value, json};

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

async fn open(cluster: &Cluster, node: usize, query: &str, headers: &str) -> Events {
    let events = Events::open(cluster.address(node), &format!("/sse?{query}"), headers).await;
    for (name, value) in [("cache-control", "no-store, no-transform"), ("x-accel-buffering", "no")] {
        assert_eq!(events.answer.header(name), Some(value), "{:?}", events.answer);
    }
    events
}

/// The same from where another stream has got.
async fn go_on(cluster: &Cluster, node: usize, query: &str, headers: &str, id: &str) -> Events {
    open(cluster, node, query, &format!("{headers}last-event-id: {id}\r\n")).await
}

async fn no_stream(cluster: &Cluster, query: &str, headers: &str) -> Answer {
    let tried = Events::try_open(cluster.address(0), &format!("/sse?{query}"), headers).await;
    tried.err().unwrap_or_else(|| panic!("{query} {headers} is a stream"))
}

/// Expects a refusal.
fn refused(answer: &Answer, status: u16, code: &str) -> Value {
    let object: Value = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error} in {answer:?}"));
    let (kind, given) = (&object["type"], &object["code"]);
    assert_eq!((answer.status, kind, given), (status, &json!("error"), &json!(code)), "{answer:?}");
    object
}

/// Expects the end of a stream, and returns what it is told with.
async fn closed(events: &mut Events) -> Value {
    loop {
        let event = events.next().await.expect("the word that it is closed");
        if event.name == "close" {
            assert_eq!(events.next().await, None, "something comes after the close");
            return event.data;
        }
    }
}
