//! The machine under a node: no more file descriptors, a clock that jumps.

use super::{usual_load, usual_plan};
use crate::Fault;
use crate::cluster::Plan;
use crate::faults::ledger::ChannelId;
use crate::faults::load::{Deaf, LoadPlan};
use crate::faults::scenario::{Expect, Scenario};
use crate::faults::stage::Stage;
use futures_util::FutureExt;
use std::time::Duration;

/// How many files a node may have open in the scenario that runs out of them.
const FILES_MAX: u32 = 160;

pub(super) const FILES: Scenario = Scenario {
    name: "out-of-files",
    about: "more connections come than a node may have files open: it refuses, does not spin, and serves the others",
    plan: |length| Plan { files_max: Some(FILES_MAX), ..usual_plan(length) },
    load: |length| LoadPlan { subscribers: length.pick(6, 20), publishers: 2, kept_channels: 3, ..usual_load(length) },
    expect: Expect::UNNOTICED,
    run: |stage| out_of_files(stage).boxed(),
};

pub(super) const CLOCK: Scenario = Scenario {
    name: "clock-jumps",
    about: "the wall clock of the nodes jumps an hour ahead, and back: no timer minds",
    plan: |length| Plan { false_clock: true, ..usual_plan(length) },
    load: usual_load,
    expect: Expect::UNNOTICED,
    run: |stage| clock_jumps(stage).boxed(),
};

async fn out_of_files(stage: &mut Stage) -> Result<(), Fault> {
    stage.must_take = Some(|_| true);
    stage.pass(700, 3000).await;
    let url = stage.cluster.client_urls()[0].clone();
    let channel = ChannelId { number: 0, is_kept: true };
    let mut taken = Vec::new();
    let mut refused = 0;
    for _ in 0..2 * FILES_MAX {
        match Deaf::start(&url, channel).await {
            Ok(one) => taken.push(one),
            Err(_) => refused += 1,
        }
    }
    stage.tell(&format!("{} more connections were taken, {refused} refused", taken.len()));
    stage.expect(!taken.is_empty() && refused > 0, || "the ceiling was not reached".to_owned());
    let before = stage.cluster.nodes[0].processor_time()?;
    let span = Duration::from_millis(stage.length.pick(2000, 10_000));
    tokio::time::sleep(span).await;
    let used = stage.cluster.nodes[0].processor_time()? - before;
    stage.expect(used < span / 2, || format!("n1 used the processor for {used:?} of {span:?}"));
    let ready = stage.cluster.nodes[0].admin("/readyz").await;
    stage.expect(ready.is_some(), || "the admin port of n1 does not answer".to_owned());
    drop(taken);
    stage.healed("those connections are gone");
    let again = Deaf::start(&url, channel).await;
    stage.pass(500, 2000).await;
    let again = again.is_ok() || Deaf::start(&url, channel).await.is_ok();
    stage.expect(again, || "n1 takes no connection any more".to_owned());
    stage.pass(1000, 3000).await;
    Ok(())
}

async fn clock_jumps(stage: &mut Stage) -> Result<(), Fault> {
    stage.must_take = Some(|_| true);
    stage.pass(700, 3000).await;
    for jump in ["+3600s", "-3600s", "+0s"] {
        stage.cluster.set_clock(jump)?;
        stage.healed(&format!("the clock is at {jump}"));
        stage.pass(2500, 10_000).await;
    }
    Ok(())
}
