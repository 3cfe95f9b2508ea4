//! Nodes that share users in this process or in a Redis of their own, and what they heard.
#![allow(dead_code, reason = "each test binary uses its own part")]

use link::testing::RedisServer;
use link::{Link, LinkConfig, LinkMetrics};
use prometheus::Registry;
use protocol::Text;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use users::{
    Claim, MemoryRevocations, MemorySessions, MemoryUsers, Other, RedisRevocations, RedisSessions, Revocation,
    Revocations, RevokeError, Revoking, Rule, Seats, Sessions, Shown, Target, UsersMetrics,
};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How long a dead node's connections count in these tests.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// Where nodes meet.
pub(crate) enum Fixture {
    Memory(MemoryUsers),
    Redis(RedisServer),
}

impl Fixture {
    pub(crate) fn in_memory() -> Self {
        Self::Memory(MemoryUsers::default())
    }

    pub(crate) fn in_redis() -> Self {
        Self::Redis(RedisServer::start())
    }

    pub(crate) fn redis(&mut self) -> &mut RedisServer {
        match self {
            Self::Redis(server) => server,
            Self::Memory(_) => panic!("there is no Redis"),
        }
    }

    fn url(&self) -> Option<String> {
        match self {
            Self::Redis(server) => Some(server.url()),
            Self::Memory(_) => None,
        }
    }

    /// A node that revokes and hears of it, once it has read the list.
    pub(crate) async fn listener(&self, max: usize) -> Listener {
        let (sender, news) = mpsc::channel(1024);
        let on_news = Arc::new(move || {
            let _ = sender.try_send(());
        });
        let (revoking, metrics) = (Revoking { max, on_news }, metrics());
        let revocations: Arc<dyn Revocations> = match self {
            Self::Memory(users) => Arc::new(MemoryRevocations::attach(users, revoking, metrics.clone())),
            Self::Redis(server) => {
                Arc::new(RedisRevocations::start(&link_to(&server.url()), revoking, metrics.clone()))
            }
        };
        until("the list is read", async || revocations.is_read()).await;
        Listener { revocations, news, metrics }
    }

    /// A node whose users' connections are counted.
    pub(crate) fn node(&self, name: &str, rule: Rule) -> Node {
        self.node_at(self.url().as_deref(), name, rule)
    }

    /// The same by another way to Redis.
    pub(crate) fn node_at(&self, url: Option<&str>, name: &str, rule: Rule) -> Node {
        let (sender, lost) = mpsc::channel(1024);
        let on_lost = Arc::new(move |connection| {
            let _ = sender.try_send(connection);
        });
        let (seats, metrics) = (Seats { rule, lease: LEASE, on_lost }, metrics());
        let sessions: Arc<dyn Sessions> = match (self, url) {
            (Self::Memory(users), _) => Arc::new(MemorySessions::attach(users, name, seats, metrics)),
            (Self::Redis(_), Some(url)) => Arc::new(RedisSessions::start(&link_to(url), name, seats, metrics)),
            (Self::Redis(_), None) => panic!("a way to Redis"),
        };
        Node { name: name.to_owned(), sessions, lost }
    }
}

pub(crate) struct Listener {
    pub(crate) revocations: Arc<dyn Revocations>,
    pub(crate) metrics: UsersMetrics,
    news: mpsc::Receiver<()>,
}

impl Listener {
    pub(crate) async fn revoke(&self, target: Target) -> Result<(), RevokeError> {
        self.revoke_until(target, in_an_hour()).await
    }

    pub(crate) async fn revoke_until(&self, target: Target, until_ms: u64) -> Result<(), RevokeError> {
        self.revocations.revoke(Revocation { target, until_ms }).await
    }

    pub(crate) fn refuses(&self, user: &str, token_id: Option<&str>, issued_at: Option<u64>) -> bool {
        self.revocations.is_revoked(&Shown { user, token_id, issued_at })
    }

    pub(crate) async fn hears_news(&mut self) {
        timeout(PATIENCE, self.news.recv()).await.expect("no news came").expect("the node lives");
    }

    pub(crate) fn has_heard_nothing(&mut self) -> bool {
        self.news.try_recv().is_err()
    }

    pub(crate) async fn comes_to_refuse(&self, user: &str, token_id: Option<&str>) {
        until("it is revoked here", async || self.refuses(user, token_id, None)).await;
    }
}

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) sessions: Arc<dyn Sessions>,
    lost: mpsc::Receiver<u64>,
}

impl Node {
    /// Claims, as soon as Redis can be reached.
    pub(crate) async fn claim(&self, user: &str, connection: u64) -> Claim {
        let claiming = async {
            loop {
                match self.sessions.claim(&user.into(), connection).await {
                    Ok(claim) => return claim,
                    Err(_) => sleep(Duration::from_millis(10)).await,
                }
            }
        };
        timeout(PATIENCE, claiming).await.expect("no answer to the claim")
    }

    pub(crate) async fn is_granted(&self, user: &str, connection: u64) -> bool {
        matches!(self.claim(user, connection).await, Claim::Granted { .. })
    }

    /// Claims until it is granted.
    pub(crate) async fn comes_in(&self, user: &str, connection: u64) {
        until("there is a place", async || self.is_granted(user, connection).await).await;
    }

    pub(crate) async fn loses(&mut self) -> u64 {
        timeout(PATIENCE, self.lost.recv()).await.expect("nothing was lost").expect("the node lives")
    }

    pub(crate) fn has_lost_nothing(&mut self) -> bool {
        self.lost.try_recv().is_err()
    }

    pub(crate) fn other(&self, connection: u64) -> Other {
        Other { node: Text::from(self.name.as_str()), connection }
    }
}

fn metrics() -> UsersMetrics {
    UsersMetrics::new(&Registry::new()).unwrap()
}

fn link_to(url: &str) -> Link {
    let config = LinkConfig {
        url: url.to_owned(),
        prefix: LinkConfig::DEFAULT_PREFIX.to_owned(),
        sentinel: None,
        tls: Default::default(),
    };
    Link::new(&config, LinkMetrics::new(&Registry::new()).unwrap()).unwrap()
}

pub(crate) fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

pub(crate) fn in_an_hour() -> u64 {
    now_ms() + 3_600_000
}

pub(crate) fn token(id: &str) -> Target {
    Target::Token(id.into())
}

pub(crate) fn user(user: &str) -> Target {
    Target::User(user.into())
}

pub(crate) fn before(user: &str, issued_before: u64) -> Target {
    Target::UserBefore { user: user.into(), issued_before }
}

/// Waits until something shows.
pub(crate) async fn until(what: &str, mut shows: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !shows().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("still waiting until {what}"));
}
