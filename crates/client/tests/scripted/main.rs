//! The client against a gateway that does what each test says, over pipes in memory and in paused time.

#![allow(clippy::unwrap_used, reason = "a test may end where its expectation does")]

mod channels;
mod closing;
mod coming_back;
mod connecting;
mod gateway;
mod polling;
mod post;
mod publishing;
mod reading;
mod tokens;
