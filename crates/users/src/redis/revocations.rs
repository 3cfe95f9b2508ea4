//! One node's copy of the list of what is revoked: kept in step with Redis, and Redis with it.
//!
//! Every change in Redis has a number, so that what is new costs one small answer. Whenever Redis may be another one than
//! before, or may have lost something (a new connection, a new epoch, numbers that went back, and once a minute in any
//! case), the whole list is read; what this node knows and Redis does not is written back.

use super::FLIGHT_DEADLINE;
use super::asking::{Complaints, Failure, ask};
use super::scripts::{self, Page, RevokingScripts};
use crate::list::List;
use crate::{LOOK_EVERY, Revocation, Revocations, RevokeError, Revoking, Shown, UsersMetrics, unix_ms};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use link::{Lane, Link};
use redis::{Pipeline, Value};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

/// How often the whole list is read, whatever happens.
const WHOLE_EVERY: Duration = Duration::from_secs(60);

/// The least time between two looks: each that finds something has all connections looked through.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Revocations of one reading, and of one writing.
const PAGE: usize = 1000;

/// One node's revocations. Dropping it ends its task and its connection.
pub struct RedisRevocations {
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    lane: Lane,
    scripts: RevokingScripts,
    revoking: Revoking,
    metrics: UsersMetrics,
    list: RwLock<List>,
    is_read: AtomicBool,
    news: Notify,
}

/// How far the list in Redis has been read.
#[derive(Default)]
struct Position {
    /// Of the lane's connection.
    generation: u64,
    epoch: String,
    seen: u64,
    whole_at: Option<Instant>,
}

impl RedisRevocations {
    /// Begins to connect and to read. Must be called within a tokio runtime.
    pub fn start(link: &Link, revoking: Revoking, metrics: UsersMetrics) -> Self {
        let shared = Arc::new(Shared {
            lane: Lane::start(link, "revocations", scripts::REVOCATIONS),
            scripts: RevokingScripts::new(link.keys().clone()),
            revoking,
            metrics,
            list: RwLock::default(),
            is_read: AtomicBool::new(false),
            news: Notify::new(),
        });
        let task = tokio::spawn(shared.clone().keep_in_step()).abort_handle();
        Self { shared, task }
    }
}

impl Drop for RedisRevocations {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Revocations for RedisRevocations {
    fn revoke(&self, revocation: Revocation) -> BoxFuture<'static, Result<(), RevokeError>> {
        let shared = self.shared.clone();
        async move { shared.revoke(revocation).await }.boxed()
    }

    fn is_revoked(&self, shown: &Shown<'_>) -> bool {
        let list = self.shared.list();
        !list.is_empty() && list.revokes(shown, unix_ms())
    }

    fn is_empty(&self) -> bool {
        self.shared.list().is_empty()
    }

    fn list(&self, max: usize) -> (Vec<Revocation>, usize) {
        self.shared.list_mut().drop_ended(unix_ms());
        self.shared.list().first(max)
    }

    fn is_read(&self) -> bool {
        self.shared.is_read.load(Ordering::Acquire)
    }

    fn look(&self) {
        self.shared.news.notify_one();
    }
}

impl Shared {
    fn list(&self) -> RwLockReadGuard<'_, List> {
        self.list.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn list_mut(&self) -> RwLockWriteGuard<'_, List> {
        self.list.write().unwrap_or_else(PoisonError::into_inner)
    }

    async fn revoke(&self, revocation: Revocation) -> Result<(), RevokeError> {
        let max = self.revoking.max;
        match self.write(std::slice::from_ref(&revocation), max).await {
            Ok(true) => {
                self.learn(&[revocation]);
                Ok(())
            }
            Ok(false) => {
                self.metrics.revocations_full.inc();
                tracing::warn!(
                    max,
                    "a revocation was refused: as many are remembered as may be (auth.revocations_max)"
                );
                Err(RevokeError::Full(max))
            }
            Err(failure) => {
                self.metrics.failures.inc();
                tracing::warn!(%failure, "a revocation could not be written");
                Err(RevokeError::Unavailable)
            }
        }
    }

    /// False if there is no room for all of them.
    async fn write(&self, revocations: &[Revocation], max: usize) -> Result<bool, Failure> {
        let mut pipe = Pipeline::new();
        pipe.add_command(self.scripts.revoke(revocations, max));
        match ask(&self.lane, &pipe).await {
            // They are there now, and it had not been carried out.
            Err(Failure::NoScript) => {}
            answers => return Ok(answers?.first() != Some(&Value::Int(-1))),
        }
        Ok(ask(&self.lane, &pipe).await?.first() != Some(&Value::Int(-1)))
    }

    /// Takes what Redis has; those who must act on it are told if anything is new.
    fn learn(&self, revocations: &[Revocation]) {
        let is_news = {
            let mut list = self.list_mut();
            let is_news = revocations.iter().filter(|revocation| list.join(revocation)).count() > 0;
            self.metrics.revocations.set(i64::try_from(list.len()).unwrap_or(i64::MAX));
            is_news
        };
        if is_news {
            (self.revoking.on_news)();
        }
    }

    async fn keep_in_step(self: Arc<Self>) {
        let mut position = Position::default();
        let mut complaints = Complaints::default();
        loop {
            match self.look(&mut position).await {
                Ok(()) => complaints.over(),
                Err(failure) => {
                    self.metrics.failures.inc();
                    complaints.about("the list of revocations cannot be read", &failure);
                }
            }
            sleep(LOOK_PAUSE).await;
            let is_new = self.lane.next_connection(position.generation);
            tokio::select! {
                () = self.news.notified() => {}
                _ = is_new => {}
                () = sleep(LOOK_EVERY - LOOK_PAUSE) => {}
            }
        }
    }

    async fn look(&self, position: &mut Position) -> Result<(), Failure> {
        if !self.lane.is_up() {
            return Ok(());
        }
        let newer = self.lane.next_connection(position.generation).now_or_never();
        let is_due = position.whole_at.is_none_or(|at| at.elapsed() >= WHOLE_EVERY);
        if newer.is_none() && !is_due {
            if self.read_news(position).await? {
                return Ok(());
            }
            if !position.epoch.is_empty() {
                tracing::warn!("the list of revocations in Redis is another one than before; it is read anew");
            }
        }
        let generation = newer.unwrap_or(position.generation);
        self.read_whole(position).await?;
        position.generation = generation;
        Ok(())
    }

    async fn read_page(&self, since: u64) -> Result<Page, Failure> {
        let mut pipe = Pipeline::new();
        pipe.add_command(self.scripts.read(since, PAGE));
        let answers = ask(&self.lane, &pipe).await?;
        scripts::page(answers.into_iter().next().ok_or(Failure::Unreadable)?)
    }

    /// Reads on; false if what was read before is of another list.
    async fn read_news(&self, position: &mut Position) -> Result<bool, Failure> {
        loop {
            let page = self.read_page(position.seen).await?;
            let is_empty = page.epoch.is_empty() && !self.list().is_empty();
            if is_empty || page.epoch != position.epoch || page.newest < position.seen {
                return Ok(false);
            }
            self.learn(&page.revocations);
            let is_last = page.last == position.seen || page.last >= page.newest;
            position.seen = page.last;
            if is_last {
                return Ok(true);
            }
        }
    }

    async fn read_whole(&self, position: &mut Position) -> Result<(), Failure> {
        self.metrics.full_reads.inc();
        let (mut found, mut since, mut epoch) = (List::default(), 0, None);
        loop {
            let page = self.read_page(since).await?;
            if *epoch.get_or_insert_with(|| page.epoch.clone()) != page.epoch {
                // Emptied while it was read: from the beginning, with the next look.
                return Err(Failure::Unreadable);
            }
            for revocation in &page.revocations {
                found.join(revocation);
            }
            self.learn(&page.revocations);
            if page.last == since {
                break;
            }
            since = page.last;
        }
        self.list_mut().drop_ended(unix_ms());
        self.write_back(&found).await?;
        (position.epoch, position.seen) = (epoch.unwrap_or_default(), since);
        position.whole_at = Some(Instant::now());
        self.is_read.store(true, Ordering::Release);
        Ok(())
    }

    /// What was taken once is not forgotten because Redis has lost it.
    async fn write_back(&self, found: &List) -> Result<(), Failure> {
        let lost: Vec<_> = self.list().iter().filter(|known| !found.covers(known)).collect();
        if lost.is_empty() {
            return Ok(());
        }
        for part in lost.chunks(PAGE) {
            let written = timeout(FLIGHT_DEADLINE * 2, self.write(part, 0)).await;
            written.map_err(|_| Failure::Unreadable)??;
        }
        self.metrics.revocations_restored.inc_by(lost.len() as u64);
        tracing::warn!(revocations = lost.len(), "Redis had lost revocations; they are written again");
        Ok(())
    }
}
