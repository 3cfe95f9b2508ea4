//! What the gateway promises, tried for real: `bench faults` breaks a cluster that it starts itself, and counts what is lost;
//! `bench speed` loads one, and what it is compared with.

mod cli;
mod cluster;
mod faults;
mod references;
mod speed;

use clap::Parser;
use std::process::ExitCode;

/// What keeps the harness from its work; not what it finds.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // The processes of a speed scenario have a thread, or a runtime, of their own kind.
    if let Some(done) = cli.alone() {
        return ended(done.map(|()| true));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(Fault::from).and_then(|runtime| runtime.block_on(cli.run()));
    ended(done)
}

fn ended(done: Result<bool, Fault>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("bench: {fault}");
            ExitCode::from(cli::EXIT_FAULT)
        }
    }
}
