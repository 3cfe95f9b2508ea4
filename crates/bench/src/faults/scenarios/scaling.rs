//! Nodes come and go in order: drained by hand, scaled up and down, cut off from the balancer.

use super::nodes::{MOVED, roaming};
use super::usual_plan;
use crate::Fault;
use crate::cluster::{Plan, Traffic};
use crate::faults::scenario::Scenario;
use crate::faults::stage::Stage;
use futures_util::FutureExt;
use rustix::process::Signal;
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub(super) const DRAIN: Scenario = Scenario {
    name: "drain",
    about: "a node is drained by hand, and takes traffic again",
    plan: usual_plan,
    load: roaming,
    expect: MOVED,
    run: |stage| drain(stage).boxed(),
};

pub(super) const SCALE: Scenario = Scenario {
    name: "scale",
    about: "behind nginx: 3 nodes become 5, then 2",
    plan: |length| Plan { nginx: true, ..Plan::nodes(3) }.setting("GW_DRAIN__WINDOW", length.pick("1s", "10s")),
    load: roaming,
    expect: MOVED,
    run: |stage| scale(stage).boxed(),
};

pub(super) const NGINX: Scenario = Scenario {
    name: "nginx-partition",
    about: "behind nginx: nginx loses one node, which loses nothing else",
    plan: |length| Plan { nginx: true, ..usual_plan(length) },
    load: roaming,
    expect: MOVED,
    run: |stage| nginx(stage).boxed(),
};

async fn drain(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(700, 3000).await;
    let window = stage.length.pick("1s", "10s");
    stage.cluster.nodes[0].order(&format!("/drain?exit=false&window={window}")).await?;
    stage.tell(&format!("n1 is drained over {window}"));
    stage.expect_unready(&[0]).await?;
    is_left(stage, 0, Duration::from_secs(20)).await?;
    stage.pass(500, 3000).await;
    stage.cluster.nodes[0].order("/resume").await?;
    stage.tell("n1 takes traffic again");
    stage.expect_ready().await;
    stage.pass(500, 3000).await;
    Ok(())
}

/// Waits until nobody is connected to a node.
async fn is_left(stage: &mut Stage, node: usize, within: Duration) -> Result<(), Fault> {
    let deadline = Instant::now() + within;
    loop {
        let connections = stage.cluster.nodes[node].metric("gateway_connections").await?;
        if connections == 0.0 {
            stage.tell(&format!("n{} has no connection", node + 1));
            return Ok(());
        }
        if Instant::now() > deadline {
            stage.expect(false, || format!("n{} has {connections} connections after {within:?}", node + 1));
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn scale(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(700, 3000).await;
    stage.cluster.add_node().await?;
    stage.cluster.add_node().await?;
    stage.expect_ready().await;
    stage.cluster.lead_to(&[0, 1, 2, 3, 4])?;
    stage.tell("there are 5 nodes");
    stage.cluster.nodes[0].order("/rebalance?percent=40").await?;
    stage.pass(2500, 15_000).await;
    stage.cluster.lead_to(&[3, 4])?;
    for node in 0..3 {
        stage.cluster.nodes[node].signal(Signal::TERM)?;
    }
    stage.tell("3 nodes are told to end");
    for node in 0..3 {
        let ended = stage.cluster.nodes[node].ended(Duration::from_secs(30)).await?;
        stage.expect(ended, || "it has not ended well".to_owned());
    }
    stage.tell("there are 2 nodes");
    stage.pass(1500, 4000).await;
    Ok(())
}

async fn nginx(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(700, 3000).await;
    stage.cluster.client_roads[0].set(Traffic::Refused);
    stage.healed("nginx cannot reach n1");
    stage.pass(2000, 8000).await;
    let at_n1 = stage.load.subscribers.iter().filter(|one| one.node().is_some_and(|node| node == "n1")).count();
    stage.expect(at_n1 == 0, || format!("{at_n1} clients are still at n1"));
    stage.cluster.client_roads[0].set(Traffic::Flows);
    stage.tell("nginx reaches n1 again");
    stage.pass(1000, 3000).await;
    Ok(())
}
