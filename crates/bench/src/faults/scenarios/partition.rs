//! One node loses its Redis; the others notice nothing.

use super::{usual_load, usual_plan};
use crate::Fault;
use crate::cluster::Traffic;
use crate::faults::load::LoadPlan;
use crate::faults::scenario::{Expect, Scenario};
use crate::faults::stage::Stage;
use futures_util::FutureExt;
use std::time::Duration;

pub(super) const ONE_NODE: Scenario = Scenario {
    name: "partition",
    about: "one node is cut off from Redis: its clients wait, all others go on",
    plan: usual_plan,
    load: usual_load,
    expect: Expect::UNNOTICED,
    run: |stage| one_node(stage).boxed(),
};

pub(super) const ISOLATED: Scenario = Scenario {
    name: "partition-long",
    about: "one node is cut off for longer than isolation_grace: its clients are sent to the others",
    plan: |length| {
        let grace = length.pick("2s", "10s");
        usual_plan(length).setting("GW_ISOLATION_GRACE", grace).setting("GW_DRAIN__WINDOW", length.pick("2s", "10s"))
    },
    load: |length| LoadPlan { roams: true, ..usual_load(length) },
    expect: Expect { sockets_stay: false, ..Expect::UNNOTICED },
    run: |stage| isolated(stage).boxed(),
};

async fn one_node(stage: &mut Stage) -> Result<(), Fault> {
    stage.must_take = Some(|attempt| attempt.node != 0);
    stage.pass(700, 3000).await;
    for traffic in [Traffic::Held, Traffic::Refused] {
        stage.cluster.redis_roads[0].set(traffic);
        stage.tell(&format!("n1 is cut off: {traffic:?}"));
        stage.expect_unready(&[0]).await?;
        stage.pass(1000, 15_000).await;
        for node in 1..stage.cluster.nodes.len() {
            let ready = stage.cluster.nodes[node].becomes(true, Duration::from_secs(1)).await;
            stage.expect(ready.is_ok(), || format!("n{} notices that n1 is cut off", node + 1));
        }
        stage.cluster.redis_roads[0].set(Traffic::Flows);
        stage.healed("n1 is no longer cut off");
        stage.expect_ready().await;
        stage.pass(1500, 4000).await;
    }
    Ok(())
}

async fn isolated(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(700, 3000).await;
    stage.cluster.redis_roads[0].set(Traffic::Held);
    stage.tell("n1 is cut off");
    stage.expect_unready(&[0]).await?;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(stage.length.pick(15, 40));
    while stage.load.subscribers.iter().any(|subscriber| subscriber.node().is_none_or(|node| node == "n1")) {
        if tokio::time::Instant::now() > deadline {
            stage.expect(false, || "clients are still at the node that is cut off".to_owned());
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stage.tell("its clients are at other nodes");
    stage.cluster.redis_roads[0].set(Traffic::Flows);
    stage.expect_ready().await;
    stage.pass(1500, 4000).await;
    Ok(())
}
