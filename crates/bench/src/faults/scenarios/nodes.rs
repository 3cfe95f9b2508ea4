//! Nodes die, freeze and are restarted; their clients go elsewhere and miss nothing.

use super::{usual_load, usual_plan};
use crate::Fault;
use crate::cluster::Road;
use crate::faults::load::LoadPlan;
use crate::faults::scenario::{Expect, Scenario};
use crate::faults::stage::{Length, Stage};
use futures_util::FutureExt;
use rustix::process::Signal;
use std::time::Duration;

/// Connections break with their node. Those who lost it are back after their client's first attempts.
pub(super) const MOVED: Expect =
    Expect { sockets_stay: false, back_within: Duration::from_secs(5), ..Expect::UNNOTICED };

pub(super) const KILLED: Scenario = Scenario {
    name: "node-killed",
    about: "kill -9 of a node, again and again; it comes back",
    plan: usual_plan,
    load: roaming,
    expect: MOVED,
    run: |stage| killed(stage).boxed(),
};

pub(super) const FROZEN: Scenario = Scenario {
    name: "node-frozen",
    about: "SIGSTOP of a node for longer than its lease, then SIGCONT",
    plan: usual_plan,
    load: roaming,
    // Its publishers have no answer before it goes on.
    expect: Expect { answered_within: Duration::from_secs(25), ..MOVED },
    run: |stage| frozen(stage).boxed(),
};

pub(super) const ROLLING: Scenario = Scenario {
    name: "rolling-restart",
    about: "all nodes are restarted in order, one by one",
    plan: |length| usual_plan(length).setting("GW_DRAIN__WINDOW", length.pick("1s", "10s")),
    load: roaming,
    expect: MOVED,
    run: |stage| rolling(stage).boxed(),
};

pub(super) const CUT: Scenario = Scenario {
    name: "clients-cut",
    about: "the connections of all clients are cut, again and again",
    plan: usual_plan,
    load: roaming,
    expect: MOVED,
    run: |stage| cut(stage).boxed(),
};

/// Clients that know all nodes.
pub(super) fn roaming(length: Length) -> LoadPlan {
    LoadPlan { roams: true, ..usual_load(length) }
}

async fn killed(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(700, 3000).await;
    for node in 0..stage.length.pick(1, stage.cluster.nodes.len()) {
        stage.cluster.nodes[node].kill().await?;
        stage.healed(&format!("{} is killed", stage.cluster.nodes[node].name()));
        // Its clients are back by then, and shown twice until the dead node's entries are removed: within the lease (6 s)
        // and 2 s.
        stage.pass(2000, 3000).await;
        stage.expect_presence(Duration::from_secs(stage.length.pick(6, 5))).await?;
        stage.cluster.nodes[node].start()?;
        stage.expect_ready().await;
        stage.tell("it is back");
        stage.pass(500, 4000).await;
    }
    Ok(())
}

async fn frozen(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(700, 3000).await;
    stage.cluster.nodes[0].signal(Signal::STOP)?;
    stage.tell("n1 is frozen");
    stage.pass(8000, 20_000).await;
    stage.cluster.nodes[0].signal(Signal::CONT)?;
    stage.healed("n1 goes on");
    stage.expect_ready().await;
    stage.expect_presence(Duration::from_secs(8)).await?;
    stage.pass(3000, 6000).await;
    Ok(())
}

async fn rolling(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(700, 3000).await;
    for node in 0..stage.cluster.nodes.len() {
        stage.cluster.nodes[node].signal(Signal::TERM)?;
        stage.tell(&format!("{} is told to end", stage.cluster.nodes[node].name()));
        let ended = stage.cluster.nodes[node].ended(Duration::from_secs(30)).await?;
        stage.expect(ended, || "it has not ended well".to_owned());
        stage.cluster.nodes[node].start()?;
        stage.expect_ready().await;
        stage.tell("it is back");
        stage.pass(500, 3000).await;
    }
    // Those who were sent away are shown until they may be back, and a grace.
    stage.expect_presence(Duration::from_secs(8)).await
}

async fn cut(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(700, 3000).await;
    for _ in 0..stage.length.pick(2, 5) {
        stage.cluster.client_roads.iter().for_each(Road::cut);
        stage.healed("all connections are cut");
        // After 10 s a client's backoff begins anew.
        stage.pass(2500, 12_000).await;
    }
    Ok(())
}
