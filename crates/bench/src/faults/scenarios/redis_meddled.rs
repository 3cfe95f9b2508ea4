//! Somebody meddles with a Redis that runs: connections killed, answers lost, scripts or data gone, links that are slow.

use super::{usual_load, usual_plan};
use crate::Fault;
use crate::cluster::Traffic;
use crate::faults::scenario::{Expect, Gaps, Scenario};
use crate::faults::stage::Stage;
use futures_util::FutureExt;

pub(super) const LINKS_KILLED: Scenario = Scenario {
    name: "links-killed",
    about: "CLIENT KILL of every connection, again and again",
    plan: usual_plan,
    load: usual_load,
    expect: Expect::UNNOTICED,
    run: |stage| links_killed(stage).boxed(),
};

pub(super) const ANSWERS_LOST: Scenario = Scenario {
    name: "answers-lost",
    about: "Redis hears everything, and none of its answers arrive",
    plan: usual_plan,
    load: usual_load,
    expect: Expect::UNNOTICED,
    run: |stage| answers_lost(stage).boxed(),
};

pub(super) const SCRIPTS_GONE: Scenario = Scenario {
    name: "scripts-gone",
    about: "SCRIPT FLUSH, again and again",
    plan: usual_plan,
    load: usual_load,
    expect: Expect::UNNOTICED,
    run: |stage| scripts_gone(stage).boxed(),
};

pub(super) const FLUSHED: Scenario = Scenario {
    name: "redis-flushed",
    about: "FLUSHALL: the data is gone, the connections are not",
    plan: usual_plan,
    load: usual_load,
    expect: Expect { keeps_data: false, gaps: Gaps::One, ..Expect::UNNOTICED },
    run: |stage| flushed(stage).boxed(),
};

async fn links_killed(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(500, 2000).await;
    for _ in 0..stage.length.pick(3, 20) {
        let mut killed = 0;
        for kind in ["normal", "pubsub"] {
            if let redis::Value::Int(count) = stage.cluster.command(&["CLIENT", "KILL", "TYPE", kind]).await? {
                killed += count;
            }
        }
        stage.expect(killed > 0, || "no connection has been killed".to_owned());
        stage.healed(&format!("{killed} connections are killed"));
        stage.pass(700, 1500).await;
    }
    stage.expect_ready().await;
    stage.pass(1500, 3000).await;
    Ok(())
}

async fn answers_lost(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(700, 3000).await;
    stage.tell("answers are lost from now on");
    stage.cluster.redis_traffic(Traffic::AnswersSwallowed);
    stage.expect_unready(&stage.all_nodes()).await?;
    stage.pass(1000, 8000).await;
    stage.cluster.redis_traffic(Traffic::Flows);
    stage.healed("answers arrive again");
    stage.expect_ready().await;
    stage.pass(1500, 4000).await;
    Ok(())
}

async fn scripts_gone(stage: &mut Stage) -> Result<(), Fault> {
    stage.must_take = Some(|_| true);
    stage.pass(500, 1000).await;
    for _ in 0..stage.length.pick(5, 50) {
        stage.cluster.command(&["SCRIPT", "FLUSH"]).await?;
        stage.healed("the scripts are gone");
        stage.pass(300, 300).await;
    }
    Ok(())
}

async fn flushed(stage: &mut Stage) -> Result<(), Fault> {
    stage.must_take = Some(|_| true);
    stage.pass(700, 3000).await;
    stage.cluster.command(&["FLUSHALL"]).await?;
    stage.healed("FLUSHALL");
    stage.pass(2000, 5000).await;
    Ok(())
}
