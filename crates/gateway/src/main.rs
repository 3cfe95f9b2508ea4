//! The program, read aloud: arguments, configuration, run, exit codes.

mod cli;

use clap::Parser;
use cli::remote::{self, Order};
use cli::{Cli, Command, EXIT_USAGE, Leaving, output};
use gateway::app::{self, MemoryCluster};
use gateway::auth::Wish;
use gateway::config::{Config, ConfigError, LogConfig};
use gateway::drain;
use gateway::inbox::Item;
use gateway::node::Node;
use protocol::CloseCode;
use serde_json::json;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::signal::unix::{Signal, SignalKind, signal};

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(done) = cli.command.as_ref().and_then(ask_a_node) {
        return done;
    }
    let config = match Config::from_process(cli.config.as_ref(), cli.set) {
        Ok(config) => config,
        Err(error) => return misconfigured(&error),
    };
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(config),
        Command::CheckConfig { production } => cli::check(&config, production),
        Command::PrintConfig => cli::print(&config),
        Command::Token { user, info, role, cap, channel, subscribe, ttl } => {
            let asked = Wish { user, info, roles: role, caps: cap, channels: channel, ..Wish::default() };
            cli::token(&config, Wish { subscription: subscribe, lifetime: ttl.into(), ..asked })
        }
        // Asked already.
        Command::DevCert { .. }
        | Command::Healthcheck { .. }
        | Command::Drain { .. }
        | Command::Rebalance { .. }
        | Command::Resume { .. }
        | Command::Disconnect { .. }
        | Command::Revoke { .. } => ExitCode::SUCCESS,
    }
}

/// The commands that need no configuration: most are for another process.
fn ask_a_node(command: &Command) -> Option<ExitCode> {
    let text = |window: &Option<humantime::Duration>| window.as_ref().map(ToString::to_string);
    let (admin, path, wait) = match command {
        Command::DevCert { dir, names } => return Some(cli::dev_cert::run(dir, names)),
        Command::Healthcheck { admin } => return Some(remote::healthcheck(&admin.address)),
        Command::Drain { admin, window, stay, wait } => {
            let exit = stay.then(|| "false".to_owned());
            (admin, remote::with_query("/drain", &[("window", text(window)), ("exit", exit)]), *wait)
        }
        Command::Rebalance { admin, percent, window, wait } => {
            let query = [("percent", Some(percent.to_string())), ("window", text(window))];
            (admin, remote::with_query("/rebalance", &query), *wait)
        }
        Command::Resume { admin } => (admin, "/resume".to_owned(), false),
        Command::Disconnect { admin, leaving: Leaving { user, client, channel }, reconnect, code } => {
            let body =
                json!({"user": user, "client": client, "channel": channel, "reconnect": reconnect, "code": code});
            return Some(remote::tell(&admin.address, "/disconnect", &body));
        }
        Command::Revoke { admin, token_id, user, issued_before, kept } => {
            let until = kept.map(|kept| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                now.saturating_add(*kept).as_secs()
            });
            let body = json!({"token_id": token_id, "user": user, "issued_before": issued_before, "until": until});
            return Some(remote::tell(&admin.address, "/revoke", &body));
        }
        Command::Serve | Command::CheckConfig { .. } | Command::PrintConfig | Command::Token { .. } => return None,
    };
    Some(remote::give(&Order { address: &admin.address, path, wait }))
}

fn misconfigured(error: &ConfigError) -> ExitCode {
    output::complain(&error.to_string());
    ExitCode::from(EXIT_USAGE)
}

fn serve(config: Config) -> ExitCode {
    if let Some(refused) = cli::unfit(&config) {
        return refused;
    }
    start_log(&config.log);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(run(config))
}

async fn run(config: Config) -> ExitCode {
    // From here on: a signal that comes while the node starts, or between two of them, is not lost.
    let mut signals = StopSignals::listen();
    let mut running = match app::start(config, &MemoryCluster::default()).await {
        Ok(running) => running,
        Err(error) => {
            output::complain(&format!("the gateway cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    cli::announce(&running);
    let node = running.node.clone();
    let is_signalled = tokio::select! {
        name = signals.next() => {
            stop(&node, name);
            true
        }
        // By hand, on the admin port.
        () = node.shedding.stopping() => false,
        () = running.failed() => {
            tracing::error!("a worker ended; the node cannot go on");
            return ExitCode::FAILURE;
        }
    };
    tokio::select! {
        () = running.ended() => {}
        () = hear_out(&node, &mut signals, is_signalled) => {}
    }
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

fn stop(node: &Arc<Node>, signal: &str) {
    tracing::info!(signal, "stopping: clients are told to come back elsewhere");
    drain::stop(node);
}

/// The first signal has its window, also where the node was stopping by hand; a second one cuts the goodbyes short. The
/// end is still an orderly one.
async fn hear_out(node: &Arc<Node>, signals: &mut StopSignals, mut is_signalled: bool) {
    loop {
        let signal = signals.next().await;
        if is_signalled {
            tracing::info!(signal, "told again: closing whoever is left");
            node.tell_workers(|| Item::Stop(CloseCode::GoingAway));
        } else {
            stop(node, signal);
            is_signalled = true;
        }
    }
}

/// The signals that ask for the end: SIGTERM and SIGINT. Unheard, either would kill the process without a goodbye.
struct StopSignals(Option<(Signal, Signal)>);

impl StopSignals {
    fn listen() -> Self {
        let heard = signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
        if let Err(error) = &heard {
            tracing::error!(%error, "signals cannot be listened to: this process must be killed to stop");
        }
        Self(heard.ok())
    }

    async fn next(&mut self) -> &'static str {
        let Some((term, interrupt)) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    }
}

fn start_log(config: &LogConfig) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Told of nowhere else than stderr, a log that cannot be written there would be a panic.
    let log = log.with_ansi(std::io::stderr().is_terminal()).log_internal_errors(false);
    if config.json { log.json().init() } else { log.with_target(false).init() }
}
