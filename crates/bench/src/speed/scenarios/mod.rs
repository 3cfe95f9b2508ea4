//! All scenarios, in the order they run. A new one is a constant in one of these files and a line in the list.

mod chat;
mod compare;
mod fanout;
mod handshakes;
mod idle;
mod neighbours;
mod redis;
mod workers;

use super::stage::Stage;
use crate::Fault;
use futures_util::future::BoxFuture;

/// One scenario.
pub(crate) struct Scenario {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// What is measured, in one line.
    pub(crate) about: &'static str,
    /// Measures, and leaves rows on the stage.
    pub(crate) run: for<'a> fn(&'a mut Stage) -> BoxFuture<'a, Result<(), Fault>>,
}

/// Every scenario.
pub(crate) const ALL: &[&Scenario] = &[
    &fanout::THOUSAND,
    &fanout::TEN_THOUSAND,
    &fanout::SINGLE,
    &fanout::PACED,
    &neighbours::BIG,
    &chat::SATURATED,
    &chat::PACED,
    &workers::TWO,
    &idle::MEMORY,
    &idle::COST,
    &handshakes::ALL,
    &redis::TRAFFIC,
    &redis::HISTORY,
];

/// The scenarios of these names, or whose names begin so; all if there are none.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>, Fault> {
    if names.is_empty() || names == ["all"] {
        return Ok(ALL.to_vec());
    }
    let mut chosen = Vec::new();
    for name in names {
        // A whole name is no beginning: `chat` is not `chat-paced`.
        if let Some(scenario) = ALL.iter().copied().find(|scenario| scenario.name == name) {
            chosen.push(scenario);
            continue;
        }
        let before = chosen.len();
        chosen.extend(ALL.iter().copied().filter(|scenario| scenario.name.starts_with(name.as_str())));
        if chosen.len() == before {
            return Err(format!("there is no scenario {name}; `scripts/bench --list` names them").into());
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[&str]) -> Vec<&'static str> {
        let names: Vec<String> = of.iter().map(|name| (*name).to_owned()).collect();
        chosen(&names).map(|all| all.iter().map(|one| one.name).collect()).unwrap_or_default()
    }

    #[test]
    fn scenarios_are_named_whole_or_by_their_beginning() {
        assert_eq!(names(&["chat"]), ["chat"]);
        assert_eq!(names(&["chat-", "workers"]), ["chat-paced", "workers"]);
        assert_eq!(names(&["all"]).len(), ALL.len());
        assert!(names(&["nothing"]).is_empty());
    }
}
