//! One publisher, one channel, many subscribers: what a delivery costs.

use super::Scenario;
use super::compare::{p99_ms, shares, throughput};
use crate::Fault;
use crate::speed::contender::{Contender, Gateways};
use crate::speed::plan::{From, Group, Pace};
use crate::speed::stage::Stage;
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
    let mut contenders = vec![Contender::Gateway(Gateways::nodes(2)), Contender::Tutorial(2), Contender::Raw];
    contenders.extend(stage.peers());
    let group = one_channel(stage.pick(60, 1000), Pace::InFlight(64));
    let runs = stage.interleave(&contenders, &[group]).await?;
    throughput(stage, &runs, &[("tutorial", 20.0), ("raw loop", 0.7)]);
    Ok(())
}

async fn ten_thousand(stage: &mut Stage) -> Result<(), Fault> {
    let mut contenders = vec![Contender::Gateway(Gateways::nodes(2)), Contender::Tutorial(2), Contender::Raw];
    contenders.extend(stage.peers());
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
    shares(stage, &runs, "p99", |one| Some(one.sample(p99_ms)), &[("raw loop", 1.5)]);
    Ok(())
}

/// A channel with a publisher that has not subscribed.
pub(super) fn one_channel(subscribers: usize, pace: Pace) -> Group {
    Group { channels: 1, subscribers, from: From::Outside, pace }
}
