//! The Lua scripts, and how they are called in a pipeline.

use redis::{Cmd, Script};
use std::sync::LazyLock;

/// Publishes entries to one channel.
pub(super) const PUBLISH: &str = include_str!("publish.lua");
/// Reads a channel's meta and a part of its log, or its state.
pub(super) const READ: &str = include_str!("read.lua");
/// Ends an epoch.
pub(super) const EPOCH: &str = include_str!("epoch.lua");

static PUBLISH_SHA: LazyLock<String> = LazyLock::new(|| sha(PUBLISH));
static READ_SHA: LazyLock<String> = LazyLock::new(|| sha(READ));
static EPOCH_SHA: LazyLock<String> = LazyLock::new(|| sha(EPOCH));

fn sha(script: &str) -> String {
    Script::new(script).get_hash().to_owned()
}

fn call(sha: &str, keys: &[String]) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(sha).arg(keys.len()).arg(keys);
    command
}

/// EVALSHA of [`PUBLISH`]; its arguments are yet to be added.
pub(super) fn publish(keys: &[String]) -> Cmd {
    call(&PUBLISH_SHA, keys)
}

/// EVALSHA of [`READ`]; its arguments are yet to be added.
pub(super) fn read(keys: &[String; 3]) -> Cmd {
    call(&READ_SHA, keys)
}

/// EVALSHA of [`EPOCH`]; its arguments are yet to be added.
pub(super) fn epoch(keys: &[String; 3]) -> Cmd {
    call(&EPOCH_SHA, keys)
}
