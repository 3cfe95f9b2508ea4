//! The Lua scripts and the commands that call them; their keys and arguments are described in the files.

use crate::Entry;
use link::KeySpace;
use protocol::{Cause, Channel, Text};
use redis::{Cmd, Script};
use std::time::Duration;

/// What the lane loads on each connection.
pub(super) const ALL: &[&str] = &[JOIN, LEAVE, INDEX, CLAIM];

const JOIN: &str = concat!(include_str!("lua/member.lua"), include_str!("lua/join.lua"));
const LEAVE: &str = concat!(include_str!("lua/member.lua"), include_str!("lua/leave.lua"));
const INDEX: &str = include_str!("lua/index.lua");
const CLAIM: &str = include_str!("lua/claim.lua");

/// Forms one node's commands.
pub(super) struct Scripts {
    keys: KeySpace,
    node: String,
    key_ttl_ms: u64,
    members_max: u64,
    join: String,
    leave: String,
    index: String,
    claim: String,
}

impl Scripts {
    pub(super) fn new(keys: KeySpace, node: &str, key_ttl: Duration, members_max: u64) -> Self {
        let hash = |code| Script::new(code).get_hash().to_owned();
        Self {
            keys,
            node: node.to_owned(),
            key_ttl_ms: millis(key_ttl),
            members_max,
            join: hash(JOIN),
            leave: hash(LEAVE),
            index: hash(INDEX),
            claim: hash(CLAIM),
        }
    }

    /// `quiet`: the user is known to be there, so its coming is not told again.
    pub(super) fn join(&self, channel: &Channel, entry: &Entry, quiet: bool) -> Cmd {
        let mut cmd = evalsha(&self.join, &[&self.keys.here(channel), &self.keys.users(channel)]);
        cmd.arg(self.keys.topic(channel)).arg(entry.client.as_str()).arg(entry.user.as_str()).arg(&self.node);
        cmd.arg(entry.info.as_deref().unwrap_or_default()).arg(self.key_ttl_ms);
        cmd.arg(self.told_max(entry.announce && !quiet));
        cmd
    }

    pub(super) fn leave(&self, channel: &Channel, client: &Text, announce: bool, cause: Cause) -> Cmd {
        let mut cmd = evalsha(&self.leave, &[&self.keys.here(channel), &self.keys.users(channel)]);
        cmd.arg(self.keys.topic(channel)).arg(client.as_str()).arg(&self.node);
        cmd.arg(cause as u8).arg(self.told_max(announce));
        cmd
    }

    pub(super) fn index(&self, channels: &[Channel]) -> Cmd {
        let mut cmd = evalsha(&self.index, &[&self.keys.node_here(&self.node)]);
        cmd.arg(self.key_ttl_ms);
        for channel in channels {
            cmd.arg(channel.as_str());
        }
        cmd
    }

    pub(super) fn claim(&self, lease: Duration) -> Cmd {
        let mut cmd = evalsha(&self.claim, &[&self.keys.lease(&self.node)]);
        cmd.arg(millis(lease));
        cmd
    }

    fn told_max(&self, announce: bool) -> i64 {
        if announce { i64::try_from(self.members_max).unwrap_or(i64::MAX) } else { -1 }
    }
}

/// A duration for Redis, which takes no zero as a time to live.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn evalsha(hash: &str, keys: &[&str]) -> Cmd {
    let mut cmd = redis::cmd("EVALSHA");
    cmd.arg(hash).arg(keys.len()).arg(keys);
    cmd
}
