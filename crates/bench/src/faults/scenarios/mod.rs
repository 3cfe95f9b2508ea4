//! All scenarios, in the order they run. A new one is a constant in one of these files and a line in the list.

mod crowds;
mod history;
mod machine;
mod nodes;
mod partition;
mod redis_down;
mod redis_frozen;
mod redis_meddled;
mod redis_refuses;
mod scaling;
mod subscribers;

use super::load::LoadPlan;
use super::scenario::Scenario;
use super::stage::Length;
use crate::Fault;
use crate::cluster::Plan;
use std::time::Duration;

/// Every scenario.
pub(crate) const ALL: &[&Scenario] = &[
    &redis_down::RESTART,
    &redis_down::OLDER,
    &redis_down::EMPTY,
    &subscribers::KILLED,
    &subscribers::DEAD,
    &redis_frozen::BLACK_HOLE,
    &redis_frozen::VANISHED,
    &redis_frozen::PAUSED,
    &redis_frozen::ASLEEP,
    &redis_refuses::READ_ONLY,
    &redis_refuses::FULL,
    &redis_meddled::LINKS_KILLED,
    &redis_meddled::ANSWERS_LOST,
    &redis_meddled::SCRIPTS_GONE,
    &redis_meddled::FLUSHED,
    &partition::ONE_NODE,
    &partition::ISOLATED,
    &nodes::CUT,
    &nodes::KILLED,
    &nodes::FROZEN,
    &nodes::ROLLING,
    &scaling::DRAIN,
    &scaling::SCALE,
    &scaling::NGINX,
    &crowds::STORM,
    &crowds::DEAF,
    &machine::FILES,
    &machine::CLOCK,
    &history::THUNDERING,
    &history::STORM,
];

/// The scenarios of these names, or whose names begin so.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>, Fault> {
    if names.is_empty() {
        return Ok(ALL.to_vec());
    }
    let mut chosen = Vec::new();
    for name in names {
        let before = chosen.len();
        chosen.extend(ALL.iter().copied().filter(|scenario| scenario.name.starts_with(name.as_str())));
        if chosen.len() == before {
            return Err(format!("there is no scenario {name}; `bench faults --list` names them").into());
        }
    }
    Ok(chosen)
}

/// Two nodes, or three; Redis keeps its data.
fn usual_plan(length: Length) -> Plan {
    Plan::nodes(length.pick(2, 3))
}

/// Clients that stay at their node.
fn usual_load(length: Length) -> LoadPlan {
    LoadPlan {
        kept_channels: length.pick(3, 12),
        live_channels: length.pick(1, 4),
        publishers: length.pick(2, 4),
        every: Duration::from_millis(length.pick(25, 20)),
        subscribers: length.pick(8, 60),
        channels_each: 4,
        ballast_bytes: 0,
        roams: false,
    }
}
