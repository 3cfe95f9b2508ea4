//! What holds for every message there can be, tried on messages made up at random.

#![allow(clippy::unwrap_used, reason = "a test may end where its expectation does")]

#[path = "../transport/mod.rs"]
mod transport;

mod between_nodes;
mod deliveries;
mod messages;
mod msgpack;
mod socketio;
mod strategies;
