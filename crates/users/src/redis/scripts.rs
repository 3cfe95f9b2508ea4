//! The Lua scripts and the commands that call them; their keys and arguments are described in the files.

use crate::list::LEEWAY_MS;
use crate::{Revocation, Rule, Target};
use link::KeySpace;
use redis::{Cmd, FromRedisValue, Script, Value};
use std::time::Duration;

use super::asking::Failure;

/// What the lane for revocations loads.
pub(super) const REVOCATIONS: &[&str] = &[REVOKE, READ];
/// What the lane for sessions loads.
pub(super) const SESSIONS: &[&str] = &[CLAIM, RENEW];

const REVOKE: &str = include_str!("lua/revoke.lua");
const READ: &str = include_str!("lua/read.lua");
const CLAIM: &str = include_str!("lua/claim.lua");
const RENEW: &str = include_str!("lua/renew.lua");

/// How long a user lives in Redis without another write; its connections are written again more often than that.
const USER_TTL: Duration = Duration::from_secs(24 * 3600);

/// How long it is kept what a node's connections lost: a node that is away for longer finds it out by itself.
const LOST_TTL: Duration = Duration::from_secs(3600);

fn evalsha(hash: &str, keys: &[&str]) -> Cmd {
    let mut cmd = redis::cmd("EVALSHA");
    cmd.arg(hash).arg(keys.len()).arg(keys);
    cmd
}

fn hash(code: &str) -> String {
    Script::new(code).get_hash().to_owned()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// A part of what was revoked since.
pub(super) struct Page {
    pub(super) epoch: String,
    /// The number of the last change of all.
    pub(super) newest: u64,
    /// And of the last one of this page.
    pub(super) last: u64,
    pub(super) revocations: Vec<Revocation>,
}

/// Forms the commands for revocations.
pub(super) struct RevokingScripts {
    keys: KeySpace,
    revoke: String,
    read: String,
}

impl RevokingScripts {
    pub(super) fn new(keys: KeySpace) -> Self {
        Self { keys, revoke: hash(REVOKE), read: hash(READ) }
    }

    /// With `max` 0 there is always room. Answers -1 where there is none.
    pub(super) fn revoke(&self, revocations: &[Revocation], max: usize) -> Cmd {
        let keys = &self.keys;
        let keys = [keys.revoked(), keys.revoked_order(), keys.revoked_ends(), keys.revoked_meta()];
        let mut cmd = evalsha(&self.revoke, &keys.each_ref().map(String::as_str));
        let epoch: String = std::iter::repeat_with(fastrand::alphanumeric).take(12).collect();
        cmd.arg(max).arg(epoch).arg(LEEWAY_MS);
        for Revocation { target, until_ms } in revocations {
            let (name, before) = match target {
                Target::Token(id) => (format!("t:{id}"), 0),
                Target::User(user) => (format!("u:{user}"), 0),
                Target::UserBefore { user, issued_before } => (format!("b:{user}"), *issued_before),
            };
            cmd.arg(name).arg(before).arg(*until_ms);
        }
        cmd
    }

    pub(super) fn read(&self, since: u64, count: usize) -> Cmd {
        let keys = [self.keys.revoked(), self.keys.revoked_order(), self.keys.revoked_meta()];
        let mut cmd = evalsha(&self.read, &keys.each_ref().map(String::as_str));
        cmd.arg(since).arg(count);
        cmd
    }
}

/// The answer of `read`.
pub(super) fn page(answer: Value) -> Result<Page, Failure> {
    let parts = <(String, u64, f64, Vec<String>)>::from_redis_value(answer).map_err(|_| Failure::Unreadable)?;
    let (epoch, newest, last, found) = parts;
    // What cannot be read is another build's: passed over, it stays in Redis.
    let revocations = found.chunks_exact(2).filter_map(|pair| revocation(&pair[0], &pair[1])).collect();
    Ok(Page { epoch, newest, last: last as u64, revocations })
}

fn revocation(name: &str, value: &str) -> Option<Revocation> {
    let (before, until_ms) = value.split_once(':')?;
    let (issued_before, until_ms) = (before.parse().ok()?, until_ms.parse().ok()?);
    let (kind, who) = name.split_once(':')?;
    let target = match kind {
        "t" => Target::Token(who.into()),
        "u" => Target::User(who.into()),
        "b" => Target::UserBefore { user: who.into(), issued_before },
        _ => return None,
    };
    Some(Revocation { target, until_ms })
}

/// Forms one node's commands for sessions.
pub(super) struct SeatScripts {
    keys: KeySpace,
    node: String,
    limit: u32,
    lease: Duration,
    claim: String,
    renew: String,
}

impl SeatScripts {
    pub(super) fn new(keys: KeySpace, node: &str, rule: Rule, lease: Duration) -> Self {
        let limit = match rule {
            Rule::Limit(limit) => limit,
            Rule::Newest => 0,
            // Nobody claims then.
            Rule::Allow => u32::MAX,
        };
        Self { keys, node: node.to_owned(), limit, lease, claim: hash(CLAIM), renew: hash(RENEW) }
    }

    /// `place` is 0 for a connection that has come just now.
    pub(super) fn claim(&self, user: &str, connection: u64, place: u64) -> Cmd {
        let mut cmd = evalsha(&self.claim, &[&self.keys.user(user), &self.keys.sessions()]);
        cmd.arg(&self.node).arg(format!("{connection:016x}")).arg(self.limit).arg(place).arg(millis(USER_TTL));
        cmd.arg(self.keys.node_replaced("*")).arg(millis(LOST_TTL));
        cmd
    }

    pub(super) fn release(&self, user: &str, connection: u64) -> Cmd {
        let mut cmd = redis::cmd("HDEL");
        cmd.arg(self.keys.user(user)).arg(format!("{}.{connection:016x}", self.node));
        cmd
    }

    pub(super) fn renew(&self, heard: usize, count: usize) -> Cmd {
        let mut cmd = evalsha(&self.renew, &[&self.keys.sessions(), &self.keys.node_replaced(&self.node)]);
        cmd.arg(&self.node).arg(millis(self.lease)).arg(heard).arg(count).arg(millis(USER_TTL));
        cmd
    }

    /// The node is gone.
    pub(super) fn farewell(&self) -> Cmd {
        let mut cmd = redis::cmd("HDEL");
        cmd.arg(self.keys.sessions()).arg(&self.node);
        cmd
    }
}
