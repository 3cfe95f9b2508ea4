//! Socket.IO without a client library in between: sessions on any node, and what they may not do.

#![allow(clippy::unwrap_used, reason = "a test may end where its expectation does")]

mod entering;
mod identity;
mod limits;
mod sessions;
mod wire;
