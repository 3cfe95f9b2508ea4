//! One thread that owns its sockets outright: accepts, reads, and ends each turn by publishing and writing once.

mod accept;
mod asked;
mod copies;
mod flush;
mod flush_tick;
mod repair;
mod steady;
#[cfg(test)]
mod tests;
mod turn;

pub use accept::{Front, bind};
pub use asked::serve;
pub use steady::{adopt, feed};

use crate::limit::{Rate, Rates};
use crate::local::Local;
use crate::local::timers::TICK_MS;
use crate::node::Node;
use crate::polling::calls;
use crate::websocket::deflate::DeflateConfig;
use flush_tick::{FlushTick, Work};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// What connections may do and how long they may take.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// A larger message closes its connection with 1009.
    pub max_message_bytes: usize,
    /// Connections of the node.
    pub connections_max: usize,
    /// Connections from one address (IPv6: one /64); none: no limit.
    pub connections_per_address_max: Option<usize>,
    /// Streams from one address that have yet to shake hands; none: no limit.
    pub unfinished_per_address_max: Option<usize>,
    /// Connections of one user on this node; none: no limit.
    pub connections_per_user_max: Option<usize>,
    /// Handshakes from one address; none: no limit.
    pub handshakes_per_address: Option<Rate>,
    /// Commands of all connections of one user on this node; none: no limit.
    pub messages_per_user: Option<Rate>,
    /// Subscriptions of one connection.
    pub channels_per_connection_max: usize,
    /// How fast one connection may do what.
    pub rates: Rates,
    /// How long a message may take from its first byte to its last.
    pub message_time: Duration,
    /// How long a connection may stay that has no subscription and says nothing; zero: as long as it likes.
    pub idle: Duration,
    /// Messages that could not be understood before the connection is closed with 4010.
    pub bad_messages_max: u32,
    /// Which messages are compressed for those who take that.
    pub deflate: DeflateConfig,
    /// What may wait for one slow reader.
    pub outbox_bytes: usize,
    /// What all clients together may make the node hold.
    pub budget_bytes: usize,
    /// How long a socket may take nothing of what waits for it.
    pub outbox_timeout: Duration,
    /// How often a quiet connection is pinged.
    pub ping_interval: Duration,
    /// How long its answer may take.
    pub ping_timeout: Duration,
    /// A publication has its answer by then.
    pub publish_deadline: Duration,
    /// How long deliveries may wait for others to leave with; zero: not at all.
    pub flush_tick_max: Duration,
}

/// How long a worker that stops waits for HTTP requests that are under way: longer than a publication may take by default.
const REQUESTS_STOP_TIMEOUT: Duration = Duration::from_secs(4);

/// How long it waits for polls that came here for sessions elsewhere: these let them go when the node begins to stop.
const POLLS_STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What a worker is started with.
pub struct Start {
    /// Which one it is.
    pub index: usize,
    /// The node it belongs to.
    pub node: Arc<Node>,
    /// Its own listener.
    pub listener: TcpListener,
    /// What it does with a stream it has accepted.
    pub front: Front,
    /// Dropped when the worker ends, however it does.
    pub ended: oneshot::Sender<()>,
}

/// Runs a worker on a thread of its own until it has been told to stop and its connections have gone.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(start: Start) -> std::io::Result<std::thread::JoinHandle<()>> {
    let name = format!("worker-{}", start.index);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(name).spawn(move || {
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime, run(start));
    })
}

async fn run(start: Start) {
    let Start { index, node, listener, front, ended: _ended } = start;
    let Some(inbox) = node.router.inboxes().get(index).cloned() else { return };
    let local = Local::new(index, node);
    let accepting = tokio::task::spawn_local(accept::run(local.clone(), listener, front));
    let ending_turns = tokio::task::spawn_local(flush::end_turns(local.clone(), flush::CROWD_SLICE));
    let ticking = tokio::task::spawn_local(tick(local.clone()));
    // None of the others ends unless it panics: then this thread ends, and the node with it, rather than going on half.
    let code = tokio::select! {
        code = turn::take_mail(&local, &inbox) => code,
        _ = ending_turns => return,
        _ = ticking => return,
    };
    accepting.abort();
    steady::stop(&local, code).await;
    tokio::select! {
        () = calls::idle(&local, POLLS_STOP_TIMEOUT) => {}
        // What the sessions answer comes by mail.
        _ = turn::take_mail(&local, &inbox) => {}
    }
    // What backends have asked is answered: their requests run on this thread.
    if let Some(api) = &local.node.api
        && timeout(REQUESTS_STOP_TIMEOUT, api.idle()).await.is_err()
    {
        tracing::info!(worker = local.index, "some requests of the server API were not answered in time");
    }
    // What was asked by plain HTTP is answered: those requests run on this thread.
    if timeout(REQUESTS_STOP_TIMEOUT, local.node.requests.idle()).await.is_err() {
        tracing::info!(worker = local.index, "some HTTP requests were not answered in time");
    }
}

async fn tick(local: Rc<Local>) {
    let mut every = tokio::time::interval(Duration::from_millis(u64::from(TICK_MS)));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pace = Pace::new(&local);
    loop {
        every.tick().await;
        local.check_timers();
        local.keep_within_budget();
        pace.follow(&local);
    }
}

/// Has the flush tick follow what the worker does.
struct Pace {
    tick: FlushTick,
    looked: Instant,
    busy: Duration,
    repeated: u64,
}

impl Pace {
    fn new(local: &Local) -> Self {
        let tick = FlushTick::new(local.node.config.worker.flush_tick_max);
        Self { tick, looked: Instant::now(), busy: busy(), repeated: local.repeated.get() }
    }

    fn follow(&mut self, local: &Local) {
        let (now, busy, repeated) = (Instant::now(), busy(), local.repeated.get());
        let work = Work {
            elapsed: now - self.looked,
            busy: busy.saturating_sub(self.busy),
            repeated: repeated.wrapping_sub(self.repeated),
        };
        (self.looked, self.busy, self.repeated) = (now, busy, repeated);
        let tick = self.tick.after(work);
        local.flush_tick.set(tick);
        local.node.metrics.flush_tick(local.index, tick);
    }
}

/// For how long this thread has not rested since it began; only as of its last rest.
fn busy() -> Duration {
    Handle::current().metrics().worker_total_busy_duration(0)
}
