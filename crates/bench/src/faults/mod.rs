//! The fault harness: scenarios against a real cluster, and a checker that finds what was lost.
//!
//! A new scenario is a file in `scenarios`, and a line in its list.

mod check;
mod ledger;
mod load;
mod report;
mod scenario;
pub(crate) mod scenarios;
mod stage;

pub(crate) use stage::Length;

use crate::Fault;
use crate::cluster::Cluster;
use check::{Records, check};
use futures_util::stream::{self, StreamExt};
use ledger::Attempt;
use load::{Load, publish_last, read_logs};
use report::Report;
use scenario::Scenario;
use stage::Stage;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Several times what the longest scenario takes.
const SCENARIO_TIMEOUT: Duration = Duration::from_secs(600);

/// How long subscribers may take, after everything has been published, to have seen it.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs scenarios, so many at a time, and prints a table; false if one of them found something.
pub(crate) async fn run_all(
    chosen: &[&'static Scenario],
    length: Length,
    jobs: usize,
    gateway: &Path,
) -> Result<bool, Fault> {
    let has_redis = std::process::Command::new("redis-server").arg("--version").output().is_ok();
    if !has_redis {
        return Err("redis-server is not on the PATH: install it (Debian: apt-get install redis-server)".into());
    }
    println!("{} scenarios against {}", chosen.len(), gateway.display());
    let runs = stream::iter(chosen.iter().copied()).map(|scenario| run_one(scenario, length, gateway));
    let mut reports: Vec<Report> = runs.buffer_unordered(jobs).collect().await;
    reports.sort_by_key(|report| chosen.iter().position(|scenario| scenario.name == report.name));
    println!("\n{}", report::table(&reports));
    let failed = reports.iter().filter(|report| !report.is_good()).count();
    println!("scenarios: {} passed, {failed} failed", reports.len() - failed);
    Ok(failed == 0)
}

async fn run_one(scenario: &'static Scenario, length: Length, gateway: &Path) -> Report {
    let began_at = Instant::now();
    println!("  {:<22}           {}", scenario.name, scenario.about);
    let mut report = match prepare(scenario, length, gateway).await {
        Ok(stage) => play(scenario, stage).await,
        Err(fault) => Report::of_fault(scenario.name, &fault),
    };
    report.took = began_at.elapsed();
    report
}

async fn prepare(scenario: &'static Scenario, length: Length, gateway: &Path) -> Result<Stage, Fault> {
    let cluster = Cluster::start(&(scenario.plan)(length), gateway).await?;
    let load = Load::start(&(scenario.load)(length), &cluster).await?;
    Ok(Stage::new(scenario.name, cluster, load, length))
}

async fn play(scenario: &'static Scenario, mut stage: Stage) -> Report {
    let playing = async {
        (scenario.run)(&mut stage).await?;
        settle(&mut stage).await
    };
    // Whatever a broken cluster no longer answers.
    let records = timeout(SCENARIO_TIMEOUT, playing).await.unwrap_or_else(|_| Err("it does not come to an end".into()));
    let mut report = match records {
        Ok(records) => {
            let counts = check(&records, scenario.expect.keeps_data);
            Report::new(scenario, &stage, &records, counts)
        }
        Err(fault) => Report::of_fault(scenario.name, &fault),
    };
    if !report.is_good() {
        report.logs = Some(stage.cluster.keep_logs());
    }
    report
}

/// Stops publishing, waits until all that was published has been seen, and gathers the records.
async fn settle(stage: &mut Stage) -> Result<Records, Fault> {
    stage.tell("publishers stop");
    let mut attempts = stage.load.stop_publishers().await?;
    let url = &stage.cluster.running_url()?;
    let last = publish_last(&stage.load.channels, url).await?;
    let closing: Vec<_> = last.iter().filter(|a| is_acknowledged(a)).map(|a| (a.channel, a.stamp)).collect();
    attempts.extend(last);
    let deadline = Instant::now() + CATCH_UP_TIMEOUT;
    let mut late = 0;
    for subscriber in &mut stage.load.subscribers {
        late += u32::from(!subscriber.sees(&closing, deadline).await);
    }
    stage.expect(late == 0, || format!("{late} subscribers have not seen the last publication"));
    let logs = read_logs(&stage.load.channels, url).await?;
    let subscribers = stage.load.subscribers.iter().enumerate();
    let witnesses = subscribers.flat_map(|(number, subscriber)| subscriber.witnesses(number)).collect();
    Ok(Records { attempts, witnesses, logs })
}

fn is_acknowledged(attempt: &Attempt) -> bool {
    matches!(attempt.outcome, ledger::Outcome::Acknowledged(_))
}
