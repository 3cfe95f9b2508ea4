//! Redis is there and answers nothing: lost packets, a host that vanished, a pause, a long command.

use super::{usual_load, usual_plan};
use crate::Fault;
use crate::cluster::Traffic;
use crate::faults::scenario::{Expect, Scenario};
use crate::faults::stage::Stage;
use futures_util::FutureExt;

pub(super) const BLACK_HOLE: Scenario = Scenario {
    name: "black-hole",
    about: "no packet reaches Redis; when they do again, those that waited come late",
    plan: usual_plan,
    load: usual_load,
    expect: Expect::UNNOTICED,
    run: |stage| cut_off(stage, Traffic::Held).boxed(),
};

pub(super) const VANISHED: Scenario = Scenario {
    name: "redis-vanished",
    about: "connections to Redis lead nowhere, and never do again; new ones do after a while",
    plan: usual_plan,
    load: usual_load,
    expect: Expect::UNNOTICED,
    run: |stage| cut_off(stage, Traffic::Swallowed).boxed(),
};

pub(super) const PAUSED: Scenario = Scenario {
    name: "client-pause",
    about: "CLIENT PAUSE: connections stand, and commands wait",
    plan: usual_plan,
    load: usual_load,
    expect: Expect::UNNOTICED,
    run: |stage| paused(stage).boxed(),
};

pub(super) const ASLEEP: Scenario = Scenario {
    name: "redis-asleep",
    about: "DEBUG SLEEP: Redis does nothing at all, as in a command that takes long",
    plan: usual_plan,
    load: usual_load,
    expect: Expect::UNNOTICED,
    run: |stage| asleep(stage).boxed(),
};

async fn cut_off(stage: &mut Stage, traffic: Traffic) -> Result<(), Fault> {
    stage.pass(700, 3000).await;
    stage.tell("the roads to Redis lead nowhere");
    stage.cluster.redis_traffic(traffic);
    stage.expect_unready(&stage.all_nodes()).await?;
    stage.pass(1000, 15_000).await;
    stage.cluster.redis_traffic(Traffic::Flows);
    stage.healed("the roads to Redis are open");
    stage.expect_ready().await;
    stage.pass(1500, 4000).await;
    Ok(())
}

async fn paused(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(700, 3000).await;
    for span_ms in stage.length.pick(&[1000, 6000][..], &[1000, 6000, 15_000]) {
        stage.tell(&format!("CLIENT PAUSE {span_ms}"));
        stage.cluster.command(&["CLIENT", "PAUSE", &span_ms.to_string(), "ALL"]).await?;
        // The first is too short to be noticed as an outage.
        if *span_ms > 5000 {
            stage.expect_unready(&stage.all_nodes()).await?;
        }
        // Answered once the pause is over.
        stage.cluster.command(&["PING"]).await?;
        stage.healed("Redis answers");
        stage.expect_ready().await;
        stage.pass(1500, 4000).await;
    }
    Ok(())
}

async fn asleep(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(700, 3000).await;
    let seconds = stage.length.pick("5", "10");
    stage.tell(&format!("DEBUG SLEEP {seconds}"));
    stage.cluster.command(&["DEBUG", "SLEEP", seconds]).await?;
    stage.healed("Redis answers");
    stage.expect_ready().await;
    stage.pass(1500, 4000).await;
    Ok(())
}
