//! A primary, its replica and three sentinels, in a hurry.

use super::{Answer, RedisServer};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The name under which the sentinels watch the primary.
const MASTER: &str = "mymaster";

/// After how many milliseconds of silence sentinels take a server for dead: never while a test is at something else,
/// however busy the machine is.
const CALM: &str = "60000";

/// And when the primary has been killed.
const ALERT: &str = "500";

/// Two servers, one of them primary, and three sentinels that agree on which. Dropping it kills them all.
pub struct Failover {
    servers: [RedisServer; 2],
    sentinels: Vec<RedisServer>,
}

impl Failover {
    /// Starts all of them, and waits until they could fail over.
    pub fn start() -> Self {
        // Replicas come at once, not after the 5 s in which others might join them.
        let mut all = vec!["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"];
        let primary = RedisServer::start_with(&all);
        let port = primary.port().to_string();
        let place = format!("127.0.0.1 {port}");
        all.extend(["--replicaof", &place]);
        let replica = RedisServer::start_with(&all);
        let config = format!(
            "sentinel monitor {MASTER} 127.0.0.1 {port} 2\n\
             sentinel down-after-milliseconds {MASTER} {CALM}\n\
             sentinel failover-timeout {MASTER} 3000\n"
        );
        let sentinels: Vec<_> = (0..3).map(|_| RedisServer::start_sentinel(&config)).collect();
        for sentinel in &sentinels {
            // Sentinels find each other by what they publish every 2 s, and look at servers every 10 s. These are quicker,
            // and not more so than each needs of the others: one that has promoted a replica sees it after a second.
            sentinel.command(&[
                "SENTINEL",
                "DEBUG",
                "PUBLISH-PERIOD",
                "500",
                "INFO-PERIOD",
                "400",
                "PING-PERIOD",
                "300",
            ]);
        }
        let failover = Self { servers: [primary, replica], sentinels };
        failover.wait("they do not find each other", |f| f.sentinels.iter().all(|s| f.is_complete(s)));
        failover
    }

    /// The sentinels, as `redis.url` takes them.
    pub fn url(&self) -> String {
        let addresses: Vec<_> = self.sentinels.iter().map(RedisServer::url).collect();
        addresses.join(",")
    }

    /// The sentinels.
    pub fn sentinels(&mut self) -> &mut [RedisServer] {
        &mut self.sentinels
    }

    /// The server that most sentinels name as primary.
    pub fn primary(&self) -> &RedisServer {
        &self.servers[self.place_of_primary()]
    }

    /// The other one.
    pub fn other(&self) -> &RedisServer {
        &self.servers[1 - self.place_of_primary()]
    }

    /// Has the sentinels make the other server primary; returns when they all name it. Until it is demoted, about two
    /// seconds later, the former one still takes writes, and they will be lost.
    pub fn fail_over(&self) {
        let before = self.place_of_primary();
        let begun = |f: &Self| f.sentinels[0].command(&["SENTINEL", "FAILOVER", MASTER]) == "+OK";
        self.wait("no failover begins", begun);
        self.wait_for_primary(1 - before);
    }

    /// Kills the primary; returns when all sentinels name the other server.
    pub fn kill_primary(&mut self) {
        let before = self.place_of_primary();
        self.servers[before].kill();
        self.set_down_after(ALERT);
        self.wait_for_primary(1 - before);
        self.set_down_after(CALM);
    }

    /// Starts the server again that was killed.
    pub fn start_other_again(&mut self) {
        let other = 1 - self.place_of_primary();
        assert!(self.servers[other].start_again());
    }

    /// Has the primary hold back every write, and waits until the replica has all that was written before. Writes that
    /// are held back are done after [`Failover::let_writes_go`], or never, if their connections end before.
    pub fn hold_writes(&self) {
        assert_eq!(self.primary().command(&["CLIENT", "PAUSE", "60000", "WRITE"]), "+OK");
        let (primary, replica) = (self.primary(), self.other());
        let has_all = |_: &Self| {
            let written = primary.info("replication", "master_repl_offset");
            !written.is_empty() && written == replica.info("replication", "slave_repl_offset")
        };
        self.wait("the replica does not catch up", has_all);
    }

    /// Ends what [`Failover::hold_writes`] began, on whichever server.
    pub fn let_writes_go(&self) {
        for server in &self.servers {
            server.command(&["CLIENT", "UNPAUSE"]);
        }
    }

    /// From now on the replica gets nothing of what is written: it lags behind.
    pub fn cut_replication(&self) {
        let primary = self.primary();
        assert_eq!(primary.command(&["ACL", "SETUSER", "default", "-psync", "-sync"]), "+OK");
        primary.command(&["CLIENT", "KILL", "TYPE", "replica"]);
        self.wait("the replica is still there", |f| f.other().info("replication", "master_link_status") == "down");
    }

    /// Waits until the other server follows the primary.
    pub fn until_followed(&self) {
        self.wait("the other server does not follow", |f| {
            f.other().info("replication", "role") == "slave"
                && f.other().info("replication", "master_link_status") == "up"
        });
    }

    fn set_down_after(&self, ms: &str) {
        for sentinel in self.sentinels.iter().filter(|sentinel| sentinel.is_running()) {
            assert_eq!(sentinel.command(&["SENTINEL", "SET", MASTER, "down-after-milliseconds", ms]), "+OK");
        }
    }

    fn place_of_primary(&self) -> usize {
        let named: Vec<_> = self.sentinels.iter().filter_map(port_of_primary).collect();
        let names = |server: &RedisServer| named.iter().filter(|port| **port == server.port()).count();
        usize::from(names(&self.servers[1]) > names(&self.servers[0]))
    }

    fn wait_for_primary(&self, place: usize) {
        let port = self.servers[place].port();
        self.wait("the sentinels do not agree", |f| {
            f.sentinels.iter().filter(|s| s.is_running()).all(|s| port_of_primary(s) == Some(port))
        });
    }

    fn is_complete(&self, sentinel: &RedisServer) -> bool {
        let replicas = sentinel.ask(&["SENTINEL", "REPLICAS", MASTER]).many();
        let follows = |replica: &Answer| fields(replica.clone()).get("master-link-status").is_some_and(|s| s == "ok");
        sentinel.command(&["SENTINEL", "CKQUORUM", MASTER]).starts_with("+OK 3 usable")
            && replicas.len() == 1
            && replicas.iter().all(follows)
    }

    fn wait(&self, otherwise: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition(self) {
            assert!(Instant::now() < deadline, "{otherwise}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn port_of_primary(sentinel: &RedisServer) -> Option<u16> {
    if !sentinel.is_running() {
        return None;
    }
    let address = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).many();
    address.into_iter().nth(1)?.text().parse().ok()
}

/// An answer that lists names and values in turns.
fn fields(answer: Answer) -> HashMap<String, String> {
    let mut texts = answer.many().into_iter().map(Answer::text);
    let mut fields = HashMap::new();
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        fields.insert(name, value);
    }
    fields
}
