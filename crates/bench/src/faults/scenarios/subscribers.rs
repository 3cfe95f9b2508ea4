//! The connections that carry deliveries fail, while Redis is well.

use super::{usual_load, usual_plan};
use crate::Fault;
use crate::cluster::Traffic;
use crate::faults::scenario::{Expect, Scenario};
use crate::faults::stage::Stage;
use futures_util::FutureExt;
use std::time::Duration;

pub(super) const KILLED: Scenario = Scenario {
    name: "pubsub-killed",
    about: "CLIENT KILL TYPE pubsub every 2 s",
    plan: usual_plan,
    load: usual_load,
    expect: Expect::UNNOTICED,
    run: |stage| killed(stage).boxed(),
};

pub(super) const DEAD: Scenario = Scenario {
    name: "pubsub-dead",
    about: "Redis answers everything, and no subscription delivers any more: found within 5 s",
    plan: usual_plan,
    load: usual_load,
    // Nothing is announced: it has to be found first.
    expect: Expect { back_within: Duration::from_secs(5), ..Expect::UNNOTICED },
    run: |stage| dead(stage).boxed(),
};

async fn killed(stage: &mut Stage) -> Result<(), Fault> {
    stage.must_take = Some(|_| true);
    stage.pass(500, 2000).await;
    for _ in 0..stage.length.pick(3, 15) {
        let killed = stage.cluster.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await?;
        stage.healed(&format!("CLIENT KILL TYPE pubsub: {killed:?}"));
        stage.pass(2000, 2000).await;
    }
    Ok(())
}

async fn dead(stage: &mut Stage) -> Result<(), Fault> {
    stage.must_take = Some(|_| true);
    stage.pass(700, 3000).await;
    for _ in 0..stage.length.pick(1, 3) {
        stage.cluster.redis_traffic(Traffic::SubscribersSwallowed);
        // What has been swallowed once is dead for good; new connections live.
        stage.pass(300, 300).await;
        stage.cluster.redis_traffic(Traffic::Flows);
        stage.healed("the subscriptions are dead");
        stage.pass(6000, 8000).await;
    }
    Ok(())
}
