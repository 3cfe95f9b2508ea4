//! The gateway's configuration: every setting is read here, from the layers of [`settings`], and nowhere else.

mod api;
pub mod audit;
mod auth;
mod hooks;
mod memory;
mod namespaces;
mod redis;
pub mod settings;
mod socketio;
mod tls;

use crate::api::ApiConfig;
use crate::auth::AuthConfig;
use crate::engine::EngineConfig;
use crate::hooks::HooksConfig;
use crate::http::HttpConfig;
use crate::inbox::InboxConfig;
use crate::limit::{Rate, Rates};
use crate::policy::Policy;
use crate::shedding::DrainConfig;
use crate::tls::Tls;
use crate::webhooks::WebhooksConfig;
use crate::websocket::deflate::DeflateConfig;
use crate::worker::WorkerConfig;
use broker::redis::BrokerConfig;
use link::LinkConfig;
use presence::PresenceConfig;
use settings::{Known, Settings, Sources};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use users::Rule;

/// All of a node's configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// It is to serve the public: a node does not start on what [`audit`] finds wrong.
    pub production: bool,
    /// The public port.
    pub listen: SocketAddr,
    /// The admin port.
    pub admin_listen: SocketAddr,
    /// Redis; without it the node is alone, with broker and presence in its memory.
    pub redis: Option<LinkConfig>,
    /// Nobody else is on the network to it.
    pub redis_network_is_private: bool,
    /// The node's name; random when not given.
    pub node_id: Option<String>,
    /// Threads that own sockets.
    pub workers: usize,
    /// Whom the server API serves.
    pub api: ApiConfig,
    /// How tokens are checked.
    pub auth: AuthConfig,
    /// How many revocations are remembered, and how long.
    pub revocations: RevocationsConfig,
    /// How many connections a user may have at once.
    pub sessions: Rule,
    /// What the application is asked.
    pub hooks: HooksConfig,
    /// What it is told; `None`: nothing.
    pub webhooks: Option<WebhooksConfig>,
    /// What is asked of HTTP requests.
    pub http: HttpConfig,
    /// Sessions of Socket.IO.
    pub socketio: EngineConfig,
    /// TLS of the public port, where this node ends it itself.
    pub tls: Option<Tls>,
    /// How many handshakes the node completes.
    pub admission_rate: Rate,
    /// What connections may do and how long they may take.
    pub worker: WorkerConfig,
    /// How much may wait for a worker.
    pub inbox: InboxConfig,
    /// How much may wait for Redis.
    pub broker: BrokerConfig,
    /// Who may do what in which channels, and what channels keep.
    pub policy: Policy,
    /// How presence is kept.
    pub presence: PresenceConfig,
    /// How the node says goodbye.
    pub drain: DrainConfig,
    /// How long a node may be without its broker before it sends its clients away; zero: for ever.
    pub isolation_grace: Duration,
    /// How long a channel is kept subscribed to after its last local subscriber.
    pub subscribe_linger: Duration,
    /// Log lines.
    pub log: LogConfig,
    /// Every setting and its value in force, for `print-config`.
    pub known: Vec<Known>,
}

/// What becomes of revocations.
#[derive(Debug, Clone, Copy)]
pub struct RevocationsConfig {
    /// How long one is remembered that does not say so itself: as long as the tokens of the longest life live.
    pub kept: Duration,
    /// How many are; a further one is refused.
    pub max: usize,
}

/// How the log is written.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// One JSON object a line instead of text.
    pub json: bool,
    /// A level, or directives as `tracing_subscriber::EnvFilter` takes them.
    pub filter: String,
}

/// Every fault of a configuration, one a line.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// All faults at once.
    pub fn load(sources: &Sources<'_>) -> Result<Self, ConfigError> {
        let mut s = Settings::read(sources);
        let production =
            s.flag("production", "false", "refuse to start on what `gateway check-config --production` finds wrong");
        let listen = s.parsed("listen", "0.0.0.0:8080", "the public port");
        let admin_listen = s.parsed("admin.listen", "127.0.0.1:9180", "health and metrics; never public");
        let redis = redis::read(&mut s);
        let redis_network_is_private = s.flag(
            "redis.private_network",
            "false",
            "nobody else is on the network to Redis: `production` takes plain redis:// over it",
        );
        let node_id = s.get("node.id", "", "the node's name; random when empty", check_node_id).flatten();
        let workers = s.get("workers", "0", "threads that own sockets; 0 = one a core", check_workers);
        let api = api::read(&mut s);
        let auth = auth::read(&mut s);
        let revocations = auth::read_revocations(&mut s);
        let sessions = s
            .parsed(
                "sessions",
                "allow",
                "connections of one user in the cluster: allow, limit N (then 4109), or newest (4008)",
            )
            .unwrap_or_default();
        let hooks = hooks::read(&mut s);
        let webhooks = hooks::read_webhooks(&mut s);
        let http = read_http(&mut s);
        let socketio = socketio::read(&mut s);
        let tls = tls::read(&mut s);
        let admission_rate =
            s.rate("admission.rate", "2000/s", "new connections of this node; over it 503 and Retry-After");
        let worker = read_worker(&mut s);
        let inbox = read_inbox(&mut s);
        let broker = read_broker(&mut s);
        let presence = read_presence(&mut s);
        let subscribe_linger =
            s.duration("subscribe.linger", "5s", "a channel stays subscribed to this long after its last subscriber");
        let drain = read_drain(&mut s);
        let isolation_grace = s.duration(
            "isolation_grace",
            "60s",
            "without its broker this long, a node sends its clients away; 0s: never",
        );
        let log = read_log(&mut s);
        let tables = s.tables("namespace");
        let mut policy = namespaces::read(&tables, &mut s);
        hooks::check(&hooks, webhooks.is_some(), &mut policy, !tables.is_empty(), &mut s);
        let known = s.finish(&["namespace", "api_key"]).map_err(ConfigError)?;
        // `finish` has failed if any of these is absent.
        let (Some(listen), Some(admin_listen), Some(workers)) = (listen, admin_listen, workers) else {
            return Err(ConfigError(Vec::new()));
        };
        Ok(Self {
            production,
            listen,
            admin_listen,
            redis,
            redis_network_is_private,
            node_id,
            workers,
            api,
            auth,
            revocations,
            sessions,
            hooks,
            webhooks,
            http,
            socketio,
            tls,
            admission_rate,
            worker,
            inbox,
            broker,
            policy,
            presence,
            drain,
            isolation_grace,
            subscribe_linger,
            log,
            known,
        })
    }

    /// The configuration of these settings alone, without the process' environment: for tests and embedding.
    pub fn from_overrides(overrides: &[&str]) -> Result<Self, ConfigError> {
        let overrides = overrides.iter().map(|o| (*o).to_owned()).collect();
        Self::load(&Sources { file: None, environment: Some([].into()), overrides })
    }

    /// The configuration of a file (if any), the process' environment and overrides.
    pub fn from_process(file: Option<&PathBuf>, overrides: Vec<String>) -> Result<Self, ConfigError> {
        Self::load(&Sources { file: file.map(PathBuf::as_path), environment: None, overrides })
    }
}

fn check_node_id(text: &str) -> Result<Option<String>, String> {
    let fits = text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !fits {
        return Err(format!("`{text}`: up to 64 letters, digits, `-` and `_`"));
    }
    Ok(Some(text.to_owned()).filter(|t| !t.is_empty()))
}

fn check_workers(text: &str) -> Result<usize, String> {
    let count: usize = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    match count {
        0 => Ok(std::thread::available_parallelism().map_or(1, usize::from).min(crate::node::MAX_WORKERS)),
        n if n <= crate::node::MAX_WORKERS => Ok(n),
        _ => Err(format!("`{text}`: at most {}", crate::node::MAX_WORKERS)),
    }
}

fn read_http(s: &mut Settings) -> HttpConfig {
    let origins = s.list("origins", "allowed Origins of browsers, separated by commas; * for all; none: the same host");
    let trusted_proxies: Vec<_> = s.list("trusted_proxies", "CIDRs whose X-Forwarded-For is believed");
    let doc = "every connection begins with a PROXY header (v1 or v2), and comes from trusted_proxies";
    let proxy_protocol = s.flag("proxy_protocol", "false", doc);
    if proxy_protocol && trusted_proxies.is_empty() {
        s.fault("proxy_protocol (GW_PROXY_PROTOCOL): without trusted_proxies nobody may connect".to_owned());
    }
    let doc = "requests of clients by plain HTTP that this node answers at once; over it 503 and Retry-After";
    let requests_max = s.count("limits.http_requests", "256", doc);
    let (header_timeout, hsts) = (Duration::from_secs(5), tls::hsts(s));
    HttpConfig { origins, trusted_proxies, proxy_protocol, header_timeout, hsts, requests_max }
}

fn read_worker(s: &mut Settings) -> WorkerConfig {
    WorkerConfig {
        max_message_bytes: s.size("limits.max_message", "64KiB", "a larger message closes its connection (1009)", 125),
        connections_max: s.count(
            "limits.connections",
            "1000000",
            "connections of this node, as far as open files allow",
        ),
        connections_per_address_max: s
            .get("limits.connections_per_address", "", "connections from one address; none: no limit", optional_count)
            .flatten(),
        unfinished_per_address_max: s
            .get(
                "limits.unfinished_per_address",
                "",
                "streams from one address that have yet to shake hands; none: no limit",
                optional_count,
            )
            .flatten(),
        connections_per_user_max: s
            .get(
                "limits.connections_per_user",
                "",
                "connections of one user on this node; none: no limit",
                optional_count,
            )
            .flatten(),
        handshakes_per_address: s
            .get(
                "limits.handshakes_per_address",
                "",
                "handshakes from one address, such as 20/s burst 100 (then 429); none: no limit",
                optional_rate,
            )
            .flatten(),
        messages_per_user: s
            .get(
                "limits.messages_per_user",
                "",
                "commands of all connections of one user on this node; none: no limit",
                optional_rate,
            )
            .flatten(),
        channels_per_connection_max: s.count(
            "limits.channels_per_connection",
            "128",
            "subscriptions of one connection",
        ),
        rates: read_rates(s),
        message_time: s.positive_duration(
            "limits.message_time",
            "30s",
            "how long a message may take from its first byte to its last (then 4107)",
        ),
        idle: s.duration(
            "limits.idle",
            "0s",
            "a connection without a subscription that says nothing for so long is closed (4108); 0s: never",
        ),
        bad_messages_max: s
            .parsed("limits.bad_messages", "10", "a connection is closed (4010) after this many")
            .unwrap_or_default(),
        deflate: read_deflate(s),
        outbox_bytes: s.size(
            "outbox.bytes",
            "1MiB",
            "what may wait for a client that reads slowly (then as its namespace's `slow` says)",
            4096,
        ),
        budget_bytes: s
            .get(
                "outbox.budget",
                "auto",
                "what all clients together may make the node hold (then the worst give way); auto: a quarter of its memory",
                memory::parse_budget,
            )
            .unwrap_or_default(),
        outbox_timeout: s.positive_duration(
            "outbox.timeout",
            "30s",
            "a client that takes nothing of what waits for it is closed (4102)",
        ),
        ping_interval: s.positive_duration("ping.interval", "25s", "how often a quiet connection is pinged"),
        ping_timeout: s.positive_duration("ping.timeout", "20s", "how long the answer may take (then 4103)"),
        publish_deadline: s.positive_duration("publish.deadline", "2s", "a publication has its answer by then"),
        flush_tick_max: s
            .get(
                "flush.tick",
                "auto",
                "how long deliveries may wait to leave with others while a worker is busy writing; auto: 10ms; 0s: never",
                flush_tick,
            )
            .unwrap_or_default(),
    }
}

/// Longer than a tenth of a second would be felt, and saves nothing more.
fn flush_tick(text: &str) -> Result<Duration, String> {
    let longest = Duration::from_millis(100);
    match text {
        "auto" => Ok(Duration::from_millis(10)),
        // As in the environment of those who know only that it is to be off.
        "0" => Ok(Duration::ZERO),
        _ => match humantime::parse_duration(text) {
            Ok(tick) if tick <= longest => Ok(tick),
            Ok(_) => Err(format!("`{text}`: at most 100ms")),
            Err(error) => Err(format!("`{text}` is neither a time nor auto: {error}")),
        },
    }
}

fn read_deflate(s: &mut Settings) -> DeflateConfig {
    DeflateConfig {
        is_enabled: s.flag("deflate.enabled", "true", "compress messages for clients that offer permessage-deflate"),
        threshold_bytes: s.size("deflate.threshold", "1KiB", "smaller messages are sent as they are", 1),
        level: s
            .get("deflate.level", "1", "1 (fastest) to 9 (smallest)", |text| match text.parse() {
                Ok(level @ 1..=9) => Ok(level),
                _ => Err(format!("`{text}` is not a number from 1 to 9")),
            })
            .unwrap_or(1),
    }
}

fn read_rates(s: &mut Settings) -> Rates {
    Rates {
        messages: s.rate("limits.messages", "100/s burst 200", "commands of one connection"),
        control: s.rate("limits.control_frames", "100/s burst 200", "pings and pongs of one connection (then 4101)"),
        new_channels: s.rate(
            "limits.new_channels",
            "10/s burst 300",
            "channels that a connection opens or reads and nobody else of the node uses",
        ),
    }
}

fn optional_rate(text: &str) -> Result<Option<Rate>, String> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

fn optional_count(text: &str) -> Result<Option<usize>, String> {
    match text.parse() {
        _ if text.is_empty() => Ok(None),
        Ok(count) if count > 0 => Ok(Some(count)),
        _ => Err(format!("`{text}` is not a number above 0")),
    }
}

fn read_inbox(s: &mut Settings) -> InboxConfig {
    InboxConfig {
        max_deliveries: s
            .parsed(
                "inbox.deliveries",
                "65536",
                "deliveries that may wait for a worker; what is lost beyond is read again",
            )
            .unwrap_or_default(),
        max_bytes: s.size("inbox.bytes", "64MiB", "bytes of those", 1 << 20),
    }
}

fn read_broker(s: &mut Settings) -> BrokerConfig {
    BrokerConfig {
        queue_publications: s.count(
            "broker.queue_publications",
            "16384",
            "publications that may wait for Redis (then: unavailable)",
        ),
        queue_bytes: s.size("broker.queue_bytes", "64MiB", "bytes of those", 1 << 20),
        held_bytes: s.size(
            "broker.held_bytes",
            "64MiB",
            "bytes that may be held while a channel's log is read",
            1 << 20,
        ),
        unused_ttl: broker::UNUSED_TTL,
    }
}

fn read_presence(s: &mut Settings) -> PresenceConfig {
    PresenceConfig {
        lease: s.positive_duration("presence.lease", "6s", "how long the members of a dead node are shown"),
        grace: s.duration("presence.grace", "2s", "how long a broken connection's member is still shown"),
        members_max: s
            .parsed("presence.members_max", "1000", "channels with more users report counts only")
            .unwrap_or_default(),
    }
}

fn read_drain(s: &mut Settings) -> DrainConfig {
    let pace = |text: &str| match Rate::from_str(text) {
        Ok(_) if text.contains("burst") => Err(format!("`{text}`: a pace has no burst")),
        rate => rate.map(|rate| f64::from(rate.per_second)),
    };
    DrainConfig {
        window: s.duration("drain.window", "20s", "over which a stopping node says goodbye to its clients"),
        returns_per_second: s
            .get(
                "drain.rate",
                "2000/s",
                "how fast they are told to come back: no faster than the other nodes admit them",
                pace,
            )
            .unwrap_or(1.0),
    }
}

fn read_log(s: &mut Settings) -> LogConfig {
    let format = |text: &str| match text {
        "text" => Ok(false),
        "json" => Ok(true),
        _ => Err(format!("`{text}`: text or json")),
    };
    LogConfig {
        json: s.get("log.format", "text", "text or json", format).unwrap_or_default(),
        filter: s.parsed("log.level", "info", "error, warn, info, debug or trace").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
