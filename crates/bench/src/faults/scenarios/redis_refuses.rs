//! Redis answers, and refuses: a replica that takes no writes, a memory that is full.

use super::{usual_load, usual_plan};
use crate::Fault;
use crate::faults::scenario::{Expect, Scenario};
use crate::faults::stage::Stage;
use futures_util::FutureExt;
use std::time::Duration;

pub(super) const READ_ONLY: Scenario = Scenario {
    name: "read-only",
    about: "Redis becomes a replica, which takes no writes, then a primary again",
    plan: usual_plan,
    load: usual_load,
    expect: Expect::UNNOTICED,
    run: |stage| read_only(stage).boxed(),
};

pub(super) const FULL: Scenario = Scenario {
    name: "redis-full",
    about: "Redis' memory is full: channels without history go on, leases hold, the reason is told",
    plan: usual_plan,
    load: usual_load,
    expect: Expect::UNNOTICED,
    run: |stage| full(stage).boxed(),
};

async fn read_only(stage: &mut Stage) -> Result<(), Fault> {
    stage.pass(700, 3000).await;
    stage.tell("REPLICAOF a primary that does not answer");
    // Port 9 (discard) has no Redis: the dataset stays as it is.
    stage.cluster.command(&["REPLICAOF", "127.0.0.1", "9"]).await?;
    stage.expect_unready(&stage.all_nodes()).await?;
    stage.pass(1500, 8000).await;
    stage.cluster.command(&["REPLICAOF", "NO", "ONE"]).await?;
    stage.healed("REPLICAOF NO ONE");
    stage.expect_ready().await;
    stage.pass(1500, 4000).await;
    Ok(())
}

async fn full(stage: &mut Stage) -> Result<(), Fault> {
    stage.must_take = Some(|attempt| !attempt.channel.is_kept);
    stage.pass(700, 3000).await;
    stage.tell("CONFIG SET maxmemory 1mb");
    stage.cluster.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await?;
    stage.cluster.command(&["CONFIG", "SET", "maxmemory", "1mb"]).await?;
    stage.expect_unready(&stage.all_nodes()).await?;
    for node in stage.all_nodes() {
        let answer = stage.cluster.nodes[node].admin("/readyz").await;
        let reason = answer.map(|answer| answer.body).unwrap_or_default();
        stage.expect(reason.contains("memory"), || format!("/readyz does not tell of memory: {reason}"));
    }
    // Longer than a lease: leases are renewed without new memory, or everybody would be gone now.
    stage.pass(8000, 15_000).await;
    stage.expect_presence(Duration::from_secs(2)).await?;
    stage.cluster.command(&["CONFIG", "SET", "maxmemory", "0"]).await?;
    stage.healed("CONFIG SET maxmemory 0");
    stage.expect_ready().await;
    stage.pass(1500, 4000).await;
    Ok(())
}
