//! Tests of whole clusters, one module a subject. They are one program: forty of them would be linked one by one.

mod abuse;
mod admission;
mod advisories;
mod api;
mod arrays;
mod auth;
mod commands;
mod deflate;
mod dying;
mod failover;
mod fallback;
mod forged;
mod hooks;
mod idempotence;
mod limits;
mod longpoll;
mod malformed;
mod msgpack;
mod permission;
mod pings;
mod plain;
mod presence;
mod proxied;
mod public_port;
mod published_keys;
mod raw;
mod raw_history;
mod recovery;
mod relay;
mod returning;
mod revocation;
mod rolling;
mod secure_redis;
mod sessions;
mod shedding;
mod slow;
mod slow_policies;
mod socketio;
mod sse;
mod state;
mod stopping;
mod storm;
mod tls;
mod tokens_renewed;
mod turns;
mod webhooks;

/// A module that is not named above would not be run.
#[test]
fn every_file_here_is_a_module() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let own = include_str!("main.rs");
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        let is_module = path.is_dir() || path.extension().is_some_and(|extension| extension == "rs");
        assert!(
            !is_module || name == "main" || own.contains(&format!("\nmod {name};\n")),
            "main.rs does not name {name}"
        );
    }
}
