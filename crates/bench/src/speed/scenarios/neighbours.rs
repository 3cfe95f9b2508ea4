//! What the subscribers of other channels notice of a large one.

use super::Scenario;
use super::fanout::one_channel;
use crate::Fault;
use crate::speed::contender::{Contender, Gateways};
use crate::speed::plan::{From, Group, Pace};
use crate::speed::sample::Sample;
use crate::speed::stage::Stage;
use futures_util::FutureExt;

/// Beside 10,000 subscribers.
pub(crate) const BIG: Scenario = Scenario {
    name: "neighbours",
    about: "20 small channels beside one with 10,000 subscribers: what their p99 becomes while that one is busy",
    run: |stage| big(stage).boxed(),
};

/// Messages a second of the large channel: its 50,000 deliveries leave the core a fifth of its time or more.
const BIG_RATE: f64 = 5.0;

/// Messages a second of all small channels.
const SMALL_RATE: f64 = 200.0;

async fn big(stage: &mut Stage) -> Result<(), Fault> {
    let small = Group { channels: 20, subscribers: 5, from: From::Subscribers, pace: Pace::PerSecond(SMALL_RATE) };
    let subscribers = stage.pick(100, 10_000);
    for contender in stage.contenders(&[Contender::Gateway(Gateways::nodes(2))]) {
        let mut p99_ms = [Vec::new(), Vec::new()];
        for run in 1..=stage.options.runs {
            let running = stage.start(&contender).await?;
            for (pace, p99_ms) in [Pace::Silent, Pace::PerSecond(BIG_RATE)].into_iter().zip(&mut p99_ms) {
                let outcome = stage.load(&running, &[small.clone(), one_channel(subscribers, pace)]).await?;
                stage.tell(run, &contender, &outcome);
                stage.judge(&contender, &outcome);
                p99_ms.push(outcome.groups[0].p99_us / 1000.0);
            }
        }
        let [quiet, busy] = p99_ms.map(Sample::new);
        let ratio = busy.ratio_to(&quiet);
        let name = contender.name();
        stage.row(format!("{name}, p99 of small channels, the large one silent"), quiet, "ms");
        stage.row(format!("{name}, p99 of small channels, the large one busy"), busy, "ms");
        stage.row(format!("{name}, busy / silent"), ratio, "x").at_most(2.0);
    }
    Ok(())
}
