//! The one task of a node's presence: keeps the lease and writes what the ledger holds.

use super::flight::Flight;
use super::lease::Lease;
use super::scripts::millis;
use super::shared::{Failure, Shared};
use super::{LINGER, changes};
use link::{Backoff, LaneError};
use redis::Pipeline;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// How many entries are written at once. One flight is under way at a time: those stated meanwhile share the next.
const FLIGHT_OPS: usize = 512;

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_CEILING: Duration = Duration::from_secs(1);

/// Writes for one node until it stops.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    lease: Lease,
    backoff: Backoff,
    has_complained: bool,
    /// The node stops: how long it stays for those who are parting.
    stays_until: Option<Instant>,
}

enum Step {
    /// There may be more to do at once.
    Done,
    /// There is nothing to do.
    Idle,
    /// The node has stopped, and nothing of it is left.
    Ended,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let key = shared.link.keys().lease(&shared.node);
        let lease = Lease::new(&shared.node, key, shared.config.lease, shared.pace.sweep_every);
        let backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING);
        Self { shared, lease, backoff, has_complained: false, stays_until: None }
    }

    pub(super) async fn run(mut self, ended: watch::Sender<bool>) {
        loop {
            let step = self.step().await;
            self.shared.measure();
            match step {
                Ok(Step::Done) => {}
                Ok(Step::Idle) => self.rest().await,
                Ok(Step::Ended) => break,
                Err(failure) => self.recover(&failure).await,
            }
        }
        ended.send_replace(true);
    }

    async fn step(&mut self) -> Result<Step, Failure> {
        self.shared.ledger().end_due_partings(Instant::now());
        if !self.shared.lane.is_up() {
            if self.shared.is_down() {
                self.shared.ledger().refuse_waiting();
            }
            return Ok(Step::Idle);
        }
        self.lease.keep(&self.shared).await?;
        let flight = self.shared.ledger().take(FLIGHT_OPS);
        if !flight.is_empty() {
            self.fly(flight).await?;
            return Ok(Step::Done);
        }
        self.backoff.reset();
        self.shared.ledger().answer_written();
        self.lease.bury_former(&self.shared).await?;
        if self.is_over() {
            self.say_farewell().await?;
            return Ok(Step::Ended);
        }
        Ok(Step::Idle)
    }

    /// The node stops, and nobody is parting any more, or not soon enough.
    fn is_over(&mut self) -> bool {
        let ledger = self.shared.ledger();
        if !ledger.is_stopping() {
            return false;
        }
        let now = Instant::now();
        ledger.next_parting_end().is_none() || now >= *self.stays_until.get_or_insert(now + LINGER)
    }

    async fn fly(&mut self, flight: Flight) -> Result<(), Failure> {
        let Shared { link, scripts, metrics, .. } = &*self.shared;
        let pipe = flight.pipeline(scripts, link.keys(), self.lease.tenure());
        let answers = match self.shared.query(&pipe).await {
            Ok(answers) => answers,
            Err(failure) => {
                // What was not sent has changed nothing.
                let in_doubt = !matches!(failure, Failure::Unanswered(LaneError::Down));
                self.shared.ledger().lost(&flight, in_doubt);
                return match failure {
                    Failure::NoScript => Ok(()),
                    failure => Err(failure),
                };
            }
        };
        metrics.flushes.inc();
        {
            let mut ledger = self.shared.ledger();
            ledger.landed(&flight, &flight.refused(&answers));
            ledger.answer_written();
        }
        if let Some(watcher) = self.shared.watcher.get() {
            changes::tell(&**watcher, &flight, &answers);
        }
        match Failure::first_refused(&answers) {
            Some(failure) => self.complain(&failure),
            None => self.has_complained = false,
        }
        self.backoff.reset();
        Ok(())
    }

    /// Waits until something is stated or due.
    async fn rest(&self) {
        let parting_end = self.shared.ledger().next_parting_end();
        let is_up = self.shared.lane.is_up();
        let renewal = is_up.then(|| self.lease.next_renewal());
        let next = [parting_end, renewal, self.stays_until.filter(|_| is_up)].into_iter().flatten().min();
        let is_due = async {
            match next {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.shared.stated.notified() => {}
            _ = self.shared.lane.next_connection(self.lease.generation()) => {}
            () = is_due => {}
        }
    }

    async fn recover(&mut self, failure: &Failure) {
        self.shared.ledger().refuse_waiting();
        // The lane itself tells of a connection that is lost.
        if !matches!(failure, Failure::Unanswered(LaneError::Down)) {
            self.complain(failure);
        }
        sleep(self.backoff.next_delay()).await;
    }

    /// Counts each failure, and logs the first of a row.
    fn complain(&mut self, failure: &Failure) {
        self.shared.metrics.flush_failures.inc();
        if !self.has_complained {
            tracing::warn!(%failure, "presence cannot be written; trying on");
            self.has_complained = true;
        }
    }

    async fn say_farewell(&self) -> Result<(), Failure> {
        let keys = self.shared.link.keys();
        let mut pipe = Pipeline::new();
        // What Redis refused to remove must be found by a reaper.
        if self.shared.ledger().entries() == 0 {
            for tenure in self.lease.tenures() {
                pipe.cmd("HDEL").arg(keys.nodes()).arg(tenure);
                pipe.cmd("UNLINK").arg(keys.node_here(tenure));
            }
        }
        match self.shared.ledger().last_parting_end() {
            // Who comes back elsewhere by then has never been away; the others are reaped then.
            Some(end) => {
                let left = end.saturating_duration_since(Instant::now());
                pipe.cmd("PEXPIRE").arg(keys.lease(&self.shared.node)).arg(millis(left));
            }
            None => {
                pipe.cmd("DEL").arg(keys.lease(&self.shared.node));
            }
        }
        let answers = self.shared.query(&pipe).await?;
        Failure::first_refused(&answers).map_or(Ok(()), Err)
    }
}
