//! Redis dies and comes back: with its data, with an older dataset, with nothing.

use super::{usual_load, usual_plan};
use crate::Fault;
use crate::cluster::Plan;
use crate::faults::scenario::{Expect, Gaps, Scenario};
use crate::faults::stage::Stage;
use futures_util::FutureExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is lost is lost, and said once; a client notices nothing else.
const LOSSY: Expect = Expect { keeps_data: false, gaps: Gaps::One, ..Expect::UNNOTICED };

pub(super) const RESTART: Scenario = Scenario {
    name: "redis-restart",
    about: "Redis is killed and comes back with its data",
    plan: usual_plan,
    load: usual_load,
    expect: Expect::UNNOTICED,
    run: |stage| restart(stage).boxed(),
};

pub(super) const OLDER: Scenario = Scenario {
    name: "redis-older-data",
    about: "Redis is killed and comes back with a dataset that was older",
    plan: usual_plan,
    load: usual_load,
    expect: LOSSY,
    run: |stage| older(stage).boxed(),
};

pub(super) const EMPTY: Scenario = Scenario {
    name: "redis-empty",
    about: "Redis is killed and comes back with nothing; presence is rebuilt by its owners",
    plan: |length| Plan { durable: false, ..usual_plan(length) },
    load: usual_load,
    expect: LOSSY,
    run: |stage| empty(stage).boxed(),
};

async fn restart(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(700, 3000).await;
    for outage in stage.length.pick(&[1500, 300][..], &[1000, 200, 10_000, 30_000]) {
        down(stage, *outage).await?;
        start(stage)?;
        stage.expect_ready().await;
        stage.pass(1500, 4000).await;
    }
    Ok(())
}

async fn older(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(700, 3000).await;
    let files = stage.cluster.redis().directory().to_owned();
    let kept = tempfile::tempdir()?;
    // Every answered write is on disk, so that a copy is a dataset as it once was, cut off at most in its last command.
    copy(&files, kept.path())?;
    stage.tell("Redis' files are copied");
    stage.pass(700, 3000).await;
    down(stage, 500).await?;
    copy(kept.path(), &files)?;
    start(stage)?;
    stage.expect_ready().await;
    stage.pass(2500, 6000).await;
    Ok(())
}

async fn empty(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(700, 3000).await;
    down(stage, 500).await?;
    start(stage)?;
    stage.expect_ready().await;
    stage.pass(2500, 6000).await;
    stage.expect_presence(Duration::from_secs(5)).await
}

async fn down(stage: &mut Stage, outage_ms: u64) -> Result<(), Fault> {
    stage.cluster.redis().kill();
    stage.tell(&format!("Redis is killed, for {outage_ms} ms"));
    let began_at = tokio::time::Instant::now();
    stage.expect_unready(&stage.all_nodes()).await?;
    tokio::time::sleep_until(began_at + Duration::from_millis(outage_ms)).await;
    Ok(())
}

fn start(stage: &mut Stage) -> Result<(), Fault> {
    if !stage.cluster.redis().start_again() {
        return Err("Redis does not start again".into());
    }
    stage.healed("Redis is back");
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), Fault> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target: PathBuf = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            if target.exists() {
                std::fs::remove_dir_all(&target)?;
            }
            std::fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
