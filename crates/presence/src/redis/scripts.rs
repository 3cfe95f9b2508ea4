//! The Lua scripts and the commands that call them; their keys and arguments are described in the files.

use crate::Entry;
use link::KeySpace;
use protocol::{Cause, Channel, Text};
use redis::{Cmd, Script};
use std::time::Duration;

/// What the lane loads on each connection.
pub(super) const ALL: &[&str] = &[JOIN, LEAVE, REAP, INDEX, CLAIM, REGISTER, TAKE];

const JOIN: &str = concat!(include_str!("lua/member.lua"), include_str!("lua/join.lua"));
const LEAVE: &str = concat!(include_str!("lua/member.lua"), include_str!("lua/leave.lua"));
const REAP: &str = concat!(include_str!("lua/member.lua"), include_str!("lua/reap.lua"));
const INDEX: &str = include_str!("lua/index.lua");
const CLAIM: &str = include_str!("lua/claim.lua");
const REGISTER: &str = include_str!("lua/register.lua");
const TAKE: &str = include_str!("lua/take.lua");

/// Forms one node's commands. `tenure` is what the node is called since it has held its lease.
pub(super) struct Scripts {
    keys: KeySpace,
    node: String,
    key_ttl_ms: u64,
    members_max: u64,
    join: String,
    leave: String,
    reap: String,
    index: String,
    claim: String,
    register: String,
    take: String,
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
            reap: hash(REAP),
            index: hash(INDEX),
            claim: hash(CLAIM),
            register: hash(REGISTER),
            take: hash(TAKE),
        }
    }

    /// `quiet`: the user is known to be there, so its coming is not told again.
    pub(super) fn join(&self, channel: &Channel, entry: &Entry, quiet: bool, tenure: &str) -> Cmd {
        let mut cmd = evalsha(&self.join, &[&self.keys.here(channel), &self.keys.users(channel)]);
        cmd.arg(self.keys.topic(channel)).arg(entry.client.as_str()).arg(entry.user.as_str()).arg(tenure);
        cmd.arg(entry.info.as_deref().unwrap_or_default()).arg(self.key_ttl_ms);
        cmd.arg(self.told_max(entry.announce && !quiet)).arg(u8::from(!entry.announce));
        cmd
    }

    pub(super) fn leave(&self, channel: &Channel, client: &Text, announce: bool, cause: Cause) -> Cmd {
        let mut cmd = evalsha(&self.leave, &[&self.keys.here(channel), &self.keys.users(channel)]);
        cmd.arg(self.keys.topic(channel)).arg(client.as_str()).arg(&self.node);
        cmd.arg(cause as u8).arg(self.told_max(announce));
        cmd
    }

    /// Removes some of those that a dead node held in a channel.
    pub(super) fn reap(&self, channel: &Channel, tenure: &str, cursor: u64, count: usize) -> Cmd {
        let mut cmd = evalsha(&self.reap, &[&self.keys.here(channel), &self.keys.users(channel)]);
        cmd.arg(self.keys.topic(channel)).arg(tenure).arg(cursor).arg(count);
        cmd.arg(Cause::NodeLost as u8).arg(self.told_max(true));
        cmd
    }

    pub(super) fn index(&self, channels: &[Channel], tenure: &str) -> Cmd {
        let mut cmd = evalsha(&self.index, &[&self.keys.node_here(tenure)]);
        cmd.arg(self.key_ttl_ms);
        for channel in channels {
            cmd.arg(channel.as_str());
        }
        cmd
    }

    pub(super) fn claim(&self, lease: Duration, tenure: &str) -> Cmd {
        let mut cmd = evalsha(&self.claim, &[&self.keys.lease(&self.node)]);
        cmd.arg(millis(lease)).arg(tenure);
        cmd
    }

    pub(super) fn register(&self, tenure: &str, stats: &str) -> Cmd {
        let mut cmd = evalsha(&self.register, &[&self.keys.nodes()]);
        cmd.arg(self.key_ttl_ms).arg(tenure).arg(stats);
        cmd
    }

    /// This node is to reap that tenure of another one.
    pub(super) fn take(&self, tenure: &str, holds: Duration) -> Cmd {
        let mut cmd = evalsha(&self.take, &[&self.keys.reap(tenure)]);
        cmd.arg(millis(holds)).arg(&self.node);
        cmd
    }

    /// From now on that tenure's users may have been told to leave.
    pub(super) fn mark_reaped(&self, tenure: &str) -> Cmd {
        let mut cmd = evalsha(&self.claim, &[&self.keys.reaped(tenure)]);
        cmd.arg(self.key_ttl_ms).arg(&self.node);
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
