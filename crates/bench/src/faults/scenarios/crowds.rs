//! Many clients at once, and clients that do not read.

use super::nodes::MOVED;
use super::usual_plan;
use crate::Fault;
use crate::cluster::{Plan, Traffic};
use crate::faults::ledger::ChannelId;
use crate::faults::load::{Deaf, LoadPlan};
use crate::faults::scenario::{Expect, Scenario};
use crate::faults::stage::{Length, Stage};
use futures_util::FutureExt;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// New connections a second that each node admits in the storm, and how many at once.
const ADMITTED: (f64, f64) = (200.0, 50.0);

pub(super) const STORM: Scenario = Scenario {
    name: "reconnect-storm",
    about: "everybody is cut off and comes back at once: no node admits more than its rate",
    plan: |length| {
        let rate = format!("{}/s burst {}", ADMITTED.0, ADMITTED.1);
        usual_plan(length).setting("GW_ADMISSION__RATE", rate)
    },
    load: |length| LoadPlan {
        kept_channels: 10,
        live_channels: 0,
        publishers: 1,
        every: Duration::from_millis(500),
        subscribers: length.pick(600, 5000),
        channels_each: 1,
        ballast_bytes: 0,
        roams: true,
    },
    // 5,000 clients at 600 admissions a second, each after waits that grow.
    expect: Expect { back_within: Duration::from_secs(60), ..MOVED },
    run: |stage| storm(stage).boxed(),
};

pub(super) const DEAF: Scenario = Scenario {
    name: "slow-readers",
    about: "a tenth of the clients stop reading: they cost their bound, and nobody else notices",
    plan: |length| Plan { durable: false, ..usual_plan(length) },
    load: |length| LoadPlan {
        kept_channels: 0,
        live_channels: 1,
        publishers: 3,
        // 6 MB a second: 3 publishers, 100 a second each, of 20 kB.
        every: Duration::from_millis(length.pick(20, 10)),
        subscribers: length.pick(5, 18),
        channels_each: 1,
        ballast_bytes: 20_000,
        roams: false,
    },
    expect: Expect::UNNOTICED,
    run: |stage| deaf(stage).boxed(),
};

async fn storm(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(1000, 3000).await;
    stage.cluster.client_traffic(Traffic::Refused);
    stage.tell("everybody is cut off");
    stage.pass(1000, 3000).await;
    stage.cluster.client_traffic(Traffic::Flows);
    stage.healed("everybody may come back");
    let peak = peak_of_connections(stage).await?;
    stage.tell(&format!("everybody is back; no node took more than {peak:.0} connections in one second"));
    let (rate, burst) = ADMITTED;
    stage.expect(peak <= rate + burst, || format!("a node took {peak:.0} connections in one second"));
    stage.pass(1000, 3000).await;
    Ok(())
}

/// Waits until everybody is back; returns the most connections that one node took within any second.
async fn peak_of_connections(stage: &Stage) -> Result<f64, Fault> {
    let deadline = Instant::now() + Duration::from_secs(90);
    let mut samples: Vec<Vec<(Instant, f64)>> = vec![Vec::new(); stage.cluster.nodes.len()];
    let mut pace = interval(Duration::from_millis(50));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while Instant::now() < deadline {
        pace.tick().await;
        for (node, samples) in stage.cluster.nodes.iter().zip(&mut samples) {
            let asked_at = Instant::now();
            // One that is too busy to answer in time is asked again.
            if let Ok(count) = node.metric("gateway_connections_opened_total").await {
                samples.push((asked_at, count));
            }
        }
        if stage.load.subscribers.iter().all(|subscriber| subscriber.node().is_some()) {
            break;
        }
    }
    Ok(samples.iter().map(|samples| peak_within_a_second(samples)).fold(0.0, f64::max))
}

fn peak_within_a_second(samples: &[(Instant, f64)]) -> f64 {
    let mut peak = 0.0_f64;
    for (index, (at, count)) in samples.iter().enumerate() {
        let within =
            samples[index..].iter().take_while(|(later, _)| later.duration_since(*at) <= Duration::from_secs(1));
        peak = within.fold(peak, |peak, (_, later)| peak.max(later - count));
    }
    peak
}

async fn deaf(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(1500, 5000).await;
    let before = memory(stage).await?;
    let quiet = Instant::now();
    stage.pass(1500, 10_000).await;
    let channel = ChannelId { number: 0, is_kept: false };
    let urls = stage.cluster.client_urls();
    let mut deaf = Vec::new();
    for number in 0..stage.length.pick(1, 2) {
        deaf.push(Deaf::start(&urls[number % urls.len()], channel).await?);
    }
    let began_at = Instant::now();
    stage.tell(&format!("{} clients do not read", deaf.len()));
    stage.pass(5000, 60_000).await;
    let ended_at = Instant::now();
    let (p99_before, p99_with) = (p99(stage, quiet, began_at), p99(stage, began_at, ended_at));
    let grown = memory(stage).await? - before;
    let closed = slow_consumers(stage).await?;
    stage.tell(&format!(
        "p99 of the others {p99_before:.1?} before, {p99_with:.1?} with them; memory grew by {:.1} MB; {closed} were closed",
        grown / 1e6
    ));
    stage.expect(closed >= 1.0, || "nobody was closed for reading too slowly".to_owned());
    // A bound of 1 MiB each, and what the allocator does not give back.
    stage.expect(grown < 64e6, || format!("memory grew by {:.1} MB", grown / 1e6));
    if stage.length == Length::Long {
        stage.expect(p99_with <= p99_before * 2, || format!("p99 went from {p99_before:?} to {p99_with:?}"));
    }
    Ok(())
}

fn p99(stage: &Stage, from: Instant, to: Instant) -> Duration {
    let mut all: Vec<_> = stage.load.subscribers.iter().flat_map(|one| one.latencies(from, to)).collect();
    all.sort_unstable();
    all.get(all.len() * 99 / 100).copied().unwrap_or_default()
}

async fn memory(stage: &Stage) -> Result<f64, Fault> {
    let mut bytes = 0.0;
    for node in &stage.cluster.nodes {
        bytes += node.metric("process_resident_memory_bytes").await?;
    }
    Ok(bytes)
}

async fn slow_consumers(stage: &Stage) -> Result<f64, Fault> {
    let mut count = 0.0;
    for node in &stage.cluster.nodes {
        count += node.metric("gateway_slow_consumers_total").await?;
    }
    Ok(count)
}
