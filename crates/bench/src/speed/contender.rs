//! What is measured: gateways, references, and whatever listens at a URL; and how each is started for a run.

use super::load::Dialect;
use super::pin::{self, Cores};
use super::program::Program;
use super::usage::{Role, Watched};
use crate::Fault;
use crate::cluster::{Node, free_address};
use link::testing::RedisServer;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// How long a server may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What the gateway runs with unless a scenario says otherwise: what the others do not do is off.
pub(crate) const BARE_NAMESPACE: &str =
    "[[namespace]]\npattern = \"*\"\npresence = false\njoin_leave = false\nhistory.size = 0\n";

/// Limits that are there to hold off one client, which the generator would be.
pub(crate) const RAISED_LIMITS: &[(&str, &str)] = &[
    ("GW_LIMITS__MESSAGES", "10000000/s burst 10000000"),
    ("GW_ADMISSION__RATE", "100000/s"),
    ("GW_LIMITS__NEW_CHANNELS", "100000/s burst 100000"),
];

/// Something to measure.
#[derive(Debug, Clone)]
pub(crate) enum Contender {
    /// This project.
    Gateway(Gateways),
    /// Tutorial code, so many nodes.
    Tutorial(usize),
    /// An epoll loop that gathers.
    Raw,
    /// One that writes each message by itself.
    Bare,
    /// What npm has, two nodes of it, and where it is installed.
    Peer(Peer, PathBuf),
    /// Servers that run already, and their processes where they are on this machine.
    Running {
        /// Where.
        urls: Vec<String>,
        /// How they speak.
        dialect: Dialect,
        /// Their processes.
        pids: Vec<u32>,
    },
}

/// What many run today.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Peer {
    /// `ws` and `ioredis`.
    Ws,
    /// Socket.IO with its Redis adapter.
    SocketIo,
}

/// Gateways and how they are set up.
#[derive(Debug, Clone)]
pub(crate) struct Gateways {
    /// What they are called in the report.
    pub(crate) name: &'static str,
    /// How many.
    pub(crate) nodes: usize,
    /// Threads of each.
    pub(crate) workers: usize,
    /// Cores for all of them.
    pub(crate) cores: usize,
    /// Their `[[namespace]]`.
    pub(crate) namespace: &'static str,
    /// More settings, `GW_…`.
    pub(crate) settings: Vec<(&'static str, String)>,
}

impl Gateways {
    /// So many nodes with one worker each, which keep no history and no presence.
    pub(crate) fn nodes(nodes: usize) -> Self {
        Self { name: "gateway", nodes, workers: 1, cores: 1, namespace: BARE_NAMESPACE, settings: Vec::new() }
    }
}

/// A contender that runs. Dropping it ends its processes.
pub(crate) struct Running {
    /// Where clients connect.
    pub(crate) urls: Vec<String>,
    /// How they speak.
    pub(crate) dialect: Dialect,
    /// Its processes.
    pub(crate) watched: Vec<Watched>,
    _nodes: Vec<Node>,
    _programs: Vec<Program>,
    // Last: what stands on it ends before it.
    _redis: Option<RedisServer>,
    _directory: Option<TempDir>,
}

impl Contender {
    /// What it is called in the report.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Gateway(gateways) => gateways.name,
            Self::Tutorial(_) => "tutorial",
            Self::Raw => "raw loop",
            Self::Bare => "bare sends",
            Self::Peer(Peer::Ws, _) => "Node ws",
            Self::Peer(Peer::SocketIo, _) => "Socket.IO",
            Self::Running { .. } => "url",
        }
    }

    /// Whether it is here to be compared with.
    pub(crate) fn is_reference(&self) -> bool {
        matches!(self, Self::Tutorial(_) | Self::Raw | Self::Bare | Self::Peer(..))
    }

    /// Starts it on its cores, and waits until it may be loaded.
    pub(crate) async fn start(&self, cores: &Cores, gateway: &Path) -> Result<Running, Fault> {
        match self {
            Self::Gateway(gateways) => start_gateways(gateways, cores, gateway).await,
            Self::Tutorial(nodes) => start_references(&Reference::own(&["tutorial"], *nodes, true)?, cores).await,
            Self::Raw => start_references(&Reference::own(&["raw"], 1, false)?, cores).await,
            Self::Bare => start_references(&Reference::own(&["raw", "--each"], 1, false)?, cores).await,
            Self::Peer(peer, folder) => start_references(&Reference::peer(*peer, folder), cores).await,
            Self::Running { urls, dialect, pids } => {
                let mut running = Running::nothing(*dialect);
                running.urls.clone_from(urls);
                running.watched = pids.iter().map(|pid| watched("server", Role::Server, *pid)).collect();
                Ok(running)
            }
        }
    }
}

impl Running {
    fn nothing(dialect: Dialect) -> Self {
        let (urls, watched, nodes, programs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { urls, dialect, watched, _nodes: nodes, _programs: programs, _redis: None, _directory: None }
    }

    /// One of the nodes.
    pub(crate) fn node(&self, number: usize) -> Result<&Node, Fault> {
        Ok(self._nodes.get(number).ok_or("there is no such node")?)
    }

    /// Where its Redis is.
    pub(crate) fn redis_url(&self) -> Result<String, Fault> {
        Ok(self._redis.as_ref().map(RedisServer::url).ok_or("there is no Redis")?)
    }

    /// Starts a Redis that keeps nothing, on the servers' core; returns its URL.
    fn start_redis(&mut self, cores: &Cores) -> Result<String, Fault> {
        let redis = pin::on(&cores.server[..1], RedisServer::start)?;
        let (url, pid) = (redis.url(), redis.info("server", "process_id").parse()?);
        self.watched.push(watched("redis", Role::Redis, pid));
        self._redis = Some(redis);
        Ok(url)
    }
}

fn watched(name: &str, role: Role, pid: u32) -> Watched {
    Watched { name: name.to_owned(), role, pid }
}

async fn start_gateways(gateways: &Gateways, cores: &Cores, binary: &Path) -> Result<Running, Fault> {
    let cores = cores.with_servers(gateways.cores)?;
    let mut running = Running::nothing(Dialect::Native);
    let redis = running.start_redis(&cores)?;
    let directory = tempfile::Builder::new().prefix("bench-").tempdir()?;
    let file: PathBuf = directory.path().join("gateway.toml");
    std::fs::write(&file, gateways.namespace)?;
    for number in 1..=gateways.nodes {
        let mut environment: Vec<(String, String)> =
            RAISED_LIMITS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        environment.push(("GW_REDIS__URL".to_owned(), redis.clone()));
        environment.push(("GW_WORKERS".to_owned(), gateways.workers.to_string()));
        environment.extend(gateways.settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        let mut node = Node::new(format!("node-{number}"), binary, &file, environment)?;
        pin::on(&cores.server, || node.start())??;
        node.becomes(true, START_TIMEOUT).await?;
        running.urls.push(format!("ws://{}/ws", node.public()));
        running.watched.push(watched(node.name(), Role::Server, node.process().ok_or("a node does not run")?));
        running._nodes.push(node);
    }
    running._directory = Some(directory);
    Ok(running)
}

/// How a reference is started.
struct Reference {
    program: PathBuf,
    arguments: Vec<String>,
    nodes: usize,
    has_redis: bool,
    dialect: Dialect,
    path: &'static str,
}

impl Reference {
    /// One of this program's.
    fn own(words: &[&str], nodes: usize, has_redis: bool) -> Result<Self, Fault> {
        let arguments = ["reference"].iter().chain(words).map(|word| (*word).to_owned()).collect();
        let program = std::env::current_exe()?;
        Ok(Self { program, arguments, nodes, has_redis, dialect: Dialect::Native, path: "" })
    }

    /// One of npm's.
    fn peer(peer: Peer, folder: &Path) -> Self {
        let (script, dialect, path) = match peer {
            Peer::Ws => ("ws.js", Dialect::Native, ""),
            Peer::SocketIo => ("socketio.js", Dialect::SocketIo, "socket.io/?EIO=4&transport=websocket"),
        };
        let arguments = vec![folder.join(script).display().to_string()];
        Self { program: "node".into(), arguments, nodes: 2, has_redis: true, dialect, path }
    }
}

async fn start_references(reference: &Reference, cores: &Cores) -> Result<Running, Fault> {
    let mut running = Running::nothing(reference.dialect);
    let redis = if reference.has_redis { Some(running.start_redis(cores)?) } else { None };
    for number in 1..=reference.nodes {
        let address = free_address()?;
        let mut arguments = reference.arguments.clone();
        arguments.extend(["--listen".to_owned(), address.to_string()]);
        arguments.extend(redis.iter().flat_map(|redis| ["--redis".to_owned(), redis.clone()]));
        let started = pin::on(&cores.server, || Program::start(&reference.program, &arguments))??;
        let program = started.until_ready(START_TIMEOUT).await?;
        running.urls.push(format!("ws://{address}/{}", reference.path));
        running.watched.push(watched(&format!("node-{number}"), Role::Server, program.pid()?));
        running._programs.push(program);
    }
    Ok(running)
}
