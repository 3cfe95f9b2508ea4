//! Looks for nodes whose lease has ended, and removes what they left behind: beside the keeper, so that neither waits for
//! the other.

use super::shared::{Failure, Shared};
use super::tenure::owner_of;
use super::walk::{Next, Walk};
use redis::{FromRedisValue, Pipeline, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often, in the life of a lease, a node looks for the dead, and how rarely at the most: with what follows, users whose
/// node died leave within 2 s of the end of its lease.
const LOOKS: u32 = 6;
const LOOK_CEILING: Duration = Duration::from_secs(1);

/// How long a reaper may say nothing until another one takes over.
const HOLD: Duration = Duration::from_secs(2);

/// Reaps for one node until it stops.
pub(super) struct Reaper {
    shared: Arc<Shared>,
    has_complained: bool,
}

impl Reaper {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, has_complained: false }
    }

    pub(super) async fn run(mut self) {
        let look_every = (self.shared.config.lease / LOOKS).min(LOOK_CEILING);
        while !self.shared.ledger().is_stopping() {
            // Not all at the same moment: the first one to look does the work.
            sleep(look_every.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            match self.look().await {
                Ok(()) => self.has_complained = false,
                Err(failure) => self.complain(&failure),
            }
        }
    }

    async fn look(&mut self) -> Result<(), Failure> {
        if self.shared.may_judge() {
            for tenure in self.dead().await? {
                self.reap(&tenure).await?;
            }
        }
        Ok(())
    }

    /// The tenures of nodes without a lease. Those that a living node has ended with are its own to clean up.
    async fn dead(&self) -> Result<Vec<String>, Failure> {
        let keys = self.shared.link.keys();
        let mut asking = Pipeline::new();
        asking.cmd("HKEYS").arg(keys.nodes());
        let answers = self.shared.query(&asking).await?;
        Failure::first_refused(&answers).map_or(Ok(()), Err)?;
        let names = answers.into_iter().next().and_then(|names| Vec::<String>::from_redis_value(names).ok());
        let mut nodes: HashMap<String, Vec<String>> = HashMap::new();
        for tenure in names.unwrap_or_default() {
            nodes.entry(owner_of(&tenure).to_owned()).or_default().push(tenure);
        }
        if nodes.remove(&self.shared.node).is_none() {
            self.shared.found_unlisted();
        }
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let nodes: Vec<_> = nodes.into_iter().collect();
        let mut asking = Pipeline::new();
        for (node, _) in &nodes {
            asking.exists(keys.lease(node));
        }
        let lives = self.shared.query(&asking).await?;
        if !self.shared.may_judge() {
            return Ok(Vec::new());
        }
        let dead = nodes.into_iter().zip(lives).filter(|(_, lives)| *lives == Value::Int(0));
        Ok(dead.flat_map(|((_, tenures), _)| tenures).collect())
    }

    async fn reap(&mut self, tenure: &str) -> Result<(), Failure> {
        let Shared { scripts, link, .. } = &*self.shared;
        let mut taking = Pipeline::new();
        taking.add_command(scripts.take(tenure, HOLD));
        let answers = self.shared.query(&taking).await?;
        Failure::first_refused(&answers).map_or(Ok(()), Err)?;
        if answers.first() != Some(&Value::Int(1)) {
            return Ok(());
        }
        let mut marking = Pipeline::new();
        marking.add_command(scripts.mark_reaped(tenure));
        Failure::first_refused(&self.shared.query(&marking).await?).map_or(Ok(()), Err)?;

        let began = Instant::now();
        let mut walk = Walk::new(tenure);
        loop {
            let before = walk.tally();
            let turn = walk.turn(scripts, link.keys(), HOLD);
            let answers = match self.shared.query(&turn.pipe).await {
                Ok(answers) => answers,
                Err(failure) => {
                    // Each of these may have lost somebody of whom nobody will be told.
                    self.tell(&mut walk, turn.removes_from() as u64);
                    return Err(failure);
                }
            };
            let next = walk.take(turn, answers)?;
            self.tell(&mut walk, 0);
            self.shared.metrics.reaped_entries.inc_by(walk.tally().entries - before.entries);
            match next {
                Next::Turn if self.shared.may_judge() => {}
                Next::End => break,
                Next::Turn | Next::OwnerBack | Next::Superseded => return Ok(()),
            }
        }
        let tally = walk.tally();
        if tally.refused > 0 {
            return Err(Failure::Refused(format!("{} channels of a dead node cannot be reaped", tally.refused)));
        }
        if !self.forget(tenure).await? {
            return Ok(());
        }
        let took = began.elapsed();
        tracing::warn!(node = tenure, tally.entries, tally.users, ?took, "a node has died; its presence is removed");
        Ok(())
    }

    fn tell(&self, walk: &mut Walk, in_doubt: u64) {
        let Some(watcher) = self.shared.watcher.get() else { return };
        walk.take_changes().into_iter().for_each(|change| watcher.changed(change));
        if in_doubt > 0 {
            watcher.in_doubt(in_doubt);
        }
    }

    /// Takes it off the nodes; false if that is done already, or something was still under way when it died: then it is
    /// walked through again.
    async fn forget(&self, tenure: &str) -> Result<bool, Failure> {
        let keys = self.shared.link.keys();
        let mut asking = Pipeline::new();
        asking.exists(keys.node_here(tenure));
        if self.shared.query(&asking).await?.first() != Some(&Value::Int(0)) {
            return Ok(false);
        }
        let mut pipe = Pipeline::new();
        pipe.cmd("HDEL").arg(keys.nodes()).arg(tenure);
        pipe.cmd("DEL").arg(keys.reap(tenure));
        let answers = self.shared.query(&pipe).await?;
        Failure::first_refused(&answers).map_or(Ok(()), Err)?;
        let is_forgotten = answers.first() == Some(&Value::Int(1));
        self.shared.metrics.reaped_nodes.inc_by(u64::from(is_forgotten));
        Ok(is_forgotten)
    }

    /// Logs the first of a row.
    fn complain(&mut self, failure: &Failure) {
        if !std::mem::replace(&mut self.has_complained, true) {
            tracing::warn!(%failure, "a dead node cannot be reaped; trying on");
        }
    }
}
