//! Where scenarios play: starts contenders, has them loaded, and keeps the rows.

use super::contender::{Contender, Peer, Running};
use super::pin::{self, Cores};
use super::plan::{Group, Outcome, Plan};
use super::program::Program;
use super::report::Row;
use super::sample::Sample;
use super::usage::{Role, Usage};
use crate::Fault;
use std::path::PathBuf;
use std::time::Duration;

/// Beyond warm-up and measurement: to connect, and to wait for what never comes.
const LOAD_TIMEOUT: Duration = Duration::from_secs(240);

/// What was asked for on the command line.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The gateway that is measured.
    pub(crate) gateway: PathBuf,
    /// Few clients and little time: order and loss are checked, speed is not judged.
    pub(crate) short: bool,
    /// How often everything is measured.
    pub(crate) runs: usize,
    /// Seconds of a measurement.
    pub(crate) seconds: f64,
    /// Who runs where.
    pub(crate) cores: Cores,
    /// Where references of npm are installed.
    pub(crate) peers: Option<PathBuf>,
    /// In place of all contenders.
    pub(crate) instead: Option<Contender>,
    /// What was typed beside the scenario.
    pub(crate) flags: String,
}

/// A scenario while it plays.
pub(crate) struct Stage {
    /// What was asked for.
    pub(crate) options: Options,
    scenario: &'static str,
    /// What has been measured.
    pub(crate) rows: Vec<Row>,
    /// What the gateway lost or mixed up.
    pub(crate) damaged: usize,
}

/// The outcomes of one contender, a run each.
#[derive(Debug)]
pub(crate) struct Runs {
    /// What it is called.
    pub(crate) name: &'static str,
    /// Run by run.
    pub(crate) outcomes: Vec<Outcome>,
    is_own: bool,
    roles: Vec<Role>,
}

impl Stage {
    /// An empty stage.
    pub(super) fn new(scenario: &'static str, options: Options) -> Self {
        Self { options, scenario, rows: Vec::new(), damaged: 0 }
    }

    /// The small one in a short run.
    pub(crate) fn pick<T>(&self, short: T, long: T) -> T {
        if self.options.short { short } else { long }
    }

    /// Who is measured: these, or what was named on the command line in their place.
    pub(crate) fn contenders(&self, these: &[Contender]) -> Vec<Contender> {
        self.options.instead.as_ref().map_or_else(|| these.to_vec(), |instead| vec![instead.clone()])
    }

    /// What many run today, where it could be installed.
    pub(crate) fn peers(&self) -> Vec<Contender> {
        let Some(folder) = &self.options.peers else { return Vec::new() };
        [Peer::Ws, Peer::SocketIo].map(|peer| Contender::Peer(peer, folder.clone())).to_vec()
    }

    /// Starts a contender on its cores.
    pub(crate) async fn start(&self, contender: &Contender) -> Result<Running, Fault> {
        contender.start(&self.options.cores, &self.options.gateway).await
    }

    /// Loads what runs, from a process of its own on a core of its own.
    pub(crate) async fn load(&self, running: &Running, groups: &[Group]) -> Result<Outcome, Fault> {
        let seconds = self.options.seconds;
        let plan = Plan {
            urls: running.urls.clone(),
            dialect: running.dialect,
            watched: running.watched.clone(),
            warmup_s: (seconds / 3.0).min(2.0),
            measure_s: seconds,
            patience_s: 5.0,
            payload_bytes: 128,
            groups: groups.to_vec(),
        };
        let plan = serde_json::to_string(&plan)?;
        let program = std::env::current_exe()?;
        let generator = pin::on(&[self.options.cores.load], || Program::start(&program, &["load".to_owned()]))??;
        let answer = generator.answer(&plan, LOAD_TIMEOUT + Duration::from_secs_f64(seconds)).await?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// Measures all contenders in turn, as often as was asked for.
    pub(crate) async fn interleave(&mut self, these: &[Contender], groups: &[Group]) -> Result<Vec<Runs>, Fault> {
        let contenders = self.contenders(these);
        let mut all: Vec<Runs> = contenders.iter().map(Runs::new).collect();
        for run in 1..=self.options.runs {
            for (contender, runs) in contenders.iter().zip(&mut all) {
                let running = self.start(contender).await?;
                let outcome = self.load(&running, groups).await?;
                self.tell(run, contender, &outcome);
                runs.roles = running.watched.iter().map(|watched| watched.role).collect();
                self.judge(contender, &outcome);
                runs.outcomes.push(outcome);
            }
        }
        Ok(all)
    }

    /// Counts what was damaged. References are told of, and free to.
    pub(crate) fn judge(&mut self, contender: &Contender, outcome: &Outcome) {
        self.damaged += usize::from(!contender.is_reference() && !outcome.damage.is_none());
    }

    /// A line a measurement, for whoever waits.
    pub(crate) fn tell(&self, run: usize, contender: &Contender, outcome: &Outcome) {
        let deliveries: u64 = outcome.groups.iter().map(|group| group.deliveries).sum();
        let per_second = super::report::number(deliveries as f64 / outcome.seconds);
        let percent = |cpu_s: f64| format!("{:.0} %", 100.0 * cpu_s / outcome.seconds);
        let load = percent(outcome.load_cpu_s);
        let busy = if outcome.usage.is_empty() {
            "?".to_owned()
        } else {
            percent(outcome.usage.iter().map(Usage::cpu_s).sum())
        };
        println!(
            "  {:<16} run {run}  {:<12} {per_second:>12} deliveries/s, servers {busy}, generator {load}; {}",
            self.scenario,
            contender.name(),
            outcome.damage
        );
    }

    /// A figure for the table.
    pub(crate) fn row(&mut self, figure: impl Into<String>, sample: Sample, unit: &'static str) -> &mut Row {
        let command = format!("scripts/bench {}{}", self.scenario, self.options.flags);
        self.rows.push(Row::new(self.scenario, figure.into(), sample, unit, command));
        let last = self.rows.len() - 1;
        &mut self.rows[last]
    }
}

impl Runs {
    fn new(contender: &Contender) -> Self {
        let is_own = matches!(contender, Contender::Gateway(_));
        Self { name: contender.name(), outcomes: Vec::new(), is_own, roles: Vec::new() }
    }

    /// Whether this is the gateway.
    pub(crate) fn is_own(&self) -> bool {
        self.is_own
    }

    /// A figure of all runs.
    pub(crate) fn sample(&self, figure: impl Fn(&Outcome) -> f64) -> Sample {
        Sample::of(&self.outcomes, figure)
    }

    /// Whether it has a process of this role.
    pub(crate) fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Deliveries a second, of all groups.
    pub(crate) fn per_second(&self) -> Sample {
        self.sample(|outcome| deliveries(outcome) / outcome.seconds)
    }

    /// Deliveries for each second of processor that the servers took, Redis not counted; `None` if it is not known.
    pub(crate) fn per_server_second(&self) -> Option<Sample> {
        self.roles
            .contains(&Role::Server)
            .then(|| self.sample(|outcome| deliveries(outcome) / self.cpu_s(outcome, Role::Server)))
    }

    /// Seconds of processor that all processes of a role took.
    pub(crate) fn cpu_s(&self, outcome: &Outcome, role: Role) -> f64 {
        let usage = outcome.usage.iter().zip(&self.roles);
        usage.filter(|(_, of)| **of == role).map(|(usage, _)| usage.cpu_s()).sum()
    }
}

fn deliveries(outcome: &Outcome) -> f64 {
    outcome.groups.iter().map(|group| group.deliveries).sum::<u64>() as f64
}
