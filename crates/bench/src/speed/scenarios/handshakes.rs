//! Handshakes with a token: what one costs, and what a storm of them does to those who are in.

use super::Scenario;
use crate::Fault;
use crate::speed::contender::{Contender, Gateways, Running};
use crate::speed::load::{Audience, Storm, Weather};
use crate::speed::plan::{From, Group, Outcome, Pace};
use crate::speed::sample::Sample;
use crate::speed::stage::Stage;
use crate::speed::tokens;
use crate::speed::usage::Role;
use futures_util::FutureExt;
use std::time::Duration;

/// Cost, and a storm.
pub(crate) const ALL: Scenario = Scenario {
    name: "handshakes",
    about: "handshakes with an HS256 token: processor of each; and the delay of live channels in a storm of them",
    run: |stage| handshakes(stage).boxed(),
};

/// Handshakes whose cost is measured.
const MEASURED: (usize, usize) = (100, 5000);

/// Clients of the storm. `admission.rate` is as it is unless it is told otherwise: it is there for storms.
const STORM: (usize, usize) = (100, 10_000);

/// Connections of the live channels that publish or listen.
const LIVE: Group = Group { channels: 20, subscribers: 20, from: From::Outside, pace: Pace::PerSecond(500.0) };

async fn handshakes(stage: &mut Stage) -> Result<(), Fault> {
    cost(stage).await?;
    storm(stage).await
}

async fn cost(stage: &mut Stage) -> Result<(), Fault> {
    let count = stage.pick(MEASURED.0, MEASURED.1);
    let mut each = Vec::new();
    for run in 1..=stage.options.runs {
        let running = stage.start(&gateway(vec![])).await?;
        let cost_us = tokio::task::block_in_place(|| {
            let mut audience = Audience::on(stage.options.cores.load, 2 * count)?;
            // The first find cold caches.
            audience.come(&running.urls[0], count / 5, |_| Vec::new())?;
            audience.listen(Duration::from_millis(200))?;
            let before = server_s(&running)?;
            audience.come(&running.urls[0], count, |_| Vec::new())?;
            audience.listen(Duration::from_millis(200))?;
            Ok::<_, Fault>((server_s(&running)? - before) * 1e6 / count as f64)
        })?;
        println!("  handshakes       run {run}  {cost_us:.1} us of processor each");
        each.push(cost_us);
    }
    stage
        .row(format!("processor of the gateway for each of {count} handshakes"), Sample::new(each), "us")
        .at_most(60.0);
    Ok(())
}

async fn storm(stage: &mut Stage) -> Result<(), Fault> {
    let clients = stage.pick(STORM.0, STORM.1);
    let usual = vec![("GW_ADMISSION__RATE", "2000/s".to_owned())];
    let contender = gateway(usual);
    let (mut calm, mut stormy, mut weathers) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=stage.options.runs {
        let running = stage.start(&contender).await?;
        let before = stage.load(&running, &[LIVE]).await?;
        let (during, weather) = tokio::try_join!(stage.load(&running, &[LIVE]), blow(stage, &running, clients))?;
        for (what, outcome) in [("calm", &before), ("storm", &during)] {
            println!("  handshakes       run {run}  {what}: p99 {:.2} ms; {}", p99_ms(outcome), outcome.damage);
            stage.judge(&contender, outcome);
        }
        println!("    {weather:?}");
        calm.push(p99_ms(&before));
        stormy.push(p99_ms(&during));
        weathers.push(weather);
    }
    let (calm, stormy) = (Sample::new(calm), Sample::new(stormy));
    let of = |figure: fn(&Weather) -> f64| Sample::new(weathers.iter().map(figure).collect());
    let least = clients as f64;
    stage.row("storm: handshakes taken", of(|weather| weather.taken as f64), "").at_least(least);
    stage.row("storm: handshakes told to come later", of(|weather| weather.refused as f64), "");
    stage.row("storm: handshakes taken a second", of(|weather| weather.taken as f64 / weather.seconds), "/s");
    let ratio = stormy.ratio_to(&calm);
    stage.row("live channels, p99 before the storm", calm, "ms");
    stage.row("live channels, p99 in the storm", stormy, "ms");
    stage.row("live channels, p99 in the storm / before", ratio, "x").at_most(3.0);
    Ok(())
}

/// Begins when the live channels are loaded, and ends after they have been.
async fn blow(stage: &Stage, running: &Running, clients: usize) -> Result<Weather, Fault> {
    let live = (LIVE.channels * (LIVE.subscribers + 1)) as f64;
    let node = running.node(0)?;
    while node.metric("gateway_connections").await? < live {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let storm = Storm::begin(&running.urls[0], clients, stage.options.cores.load)?;
    // The live channels are measured in the seconds after the warm-up; a probe comes before both.
    let seconds = stage.options.seconds;
    tokio::time::sleep(Duration::from_secs_f64(seconds + (seconds / 3.0).min(2.0) + PROBES_S)).await;
    tokio::task::block_in_place(|| storm.end())
}

/// What the generator's probes take before it begins.
const PROBES_S: f64 = 1.0;

/// One node that takes tokens, and as many connections from one address as there are.
fn gateway(more: Vec<(&'static str, String)>) -> Contender {
    let mut settings = vec![(tokens::SETTING, tokens::SECRET.to_owned()), ("GW_AUTH__ANONYMOUS", "true".to_owned())];
    settings.extend(more);
    Contender::Gateway(Gateways { settings, ..Gateways::nodes(1) })
}

fn server_s(running: &Running) -> Result<f64, Fault> {
    let server = running.watched.iter().find(|watched| watched.role == Role::Server);
    Ok(server.ok_or("there is no server to be measured")?.usage()?.cpu_s())
}

fn p99_ms(outcome: &Outcome) -> f64 {
    outcome.groups[0].p99_us / 1000.0
}
