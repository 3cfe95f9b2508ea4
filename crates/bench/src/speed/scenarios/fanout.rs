//! One publisher, one channel, many subscribers: what a delivery costs.

use super::Scenario;
use crate::Fault;
use crate::speed::contender::{Contender, Gateways};
use crate::speed::plan::{From, Group, Pace};
use crate::speed::stage::{Runs, Stage};
use futures_util::FutureExt;

/// Saturated, 1,000 subscribers.
pub(crate) const THOUSAND: Scenario = Scenario {
    name: "fanout-1k",
    about: "1,000 subscribers on 2 nodes, 64 messages in flight: deliveries for a second of processor",
    run: |stage| thousand(stage).boxed(),
};

/// Saturated, 10,000 subscribers.
pub(crate) const TEN_THOUSAND: Scenario = Scenario {
    name: "fanout-10k",
    about: "10,000 subscribers on 2 nodes, 16 messages in flight: deliveries for a second of processor",
    run: |stage| ten_thousand(stage).boxed(),
};

/// Nothing to gather.
pub(crate) const SINGLE: Scenario = Scenario {
    name: "fanout-single",
    about: "1,000 subscribers on 2 nodes, 50 messages a second, each alone: what is left of bare sends",
    run: |stage| single(stage).boxed(),
};

/// Delay under a load that both can bear.
pub(crate) const PACED: Scenario = Scenario {
    name: "fanout-paced",
    about: "1,000 subscribers on 2 nodes, 1,000 messages a second whatever comes of them: how long a delivery takes",
    run: |stage| paced(stage).boxed(),
};

/// Messages a second that come one at a time: 20 ms are enough for 1,000 sends.
const SINGLE_RATE: f64 = 50.0;

async fn thousand(stage: &mut Stage) -> Result<(), Fault> {
    let contenders = [Contender::Gateway(Gateways::nodes(2)), Contender::Tutorial(2), Contender::Raw];
    let group = one_channel(stage.pick(60, 1000), Pace::InFlight(64));
    let runs = stage.interleave(&contenders, &[group]).await?;
    throughput(stage, &runs, &[("tutorial", 20.0), ("raw loop", 0.7)]);
    Ok(())
}

async fn ten_thousand(stage: &mut Stage) -> Result<(), Fault> {
    let contenders = [Contender::Gateway(Gateways::nodes(2)), Contender::Tutorial(2), Contender::Raw];
    let group = one_channel(stage.pick(100, 10_000), Pace::InFlight(16));
    let runs = stage.interleave(&contenders, &[group]).await?;
    throughput(stage, &runs, &[("tutorial", 15.0)]);
    Ok(())
}

async fn single(stage: &mut Stage) -> Result<(), Fault> {
    let contenders = [Contender::Gateway(Gateways::nodes(2)), Contender::Tutorial(2), Contender::Bare];
    let group = one_channel(stage.pick(60, 1000), Pace::PerSecond(SINGLE_RATE));
    let runs = stage.interleave(&contenders, &[group]).await?;
    throughput(stage, &runs, &[("bare sends", 0.75)]);
    Ok(())
}

/// The tutorial code is not asked: it delivers a tenth of this.
async fn paced(stage: &mut Stage) -> Result<(), Fault> {
    let contenders = [Contender::Gateway(Gateways::nodes(2)), Contender::Raw];
    let group = one_channel(stage.pick(60, 1000), Pace::PerSecond(stage.pick(50.0, 1000.0)));
    let runs = stage.interleave(&contenders, &[group]).await?;
    throughput(stage, &runs, &[]);
    let p99 = |name: &str| runs.iter().find(|one| one.name == name).map(|one| one.sample(|o| o.groups[0].p99_us));
    if let (Some(own), Some(raw)) = (p99("gateway"), p99("raw loop")) {
        stage.row("gateway / raw loop, p99", own.ratio_to(&raw), "x").at_most(1.5);
    }
    Ok(())
}

/// A channel with a publisher that has not subscribed.
fn one_channel(subscribers: usize, pace: Pace) -> Group {
    Group { channels: 1, subscribers, from: From::Outside, pace }
}

/// Rows of what was delivered, and of the gateway beside each of the others.
fn throughput(stage: &mut Stage, runs: &[Runs], promised: &[(&str, f64)]) {
    for one in runs {
        stage.row(format!("{}, deliveries/s", one.name), one.per_second(), "/s");
        if let Some(sample) = one.per_server_second() {
            stage.row(format!("{}, deliveries for a second of processor", one.name), sample, "/CPU s");
        }
        stage.row(format!("{}, p99", one.name), one.sample(|outcome| outcome.groups[0].p99_us / 1000.0), "ms");
    }
    let Some(own) = runs.iter().find(|one| one.is_own()).and_then(Runs::per_server_second) else { return };
    for (name, bound) in promised {
        let other = runs.iter().find(|one| one.name == *name).and_then(Runs::per_server_second);
        if let Some(other) = other {
            stage
                .row(format!("gateway / {name}, for a second of processor"), own.ratio_to(&other), "x")
                .at_least(*bound);
        }
    }
}
