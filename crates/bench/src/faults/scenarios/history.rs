//! Many clients want what they missed, all at once.

use crate::Fault;
use crate::cluster::{Plan, Traffic};
use crate::faults::load::LoadPlan;
use crate::faults::scenario::{Expect, Scenario};
use crate::faults::stage::{Length, Stage};
use futures_util::FutureExt;
use std::time::Duration;

/// Their connections are cut, and they are back when their clients' backoff allows.
const CUT: Expect = Expect {
    sockets_stay: false,
    // Their waits have grown while they were cut off, and 2 cores need some seconds to serve everybody.
    back_within: Duration::from_secs(30),
    ..Expect::UNNOTICED
};

pub(super) const THUNDERING: Scenario = Scenario {
    name: "thundering-history",
    about: "all clients of one channel are cut off, and recover its history at once",
    plan: wide_plan,
    load: |length| LoadPlan {
        kept_channels: 1,
        live_channels: 0,
        publishers: 4,
        every: Duration::from_millis(50),
        subscribers: length.pick(150, 2000),
        channels_each: 1,
        ballast_bytes: 0,
        roams: true,
    },
    expect: CUT,
    run: |stage| cut_off(stage).boxed(),
};

pub(super) const STORM: Scenario = Scenario {
    name: "recovery-storm",
    about: "all clients of many channels recover at once: the log of each is read once a worker",
    plan: wide_plan,
    load: |length| LoadPlan {
        kept_channels: length.pick(40, 500),
        live_channels: 0,
        publishers: 1,
        every: Duration::from_millis(500),
        subscribers: length.pick(200, 2500),
        channels_each: 8,
        ballast_bytes: 0,
        roams: true,
    },
    expect: CUT,
    run: |stage| cut_off(stage).boxed(),
};

/// All connections come from one address.
fn wide_plan(length: Length) -> Plan {
    Plan::nodes(length.pick(2, 3)).setting("GW_WORKERS", "2")
}

async fn cut_off(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(1000, 5000).await;
    let before = reads_and_recoveries(stage).await?;
    stage.cluster.client_traffic(Traffic::Refused);
    stage.tell("every client is cut off");
    // Publishers have their own way in, and go on.
    stage.pass(1000, 5000).await;
    stage.cluster.client_traffic(Traffic::Flows);
    stage.healed("clients may come back");
    everybody_is_back(stage).await;
    stage.pass(1000, 3000).await;
    let after = reads_and_recoveries(stage).await?;
    let (reads, recoveries) = (after.0 - before.0, after.1 - before.1);
    let channels = stage.load.channels.len();
    stage.tell(&format!("{recoveries} recoveries in {channels} channels with {reads} readings of logs"));
    Ok(())
}

async fn everybody_is_back(stage: &mut Stage) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    for subscriber in &stage.load.subscribers {
        let back = subscriber.client().connected();
        if !matches!(tokio::time::timeout_at(deadline, back).await, Ok(Ok(()))) {
            stage.complaints.push("a client has not come back after 60 s".to_owned());
            return;
        }
    }
    stage.tell("everybody is back");
}

/// How often logs have been read for clients that recover, on all nodes, and how often a client has recovered a channel.
async fn reads_and_recoveries(stage: &Stage) -> Result<(f64, f64), Fault> {
    let (mut reads, mut recoveries) = (0.0, 0.0);
    for node in &stage.cluster.nodes {
        reads += node.metric("gateway_recovery_reads_total").await?;
        recoveries += node.metric("gateway_recoveries_total").await?;
    }
    Ok((reads, recoveries))
}
