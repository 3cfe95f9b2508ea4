//! What the generator is to do, and what it tells afterwards: one JSON line each way.

use super::load::Dialect;
use super::usage::{Usage, Watched};
use serde::{Deserialize, Serialize};

/// A load on servers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Where clients connect, in turn.
    pub(crate) urls: Vec<String>,
    /// How they speak.
    pub(crate) dialect: Dialect,
    /// Processes whose use of the processor is measured meanwhile.
    pub(crate) watched: Vec<Watched>,
    /// Seconds before anything is counted.
    pub(crate) warmup_s: f64,
    /// Seconds that count.
    pub(crate) measure_s: f64,
    /// Seconds without a delivery after which what is missing is lost.
    pub(crate) patience_s: f64,
    /// Bytes of a payload.
    pub(crate) payload_bytes: usize,
    /// Who subscribes and publishes. Channels are numbered through all groups, in order.
    pub(crate) groups: Vec<Group>,
}

/// Channels that are alike.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Group {
    /// How many.
    pub(crate) channels: usize,
    /// Subscribers of each.
    pub(crate) subscribers: usize,
    /// Who publishes.
    pub(crate) from: From,
    /// How much.
    pub(crate) pace: Pace,
}

/// Who publishes in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum From {
    /// A connection of its own that has not subscribed.
    Outside,
    /// All its subscribers, in turn.
    Subscribers,
}

/// How much a group publishes, all its channels in turn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Pace {
    /// Nothing.
    Silent,
    /// The next message when one of so many has come to all its subscribers.
    InFlight(u32),
    /// So many a second, whether or not the server follows. What counts as delay begins when a message is due.
    PerSecond(f64),
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Seconds that were measured.
    pub(crate) seconds: f64,
    /// The groups, in their order.
    pub(crate) groups: Vec<GroupOutcome>,
    /// The watched processes, in their order, in those seconds.
    pub(crate) usage: Vec<Usage>,
    /// Seconds of processor that the generator itself took of those.
    pub(crate) load_cpu_s: f64,
    /// What went wrong from the first message to the last.
    pub(crate) damage: Damage,
}

/// What came of a group in the seconds that were measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GroupOutcome {
    /// Messages sent.
    pub(crate) published: u64,
    /// Deliveries received.
    pub(crate) deliveries: u64,
    /// Half of the deliveries took no longer, in microseconds.
    pub(crate) p50_us: f64,
    /// 99 of 100 took no longer.
    pub(crate) p99_us: f64,
    /// The longest.
    pub(crate) longest_us: f64,
}

/// What must not happen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Damage {
    /// Deliveries that never came.
    pub(crate) lost: u64,
    /// Deliveries beyond those that were due.
    pub(crate) doubled: u64,
    /// Deliveries that came after a later one of the same publisher.
    pub(crate) out_of_order: u64,
    /// Subscribers that saw the messages of several publishers in another order than their neighbours.
    pub(crate) differing: u64,
    /// Messages of other channels.
    pub(crate) strange: u64,
    /// Connections that ended.
    pub(crate) closed: u64,
    /// Messages that said that something was refused or missed.
    pub(crate) refused: u64,
    /// The server could not follow an open loop: it was not loaded further.
    pub(crate) overloaded: bool,
    /// The first of what was said.
    pub(crate) said: Vec<String>,
}

impl Damage {
    /// Whether nothing went wrong.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what went wrong in another channel.
    pub(crate) fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.out_of_order += other.out_of_order;
        self.differing += other.differing;
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = [
            (self.lost, "lost"),
            (self.doubled, "doubled"),
            (self.out_of_order, "out of order"),
            (self.differing, "subscribers with another order"),
            (self.strange, "of other channels"),
            (self.closed, "connections closed"),
            (self.refused, "refusals"),
            (u64::from(self.overloaded), "overload"),
        ];
        let told: Vec<_> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        let said = self.said.first().map_or(String::new(), |said| format!(" ({said})"));
        write!(f, "{}{said}", if told.is_empty() { "nothing lost, in order".to_owned() } else { told.join(", ") })
    }
}
