//! How fast may be published in a namespace: one rule for all events, or one for each that has its own. Pure.

use crate::limit::{Rate, RuleId};
use std::fmt;
use std::str::FromStr;

/// Who shares a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// Nobody: each connection has its own.
    #[default]
    Connection,
    /// All connections of one user, on all nodes. Redis counts, at the cost of one round trip a publication; connections
    /// without a user have their own.
    Cluster,
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "connection" => Ok(Self::Connection),
            "cluster" => Ok(Self::Cluster),
            _ => Err(format!("`{text}`: connection or cluster")),
        }
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its number, the same on all nodes of one configuration.
    pub id: RuleId,
    /// Its name, the same in every configuration that has it: pattern and event.
    pub name: String,
    /// How fast.
    pub rate: Rate,
}

/// The rules of a namespace.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// For all events that have none of their own, and for publications without an event.
    pub general: Option<Rule>,
    /// Of single events.
    pub events: Vec<(String, Rule)>,
    /// Who shares their buckets.
    pub scope: Scope,
}

impl Rules {
    /// The one rule that a publication of this event is under.
    pub fn of(&self, event: Option<&str>) -> Option<&Rule> {
        let own = event.and_then(|event| self.events.iter().find(|(of, _)| of == event));
        own.map(|(_, rule)| rule).or(self.general.as_ref())
    }

    /// Whether Redis has to count for any of them.
    pub fn needs_cluster(&self) -> bool {
        self.scope == Scope::Cluster && (self.general.is_some() || !self.events.is_empty())
    }
}

impl fmt::Display for Rules {
    /// As the lines that declare it, each after a line's end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rule) = &self.general {
            write!(f, "\nrate = \"{}\"", rule.rate)?;
        }
        for (event, rule) in &self.events {
            write!(f, "\nrates.{event:?} = \"{}\"", rule.rate)?;
        }
        if self.needs_cluster() {
            write!(f, "\nrate_scope = \"cluster\"")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_under_its_own_rule_or_under_that_of_all_others() {
        let rule = |id| Rule { id, name: String::new(), rate: Rate { per_second: 1.0, burst: 1.0 } };
        let mut rules = Rules { events: vec![("typing".to_owned(), rule(2))], ..Rules::default() };
        let of = |rules: &Rules, event| rules.of(event).map(|rule| rule.id);
        assert_eq!([of(&rules, Some("typing")), of(&rules, Some("else")), of(&rules, None)], [Some(2), None, None]);
        rules.general = Some(rule(1));
        assert_eq!([of(&rules, Some("typing")), of(&rules, Some("else")), of(&rules, None)], [2, 1, 1].map(Some));
    }
}
