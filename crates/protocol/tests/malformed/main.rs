//! What clients send by mistake or malice, and the one answer to it: a `bad_request` with the id, where that can be read.

#![allow(clippy::unwrap_used, reason = "a test may end where its expectation does")]

#[path = "../transport/mod.rs"]
mod transport;

mod arrays;
mod data;
mod fields;
mod ids;
mod messages;
mod msgpack;
mod places;

use protocol::{Command, ErrorCode, Payload, Request};
use transport::read;

/// The id and the words of the one refusal that a message earns.
fn refused(message: &str) -> (Option<u64>, String) {
    let results = read(message);
    let [Err(malformed)] = results.as_slice() else {
        panic!("{} was to earn one refusal, not {results:?}", start(message));
    };
    assert_eq!(malformed.refusal.code, ErrorCode::BadRequest);
    assert_eq!(malformed.refusal.retry_after_ms, None);
    (malformed.id, malformed.refusal.message.to_string())
}

/// The one request that a message holds.
fn accepted(message: &str) -> Request {
    match read(message).as_slice() {
        [Ok(request)] => request.clone(),
        other => panic!("{} was to be one command, not {other:?}", start(message)),
    }
}

/// The payload of the one `publish` that a message holds.
fn published(message: &str) -> Payload {
    match accepted(message).command {
        Command::Publish(publish) => publish.data,
        other => panic!("not a publish but {other:?}"),
    }
}

fn start(message: &str) -> String {
    message.chars().take(200).collect()
}
