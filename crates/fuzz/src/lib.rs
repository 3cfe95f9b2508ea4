//! Hostile bytes for every parser. Each target is one `check(data)`, which panics where a parser breaks its promise; the same
//! check is run by a short seeded test (`tests/short.rs`), by `cargo run -p fuzz`, and by libFuzzer (`libfuzzer/`).

pub mod corpus;
pub mod cost;
pub mod mutate;
pub mod run;
pub mod targets;

/// One parser under fire.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: of its module, its folder in `corpus/`, and its binary in `libfuzzer/`.
    pub name: &'static str,
    /// Panics where the parser breaks a promise.
    pub check: fn(&[u8]),
    /// Words of what it reads, for inputs that come further than chance would.
    pub words: &'static [&'static str],
    /// Beginnings of the names of golden files (`crates/protocol/tests/golden/`) that are seeds too.
    pub golden: &'static [&'static str],
}

/// Hands the names of all targets to a macro: the one list of them.
#[macro_export]
macro_rules! for_each_target {
    ($each:ident) => {
        $each! {
            answer, channel, claims, client, config, deflate, envelope, events, frames, json, keys, msgpack, order, proxy, raw,
            request, socketio, token,
        }
    };
}
