//! Sending connections away: why, how many are to go, and how far it is. What decides and what counts, without sockets
//! and tasks.

pub mod pace;
mod progress;

pub use progress::{Progress, UnderWay};

use protocol::CloseCode;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How a node says goodbye.
#[derive(Debug, Clone, Copy)]
pub struct DrainConfig {
    /// Over how long, unless told otherwise.
    pub window: Duration,
    /// How many come back elsewhere in a second, at most.
    pub returns_per_second: f64,
}

/// Why connections are sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// The node stops: the process ends when nobody is left.
    Stop,
    /// The node is emptied and stays, until it is told to go on or to stop.
    Rest,
    /// The node has been without its broker for too long: whoever is left when that is over may stay.
    Isolation,
    /// The node hands a share of its connections to others, and serves on.
    Rebalance,
}

impl Occasion {
    /// What the connections are closed with.
    pub fn code(self) -> CloseCode {
        if self == Self::Rebalance { CloseCode::Rebalance } else { CloseCode::Draining }
    }

    /// The name of it in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Rest => "rest",
            Self::Isolation => "isolation",
            Self::Rebalance => "rebalance",
        }
    }

    /// What the node does from then on.
    fn mode(self) -> Option<Mode> {
        match self {
            Self::Stop => Some(Mode::Stopping),
            Self::Rest => Some(Mode::Resting),
            Self::Isolation | Self::Rebalance => None,
        }
    }
}

/// What the node does, apart from what its broker lets it do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It takes connections.
    Serving,
    /// It refuses them until it is told to go on.
    Resting,
    /// Its public port is closed, and it ends when its connections have.
    Stopping,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Why.
    pub occasion: Occasion,
    /// Over how long the connections are closed.
    pub window: Duration,
    /// How many of them, from 1 to 100.
    pub percent: u8,
    /// Whoever asks counts on the window, whatever is under way: a signal, some time after which the process is killed.
    pub insists: bool,
}

impl Wanted {
    /// All connections of the node.
    pub fn all(occasion: Occasion, window: Duration) -> Self {
        Self { occasion, window, percent: 100, insists: false }
    }
}

/// What came of asking.
#[derive(Debug)]
pub enum Begun {
    /// It begins now: so many of each worker are to go.
    New(Arc<Shed>, Vec<usize>),
    /// The same is under way, or done.
    Already,
}

/// Something else is under way, or the node takes no connections anyhow.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not now: {0}")]
pub struct Conflict(pub String);

/// Whom this node sends away at present, and how many it has.
#[derive(Debug)]
pub struct Shedding {
    config: DrainConfig,
    mode: watch::Sender<Mode>,
    latest: Mutex<Option<Arc<Shed>>>,
    /// Open connections by worker.
    open: Box<[AtomicUsize]>,
}

/// One sending away, from its beginning to its end.
#[derive(Debug)]
pub struct Shed {
    /// Why.
    pub occasion: Occasion,
    /// How many are to go.
    pub total: usize,
    /// Over how long.
    pub window: Duration,
    /// How much longer than the first the last one stays away: where they are closed faster than the others take them.
    pub longer_away: Duration,
    /// Cancelled when it has ended or something else has taken its place.
    pub over: CancellationToken,
    began: Instant,
    left: Box<[AtomicUsize]>,
}

impl Shedding {
    /// A node that serves, with so many workers.
    pub fn new(config: DrainConfig, workers: usize) -> Self {
        let open = (0..workers).map(|_| AtomicUsize::new(0)).collect();
        Self { config, mode: watch::Sender::new(Mode::Serving), latest: Mutex::default(), open }
    }

    /// A worker has a connection more.
    pub fn opened(&self, worker: usize) {
        self.open.get(worker).inspect(|count| _ = count.fetch_add(1, Relaxed));
    }

    /// A worker has a connection less.
    pub fn ended(&self, worker: usize) {
        self.open.get(worker).inspect(|count| _ = count.fetch_sub(1, Relaxed));
    }

    /// How many connections the node has.
    pub fn open(&self) -> usize {
        self.open.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// What the node does.
    pub fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    /// Whether the node stops.
    pub fn is_stopping(&self) -> bool {
        *self.mode.borrow() == Mode::Stopping
    }

    /// Waits until the node stops.
    pub async fn stopping(&self) {
        // The sender lives as long as this.
        let _ = self.mode.subscribe().wait_for(|mode| *mode == Mode::Stopping).await;
    }

    /// Begins what is wanted, unless it is under way already or cannot be now.
    ///
    /// # Errors
    /// When something else is under way: one at a time.
    pub fn begin(&self, wanted: Wanted) -> Result<Begun, Conflict> {
        let mut latest = self.lock();
        let running = latest.as_ref().filter(|shed| !shed.over.is_cancelled());
        let mut window = wanted.window;
        if !wanted.insists {
            match answer(self.mode(), running.map(|shed| shed.occasion), wanted.occasion) {
                Answer::Begin => {}
                Answer::Already => return Ok(Begun::Already),
                Answer::Conflict => return Err(Conflict(self.describe_as(running.map(Arc::as_ref)))),
            }
        } else if let Some(shed) = running.filter(|shed| shed.occasion == wanted.occasion) {
            window = window.min(shed.time_left());
        }
        running.inspect(|shed| shed.over.cancel());
        if let Some(mode) = wanted.occasion.mode() {
            self.mode.send_replace(mode);
        }
        let open: Vec<_> = self.open.iter().map(|count| count.load(Relaxed)).collect();
        let total = percent_of(open.iter().sum(), wanted.percent);
        let shares = pace::shares(total, &open);
        let shed = Arc::new(Shed {
            occasion: wanted.occasion,
            total,
            window,
            longer_away: pace::longer_away(total, window, self.config.returns_per_second),
            over: CancellationToken::new(),
            began: Instant::now(),
            left: shares.iter().map(|count| AtomicUsize::new(*count)).collect(),
        });
        *latest = Some(shed.clone());
        Ok(Begun::New(shed, shares))
    }

    /// Takes connections again after a rest, half-way or done; `None` if it does already.
    ///
    /// # Errors
    /// When the node stops.
    pub fn resume(&self) -> Result<Option<Arc<Shed>>, Conflict> {
        let latest = self.lock();
        match self.mode() {
            Mode::Serving => Ok(None),
            Mode::Stopping => Err(Conflict(self.describe_as(latest.as_deref()))),
            Mode::Resting => {
                latest.as_ref().inspect(|shed| shed.over.cancel());
                self.mode.send_replace(Mode::Serving);
                Ok(latest.clone())
            }
        }
    }

    /// Ends one; false if something else has taken its place.
    pub fn finish(&self, shed: &Shed) -> bool {
        let _latest = self.lock();
        let was_running = !shed.over.is_cancelled();
        shed.over.cancel();
        was_running
    }

    /// What is under way.
    pub fn running(&self) -> Option<Arc<Shed>> {
        self.lock().clone().filter(|shed| !shed.over.is_cancelled())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Shed>>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to say to somebody who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It begins, in place of what is under way.
    Begin,
    /// It is under way, or done: asking twice is asking once.
    Already,
    /// Something else is in the way.
    Conflict,
}

/// What ends the process, or empties the node, is stronger than what hands a few to others.
fn answer(mode: Mode, running: Option<Occasion>, wanted: Occasion) -> Answer {
    use Occasion::{Isolation, Rebalance, Rest, Stop};
    match (mode, running, wanted) {
        (Mode::Stopping, _, Stop) | (Mode::Resting, _, Rest) => Answer::Already,
        (Mode::Serving | Mode::Resting, _, Stop) | (Mode::Serving, _, Rest) => Answer::Begin,
        (Mode::Serving, None, Isolation | Rebalance) => Answer::Begin,
        (Mode::Serving, Some(_), Isolation | Rebalance)
        | (Mode::Resting, _, Isolation | Rebalance)
        | (Mode::Stopping, _, Rest | Isolation | Rebalance) => Answer::Conflict,
    }
}

/// So many of a hundred; at least one, where there is one.
fn percent_of(total: usize, percent: u8) -> usize {
    let share = (total as u128 * u128::from(percent)).div_ceil(100);
    usize::try_from(share).unwrap_or(total).min(total)
}

impl Shed {
    /// A worker has so many of them left.
    pub fn set_left(&self, worker: usize, count: usize) {
        self.left.get(worker).inspect(|left| left.store(count, Relaxed));
    }

    /// How many each worker has left.
    pub fn left_by_worker(&self) -> Vec<usize> {
        self.left.iter().map(|left| left.load(Relaxed)).collect()
    }

    /// How many are left.
    pub fn left(&self) -> usize {
        self.left_by_worker().iter().sum()
    }

    /// How much of the window is left.
    pub fn time_left(&self) -> Duration {
        self.window.saturating_sub(self.began.elapsed())
    }
}

#[cfg(test)]
mod tests;
