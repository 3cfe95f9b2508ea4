//! What `bench speed` may be told, and what it then does.

use super::contender::{Contender, RAISED_LIMITS};
use super::load::Dialect;
use super::pin::Cores;
use super::scenarios::{self, Scenario};
use super::stage::{Options, Stage};
use super::{machine, report};
use crate::{Fault, cli};
use clap::Args;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// How often everything is measured.
const RUNS: usize = 3;

/// Seconds of one measurement.
const SECONDS: f64 = 8.0;

/// Measures how many deliveries a second of processor buys, and how long they take.
///
/// Each scenario starts what it compares on this machine: the gateway, code as tutorials write it, the least that an epoll
/// loop can do. Servers share one core, the generator has another; every delivery carries a stamp, so that loss and order
/// are checked for each subscriber. Everything is measured several times in turn, ratios are taken within a run, and the
/// median is told. Needs 2 cores with nothing else on them.
///
/// To measure what you run today instead, name it with --url. Two wires are spoken to it:
///
///   native   JSON text. To subscribe, the generator sends {"type":"subscribe","id":1,"channel":C} and waits for a text
///            with "subscribed" in it. To publish, {"type":"publish","channel":C,"data":"…"}. Whatever text brings the
///            data to a subscriber will do.
///   relay    No subscription: a text that one client sends comes to all that are connected. If the URL has {channel} in
///            it, each channel has a URL of its own (needed for scenarios with several channels). In those where subscribers
///            publish themselves (chat, neighbours, workers) it has to come to its sender too: /raw/{channel}?echo=1
///
///   scripts/bench fanout-1k --url ws://127.0.0.1:9000/ws --dialect relay --pid 4711
///
/// Pin your server to one core (taskset -c 0 …): the generator takes the last.
///
/// Ends with 0 if every promise was kept and nothing was lost, 1 if not, 2 if it could not be measured.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SpeedArgs {
    /// Scenarios by name, or by the beginning of names; all of them if there is none.
    scenarios: Vec<String>,
    /// What there is.
    #[arg(long)]
    list: bool,
    /// Few clients and little time: checks order and loss, and judges no speed.
    #[arg(long)]
    short: bool,
    /// How often everything is measured; 3 unless you say.
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// Seconds of each measurement; 8 unless you say.
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Measures what listens there, in place of everything else; several are its nodes, and clients take turns.
    #[arg(long, value_name = "URL")]
    url: Vec<String>,
    /// How that is spoken to.
    #[arg(long, value_enum, default_value = "native", requires = "url")]
    dialect: Dialect,
    /// A process of that, on this machine, whose processor time is measured; may be given several times.
    #[arg(long, value_name = "PID", requires = "url")]
    pid: Vec<u32>,
    /// The core of the servers and their Redis; the first unless you say.
    #[arg(long, value_name = "CORE")]
    server_core: Option<usize>,
    /// The core of the generator; the last unless you say.
    #[arg(long, value_name = "CORE")]
    load_core: Option<usize>,
    /// The gateway to be measured; by default the one beside this program.
    #[arg(long, value_name = "PATH")]
    gateway: Option<PathBuf>,
    /// Where references that npm has are installed (crates/bench/references); without it they are left out.
    #[arg(long, value_name = "FOLDER")]
    peers: Option<PathBuf>,
    /// Where the table is written.
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    out: PathBuf,
}

impl SpeedArgs {
    /// Measures, and writes the table; false if a promise was not kept or something was lost.
    pub(crate) async fn run(self) -> Result<bool, Fault> {
        if self.list {
            scenarios::ALL.iter().for_each(|scenario| println!("{:<16} {}", scenario.name, scenario.about));
            return Ok(true);
        }
        let chosen = scenarios::chosen(&self.scenarios)?;
        let options = self.options()?;
        let mut text = head(&options);
        println!("{text}");
        text.push_str(report::HEAD);
        let (mut rows, mut damaged, mut missed) = (Vec::new(), 0, 0);
        for scenario in chosen {
            let stage = play(scenario, &options).await?;
            let table = report::rows(&stage.rows, !options.short);
            println!("\n{}{table}", report::HEAD);
            text.push_str(&table);
            damaged += stage.damaged;
            missed += stage.rows.iter().filter(|row| row.is_kept() == Some(false) && !options.short).count();
            rows.extend(stage.rows);
            // After each scenario: a run of hours that is broken off has something to show.
            write(&self.out, &text)?;
        }
        println!("figures: {}, promises not kept: {missed}, measurements with damage: {damaged}", rows.len());
        println!("written to {}", self.out.join("speed.md").display());
        Ok(damaged == 0 && missed == 0)
    }

    fn options(&self) -> Result<Options, Fault> {
        let mut cores = Cores::usual()?;
        if let Some(core) = self.server_core {
            cores.server = vec![core];
        }
        cores.load = self.load_core.unwrap_or(cores.load);
        let instead = (!self.url.is_empty()).then(|| Contender::Running {
            urls: self.url.clone(),
            dialect: self.dialect,
            pids: self.pid.clone(),
        });
        let gateway = if instead.is_some() { PathBuf::new() } else { cli::gateway(self.gateway.as_deref())? };
        Ok(Options {
            gateway,
            short: self.short,
            runs: self.runs.unwrap_or(if self.short { 1 } else { RUNS }).max(1),
            seconds: self.seconds.unwrap_or(if self.short { 0.5 } else { SECONDS }).max(0.1),
            cores,
            peers: self.peers.as_ref().map(std::path::absolute).transpose()?,
            instead,
            flags: self.flags(),
        })
    }

    /// What makes a number anew beside the scenario's name.
    fn flags(&self) -> String {
        let mut flags = String::new();
        let mut add = |flag: &str, value: Option<String>| {
            if let Some(value) = value {
                let _ = write!(flags, " {flag}{}{value}", if value.is_empty() { "" } else { " " });
            }
        };
        add("--short", self.short.then(String::new));
        add("--runs", self.runs.map(|runs| runs.to_string()));
        add("--seconds", self.seconds.map(|seconds| seconds.to_string()));
        self.url.iter().for_each(|url| add("--url", Some(format!("'{url}'"))));
        self.pid.iter().for_each(|_| add("--pid", Some("PID".to_owned())));
        add("--dialect relay", (self.dialect == Dialect::Relay).then(String::new));
        add("--dialect socket-io", (self.dialect == Dialect::SocketIo).then(String::new));
        add("--server-core", self.server_core.map(|core| core.to_string()));
        add("--load-core", self.load_core.map(|core| core.to_string()));
        flags
    }
}

async fn play(scenario: &Scenario, options: &Options) -> Result<Stage, Fault> {
    println!("{}: {}", scenario.name, scenario.about);
    let mut stage = Stage::new(scenario.name, options.clone());
    (scenario.run)(&mut stage).await?;
    Ok(stage)
}

fn head(options: &Options) -> String {
    let mut text = format!("# Speed\n\n{}", machine::description());
    let _ = writeln!(
        text,
        "- servers and Redis on core {:?}, generator on core {}",
        options.cores.server, options.cores.load
    );
    let _ = writeln!(text, "- {} runs of {} s each, in turn; ratios are of one run", options.runs, options.seconds);
    if options.instead.is_none() {
        let raised: Vec<_> = RAISED_LIMITS.iter().map(|(key, value)| format!("`{key}={value}`")).collect();
        let _ = writeln!(text, "- limits of the gateway that the generator would reach, raised: {}", raised.join(", "));
        let _ =
            writeln!(text, "- without history and presence, which the others do not have, unless the scenario says so");
    }
    text.push('\n');
    text
}

fn write(folder: &Path, text: &str) -> Result<(), Fault> {
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(folder.join("speed.md"), text));
    written.map_err(|error| format!("{} cannot be written to: {error}", folder.display()).into())
}
