//! The bytes of the wire, held fast: files that say what each message looks like, and the document that quotes them.

#![allow(clippy::unwrap_used, reason = "a test may end where its expectation does")]

#[path = "../transport/mod.rs"]
mod transport;

mod commands;
mod document;
mod envelope;
mod files;
mod msgpack;
mod outgoing;
mod raw;
mod samples;
mod socketio;
