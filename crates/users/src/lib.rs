//! What a cluster knows of users beyond channels: whose tokens are revoked, and which connections each user has.
//!
//! [`Revocations`] and [`Sessions`] are the contracts; [`memory`] and [`redis`] keep them, and the same suite of tests runs
//! against both. Nothing here knows a WebSocket, a token's signature, the broker or presence.

mod list;
pub mod memory;
pub mod metrics;
pub mod redis;

pub use list::{LEEWAY_MS, List};
pub use memory::{MemoryRevocations, MemorySessions, MemoryUsers};
pub use metrics::UsersMetrics;
pub use redis::{RedisRevocations, RedisSessions};

use futures_util::future::BoxFuture;
use protocol::Text;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Which tokens do not count any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// The one with this id (`jti`).
    Token(Text),
    /// All of a user, also those that are still to be issued.
    User(Text),
    /// Those of a user that were issued (`iat`) before this moment; one that does not say when counts as older.
    UserBefore {
        /// Who.
        user: Text,
        /// In Unix seconds.
        issued_before: u64,
    },
}

/// Tokens that do not count any more, and how long that is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Which.
    pub target: Target,
    /// In Unix milliseconds: after it (and [`LEEWAY_MS`]) nobody knows any more that they were revoked.
    pub until_ms: u64,
}

/// What a token shows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown<'a> {
    /// `sub`.
    pub user: &'a str,
    /// `jti`.
    pub token_id: Option<&'a str>,
    /// `iat`, in Unix seconds.
    pub issued_at: Option<u64>,
}

/// Why nothing was revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// As many revocations are remembered as may be; none is forgotten for a new one.
    #[error("{0} revocations are remembered, and that is as many as may be (auth.revocations_max)")]
    Full(usize),
    /// It could not be written, or nobody knows whether it was: to be repeated.
    #[error("the list of revocations cannot be written now; repeat this until it is taken")]
    Unavailable,
}

/// Keeps which tokens are revoked.
///
/// Every node has the whole list at hand, so asking costs nothing. A revocation is known on all nodes soon after it was
/// taken: by their own looking within [`LOOK_EVERY`] and the time of a reading, at once when they are told to
/// [`Revocations::look`]. The list only grows until its entries end: two of the same target last until the later end, and
/// reach back from the later moment.
pub trait Revocations: Send + Sync + 'static {
    /// Revokes. Taken means that all nodes will know it, also those that start later, and that it outlives them.
    fn revoke(&self, revocation: Revocation) -> BoxFuture<'static, Result<(), RevokeError>>;

    /// Whether what this token shows is revoked.
    fn is_revoked(&self, shown: &Shown<'_>) -> bool;

    /// Whether anything is.
    fn is_empty(&self) -> bool;

    /// So many, those that end first first; and how many there are.
    fn list(&self, max: usize) -> (Vec<Revocation>, usize);

    /// Whether the list has been read: until then this node knows nothing.
    fn is_read(&self) -> bool;

    /// There may be news.
    fn look(&self);
}

/// How often nodes look for news by themselves.
pub const LOOK_EVERY: Duration = Duration::from_millis(400);

/// How many revocations are remembered, and by whom this is heard.
#[derive(Clone)]
pub struct Revoking {
    /// At the most.
    pub max: usize,
    /// Called whenever this node has learnt of a further one; it must not block.
    pub on_news: Arc<dyn Fn() + Send + Sync>,
}

/// How many connections a user may have at once, in the whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// As many as there are: nobody counts them.
    #[default]
    Allow,
    /// So many; a further one is refused.
    Limit(u32),
    /// One, the newest: it takes the place of the one before.
    Newest,
}

/// The most connections of a user that are counted: each claim looks at all of them.
const LIMIT_MAX: u32 = 1000;

impl FromStr for Rule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}`: allow, limit N (1 to {LIMIT_MAX}) or newest");
        match text.split_whitespace().collect::<Vec<_>>()[..] {
            ["allow"] => Ok(Self::Allow),
            ["newest"] => Ok(Self::Newest),
            ["limit", count] => match count.parse() {
                Ok(count) if (1..=LIMIT_MAX).contains(&count) => Ok(Self::Limit(count)),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }
}

/// One connection of a user, on whatever node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// `<id>.<incarnation>` of its node.
    pub node: Text,
    /// Its number there.
    pub connection: u64,
}

impl Other {
    /// Reads `<node>.<number>`.
    fn parse(text: &str) -> Option<Self> {
        let (node, number) = text.rsplit_once('.')?;
        Some(Self { node: node.into(), connection: u64::from_str_radix(number, 16).ok()? })
    }
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:016x}", self.node, self.connection)
    }
}

/// What has come of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The connection counts among its user's from now on. Those that lost their place to it hear of it by
    /// [`Seats::on_lost`] of their own node.
    Granted {
        /// Who lost their place.
        replaced: Vec<Other>,
    },
    /// There are as many as there may be.
    Refused {
        /// Who they are.
        holders: Vec<Other>,
    },
}

/// It cannot be known now which connections a user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the users' connections cannot be counted now")]
pub struct Unavailable;

/// By which rule users' connections are counted, and by whom this is heard.
#[derive(Clone)]
pub struct Seats {
    /// [`Rule::Allow`] counts nothing.
    pub rule: Rule,
    /// How long the connections of a node that died still count.
    pub lease: Duration,
    /// Called with the number of a connection of this node that has lost its place; it must not block.
    pub on_lost: Arc<dyn Fn(u64) + Send + Sync>,
}

/// Counts the connections of each user by a [`Rule`], over all nodes.
///
/// One order for all: of claims made at once on different nodes one comes first, and all agree which. What a claim takes away is
/// told to the connection's own node, and stays to be told until that node has heard it. A node that was away and whose
/// connections did not count meanwhile finds that out by itself: they take their places again where others have left room
/// (`limit`), or where no newer one has come (`newest`), and lose them where it is not so.
pub trait Sessions: Send + Sync + 'static {
    /// Claims a place for a connection of this node. Dropping the future takes nothing back: release what is not wanted.
    fn claim(&self, user: &Text, connection: u64) -> BoxFuture<'static, Result<Claim, Unavailable>>;

    /// Gives it back, at once or as soon as that is possible; one that has none is no error.
    fn release(&self, user: &Text, connection: u64);

    /// The node stops: none of its connections counts any more.
    fn stop(&self) -> BoxFuture<'static, ()>;
}

/// The wall clock, in Unix milliseconds.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_people_write_them() {
        assert_eq!("allow".parse(), Ok(Rule::Allow));
        assert_eq!("limit 3".parse(), Ok(Rule::Limit(3)));
        assert_eq!("newest".parse(), Ok(Rule::Newest));
        for wrong in ["", "limit", "limit 0", "limit 1001", "limit -1", "limit 1 2", "oldest"] {
            assert!(wrong.parse::<Rule>().is_err_and(|fault| fault.contains("limit N")), "{wrong}");
        }
    }
}
