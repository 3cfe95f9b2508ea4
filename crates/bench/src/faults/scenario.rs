//! What a scenario is: a name, a cluster, a load, what is done to them, and what must come of it.

use crate::Fault;
use crate::cluster::Plan;
use crate::faults::load::LoadPlan;
use crate::faults::stage::{Length, Stage};
use futures_util::future::BoxFuture;
use std::time::Duration;

/// One scenario. The five counts of the checker must be zero in each; the rest is said here.
pub(crate) struct Scenario {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// What happens, in one line.
    pub(crate) about: &'static str,
    /// What it needs.
    pub(crate) plan: fn(Length) -> Plan,
    /// Who publishes and subscribes.
    pub(crate) load: fn(Length) -> LoadPlan,
    /// What must come of it.
    pub(crate) expect: Expect,
    /// What is done. It returns when everything is as it was.
    pub(crate) run: for<'a> fn(&'a mut Stage) -> BoxFuture<'a, Result<(), Fault>>,
}

/// How many gaps a subscriber is told in a channel with history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gaps {
    /// None: everything could be repaired.
    None,
    /// Exactly one, since Redis has lost something.
    One,
}

/// What must come of a scenario, beside the five counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expect {
    /// Whether Redis keeps its data, so that every acknowledged publication is in its channel's log at the end.
    pub(crate) keeps_data: bool,
    /// What subscribers of channels with history are told.
    pub(crate) gaps: Gaps,
    /// Whether no connection of a subscriber may be closed.
    pub(crate) sockets_stay: bool,
    /// How soon after the fault every node publishes and every subscriber is delivered to again.
    pub(crate) back_within: Duration,
    /// How soon a publisher knows what became of a publication.
    pub(crate) answered_within: Duration,
}

impl Expect {
    /// What Redis must be forgiven: nothing is lost, nobody notices, and everything works 2 s after Redis does.
    ///
    /// A publication has a deadline of 2 s; half a second more is for the way to its publisher on a busy machine.
    pub(crate) const UNNOTICED: Self = Self {
        keeps_data: true,
        gaps: Gaps::None,
        sockets_stay: true,
        back_within: Duration::from_secs(2),
        answered_within: Duration::from_millis(2500),
    };
}
