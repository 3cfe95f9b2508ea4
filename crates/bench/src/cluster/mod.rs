//! A cluster of its own for each scenario: a redis-server, gateways as processes, and roads that can fail between them.

mod admin;
mod nginx;
mod node;
mod road;

pub(crate) use node::{Node, free_address};
pub(crate) use road::{Road, Traffic};

use crate::Fault;
use link::testing::RedisServer;
use nginx::Nginx;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// How long a node may take to be ready at the start: far above what it takes on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How the harness' channels are kept: those that begin with `live:` keep no history, all others more than any scenario
/// publishes.
const NAMESPACES: &str = r#"
[[namespace]]
pattern = "live:*"
history.size = 0

[[namespace]]
pattern = "*"
history.size = 1000000
history.ttl = "1h"
"#;

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// How many nodes.
    pub(crate) nodes: usize,
    /// Whether clients come through nginx.
    pub(crate) nginx: bool,
    /// Whether the nodes' wall clock is one that a scenario sets.
    pub(crate) false_clock: bool,
    /// How many files each node may have open.
    pub(crate) files_max: Option<u32>,
    /// Whether Redis has every write on disk before it answers.
    pub(crate) durable: bool,
    /// Settings of all nodes, `GW_…`.
    pub(crate) settings: Vec<(&'static str, String)>,
}

impl Plan {
    /// So many nodes, with everything at its default and a Redis that keeps its data.
    pub(crate) fn nodes(nodes: usize) -> Self {
        Self { nodes, nginx: false, false_clock: false, files_max: None, durable: true, settings: Vec::new() }
            // One connection reads the logs of all channels at the end.
            .setting("GW_LIMITS__MESSAGES", "10000/s burst 10000")
    }

    /// One setting of all nodes, by its variable.
    #[must_use]
    pub(crate) fn setting(mut self, variable: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((variable, value.into()));
        self
    }
}

/// A cluster that runs, with everything it needs. Dropping it ends its processes.
pub(crate) struct Cluster {
    /// The gateways.
    pub(crate) nodes: Vec<Node>,
    /// From each node to Redis.
    pub(crate) redis_roads: Vec<Road>,
    /// From the clients to each node.
    pub(crate) client_roads: Vec<Road>,
    nginx: Option<Nginx>,
    redis: RedisServer,
    binary: PathBuf,
    plan: Plan,
    directory: TempDir,
}

impl Cluster {
    /// Starts everything, and waits until each node may take traffic.
    pub(crate) async fn start(plan: &Plan, binary: &Path) -> Result<Self, Fault> {
        let directory = tempfile::Builder::new().prefix("bench-").tempdir()?;
        std::fs::write(directory.path().join("gateway.toml"), NAMESPACES)?;
        let durable: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];
        let mut arguments = vec!["--save", "", "--enable-debug-command", "local"];
        arguments.extend(if plan.durable { durable } else { &["--appendonly", "no"] });
        let redis = RedisServer::start_with(&arguments);
        let mut cluster = Self {
            nodes: Vec::new(),
            redis_roads: Vec::new(),
            client_roads: Vec::new(),
            nginx: None,
            redis,
            binary: binary.to_owned(),
            plan: plan.clone(),
            directory,
        };
        for _ in 0..plan.nodes {
            cluster.add_node().await?;
        }
        for node in &mut cluster.nodes {
            node.becomes(true, START_TIMEOUT).await?;
        }
        if plan.nginx {
            let upstreams: Vec<_> = cluster.client_roads.iter().map(Road::address).collect();
            cluster.nginx = Some(Nginx::start(cluster.directory.path(), &upstreams).await?);
        }
        Ok(cluster)
    }

    /// Starts one more node, and its roads.
    pub(crate) async fn add_node(&mut self) -> Result<(), Fault> {
        let redis = Road::open(SocketAddr::from(([127, 0, 0, 1], self.redis.port()))).await?;
        let file = self.directory.path().join("gateway.toml");
        let mut environment = vec![("GW_REDIS__URL".to_owned(), format!("redis://{}", redis.address()))];
        environment.extend(self.plan.settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        if self.plan.false_clock {
            environment.extend(self.clock_variables()?);
        }
        let name = format!("n{}", self.nodes.len() + 1);
        let mut node = Node::new(name, &self.binary, &file, environment)?;
        node.limit_files(self.plan.files_max);
        node.start()?;
        self.client_roads.push(Road::open(node.public()).await?);
        self.redis_roads.push(redis);
        self.nodes.push(node);
        Ok(())
    }

    /// Has nginx lead new connections to these nodes only.
    pub(crate) fn lead_to(&self, nodes: &[usize]) -> Result<(), Fault> {
        let upstreams: Vec<_> = nodes.iter().map(|node| self.client_roads[*node].address()).collect();
        self.nginx.as_ref().ok_or("this cluster has no nginx")?.lead_to(&upstreams)
    }

    /// Sets the nodes' wall clock, relative to the real one: `+3600s`.
    pub(crate) fn set_clock(&self, offset: &str) -> Result<(), Fault> {
        // In one step: a file that is being written would be read as empty.
        let file = self.directory.path().join("clock");
        std::fs::write(file.with_extension("new"), offset)?;
        Ok(std::fs::rename(file.with_extension("new"), file)?)
    }

    /// Puts a node under libfaketime, which lies about the wall clock and leaves the monotonic one alone.
    fn clock_variables(&self) -> Result<Vec<(String, String)>, Fault> {
        self.set_clock("+0s")?;
        let folders = std::fs::read_dir("/usr/lib")?.filter_map(Result::ok).map(|entry| entry.path());
        let library = folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|path| path.is_file());
        let library = library.ok_or("libfaketime is not there (Debian: apt-get install libfaketime)")?;
        let variables = [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.directory.path().join("clock").display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        Ok(variables.map(|(key, value)| (key.to_owned(), value)).to_vec())
    }

    /// Where clients find the nodes, by roads that can fail.
    pub(crate) fn client_urls(&self) -> Vec<String> {
        if let Some(nginx) = &self.nginx {
            return vec![format!("ws://{}/ws", nginx.address())];
        }
        self.client_roads.iter().map(|road| format!("ws://{}/ws", road.address())).collect()
    }

    /// A node that runs.
    pub(crate) fn running_url(&self) -> Result<String, Fault> {
        let node = self.nodes.iter().find(|node| node.runs()).ok_or("no node runs")?;
        Ok(format!("ws://{}/ws", node.public()))
    }

    /// Where the nodes are themselves.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("ws://{}/ws", node.public())).collect()
    }

    /// The redis-server, to be talked to or stopped.
    pub(crate) fn redis(&mut self) -> &mut RedisServer {
        &mut self.redis
    }

    /// Has Redis do something, however long it takes; past all roads.
    pub(crate) async fn command(&self, words: &[&str]) -> Result<redis::Value, Fault> {
        let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let client = redis::Client::open(self.redis.url())?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&patient).await?;
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(*word);
        });
        Ok(command.query_async(&mut connection).await?)
    }

    /// Changes all roads to Redis.
    pub(crate) fn redis_traffic(&self, traffic: Traffic) {
        self.redis_roads.iter().for_each(|road| road.set(traffic));
    }

    /// Changes all roads from clients.
    pub(crate) fn client_traffic(&self, traffic: Traffic) {
        self.client_roads.iter().for_each(|road| road.set(traffic));
    }

    /// Keeps the logs of the nodes when the cluster is dropped; returns where they are.
    pub(crate) fn keep_logs(&mut self) -> PathBuf {
        self.directory.disable_cleanup(true);
        self.directory.path().to_owned()
    }
}
