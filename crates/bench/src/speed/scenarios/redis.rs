//! What is asked of Redis: by each of more and more nodes, and how much one of its cores can do.

use super::Scenario;
use crate::Fault;
use crate::speed::contender::{Contender, Gateways};
use crate::speed::plan::{From, Group, Outcome, Pace};
use crate::speed::redis_stats::RedisStats;
use crate::speed::sample::Sample;
use crate::speed::stage::Stage;
use crate::speed::usage::Role;
use futures_util::FutureExt;

/// Traffic of each node.
pub(crate) const TRAFFIC: Scenario = Scenario {
    name: "redis-traffic",
    about: "1 to 8 nodes whose clients have channels of their own: what each node makes Redis do",
    run: |stage| traffic(stage).boxed(),
};

/// Publications with history, as many as Redis takes.
pub(crate) const HISTORY: Scenario = Scenario {
    name: "history",
    about: "publications into 4 channels with history, 1,024 in flight: how many a core of Redis takes",
    run: |stage| history(stage).boxed(),
};

/// What is compared with one node.
const NODES: [usize; 4] = [1, 2, 4, 8];

/// Channels of each node, each with one client that publishes and hears itself.
const CHANNELS: usize = 20;

/// What these publish on each node, in a second.
const RATE: (f64, f64) = (100.0, 200.0);

const KEPT: &str = "[[namespace]]\npattern = \"*\"\npresence = false\njoin_leave = false\nhistory.size = 100\n";

/// What one node made Redis do.
#[derive(Debug, Clone, Copy)]
struct Traffic {
    bytes_in: f64,
    bytes_out: f64,
    commands: f64,
}

/// What is said of it: in words, how it is read, and in which unit.
type Figure = (&'static str, fn(&Traffic) -> f64, &'static str);

async fn traffic(stage: &mut Stage) -> Result<(), Fault> {
    let most = stage.pick(NODES[1], NODES[3]);
    let nodes: Vec<usize> = NODES.into_iter().filter(|nodes| *nodes <= most).collect();
    let mut all: Vec<Vec<Traffic>> = vec![Vec::new(); nodes.len()];
    for run in 1..=stage.options.runs {
        for (nodes, all) in nodes.iter().zip(&mut all) {
            let traffic = traffic_of(stage, *nodes).await?;
            println!("  redis-traffic    run {run}  {nodes} nodes: {traffic:.1?} for each publication of a node");
            all.push(traffic);
        }
    }
    let figures: [Figure; 3] = [
        ("bytes to Redis for a publication", |t| t.bytes_in, "bytes"),
        ("bytes from Redis for a publication", |t| t.bytes_out, "bytes"),
        ("commands for a publication", |t| t.commands, ""),
    ];
    for (what, figure, unit) in figures {
        let of = |traffic: &[Traffic]| Sample::new(traffic.iter().map(figure).collect());
        for (nodes, traffic) in nodes.iter().zip(&all) {
            stage.row(format!("{nodes} nodes, each: {what}"), of(traffic), unit);
        }
        let (one, many) = (of(&all[0]), of(&all[all.len() - 1]));
        stage.row(format!("{most} nodes / 1 node: {what}"), many.ratio_to(&one), "x").at_most(1.1);
    }
    Ok(())
}

/// Everything that Redis has read, written and done from the first connection to the last, for each publication: the same
/// load for each node, whatever their number.
async fn traffic_of(stage: &mut Stage, nodes: usize) -> Result<Traffic, Fault> {
    let contender = Contender::Gateway(Gateways { namespace: KEPT, ..Gateways::nodes(nodes) });
    let running = stage.start(&contender).await?;
    let url = running.redis_url()?;
    // Connections take the nodes in turn: each channel has one, so each node has channels of its own.
    let pace = Pace::PerSecond(stage.pick(RATE.0, RATE.1) * nodes as f64);
    let group = Group { channels: CHANNELS * nodes, subscribers: 1, from: From::Subscribers, pace };
    let before = RedisStats::of(&url).await?;
    let outcome = stage.load(&running, &[group]).await?;
    let used = RedisStats::of(&url).await?.since(&before);
    stage.judge(&contender, &outcome);
    // Script calls count with what they call, so that this is the work and not only the asking.
    let publications = used.calls_of("xadd").max(1) as f64;
    Ok(Traffic {
        bytes_in: used.bytes_in as f64 / publications,
        bytes_out: used.bytes_out as f64 / publications,
        commands: used.all_calls() as f64 / publications,
    })
}

async fn history(stage: &mut Stage) -> Result<(), Fault> {
    let contender = Contender::Gateway(Gateways { namespace: KEPT, ..Gateways::nodes(1) });
    let group = Group { channels: 4, subscribers: 1, from: From::Outside, pace: Pace::InFlight(stage.pick(64, 1024)) };
    let (mut outcomes, mut entries, mut redis) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=stage.options.runs {
        let running = stage.start(&contender).await?;
        let url = running.redis_url()?;
        let before = RedisStats::of(&url).await?;
        let outcome = stage.load(&running, std::slice::from_ref(&group)).await?;
        let used = RedisStats::of(&url).await?.since(&before);
        stage.judge(&contender, &outcome);
        stage.tell(run, &contender, &outcome);
        let watched = running.watched.iter().zip(&outcome.usage);
        redis.push(
            watched.filter(|(watched, _)| watched.role == Role::Redis).map(|(_, used)| used.cpu_s()).sum::<f64>(),
        );
        // Some of the calls are leases and probes: a few a second.
        entries.push(used.calls_of("xadd") as f64 / used.calls_of("evalsha").max(1) as f64);
        outcomes.push(outcome);
    }
    let published = |outcome: &Outcome| outcome.groups[0].published as f64;
    // A short run may be over before the clock of the processor has moved.
    let per_core = outcomes.iter().zip(&redis).map(|(outcome, cpu_s)| published(outcome) / cpu_s.max(0.01));
    stage.row("publications a second", Sample::of(&outcomes, |o| published(o) / o.seconds), "/s");
    let busy = outcomes.iter().zip(&redis).map(|(outcome, cpu_s)| 100.0 * cpu_s / outcome.seconds);
    stage.row("Redis' processor meanwhile", Sample::new(busy.collect()), "%");
    stage.row("publications for a second of Redis' processor", Sample::new(per_core.collect()), "/CPU s").at_least(1e5);
    stage.row("publications in one script call", Sample::new(entries), "");
    Ok(())
}
