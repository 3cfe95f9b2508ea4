//! Connections that do nothing: the memory that each costs, also after a burst, and what they cost while nothing happens.

use super::Scenario;
use crate::Fault;
use crate::speed::contender::{Contender, Gateways, Running};
use crate::speed::load::Audience;
use crate::speed::redis_stats::RedisStats;
use crate::speed::sample::Sample;
use crate::speed::stage::Stage;
use crate::speed::tokens;
use crate::speed::usage::{Role, Usage};
use futures_util::FutureExt;
use std::time::{Duration, Instant};

/// What a connection makes the node hold.
pub(crate) const MEMORY: Scenario = Scenario {
    name: "idle",
    about: "15,000 idle connections with tokens, presence and 2 channels each: memory of each, also after a burst",
    run: |stage| memory(stage).boxed(),
};

/// What idle connections take of processor and Redis.
pub(crate) const COST: Scenario = Scenario {
    name: "idle-cost",
    about: "15,000 idle connections for 60 s, pings included: processor, and commands to Redis",
    run: |stage| cost(stage).boxed(),
};

/// The first of them warm the process up: thread stacks, the allocator's first pages, tables.
const WARM: (usize, usize) = (50, 1000);

/// All of them.
const ALL: (usize, usize) = (150, 15_000);

/// Messages that each of them is sent in a burst.
const BURST: (usize, usize) = (20, 1000);

/// Messages of the burst that are under way together.
const WINDOW: usize = 20;

/// The channel that all of them are in.
const EVERYBODY: &str = "everybody";

/// So many share the other one.
const ROOM: usize = 30;

/// How long the gateway may take to let go of what connecting needed.
const SETTLE: Duration = Duration::from_secs(3);

/// How long after a burst its memory is looked at again.
const QUIET: (f64, f64) = (0.5, 10.0);

/// How long idle connections are watched: two pings and more of each (`ping_interval` is 25 s).
const WATCH: (f64, f64) = (1.0, 60.0);

async fn memory(stage: &mut Stage) -> Result<(), Fault> {
    let (mut each, mut after) = (Vec::new(), Vec::new());
    for run in 1..=stage.options.runs {
        let running = start(stage).await?;
        let (bytes, burst) = tokio::task::block_in_place(|| measure(stage, &running))?;
        println!("  idle             run {run}  {bytes:.0} bytes each, {burst:.0} after a burst");
        each.push(bytes);
        after.push(burst);
    }
    let (each, after) = (Sample::new(each), Sample::new(after));
    let connections = stage.pick(ALL.0, ALL.1);
    let grown = after.ratio_to(&each);
    stage.row(format!("user memory (RssAnon) of each of {connections} connections"), each, "bytes").at_most(2048.0);
    stage.row(format!("the same after {} messages to each and 10 s", stage.pick(BURST.0, BURST.1)), after, "bytes");
    stage.row("after the burst / before", grown, "x").at_most(1.1);
    Ok(())
}

/// Bytes of each connection beyond the first thousand; and the same after a burst.
fn measure(stage: &Stage, running: &Running) -> Result<(f64, f64), Fault> {
    let (warm, all) = (stage.pick(WARM.0, WARM.1), stage.pick(ALL.0, ALL.1));
    let mut audience = Audience::on(stage.options.cores.load, all)?;
    let url = &running.urls[0];
    audience.come(url, warm, channels)?;
    audience.listen(SETTLE)?;
    let first = server(running)?.anonymous_kib;
    audience.come(url, all - warm, channels)?;
    audience.listen(SETTLE)?;
    let idle = server(running)?.anonymous_kib;
    burst(&mut audience, stage.pick(BURST.0, BURST.1))?;
    audience.listen(Duration::from_secs_f64(stage.pick(QUIET.0, QUIET.1)))?;
    let quiet = server(running)?.anonymous_kib;
    let heard = audience.heard();
    if heard.closed + heard.refused > 0 {
        return Err(format!("connections that should be idle are not: {heard:?}").into());
    }
    let each = |kib: u64| (kib as f64 - first as f64) * 1024.0 / (all - warm) as f64;
    Ok((each(idle), each(quiet)))
}

/// Everybody is sent so many messages, and has them all.
fn burst(audience: &mut Audience, messages: usize) -> Result<(), Fault> {
    let payload = "x".repeat(128);
    let before = audience.heard().publications;
    let mut sent = 0;
    while sent < messages {
        for _ in 0..WINDOW.min(messages - sent) {
            audience.publish(0, EVERYBODY, &payload)?;
            sent += 1;
        }
        let due = before + (sent * audience.len()) as u64;
        audience.until("deliveries of a burst", |heard| heard.publications >= due)?;
    }
    Ok(())
}

async fn cost(stage: &mut Stage) -> Result<(), Fault> {
    let connections = stage.pick(ALL.0, ALL.1);
    let seconds = stage.pick(WATCH.0, WATCH.1);
    let (mut busy, mut pings, mut beyond) = (Vec::new(), Vec::new(), Vec::new());
    let mut commands = String::new();
    for run in 1..=stage.options.runs {
        let running = start(stage).await?;
        let mut audience = Audience::on(stage.options.cores.load, connections)?;
        // What a node asks of Redis for its own sake.
        let alone = watch(&mut audience, &running, seconds).await?;
        tokio::task::block_in_place(|| {
            audience.come(&running.urls[0], connections, channels)?;
            audience.listen(SETTLE)
        })?;
        let idle = watch(&mut audience, &running, seconds).await?;
        println!("  idle-cost        run {run}  {:.2} % of a core, {} pings", idle.percent, idle.pings);
        println!("    without connections, Redis is asked each second: {}", alone.redis.rates(alone.seconds));
        commands = idle.redis.rates(idle.seconds);
        println!("    with {connections}: {commands}");
        busy.push(idle.percent);
        pings.push(idle.pings as f64 / connections as f64);
        let rate = |watched: &Watched| watched.redis.all_calls() as f64 / watched.seconds;
        beyond.push((rate(&idle) - rate(&alone)).max(0.0));
    }
    stage
        .row(format!("processor of {connections} idle connections for {seconds} s"), Sample::new(busy), "%")
        .at_most(2.0);
    stage.row("pings answered by each meanwhile", Sample::new(pings), "");
    let what = format!("Redis commands a second beyond those of a node without connections (all: {commands})");
    // A period that falls into one of the two and not into the other makes less than this.
    stage.row(what, Sample::new(beyond), "/s").at_most(0.5);
    Ok(())
}

/// What was used in a time.
struct Watched {
    seconds: f64,
    percent: f64,
    pings: u64,
    redis: RedisStats,
}

async fn watch(audience: &mut Audience, running: &Running, seconds: f64) -> Result<Watched, Fault> {
    let url = running.redis_url()?;
    let (before, pings, redis) = (server(running)?, audience.heard().pings, RedisStats::of(&url).await?);
    let began = Instant::now();
    tokio::task::block_in_place(|| audience.listen(Duration::from_secs_f64(seconds)))?;
    let seconds = began.elapsed().as_secs_f64();
    let percent = 100.0 * server(running)?.since(&before).cpu_s() / seconds;
    let redis = RedisStats::of(&url).await?.since(&redis);
    Ok(Watched { seconds, percent, pings: audience.heard().pings - pings, redis })
}

/// A gateway as it is set up unless it is told otherwise: with presence and history.
async fn start(stage: &Stage) -> Result<Running, Fault> {
    let settings = vec![(tokens::SETTING, tokens::SECRET.to_owned())];
    stage.start(&Contender::Gateway(Gateways { namespace: "", settings, ..Gateways::nodes(1) })).await
}

/// What the only server uses.
fn server(running: &Running) -> Result<Usage, Fault> {
    let server = running.watched.iter().find(|watched| watched.role == Role::Server);
    server.ok_or("there is no server to be measured")?.usage()
}

fn channels(number: usize) -> Vec<String> {
    vec![EVERYBODY.to_owned(), format!("room-{}", number / ROOM)]
}
