//! How far a sending away is, for people and for the command line.

use super::{Mode, Occasion, Shed, Shedding};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What the node does.
    pub mode: Mode,
    /// Its open connections.
    pub open: usize,
    /// What is under way.
    pub under_way: Option<UnderWay>,
}

/// What is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    /// Why.
    pub occasion: Occasion,
    /// How many were to go.
    pub total: usize,
    /// How many have yet to.
    pub left: usize,
    /// Over how long.
    pub window_ms: u64,
    /// Since when.
    pub elapsed_ms: u64,
}

impl Shedding {
    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.progress_of(self.running().as_deref())
    }

    /// The same in words.
    pub fn describe(&self) -> String {
        self.progress().to_string()
    }

    pub(super) fn describe_as(&self, running: Option<&Shed>) -> String {
        self.progress_of(running).to_string()
    }

    fn progress_of(&self, running: Option<&Shed>) -> Progress {
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let under_way = running.map(|shed| UnderWay {
            occasion: shed.occasion,
            total: shed.total,
            left: shed.left(),
            window_ms: ms(shed.window),
            elapsed_ms: ms(shed.began.elapsed()),
        });
        Progress { mode: self.mode(), open: self.open(), under_way }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.open;
        match (&self.under_way, self.mode) {
            (Some(under_way), _) => under_way.fmt(f),
            (None, Mode::Serving) => f.write_str("serving"),
            (None, Mode::Resting) => write!(f, "drained: {open} connections, and none are taken until POST /resume"),
            (None, Mode::Stopping) => write!(f, "stopping: {open} connections left"),
        }
    }
}

impl fmt::Display for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.occasion == Occasion::Rebalance { "rebalancing" } else { "draining" };
        let seconds = self.window_ms.saturating_sub(self.elapsed_ms).div_ceil(1000);
        write!(f, "{what}: {} of {} connections have yet to go, {seconds} s left", self.left, self.total)
    }
}
