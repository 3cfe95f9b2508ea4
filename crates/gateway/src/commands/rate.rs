//! How fast may be published where: a bucket of the speaker's own, then, where that is declared, one of its user's in the
//! cluster.

use crate::local::Local;
use crate::local::speaker::{Speaker, Spends};
use crate::metrics::Limit;
use crate::rule::{Rule, Rules, Scope};
use link::Denied;
use protocol::{Refusal, Text};
use std::time::Duration;

/// A rule that counts a user's publications on all nodes, and the user.
pub(super) struct Counted {
    rule: Rule,
    user: Text,
}

/// Everybody has a bucket of his own for a rule: whoever is too fast already costs Redis nothing.
pub(super) fn take_own(local: &Local, who: &impl Speaker, rule: Option<&Rule>) -> Result<(), Refusal> {
    let Some(rule) = rule else { return Ok(()) };
    who.spend(local, Spends::Rule(rule)).map_err(|wait| too_fast(local, wait))
}

/// The rule that the cluster counts by, if there is one for this event and whoever speaks has a user.
pub(super) fn of_cluster(who: &impl Speaker, rules: &Rules, event: Option<&str>) -> Option<Counted> {
    let rule = rules.of(event).filter(|_| rules.scope == Scope::Cluster)?;
    let user = who.identity()?.user.clone();
    Some(Counted { rule: rule.clone(), user })
}

/// Asks the cluster.
pub(super) async fn take_of_user(local: &Local, counted: &Counted) -> Result<(), Refusal> {
    let Some(rates) = &local.node.cluster_rates else { return Ok(()) };
    rates.take(&counted.rule, &counted.user).await.map_err(|denied| match denied {
        Denied::Empty(wait) => too_fast(local, wait),
        Denied::NoAnswer => Refusal::unavailable(),
    })
}

fn too_fast(local: &Local, wait: Duration) -> Refusal {
    local.node.metrics.limits.reached(Limit::NamespaceRate);
    super::too_fast("publications come faster than this channel's namespace allows", wait)
}
