//! The command line.

use crate::Fault;
use crate::faults::{self, Length, scenarios};
use crate::references::Reference;
use crate::speed::{self, SpeedArgs};
use clap::{Args, Parser, Subcommand};
use std::path::{Path, PathBuf};

/// The harness could not do its work: something is missing, or a name is not known.
pub(crate) const EXIT_FAULT: u8 = 2;

/// Tries what the gateway promises, against a cluster that it starts itself on free ports of 127.0.0.1.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Breaks things while clients publish and subscribe, and counts what is lost, doubled, out of order, phantom, or
    /// acknowledged and lost. Ends with 0 if nothing is, 1 if something is, 2 if it could not be tried.
    Faults(FaultsArgs),
    Speed(SpeedArgs),
    /// A server to compare with. The harness starts it.
    #[command(subcommand, hide = true)]
    Reference(Reference),
    /// The generator: a plan on the standard input, what came of it on the standard output. The harness starts it.
    #[command(hide = true)]
    Load,
}

#[derive(Debug, Args)]
struct FaultsArgs {
    /// Scenarios by name, or by the beginning of names; all of them if there is none.
    scenarios: Vec<String>,
    /// What there is.
    #[arg(long)]
    list: bool,
    /// Few clients and short outages: for the tests.
    #[arg(long)]
    short: bool,
    /// How many scenarios run at a time. Above 1 they slow one another down.
    #[arg(long, default_value = "1", value_name = "N")]
    jobs: usize,
    /// The gateway to be tried; by default the one beside this program.
    #[arg(long, value_name = "PATH")]
    gateway: Option<PathBuf>,
}

impl Cli {
    /// Does what needs no runtime of the harness; `None` if that is not what was asked for.
    pub(crate) fn alone(&self) -> Option<Result<(), Fault>> {
        match &self.command {
            Command::Reference(reference) => Some(reference.serve()),
            Command::Load => Some(speed::load::main()),
            Command::Faults(_) | Command::Speed(_) => None,
        }
    }

    /// Does what was asked for; false if something was found.
    pub(crate) async fn run(self) -> Result<bool, Fault> {
        match self.command {
            Command::Faults(args) => args.run().await,
            Command::Speed(args) => args.run().await,
            Command::Reference(_) | Command::Load => Ok(true),
        }
    }
}

impl FaultsArgs {
    async fn run(self) -> Result<bool, Fault> {
        if self.list {
            for scenario in scenarios::ALL {
                println!("{:<24} {}", scenario.name, scenario.about);
            }
            return Ok(true);
        }
        let chosen = scenarios::chosen(&self.scenarios)?;
        let length = if self.short { Length::Short } else { Length::Long };
        faults::run_all(&chosen, length, self.jobs.max(1), &gateway(self.gateway.as_deref())?).await
    }
}

/// The gateway that was named, or the one beside this program.
pub(crate) fn gateway(named: Option<&Path>) -> Result<PathBuf, Fault> {
    let beside = std::env::current_exe()?.with_file_name("gateway");
    let path = named.map_or(beside, Path::to_owned);
    if !path.is_file() {
        let hint = "build it (cargo build -p gateway), or name one with --gateway";
        return Err(format!("{} is not there: {hint}", path.display()).into());
    }
    Ok(path.canonicalize()?)
}
