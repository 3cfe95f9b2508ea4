//! Many channels with a few members who all publish: what a message costs on its way through Redis.

use super::Scenario;
use super::compare::{delays, p50_ms, p99_ms, ratios, shares, throughput};
use crate::Fault;
use crate::speed::contender::{Contender, Gateways};
use crate::speed::plan::{From, Group, Outcome, Pace};
use crate::speed::sample::Sample;
use crate::speed::stage::{Runs, Stage};
use crate::speed::usage::Role;
use futures_util::FutureExt;

/// Saturated.
pub(crate) const SATURATED: Scenario = Scenario {
    name: "chat",
    about: "2,000 clients in 200 channels on 2 nodes, all publish, 400 messages in flight, Redis on the servers' core",
    run: |stage| saturated(stage).boxed(),
};

/// Delay where nothing is short.
pub(crate) const PACED: Scenario = Scenario {
    name: "chat-paced",
    about: "the same clients, 1,000 messages a second in all: how long a delivery takes",
    run: |stage| paced(stage).boxed(),
};

async fn saturated(stage: &mut Stage) -> Result<(), Fault> {
    let pace = Pace::InFlight(stage.pick(40, 400));
    let runs = measure(stage, pace).await?;
    throughput(stage, &runs, &[]);
    ratios(stage, &runs, "deliveries/s", |one| Some(one.per_second()), &[("tutorial", 2.5)]);
    for one in &runs {
        if let Some(sample) = redis_us(one) {
            stage.row(format!("{}, Redis for a message", one.name), sample, "CPU µs");
        }
    }
    shares(stage, &runs, "Redis for a message", redis_us, &[("tutorial", 1.0 / 3.0)]);
    Ok(())
}

async fn paced(stage: &mut Stage) -> Result<(), Fault> {
    let pace = Pace::PerSecond(stage.pick(100.0, 1000.0));
    let runs = measure(stage, pace).await?;
    delays(stage, &runs);
    shares(stage, &runs, "p50", |one| Some(one.sample(p50_ms)), &[("tutorial", 1.0)]);
    shares(stage, &runs, "p99", |one| Some(one.sample(p99_ms)), &[("tutorial", 1.0)]);
    Ok(())
}

async fn measure(stage: &mut Stage, pace: Pace) -> Result<Vec<Runs>, Fault> {
    let mut contenders = vec![Contender::Gateway(Gateways::nodes(2)), Contender::Tutorial(2)];
    contenders.extend(stage.peers());
    let channels = stage.pick(10, 200);
    stage.interleave(&contenders, &[Group { channels, subscribers: 10, from: From::Subscribers, pace }]).await
}

/// Microseconds of Redis' processor for a message of a client; `None` where there is no Redis.
fn redis_us(runs: &Runs) -> Option<Sample> {
    let messages = |outcome: &Outcome| outcome.groups[0].published.max(1) as f64;
    let has_redis = runs.has(Role::Redis);
    has_redis.then(|| runs.sample(|outcome| runs.cpu_s(outcome, Role::Redis) * 1e6 / messages(outcome)))
}
