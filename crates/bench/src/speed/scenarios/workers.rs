//! Several threads in one node: what they bring, and that the order in a channel holds across them.

use super::Scenario;
use super::fanout::one_channel;
use crate::Fault;
use crate::speed::contender::{Contender, Gateways};
use crate::speed::plan::{From, Group, Pace};
use crate::speed::stage::Stage;
use futures_util::FutureExt;

/// One and two.
pub(crate) const TWO: Scenario = Scenario {
    name: "workers",
    about: "one node with 1 and with 2 workers, a channel with 1,000 subscribers beside 20 where all publish",
    run: |stage| two(stage).boxed(),
};

async fn two(stage: &mut Stage) -> Result<(), Fault> {
    let of = |name, count| Contender::Gateway(Gateways { name, workers: count, cores: count, ..Gateways::nodes(1) });
    let chat = Group { channels: 20, subscribers: 10, from: From::Subscribers, pace: Pace::InFlight(40) };
    let groups = [one_channel(stage.pick(60, 1000), Pace::InFlight(64)), chat];
    let runs = stage.interleave(&[of("1 worker", 1), of("2 workers", 2)], &groups).await?;
    for one in &runs {
        stage.row(format!("{}, deliveries/s", one.name), one.per_second(), "/s");
        if let Some(sample) = one.per_server_second() {
            stage.row(format!("{}, deliveries for a second of processor", one.name), sample, "/CPU s");
        }
    }
    if let [one, two] = &runs[..] {
        let of_all = if stage.options.cores.spare(2)? { "" } else { " (the generator is on one of the two cores)" };
        let ratio = two.per_second().ratio_to(&one.per_second());
        stage.row(format!("2 workers / 1 worker, deliveries/s{of_all}"), ratio, "x");
    }
    Ok(())
}
