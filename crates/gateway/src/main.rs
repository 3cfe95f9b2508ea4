//! The program, read aloud: arguments, configuration, run, exit codes.

mod cli;

use clap::Parser;
use cli::{Cli, Command, EXIT_USAGE};
use gateway::app::{self, MemoryCluster};
use gateway::config::{Config, ConfigError, LogConfig};
use gateway::inbox::Item;
use gateway::node::Node;
use protocol::CloseCode;
use std::io::IsTerminal;
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::Healthcheck { address }) = &cli.command {
        return cli::healthcheck(address);
    }
    let config = match Config::from_process(cli.config.as_ref(), cli.set) {
        Ok(config) => config,
        Err(error) => return misconfigured(&error),
    };
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(config),
        Command::CheckConfig => cli::check(&config),
        Command::PrintConfig => cli::print(&config),
        Command::Token { user, info, ttl } => cli::token(&config, &user, info.as_deref(), ttl.into()),
        Command::Healthcheck { .. } => ExitCode::SUCCESS,
    }
}

fn misconfigured(error: &ConfigError) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(EXIT_USAGE)
}

fn serve(config: Config) -> ExitCode {
    start_log(&config.log);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
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
            eprintln!("the gateway cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    cli::announce(&running);
    tokio::select! {
        name = signals.next() => tracing::info!(signal = name, "stopping: clients are told to come back elsewhere"),
        () = running.failed() => {
            tracing::error!("a worker ended; the node cannot go on");
            return ExitCode::FAILURE;
        }
    }
    running.drain();
    let node = running.node.clone();
    tokio::select! {
        () = running.ended() => {}
        () = hurry_when_told_again(&node, &mut signals) => {}
    }
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

/// A second signal cuts the goodbyes short; the end is still an orderly one.
async fn hurry_when_told_again(node: &Node, signals: &mut StopSignals) {
    let signal = signals.next().await;
    tracing::info!(signal, "told again: closing whoever is left");
    node.tell_workers(|| Item::Stop(CloseCode::GoingAway));
    std::future::pending::<()>().await;
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
    let log = log.with_ansi(std::io::stderr().is_terminal());
    if config.json { log.json().init() } else { log.with_target(false).init() }
}
