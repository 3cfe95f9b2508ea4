//! Whole clusters in one test process: nodes, their broker, and clients that speak the wire by the rules or against them.
//!
//! Everything here panics instead of returning errors: a panic is a failed test. Every wait ends after [`PATIENCE`], and
//! says what came in place of what was waited for.

mod application;
mod client;
mod cluster;
mod connect;
mod events;
pub mod frames;
mod http;
mod issuer;
mod node;
pub mod packed;
mod raw_socket;
mod road;
pub mod tls;
pub mod tokens;

pub use application::{Application, Asked, Say};
pub use client::Client;
pub use cluster::{Backend, Cluster, Plan};
pub use connect::Connect;
pub use events::{Event, Events};
pub use http::{Answer, get, post, request};
pub use issuer::{Issuer, Manner, Signer};
pub use raw_socket::{End, RawSocket, handshake};
pub use road::Road;

use std::time::Duration;

/// How long anything that should happen may take before the test has failed. Far above what it takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Makes two tests of each scenario, `async fn(Backend)`: one with the broker in memory, one with a real Redis.
#[macro_export]
macro_rules! on_both {
    ($($scenario:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                Box::pin(super::$scenario($crate::Backend::Memory)).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                Box::pin(super::$scenario($crate::Backend::Redis)).await;
            })*
        }
    };
}
