//! Nodes and what they share, all of it in the test's own process.

use crate::connect::Connect;
use crate::node::Node;
use crate::road::Road;
use crate::{Client, PATIENCE, http, tokens};
use gateway::app::MemoryCluster;
use gateway::config::Config;
use gateway::config::settings::Sources;
use link::testing::RedisServer;
use serde_json::Value;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What the nodes share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// One store in this process.
    Memory,
    /// A redis-server of the test's own.
    Redis,
    /// Whatever the settings of the plan say.
    OfSettings,
}

/// A cluster that has yet to be started.
#[derive(Debug)]
pub struct Plan {
    nodes: usize,
    backend: Backend,
    settings: Vec<String>,
    namespaces: String,
    by_road: Option<usize>,
}

/// Nodes that run. Dropping it ends its Redis at once and its nodes soon.
pub struct Cluster {
    nodes: Vec<Node>,
    redis: Option<RedisServer>,
    road: Option<Road>,
}

impl Plan {
    /// Settings of every node, `key=value`.
    #[must_use]
    pub fn settings(mut self, settings: &[&str]) -> Self {
        self.settings.extend(settings.iter().map(|s| (*s).to_owned()));
        self
    }

    /// Has the nodes check tokens as [`tokens`] makes them, and ask for one.
    #[must_use]
    pub fn with_tokens(self) -> Self {
        let secret = format!("auth.hmac_secret={}", tokens::SECRET);
        self.settings(&[&secret])
    }

    /// `[[namespace]]` tables, as TOML, in place of the one that takes every channel.
    #[must_use]
    pub fn namespaces(mut self, toml: &str) -> Self {
        self.namespaces.push_str(toml);
        self
    }

    /// Has one node reach Redis by a road that can be closed.
    #[must_use]
    pub fn by_road(mut self, node: usize) -> Self {
        self.by_road = Some(node);
        self
    }

    /// Starts the nodes, and waits until each may take traffic.
    pub async fn start(self) -> Cluster {
        let redis = (self.backend == Backend::Redis).then(RedisServer::start);
        let road = match (&redis, self.by_road) {
            (Some(redis), Some(_)) => Some(Road::to(redis.port()).await),
            _ => None,
        };
        let memory = MemoryCluster::default();
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file for the namespaces");
        file.write_all(self.namespaces.as_bytes()).expect("the namespaces written");
        let mut nodes = Vec::new();
        for index in 0..self.nodes {
            let mut overrides = self.settings.clone();
            overrides.extend(["listen=127.0.0.1:0".to_owned(), "admin.listen=127.0.0.1:0".to_owned()]);
            overrides.push(format!("node.id=n{index}"));
            let road = road.as_ref().filter(|_| self.by_road == Some(index)).map(Road::url);
            overrides.extend(road.or(redis.as_ref().map(RedisServer::url)).map(|url| format!("redis.url={url}")));
            let sources = Sources { file: Some(file.path()), environment: Some([].into()), overrides };
            let config = Config::load(&sources).unwrap_or_else(|error| panic!("{error}"));
            nodes.push(Node::start(config, memory.clone()).await);
        }
        let cluster = Cluster { nodes, redis, road };
        for node in 0..self.nodes {
            cluster.becomes_ready(node).await;
        }
        cluster
    }
}

impl Cluster {
    /// So many nodes with everything as it is by default.
    pub async fn start(nodes: usize, backend: Backend) -> Self {
        Self::of(nodes, backend).start().await
    }

    /// So many nodes, with settings to come.
    pub fn of(nodes: usize, backend: Backend) -> Plan {
        Plan { nodes, backend, settings: Vec::new(), namespaces: String::new(), by_road: None }
    }

    /// How many nodes were started.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The public port of a node.
    pub fn address(&self, node: usize) -> SocketAddr {
        self.nodes[node].public
    }

    /// Where a node speaks the native dialect.
    pub fn url(&self, node: usize) -> String {
        format!("ws://{}/ws", self.address(node))
    }

    /// The redis-server, where there is one.
    pub fn redis(&self) -> &RedisServer {
        self.redis.as_ref().expect("this cluster has its broker in memory")
    }

    /// The redis-server, to break it.
    pub fn redis_mut(&mut self) -> &mut RedisServer {
        self.redis.as_mut().expect("this cluster has its broker in memory")
    }

    /// The road by which one node reaches Redis.
    pub fn road(&self) -> &Road {
        self.road.as_ref().expect("no node of this cluster reaches Redis by a road")
    }

    /// A connection to a node that is about to be opened.
    pub fn connect(&self, node: usize) -> Connect {
        Connect::to(self.address(node), "/ws")
    }

    /// A connection to the raw relay of a node, with the path and query after `/raw/`.
    pub fn connect_raw(&self, node: usize, channel_and_query: &str) -> Connect {
        Connect::to(self.address(node), &format!("/raw/{channel_and_query}"))
    }

    /// A client of a node, without a token.
    pub async fn client(&self, node: usize) -> Client {
        self.connect(node).open().await
    }

    /// A client of a node, with a token of this user.
    pub async fn user(&self, node: usize, user: &str) -> Client {
        self.connect(node).token(&tokens::of(user)).open().await
    }

    /// Stops a node in order and waits for its end.
    pub async fn stop_node(&mut self, node: usize) {
        self.stopping(node).await;
    }

    /// Begins to stop a node in order; the future waits for its end, and the test can see what happens meanwhile.
    pub fn stopping(&mut self, node: usize) -> impl Future<Output = ()> + Send + use<> {
        self.nodes[node].stop()
    }

    /// Kills a node: what it does with its broker and presence ends at once, and without a word. Its sockets are closed
    /// right after that, since its threads cannot be killed.
    pub async fn kill_node(&mut self, node: usize) {
        self.nodes[node].kill().await;
    }

    /// Waits for the end of a node that was told to stop on its admin port.
    pub fn ended(&mut self, node: usize) -> impl Future<Output = ()> + Send + use<> {
        self.nodes[node].end()
    }

    /// Starts a node that has ended, on the ports it had, and waits until it may take traffic.
    pub async fn start_again(&mut self, node: usize) {
        let again = self.nodes[node].start_again().await;
        self.nodes[node] = again;
        self.becomes_ready(node).await;
    }

    /// Gives a node's admin port an order, such as `/drain?window=1s`.
    pub async fn order(&self, node: usize, path: &str) -> http::Answer {
        self.order_with(node, path, "").await
    }

    /// The same with further headers.
    pub async fn order_with(&self, node: usize, path: &str, headers: &str) -> http::Answer {
        http::post(self.nodes[node].admin, path, headers).await
    }

    /// Gives a node's admin port an order with a body, and expects that it is done.
    pub async fn tell(&self, node: usize, path: &str, body: &Value) -> Value {
        let answer = self.try_tell(node, path, body).await;
        assert!((200..300).contains(&answer.status), "{path} with {body} was answered {answer:?}");
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error} in {}", answer.body))
    }

    /// The same, whatever comes of it.
    pub async fn try_tell(&self, node: usize, path: &str, body: &Value) -> http::Answer {
        http::post_json(self.nodes[node].admin, path, body).await
    }

    /// Asks a node's admin port.
    pub async fn admin(&self, node: usize, path: &str) -> http::Answer {
        http::get(self.nodes[node].admin, path).await
    }

    /// One counter or gauge of a node: a name, with labels in braces where it has some. One that has labels is 0 until it
    /// is first counted.
    pub async fn metric(&self, node: usize, name: &str) -> f64 {
        let text = self.admin(node, "/metrics").await.body;
        let values = text.lines().filter_map(|line| line.rsplit_once(' '));
        let found = values.filter(|(named, _)| *named == name).find_map(|(_, value)| value.parse().ok());
        match found {
            Some(value) => value,
            None if name.contains('{') => 0.0,
            None => panic!("node {node} has no metric {name}:\n{text}"),
        }
    }

    /// Waits until a metric is so much.
    pub async fn metric_becomes(&self, node: usize, name: &str, expected: f64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.metric(node, name).await;
            if value == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{name} of node {node} stays at {value} and does not become {expected}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn becomes_ready(&self, node: usize) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.admin(node, "/readyz").await;
            if answer.status == 200 {
                return;
            }
            assert!(Instant::now() < deadline, "node {node} does not become ready: {}", answer.body);
            sleep(Duration::from_millis(5)).await;
        }
    }
}
