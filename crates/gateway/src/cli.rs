//! The command line: what there is, and the small commands that need no node.

pub(crate) mod dev_cert;
pub(crate) mod output;
pub(crate) mod remote;

use clap::{Parser, Subcommand};
use gateway::app::Running;
use gateway::auth::{Wish, mint};
use gateway::config::Config;
use gateway::config::audit::{Finding, audit, checklist};
use gateway::config::settings::variable;
use gateway::policy::quoted;
use gateway::tls::Tls;
use link::LinkConfig;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// A horizontally scaled WebSocket gateway: clients of any number of nodes share channels through Redis.
///
/// Without arguments it serves on port 8080 with broker and presence in its own memory. Settings come from a TOML file,
/// from GW_… variables and from --set, each stronger than the one before; `gateway print-config` lists them.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    /// A TOML file with settings.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, such as --set listen=0.0.0.0:9000 (may be given several times).
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// `EX_USAGE` of sysexits.h: the configuration or the command line is at fault.
pub(crate) const EXIT_USAGE: u8 = 64;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve until SIGTERM (the default).
    Serve,
    /// Check the configuration, tell every fault, and exit (0: good, 64: not).
    CheckConfig {
        /// Also check whether it is fit to serve the public: a list of all that matters, and 1 if something is wrong.
        #[arg(long)]
        production: bool,
    },
    /// Print every setting with its value in force, as TOML.
    PrintConfig,
    /// Mint a token for development, signed with auth.hmac_secret.
    Token {
        /// Who its bearer is (`sub`).
        #[arg(long)]
        user: String,
        /// What others see of the user: one JSON value (`info`).
        #[arg(long)]
        info: Option<String>,
        /// A role of the user (`roles`); may be given several times.
        #[arg(long)]
        role: Vec<String>,
        /// What the token grants (`caps`), such as --cap 'chat:*=subscribe,publish'; may be given several times.
        #[arg(long, value_name = "PATTERN=ACTIONS")]
        cap: Vec<String>,
        /// A channel that the token grants (`channels`); may be given several times.
        #[arg(long)]
        channel: Vec<String>,
        /// Makes it a token for one subscription, shown in `subscribe`.
        #[arg(long, value_name = "CHANNEL", conflicts_with_all = ["role", "cap", "channel", "info"])]
        subscribe: Option<String>,
        /// How long it holds.
        #[arg(long, default_value = "1h")]
        ttl: humantime::Duration,
    },
    /// Write a certificate and its key for development (cert.pem and key.pem), and say how to use them.
    DevCert {
        /// Where to.
        #[arg(long, default_value = ".", value_name = "DIRECTORY")]
        dir: PathBuf,
        /// Names and addresses by which it will be reached; localhost, 127.0.0.1 and ::1 unless told.
        names: Vec<String>,
    },
    /// Ask a node's admin port whether it may take traffic, and exit (0: yes, 1: no). For containers.
    Healthcheck {
        #[command(flatten)]
        admin: AdminPort,
    },
    /// Have a running node do what SIGTERM does: refuse newcomers, send its clients away, and end.
    Drain {
        #[command(flatten)]
        admin: AdminPort,
        /// Over how long; the node's own drain.window unless told.
        #[arg(long)]
        window: Option<humantime::Duration>,
        /// The process stays, without clients, until `gateway resume` or a signal.
        #[arg(long)]
        stay: bool,
        /// Say how far it is, until it is done.
        #[arg(long)]
        wait: bool,
    },
    /// Have a running node send a share of its clients to the other nodes, while it serves on. After a scale-up.
    Rebalance {
        #[command(flatten)]
        admin: AdminPort,
        /// How many of its clients.
        #[arg(long, value_parser = clap::value_parser!(u8).range(1..=100))]
        percent: u8,
        /// Over how long; the node's own drain.window unless told.
        #[arg(long)]
        window: Option<humantime::Duration>,
        /// Say how far it is, until it is done.
        #[arg(long)]
        wait: bool,
    },
    /// Close connections, on whatever nodes they are.
    Disconnect {
        #[command(flatten)]
        admin: AdminPort,
        #[command(flatten)]
        leaving: Leaving,
        /// They may come back (4110); if not said, they are told to stay away (4011).
        #[arg(long)]
        reconnect: bool,
        /// Another close code: 40xx to stay away, 41xx to come back.
        #[arg(long, conflicts_with = "reconnect")]
        code: Option<u16>,
    },
    /// Revoke tokens in the whole cluster; live connections by them are closed (4009).
    Revoke {
        #[command(flatten)]
        admin: AdminPort,
        /// The token with this id (`jti`).
        #[arg(long, value_name = "JTI", required_unless_present = "user", conflicts_with = "user")]
        token_id: Option<String>,
        /// All tokens of this user, also those that are still to be issued.
        #[arg(long)]
        user: Option<String>,
        /// Only those of the user that were issued before: now, Unix seconds, or a time such as 2026-01-31T12:00:00Z.
        #[arg(long, value_name = "TIME", requires = "user", value_parser = moment)]
        issued_before: Option<u64>,
        /// How long that is remembered, such as 2h; auth.revocations_kept of the node if not said.
        #[arg(long = "for", value_name = "DURATION")]
        kept: Option<humantime::Duration>,
    },
    /// Have a node that was drained with --stay take connections again.
    Resume {
        #[command(flatten)]
        admin: AdminPort,
    },
}

/// Whose connections are closed.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Leaving {
    /// All of a user.
    #[arg(long)]
    pub user: Option<String>,
    /// One, by its connection id (`client` in its welcome).
    #[arg(long)]
    pub client: Option<String>,
    /// All that subscribe to a channel.
    #[arg(long)]
    pub channel: Option<String>,
}

/// Unix seconds of a moment as people write it. Tokens say only the second in which they were issued, so `now` takes the
/// present one along.
fn moment(text: &str) -> Result<u64, String> {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match text.parse() {
        Ok(seconds) => Ok(seconds),
        Err(_) if text == "now" => Ok(seconds(SystemTime::now()) + 1),
        Err(_) => humantime::parse_rfc3339_weak(text).map(seconds).map_err(|error| error.to_string()),
    }
}

/// Which running node.
#[derive(Debug, clap::Args)]
pub(crate) struct AdminPort {
    /// The node's admin port.
    #[arg(long, default_value = "127.0.0.1:9180")]
    pub address: String,
}

/// Tells that the configuration holds, and what is open in it; for production, whether it may.
pub(crate) fn check(config: &Config, production: bool) -> ExitCode {
    let holds = "the configuration holds\n";
    if production || config.production {
        let findings = audit(config);
        let code = ExitCode::from(u8::from(findings.iter().any(Finding::is_failure)));
        return output::say(&format!("{holds}\n{}", checklist(&findings)), code);
    }
    let notes: String = openings(config).iter().map(|line| format!("note: {line}\n")).collect();
    output::say(&format!("{holds}{notes}"), ExitCode::SUCCESS)
}

/// What keeps a node from starting: with `production`, whatever is wrong for it.
pub(crate) fn unfit(config: &Config) -> Option<ExitCode> {
    let findings: Vec<_> = audit(config).into_iter().filter(Finding::is_failure).collect();
    if !config.production || findings.is_empty() {
        return None;
    }
    let list = checklist(&findings);
    output::complain(&format!("this node is not fit for production, and does not start (production = true):\n{list}"));
    Some(ExitCode::from(EXIT_USAGE))
}

/// Prints every setting, in a form that `--config` takes.
pub(crate) fn print(config: &Config) -> ExitCode {
    output::say(&printed(config), ExitCode::SUCCESS)
}

fn printed(config: &Config) -> String {
    let mut lines = vec![
        "# Every setting of the gateway, its variable, and its value. Give this file by --config.".to_owned(),
        "# Variables are stronger than the file, --set is stronger than both.".to_owned(),
    ];
    for known in &config.known {
        lines.push(format!("\n# {} ({}; default: {})", known.doc, variable(known.key), or_none(&known.default)));
        if known.is_secret {
            lines.push(format!("# {} = …, which is never printed", known.key));
            continue;
        }
        let hash = if known.value.is_empty() { "# " } else { "" };
        lines.push(format!("{hash}{} = {}", known.key, quoted(&known.value)));
    }
    lines.push(NAMESPACES.to_owned());
    lines.extend(config.policy.namespaces().iter().map(|namespace| format!("\n{namespace}")));
    lines.push(API_KEYS.to_owned());
    for key in config.api.keys.iter().filter(|key| key.name != "api.key") {
        let (name, scopes) = (&key.name, key.scopes);
        lines.push(format!("# [[api_key]] name = {name:?}, scopes = {scopes}, and a key, which is never printed"));
    }
    lines.join("\n") + "\n"
}

/// Namespaces are tables, which have no variables.
const NAMESPACES: &str = r#"
# Which channels there are, and their rules: the first pattern that takes a channel rules it.
#   pattern        a name, or the beginning of names and *; {user} stands for the user of a token: user:{user}, user:{user}:*
#                  (others are kept out, unless a token or role grants it expressly)
#   subscribe      anyone, authenticated, granted (by the token's caps or channels, by a role, or by a token for the
#                  subscription) or nobody: who may subscribe
#   publish        who may publish
#   read_presence  who may see members; as subscribe unless said
#   read_history   who may read history and recover; as subscribe unless said
#   roles          what a role of the token grants: roles.staff = ["publish"], or roles = ["staff"] for everything
#   events         the events that may be published; without it all, and publications without one
#   schema         a JSON Schema that payloads must be as: schema = "/etc/gateway/message.json"; schemas.typing = "…" for one
#                  event alone
#   presence       whether it is kept who is there
#   join_leave     whether subscribers are told who comes and goes
#   history        size: publications kept (0: none, at most once, no recovery); ttl: the log is dropped this long after the
#                  last one
#   state          keys: how many keys a channel retains (0: none); bytes: what they may take together; ttl: a key ends this
#                  long after it was last published
#   slow           what becomes of a subscriber that does not keep up: close (4102); drop_oldest: the oldest publications
#                  that wait for it go; latest: only the newest waits, of each key that is retained; a gap tells what went
#   max_message    larger payloads are refused (too_large); without it, only by limits.max_message
#   hooks          what the application is asked before it happens: of "subscribe" and "publish" (hooks.….url)
#   client_events  whether it is told of publications that have an event's name (webhooks.url)"#;

/// Keys are tables too.
const API_KEYS: &str = r#"
# Further keys of the server API, each for less than everything:
#   [[api_key]]
#   name      what people call it
#   key       at least 16 bytes, or key_file: a file that holds it
#   scopes    of publish, read, admin: scopes = ["publish", "read"]
#   rate      how fast it may ask one node: "100/s burst 200"; without it, no limit"#;

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

/// Mints a token that this configuration takes.
pub(crate) fn token(config: &Config, wish: Wish) -> ExitCode {
    let auth = &config.auth;
    let Some(secret) = &auth.hmac_secret else {
        output::complain("there is no secret to sign with: set auth.hmac_secret (GW_AUTH__HMAC_SECRET)");
        return ExitCode::from(EXIT_USAGE);
    };
    let wish = Wish { audience: auth.audience.clone(), issuer: auth.issuer.clone(), ..wish };
    match mint(secret, wish) {
        Ok(token) => output::say(&format!("{token}\n"), ExitCode::SUCCESS),
        Err(error) => {
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// The start-up lines: what is served where, and what is off or open and why.
pub(crate) fn announce(running: &Running) {
    let config = &running.node.config;
    let host = if running.public.ip().is_unspecified() { "localhost".into() } else { running.public.ip().to_string() };
    let port = running.public.port();
    let s = if config.tls.is_some() { "s" } else { "" };
    let mut lines = vec![
        format!("gateway {} node {} with {} workers", env!("CARGO_PKG_VERSION"), running.node.id, config.workers),
        format!("  try it      http{s}://{host}:{port}/           /chat is a chat"),
        format!("  WebSocket   ws{s}://{host}:{port}/ws           native JSON, see crates/protocol/PROTOCOL.md"),
        format!("  raw relay   ws{s}://{host}:{port}/raw/<channel> every message to everyone, verbatim"),
        format!("  admin       http://{}/metrics  /healthz  /readyz", running.admin),
    ];
    if running.node.api.is_some() {
        lines.push(format!("  server API  http://{host}:{port}/api/v1/openapi.json says what there is"));
    }
    lines.push(match &config.redis {
        Some(LinkConfig { prefix, sentinel: Some(sentinel), .. }) => {
            format!(
                "  broker      the Redis that sentinels name for `{}`, keys and topics under `{prefix}`",
                sentinel.master
            )
        }
        Some(redis) => format!("  broker      Redis, keys and topics under `{}`", redis.prefix),
        None => "  broker      in memory: this node is alone (redis.url is not set)".to_owned(),
    });
    let (connections, wanted) = (running.node.places.total(), config.worker.connections_max);
    if connections < wanted {
        lines.push(format!(
            "  note        {connections} connections at most: more open files are not allowed (ulimit -n)"
        ));
    }
    lines.extend(openings(config).into_iter().map(|line| format!("  note        {line}")));
    if config.log.json {
        lines.iter().for_each(|line| tracing::info!("{}", line.trim()));
    } else {
        lines.iter().for_each(|line| output::mention(line));
    }
}

/// What a newcomer should know is open, off or lost.
fn openings(config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    if config.auth.anonymous {
        lines.push(
            "ANYONE may connect, publish and subscribe (auth.anonymous); set auth.hmac_secret to ask for tokens".into(),
        );
    }
    if config.auth.hmac_secret.as_ref().is_some_and(|secret| secret.len() < 32) {
        lines.push("auth.hmac_secret is shorter than 32 bytes: it can be guessed".into());
    }
    if config.http.origins.is_empty() {
        lines.push("browsers may connect from pages of this same host only (origins)".into());
    }
    lines.extend(config.tls.as_ref().and_then(Tls::warning));
    if config.redis.is_none() {
        lines.push("history and presence end with this process; set redis.url to share them between nodes".into());
    }
    lines
}
