//! The node's lease: shows that the node lives, and finds out whether Redis may have lost what the node wrote.

use super::scripts::millis;
use super::shared::{Failure, Shared};
use super::sweep::Sweep;
use super::tenure::Tenure;
use futures_util::FutureExt;
use protocol::Channel;
use redis::{FromRedisValue, Pipeline, Value};
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;

/// The most ended tenures that a node cleans up itself; what is beyond is left to be reaped when it dies.
const FORMER_MAX: usize = 64;

/// Keeps the lease. It belongs to the keeper, so nothing is written between a new connection and its renewal.
pub(super) struct Lease {
    key: String,
    ttl: Duration,
    /// What the node is called while it holds.
    tenure: Tenure,
    /// What it was called before, until nothing of that is left in Redis.
    former: Vec<Tenure>,
    /// It held when last seen.
    is_held: bool,
    /// Redis may have lost what the node wrote, or others may have removed it.
    is_in_doubt: bool,
    /// The connection that was last prepared.
    generation: u64,
    /// Redis' name for that connection.
    connection_id: Option<i64>,
    /// Redis' name for its process.
    run_id: Option<String>,
    next_renewal: Instant,
    sweep: Sweep,
    /// What it is registered with.
    registered: Option<String>,
}

impl Lease {
    pub(super) fn new(node: &str, key: String, ttl: Duration, sweep_every: Duration) -> Self {
        Self {
            key,
            ttl,
            tenure: Tenure::first(node),
            former: Vec::new(),
            is_held: false,
            is_in_doubt: false,
            generation: 0,
            connection_id: None,
            run_id: None,
            next_renewal: Instant::now(),
            sweep: Sweep::new(sweep_every),
            registered: None,
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// What the node is called in whatever it writes.
    pub(super) fn tenure(&self) -> &str {
        self.tenure.name()
    }

    /// Everything the node is or was called in Redis.
    pub(super) fn tenures(&self) -> impl Iterator<Item = &str> {
        self.former.iter().chain([&self.tenure]).map(Tenure::name)
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
        if !is_held(&shared.query(&self.renewal()).await?)? {
            self.found_lost(shared);
        }
        // It is not held, too, if the answer to an earlier claim did not come.
        if !self.is_held || shared.take_unlisted() {
            self.settle(shared, None).await?;
        }
        self.renewed(shared, sent_at);
        self.describe(shared).await?;
        self.refresh(shared).await
    }

    /// Tells what the node says of itself, where that is new.
    async fn describe(&mut self, shared: &Shared) -> Result<(), Failure> {
        let about = shared.about();
        if self.registered.as_ref() == Some(&about) {
            return Ok(());
        }
        let mut pipe = Pipeline::new();
        pipe.add_command(shared.scripts.register(self.tenure.name(), &about));
        let answers = shared.query(&pipe).await?;
        Failure::first_refused(&answers).map_or(Ok(()), Err)?;
        self.registered = Some(about);
        Ok(())
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

        if !held {
            self.found_lost(shared);
        }
        self.is_in_doubt |= self.generation > 0 && !same_process;
        self.settle(shared, self.connection_id.filter(|_| same_process)).await?;
        self.generation = generation;
        self.connection_id = connection_id;
        self.run_id = run_id;
        self.renewed(shared, sent_at);
        Ok(())
    }

    /// The lease is claimed, and whatever Redis may have lost is to be written again. If the answer does not come nothing
    /// is missed: the doubt stays.
    async fn settle(&mut self, shared: &Shared, former_connection: Option<i64>) -> Result<(), Failure> {
        let keys = shared.link.keys();
        let mut pipe = Pipeline::new();
        pipe.add_command(shared.scripts.claim(self.ttl, self.tenure.name()));
        let about = shared.about();
        pipe.add_command(shared.scripts.register(self.tenure.name(), &about));
        // After the claim: whoever begins to reap from now on sees that the node lives.
        for former in &self.former {
            pipe.exists(keys.reaped(former.name()));
        }
        if let Some(id) = former_connection {
            // Bytes of the former connection that Redis has not read yet must not be done after those of this one: a
            // join would outlive the leave that came after it.
            pipe.cmd("CLIENT").arg("KILL").arg("ID").arg(id);
        }
        let answers = shared.query(&pipe).await?;
        let (settled, marks) = answers.split_at_checked(2).unwrap_or((&answers, &[]));
        Failure::first_refused(settled).map_or(Ok(()), Err)?;
        self.registered = Some(about);
        if std::mem::take(&mut self.is_in_doubt) {
            let was_reaped = marks.iter().take(self.former.len()).any(|mark| *mark == Value::Int(1));
            // What is gone was removed by somebody who said so, and is told anew; or else Redis lost it, and nobody
            // knows.
            shared.ledger().write_again(!was_reaped, None);
        }
        Ok(())
    }

    /// Removes what is left of former tenures, once everything has been written anew under the present one.
    pub(super) async fn bury_former(&mut self, shared: &Shared) -> Result<(), Failure> {
        if self.former.is_empty() || !shared.ledger().is_settled() {
            return Ok(());
        }
        let keys = shared.link.keys();
        let mut pipe = Pipeline::new();
        for former in &self.former {
            pipe.cmd("HDEL").arg(keys.nodes()).arg(former.name());
            pipe.cmd("UNLINK").arg(keys.node_here(former.name()));
        }
        let answers = shared.query(&pipe).await?;
        Failure::first_refused(&answers).map_or(Ok(()), Err)?;
        self.former.clear();
        Ok(())
    }

    fn renewal(&self) -> Pipeline {
        let mut pipe = Pipeline::new();
        pipe.cmd("PEXPIRE").arg(&self.key).arg(millis(self.ttl));
        pipe
    }

    fn renewed(&mut self, shared: &Shared, sent_at: Instant) {
        let was_lost = !std::mem::replace(&mut self.is_held, true);
        self.next_renewal = sent_at + self.ttl / 3;
        shared.lease_renewed(sent_at, self.generation, was_lost);
        shared.ledger().retry_refused();
    }

    /// The node was taken for dead, or Redis has lost what it held: a new tenure begins.
    fn found_lost(&mut self, shared: &Shared) {
        if !std::mem::take(&mut self.is_held) {
            return;
        }
        shared.metrics.leases_lost.inc();
        let renewed_ago = shared.lease_age().unwrap_or_default();
        let entries = shared.ledger().entries();
        tracing::warn!(entries, ?renewed_ago, "this node's lease has ended; its presence is registered again");
        let next = self.tenure.next();
        self.former.push(std::mem::replace(&mut self.tenure, next));
        if self.former.len() > FORMER_MAX {
            self.former.remove(0);
        }
        self.is_in_doubt = true;
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
        pipe.cmd("PEXPIRE").arg(keys.node_here(self.tenure.name())).arg(ttl_ms);
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
