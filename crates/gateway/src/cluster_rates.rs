//! What one user may publish on all nodes together: counted in Redis, or in the memory that nodes of one process share.
//! Only namespaces that declare it (`rate_scope = "cluster"`) ask here.

use crate::crowd::RuleCrowds;
use crate::rule::Rule;
use link::{Buckets, Denied};
use protocol::Text;
use std::sync::Arc;
use std::time::Duration;

/// Counts for all nodes.
pub enum ClusterRates {
    /// For the nodes of this process.
    Memory(MemoryRates),
    /// For all nodes of a Redis.
    Redis(Buckets),
}

impl ClusterRates {
    /// Takes one of this user's bucket for a rule.
    ///
    /// # Errors
    /// When there is none, or Redis does not say within 500 ms.
    pub async fn take(&self, rule: &Rule, user: &Text) -> Result<(), Denied> {
        match self {
            Self::Memory(rates) => rates.take(rule, user).map_err(Denied::Empty),
            Self::Redis(buckets) => {
                let refill = Duration::from_secs_f32(1.0 / rule.rate.per_second);
                buckets.take(&rule.name, user, refill, rule.rate.burst as u64).await
            }
        }
    }
}

/// Buckets of the nodes of one process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct MemoryRates(Arc<RuleCrowds<Text>>);

impl MemoryRates {
    fn take(&self, rule: &Rule, user: &Text) -> Result<(), Duration> {
        self.0.take(rule.id, &rule.rate, user)
    }
}
