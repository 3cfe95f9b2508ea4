//! One node's connections of users: one task states in Redis what they claim and give back, many at once, shows that the
//! node lives, and hears which of them have lost their place.

use super::asking::{Complaints, Failure, ask, ask_each, is_foreign, refusal};
use super::scripts::{self, SeatScripts};
use crate::{Claim, LOOK_EVERY, Other, Seats, Sessions, Unavailable, UsersMetrics};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use link::{Lane, LaneError, Link};
use protocol::Text;
use redis::{FromRedisValue, Pipeline, Value};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

/// Claims that may wait for Redis; those beyond are answered [`Unavailable`] at once. (What is given back always waits: each
/// has been claimed.)
const CLAIMS_MAX: usize = 16_384;

/// How many statements are made at once. One flight is under way at a time: those stated meanwhile share the next.
const FLIGHT: usize = 512;

/// How often each connection's place is stated anew, a few at a time: a user lives in Redis for a day without a write.
const RESTATE_EVERY: Duration = Duration::from_secs(3600);

/// How long a node that stops tries to say so; after that its lease says it.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

type Answer = Result<Claim, Unavailable>;

/// One node's connections of users. Dropping it ends its task and its connection; they then count until the lease ends.
pub struct RedisSessions {
    shared: Arc<Shared>,
    task: AbortHandle,
    ended: watch::Receiver<bool>,
}

struct Shared {
    lane: Lane,
    scripts: SeatScripts,
    seats: Seats,
    metrics: UsersMetrics,
    state: Mutex<State>,
    stated: Notify,
    is_stopping: AtomicBool,
}

#[derive(Default)]
struct State {
    statements: VecDeque<Statement>,
    claims: usize,
    /// Connections that have a place.
    held: HashMap<u64, Held>,
}

#[derive(Clone)]
struct Held {
    user: Text,
    /// In the order in which the user's connections came.
    place: u64,
}

enum Statement {
    Claim { user: Text, connection: u64, answer: oneshot::Sender<Answer> },
    Release { user: Text, connection: u64 },
}

impl RedisSessions {
    /// Begins to connect. `node` is `<id>.<incarnation>`. Must be called within a tokio runtime.
    pub fn start(link: &Link, node: &str, seats: Seats, metrics: UsersMetrics) -> Self {
        let shared = Arc::new(Shared {
            lane: Lane::start(link, "sessions", scripts::SESSIONS),
            scripts: SeatScripts::new(link.keys().clone(), node, seats.rule, seats.lease),
            seats,
            metrics,
            state: Mutex::default(),
            stated: Notify::new(),
            is_stopping: AtomicBool::new(false),
        });
        let (sender, ended) = watch::channel(false);
        let teller = Teller {
            shared: shared.clone(),
            next_renewal: Instant::now(),
            heard: 0,
            generation: 0,
            lost: VecDeque::new(),
            restated_at: Instant::now(),
        };
        let task = tokio::spawn(teller.run(sender)).abort_handle();
        Self { shared, task, ended }
    }
}

impl Drop for RedisSessions {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sessions for RedisSessions {
    fn claim(&self, user: &Text, connection: u64) -> BoxFuture<'static, Answer> {
        let asked = self.shared.state().claim(user, connection);
        self.shared.stated.notify_one();
        let metrics = self.shared.metrics.clone();
        async move {
            let answer = match asked {
                Some(answer) => answer.await.unwrap_or(Err(Unavailable)),
                None => Err(Unavailable),
            };
            let outcome = match &answer {
                Ok(Claim::Granted { .. }) => "granted",
                Ok(Claim::Refused { .. }) => "refused",
                Err(Unavailable) => "unavailable",
            };
            metrics.claims.with_label_values(&[outcome]).inc();
            answer
        }
        .boxed()
    }

    fn release(&self, user: &Text, connection: u64) {
        self.shared.state().release(user, connection);
        self.shared.stated.notify_one();
    }

    fn stop(&self) -> BoxFuture<'static, ()> {
        self.shared.is_stopping.store(true, Ordering::Release);
        self.shared.stated.notify_one();
        let (mut ended, task) = (self.ended.clone(), self.task.clone());
        async move {
            let _ = timeout(STOP_DEADLINE, ended.wait_for(|ended| *ended)).await;
            task.abort();
        }
        .boxed()
    }
}

impl State {
    fn claim(&mut self, user: &Text, connection: u64) -> Option<oneshot::Receiver<Answer>> {
        if self.claims >= CLAIMS_MAX {
            return None;
        }
        self.claims += 1;
        let (answer, answered) = oneshot::channel();
        self.statements.push_back(Statement::Claim { user: user.clone(), connection, answer });
        Some(answered)
    }

    fn release(&mut self, user: &Text, connection: u64) {
        self.held.remove(&connection);
        self.statements.push_back(Statement::Release { user: user.clone(), connection });
    }

    fn take(&mut self) -> Vec<Statement> {
        let count = self.statements.len().min(FLIGHT);
        let mut flight: Vec<_> = self.statements.drain(..count).collect();
        self.claims -= flight.iter().filter(|statement| matches!(statement, Statement::Claim { .. })).count();
        // Whoever has given up takes nobody's place.
        flight.retain(|statement| !matches!(statement, Statement::Claim { answer, .. } if answer.is_closed()));
        flight
    }

    /// A flight that was not carried out, or only in part: all of it is said again, which does nothing twice.
    fn put_back(&mut self, flight: Vec<Statement>) {
        for statement in flight.into_iter().rev() {
            self.claims += usize::from(matches!(statement, Statement::Claim { .. }));
            self.statements.push_front(statement);
        }
    }

    /// A flight that was not answered: what is given back is said again; claims that may have been granted are given back.
    fn lost(&mut self, flight: Vec<Statement>, was_sent: bool) {
        for statement in flight.into_iter().rev() {
            match statement {
                Statement::Claim { user, connection, answer } => {
                    // Whoever asked may have given up.
                    let _ = answer.send(Err(Unavailable));
                    if was_sent {
                        self.statements.push_front(Statement::Release { user, connection });
                    }
                }
                release @ Statement::Release { .. } => self.statements.push_front(release),
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn measure(&self) {
        self.metrics.sessions.set(i64::try_from(self.state().held.len()).unwrap_or(i64::MAX));
    }

    /// A connection has lost its place.
    fn lose(&self, connection: u64) {
        if self.state().held.remove(&connection).is_some() {
            self.metrics.lost.inc();
        }
        // Also one whose claim is still on its way here.
        (self.seats.on_lost)(connection);
    }
}

/// What a claim was answered.
enum Verdict {
    Granted {
        place: u64,
        replaced: Vec<Other>,
    },
    Refused {
        holders: Vec<Other>,
    },
    /// This node's connections do not count at present.
    NodeUnknown,
}

fn verdict(answer: Value) -> Result<Verdict, Failure> {
    let (code, place, names) = <(i64, u64, Vec<String>)>::from_redis_value(answer).map_err(|_| Failure::Unreadable)?;
    let others = names.iter().filter_map(|name| Other::parse(name)).collect();
    Ok(match code {
        1 => Verdict::Granted { place, replaced: others },
        0 => Verdict::Refused { holders: others },
        _ => Verdict::NodeUnknown,
    })
}

/// The one task that speaks with Redis.
struct Teller {
    shared: Arc<Shared>,
    next_renewal: Instant,
    /// How many of those that lost their place it has heard of, and has not said so.
    heard: usize,
    generation: u64,
    /// Connections whose place is to be stated anew.
    lost: VecDeque<u64>,
    restated_at: Instant,
}

impl Teller {
    async fn run(mut self, ended: watch::Sender<bool>) {
        let mut complaints = Complaints::default();
        loop {
            match self.step().await {
                Ok(true) => complaints.over(),
                Ok(false) => {
                    complaints.over();
                    if self.shared.is_stopping.load(Ordering::Acquire) {
                        break;
                    }
                    self.rest().await;
                }
                Err(failure) => {
                    self.shared.metrics.failures.inc();
                    complaints.about("users' connections cannot be counted", &failure);
                    self.next_renewal = Instant::now();
                    sleep(Duration::from_millis(100)).await;
                }
            }
            self.shared.measure();
        }
        let mut pipe = Pipeline::new();
        pipe.add_command(self.shared.scripts.farewell());
        // Unsaid, the lease says it.
        let _ = ask(&self.shared.lane, &pipe).await;
        ended.send_replace(true);
    }

    async fn rest(&self) {
        tokio::select! {
            () = self.shared.stated.notified() => {}
            _ = self.shared.lane.next_connection(self.generation) => {}
            () = tokio::time::sleep_until(self.next_renewal) => {}
        }
    }

    /// True if there may be more to do at once.
    async fn step(&mut self) -> Result<bool, Failure> {
        if !self.shared.lane.is_up() {
            let flight = self.shared.state().take();
            self.shared.state().lost(flight, false);
            self.next_renewal = Instant::now() + LOOK_EVERY;
            return Ok(false);
        }
        let newer = self.shared.lane.next_connection(self.generation).now_or_never();
        if newer.is_some() || Instant::now() >= self.next_renewal {
            self.renew(newer).await?;
        }
        if self.restate().await? {
            return Ok(true);
        }
        let flight = self.shared.state().take();
        if flight.is_empty() {
            return Ok(false);
        }
        self.fly(flight).await?;
        Ok(true)
    }

    async fn renew(&mut self, newer: Option<u64>) -> Result<(), Failure> {
        let sent_at = Instant::now();
        let mut pipe = Pipeline::new();
        pipe.add_command(self.shared.scripts.renew(self.heard, FLIGHT));
        let answer = ask(&self.shared.lane, &pipe).await?.into_iter().next().ok_or(Failure::Unreadable)?;
        let (held, lost) = <(i64, Vec<String>)>::from_redis_value(answer).map_err(|_| Failure::Unreadable)?;
        self.heard = lost.len();
        for number in lost.iter().filter_map(|number| u64::from_str_radix(number, 16).ok()) {
            self.shared.lose(number);
        }
        // Redis may be another one, or others may have taken this node for dead.
        if newer.is_some() || held == 0 || self.restated_at.elapsed() >= RESTATE_EVERY {
            self.restated_at = sent_at;
            self.lost = self.shared.state().held.keys().copied().collect();
        }
        if let Some(generation) = newer {
            (self.generation, self.heard) = (generation, 0);
        }
        // What it has heard is to be said soon, if there may be more.
        let pause = if self.heard == FLIGHT { Duration::ZERO } else { LOOK_EVERY.min(self.shared.seats.lease / 3) };
        self.next_renewal = sent_at + pause;
        Ok(())
    }

    /// States some places anew; true if there were any.
    async fn restate(&mut self) -> Result<bool, Failure> {
        let mut part = Vec::new();
        {
            let state = self.shared.state();
            while part.len() < FLIGHT
                && let Some(connection) = self.lost.pop_front()
            {
                part.extend(state.held.get(&connection).map(|held| (connection, held.clone())));
            }
        }
        if part.is_empty() {
            return Ok(false);
        }
        let mut pipe = Pipeline::new();
        for (connection, held) in &part {
            pipe.add_command(self.shared.scripts.claim(&held.user, *connection, held.place));
        }
        let answers = match ask(&self.shared.lane, &pipe).await {
            Ok(answers) => answers,
            Err(failure) => {
                self.lost.extend(part.iter().map(|(connection, _)| *connection));
                return Err(failure);
            }
        };
        for ((connection, held), answer) in part.into_iter().zip(answers) {
            match verdict(answer)? {
                Verdict::Granted { .. } => self.release_if_gone(connection, &held),
                Verdict::Refused { .. } => self.shared.lose(connection),
                Verdict::NodeUnknown => self.lost.push_back(connection),
            }
        }
        Ok(true)
    }

    /// It was given back while its place was stated anew: perhaps before that in Redis, too.
    fn release_if_gone(&self, connection: u64, held: &Held) {
        let mut state = self.shared.state();
        if !state.held.contains_key(&connection) {
            state.release(&held.user, connection);
        }
    }

    async fn fly(&mut self, flight: Vec<Statement>) -> Result<(), Failure> {
        let scripts = &self.shared.scripts;
        let mut pipe = Pipeline::new();
        for statement in &flight {
            pipe.add_command(match statement {
                Statement::Claim { user, connection, .. } => scripts.claim(user, *connection, 0),
                Statement::Release { user, connection } => scripts.release(user, *connection),
            });
        }
        let answers = match ask_each(&self.shared.lane, &pipe).await {
            Ok(answers) => answers,
            Err(Failure::NoScript) => {
                self.shared.state().put_back(flight);
                return Ok(());
            }
            Err(failure) => {
                let was_sent = !matches!(failure, Failure::Unanswered(LaneError::Down));
                self.shared.state().lost(flight, was_sent);
                return Err(failure);
            }
        };
        let refused = answers.iter().find_map(refusal);
        for (statement, answer) in flight.into_iter().zip(answers) {
            match statement {
                Statement::Claim { user, connection, answer: asker } => self.claimed(&user, connection, answer, asker),
                Statement::Release { user, connection } => {
                    if refusal(&answer).is_some() && !is_foreign(&answer) {
                        self.shared.state().release(&user, connection);
                    }
                }
            }
        }
        refused.map_or(Ok(()), |refused| Err(Failure::Refused(refused)))
    }

    fn claimed(&mut self, user: &Text, connection: u64, answer: Value, asker: oneshot::Sender<Answer>) {
        let answer = match verdict(answer) {
            Ok(Verdict::Granted { place, replaced }) => {
                self.shared.state().held.insert(connection, Held { user: user.clone(), place });
                Ok(Claim::Granted { replaced })
            }
            Ok(Verdict::Refused { holders }) => Ok(Claim::Refused { holders }),
            Ok(Verdict::NodeUnknown) | Err(_) => {
                self.next_renewal = Instant::now();
                Err(Unavailable)
            }
        };
        let is_granted = matches!(answer, Ok(Claim::Granted { .. }));
        // Whoever asked has given up: nobody else will give it back.
        if asker.send(answer).is_err() && is_granted {
            self.shared.state().release(user, connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_nobody_waits_for_any_more_is_not_made() {
        let mut state = State::default();
        let (ann, bob) = (Text::from("ann"), Text::from("bob"));
        let waiting = state.claim(&ann, 1);
        drop(state.claim(&bob, 2));
        state.release(&bob, 2);
        let flight = state.take();
        assert!(matches!(
            flight[..],
            [Statement::Claim { connection: 1, .. }, Statement::Release { connection: 2, .. }]
        ));
        assert_eq!((state.claims, waiting.is_some()), (0, true));
    }
}
