//! The node's lease: shows that the node lives, and finds out whether Redis may have lost what the node wrote.

use super::scripts::millis;
use super::shared::{Failure, Shared};
use super::sweep::Sweep;
use futures_util::FutureExt;
use protocol::Channel;
use redis::{FromRedisValue, Pipeline, Value};
use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Keeps the lease. It belongs to the keeper, so nothing is written between a new connection and its renewal.
pub(super) struct Lease {
    key: String,
    ttl: Duration,
    /// It held when last seen.
    is_held: bool,
    /// The connection that was last prepared.
    generation: u64,
    /// Redis' name for that connection.
    connection_id: Option<i64>,
    /// Redis' name for its process.
    run_id: Option<String>,
    next_renewal: Instant,
    sweep: Sweep,
    started_at_ms: u128,
}

impl Lease {
    pub(super) fn new(key: String, ttl: Duration, sweep_every: Duration) -> Self {
        Self {
            key,
            ttl,
            is_held: false,
            generation: 0,
            connection_id: None,
            run_id: None,
            next_renewal: Instant::now(),
            sweep: Sweep::new(sweep_every),
            started_at_ms: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis(),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn next_renewal(&self) -> Instant {
        self.next_renewal
    }

    /// Renews the lease if it is time, first of all on each new connection.
    pub(super) async fn keep(&mut self, shared: &Shared) -> Result<(), Failure> {
        if let Some(generation) = shared.lane.next_connection(self.generation).now_or_never() {
            return self.prepare(shared, generation).await;
        }
        if Instant::now() < self.next_renewal {
            return Ok(());
        }
        let sent_at = Instant::now();
        let answers = shared.query(&self.renewal()).await?;
        if !is_held(&answers)? {
            self.found_lost(shared);
            // The same Redis: what is gone was removed by somebody who said so, and is told anew.
            shared.ledger().write_again(false, None);
            let mut claim = Pipeline::new();
            claim.add_command(shared.scripts.claim(self.ttl));
            self.add_registration(&mut claim, shared);
            first_answer(&shared.query(&claim).await?)?;
        }
        self.renewed(shared, sent_at);
        self.refresh(shared).await
    }

    /// A new connection: the lease first, then what may have happened to Redis meanwhile.
    async fn prepare(&mut self, shared: &Shared, generation: u64) -> Result<(), Failure> {
        let sent_at = Instant::now();
        let mut asking = self.renewal();
        asking.cmd("INFO").arg("server");
        asking.cmd("CLIENT").arg("ID");
        let answers = shared.query(&asking).await?;
        let held = is_held(&answers)?;
        let run_id = answers.get(1).and_then(run_id);
        let connection_id = answers.get(2).and_then(|id| i64::from_redis_value_ref(id).ok());
        let same_process = run_id.is_some() && run_id == self.run_id;

        // Before the lease is claimed again, so that nothing is missed if the answer to the claim is.
        if !held {
            self.found_lost(shared);
        }
        if self.generation > 0 && (!held || !same_process) {
            shared.ledger().write_again(!same_process, None);
        }
        let mut settling = Pipeline::new();
        settling.add_command(shared.scripts.claim(self.ttl));
        self.add_registration(&mut settling, shared);
        if let Some(former) = self.connection_id.filter(|_| same_process) {
            // Bytes of the former connection that Redis has not read yet must not be done after those of this one: a
            // join would outlive the leave that came after it.
            settling.cmd("CLIENT").arg("KILL").arg("ID").arg(former);
        }
        first_answer(&shared.query(&settling).await?)?;
        self.generation = generation;
        self.connection_id = connection_id;
        self.run_id = run_id;
        self.renewed(shared, sent_at);
        Ok(())
    }

    fn renewal(&self) -> Pipeline {
        let mut pipe = Pipeline::new();
        pipe.cmd("PEXPIRE").arg(&self.key).arg(millis(self.ttl));
        pipe
    }

    /// The node's line among the nodes. Only for people to read, so nobody minds if Redis refuses it.
    fn add_registration(&self, pipe: &mut Pipeline, shared: &Shared) {
        let nodes = shared.link.keys().nodes();
        let stats = format!("{{\"started_at_ms\":{}}}", self.started_at_ms);
        pipe.cmd("HSET").arg(&nodes).arg(&shared.node).arg(stats);
        pipe.cmd("PEXPIRE").arg(&nodes).arg(millis(shared.pace.key_ttl));
    }

    fn renewed(&mut self, shared: &Shared, sent_at: Instant) {
        self.is_held = true;
        self.next_renewal = sent_at + self.ttl / 3;
        shared.lease_renewed(sent_at, self.generation);
        shared.ledger().retry_refused();
    }

    fn found_lost(&mut self, shared: &Shared) {
        if std::mem::take(&mut self.is_held) {
            shared.metrics.leases_lost.inc();
            let entries = shared.ledger().entries();
            tracing::warn!(entries, "this node's lease was gone; its presence is registered again");
        }
    }

    /// Keys outlive their last write by days only; those that are still in use are refreshed.
    async fn refresh(&mut self, shared: &Shared) -> Result<(), Failure> {
        let own_channels = || shared.ledger().channels().cloned().collect();
        let portion = self.sweep.next_portion(Instant::now(), self.ttl / 3, own_channels);
        if portion.is_empty() {
            return Ok(());
        }
        let keys = shared.link.keys();
        let mut pipe = Pipeline::new();
        let ttl_ms = millis(shared.pace.key_ttl);
        pipe.cmd("PEXPIRE").arg(keys.nodes()).arg(ttl_ms);
        pipe.cmd("PEXPIRE").arg(keys.node_here(&shared.node)).arg(ttl_ms);
        for channel in &portion {
            pipe.cmd("PEXPIRE").arg(keys.here(channel)).arg(ttl_ms);
            pipe.cmd("PEXPIRE").arg(keys.users(channel)).arg(ttl_ms);
        }
        let answers = shared.query(&pipe).await?;
        let is_gone = |answers: &[Value]| answers.contains(&Value::Int(0));
        let gone = portion
            .into_iter()
            .zip(answers.get(2..).unwrap_or_default().chunks(2))
            .filter(|(_, answers)| is_gone(answers));
        let gone: HashSet<Channel> = gone.map(|(channel, _)| channel).collect();
        if !gone.is_empty() {
            tracing::warn!(channels = gone.len(), "presence keys were gone, as if evicted; registered again");
            shared.ledger().write_again(true, Some(&gone));
        }
        Ok(())
    }
}

fn is_held(renewal: &[Value]) -> Result<bool, Failure> {
    Ok(*first_answer(renewal)? == Value::Int(1))
}

fn first_answer(answers: &[Value]) -> Result<&Value, Failure> {
    match answers.first() {
        Some(Value::ServerError(error)) => Err(Failure::Refused(error.to_string())),
        Some(value) => Ok(value),
        None => Err(Failure::Refused("no answer".to_owned())),
    }
}

fn run_id(info: &Value) -> Option<String> {
    let info = String::from_redis_value_ref(info).ok()?;
    info.lines().find_map(|line| line.strip_prefix("run_id:")).map(|id| id.trim().to_owned())
}
