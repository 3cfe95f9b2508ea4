//! A lane: one supervised connection for pipelines and scripts, re-made for ever, that knows when it is down.

use crate::{Backoff, CONNECT_TIMEOUT, Connected, Link};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Pipeline, PushInfo, PushKind, ServerErrorKind, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

/// How often an idle lane asks Redis for its time: finds a dead connection, and keeps [`RedisClock`] true.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// The bound of the delay between attempts: Redis is found again well within 2 s of being back.
const RETRY_CEILING: Duration = Duration::from_millis(500);
const RETRY_FIRST: Duration = Duration::from_millis(50);

/// Why a flight of commands brought no answers.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// Nothing was sent: nothing was done.
    #[error("Redis cannot be reached; nothing was sent")]
    Down,
    /// It was sent, and no answer came: it may or may not have been done.
    #[error("Redis did not answer: {0}")]
    Unknown(String),
}

/// A lower bound of Redis' own clock, in Unix milliseconds, for deadlines that Redis itself keeps.
#[derive(Debug, Clone, Copy)]
pub struct RedisClock {
    redis_ms: u64,
    at: Instant,
}

impl RedisClock {
    /// What Redis' clock shows at `when`, at the least: the answer to TIME had aged by its way back. Of a moment before
    /// that answer it is as true as the two clocks went alike.
    pub fn at_least(&self, when: Instant) -> u64 {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let since = self.redis_ms.saturating_add(ms(when.saturating_duration_since(self.at)));
        since.saturating_sub(ms(self.at.saturating_duration_since(when)))
    }
}

#[derive(Clone)]
struct Up {
    connection: MultiplexedConnection,
    clock: RedisClock,
    /// Counts connections, so that those who must do something after each loss see every one.
    generation: u64,
    /// Which primary it leads to.
    primary: u64,
    fate: Arc<Fate>,
}

/// What becomes of one connection.
#[derive(Default)]
struct Fate {
    is_broken: AtomicBool,
    broke: Notify,
}

impl Fate {
    /// The connection is of no more use: nobody sends over it from now on, and the supervisor makes another one.
    fn seal(&self) {
        self.is_broken.store(true, Ordering::Release);
        self.broke.notify_one();
    }
}

impl Up {
    fn stands(&self) -> bool {
        !self.fate.is_broken.load(Ordering::Acquire)
    }
}

/// A supervised connection. The supervisor ends when the lane is dropped.
pub struct Lane {
    name: &'static str,
    link: Link,
    state: watch::Receiver<Option<Up>>,
    scripts: &'static [&'static str],
    supervisor: AbortHandle,
}

impl Lane {
    /// Starts connecting in the background. `name` labels its metrics; `scripts` are loaded on each connection, so that
    /// EVALSHA finds them.
    pub fn start(link: &Link, name: &'static str, scripts: &'static [&'static str]) -> Self {
        let (sender, state) = watch::channel(None);
        let supervisor = tokio::spawn(supervise(link.clone(), name, scripts, sender)).abort_handle();
        Self { name, link: link.clone(), state, scripts, supervisor }
    }

    /// Whether the connection stands, as far as is known.
    pub fn is_up(&self) -> bool {
        self.state.borrow().as_ref().is_some_and(Up::stands)
    }

    /// Redis' clock, while the connection stands.
    pub fn clock(&self) -> Option<RedisClock> {
        self.state.borrow().as_ref().map(|up| up.clock)
    }

    /// Which primary the connection leads to; 0 while there is none.
    pub fn primary(&self) -> u64 {
        self.state.borrow().as_ref().map_or(0, |up| up.primary)
    }

    /// Waits until the connection stands and is another one than `seen`; returns its generation (from 1).
    pub async fn next_connection(&self, seen: u64) -> u64 {
        let mut state = self.state.clone();
        let is_newer = |up: &Option<Up>| up.as_ref().is_some_and(|up| up.stands() && up.generation != seen);
        let newer = state.wait_for(is_newer).await.ok().and_then(|up| up.as_ref().map(|up| up.generation));
        match newer {
            Some(generation) => generation,
            None => std::future::pending().await,
        }
    }

    /// Sends a pipeline in one write and returns one value for each command; a command's own error is a
    /// [`Value::ServerError`] in its place.
    pub async fn query(&self, pipe: &Pipeline, deadline: Instant) -> Result<Vec<Value>, LaneError> {
        let up = self.state.borrow().clone();
        self.query_over(up, pipe, deadline).await
    }

    /// As [`Lane::query`], and nothing is sent unless the connection leads to this primary.
    pub async fn query_at(&self, primary: u64, pipe: &Pipeline, deadline: Instant) -> Result<Vec<Value>, LaneError> {
        let up = self.state.borrow().clone().filter(|up| up.primary == primary);
        self.query_over(up, pipe, deadline).await
    }

    async fn query_over(&self, up: Option<Up>, pipe: &Pipeline, deadline: Instant) -> Result<Vec<Value>, LaneError> {
        // What a former primary is given now would be lost with all that it alone has.
        let leads_on = |up: &Up| up.stands() && up.primary == self.link.primary();
        let Some(mut up) = up.filter(leads_on) else { return Err(LaneError::Down) };
        let mut state = self.state.clone();
        let generation = up.generation;
        let count = pipe.len();
        let metrics = self.link.metrics();
        metrics.commands.with_label_values(&[self.name]).inc_by(count as u64);
        let answers = timeout_at(deadline, up.connection.req_packed_commands(pipe, 0, count));
        let given_up = state.wait_for(|up| up.as_ref().is_none_or(|up| up.generation != generation));
        let failure = tokio::select! {
            biased;
            answers = answers => match answers {
                // What a former primary has done may be undone.
                Ok(Ok(_)) if up.primary != self.link.primary() => "another Redis has become primary".to_owned(),
                Ok(Ok(values)) => {
                    if values.iter().any(is_read_only) {
                        // The primary has become a replica; whoever is primary now is found by connecting anew.
                        up.fate.seal();
                    }
                    return Ok(values);
                }
                Ok(Err(error)) => {
                    up.fate.seal();
                    error.to_string()
                }
                Err(_) => "its deadline passed".to_owned(),
            },
            _ = given_up => "the connection was given up".to_owned(),
        };
        metrics.errors.with_label_values(&[self.name]).inc();
        Err(LaneError::Unknown(failure))
    }

    /// Loads the lane's scripts again, after Redis has answered NOSCRIPT.
    pub async fn reload_scripts(&self, deadline: Instant) -> Result<(), LaneError> {
        self.link.metrics().script_reloads.inc();
        self.query(&script_loads(self.scripts), deadline).await.map(|_| ())
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

fn is_read_only(value: &Value) -> bool {
    matches!(value, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::ReadOnly))
}

fn script_loads(scripts: &[&str]) -> Pipeline {
    let mut pipe = redis::pipe();
    for script in scripts {
        pipe.cmd("SCRIPT").arg("LOAD").arg(*script);
    }
    pipe
}

async fn supervise(link: Link, name: &'static str, scripts: &'static [&'static str], state: watch::Sender<Option<Up>>) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING);
    let mut generation = 0;
    let mut complained = false;
    loop {
        let mut primary = link.primary();
        match connect(&link, scripts).await {
            Ok((connected, clock, fate)) => {
                generation += 1;
                primary = connected.primary;
                let connection = connected.connection;
                if generation > 1 {
                    link.metrics().reconnects.with_label_values(&[name]).inc();
                }
                tracing::info!(lane = name, generation, "connected to Redis");
                complained = false;
                let up = Up { connection: connection.clone(), clock, generation, primary, fate: fate.clone() };
                state.send_replace(Some(up));
                link.metrics().up.with_label_values(&[name]).set(1);
                let since = Instant::now();
                let cause = tokio::select! {
                    cause = watch_over(connection, &state, &fate) => cause,
                    () = link.moves_from(primary) => "another Redis is primary",
                };
                // One that broke at once was no success: a Redis that refuses everything is not asked in a hurry.
                if since.elapsed() >= HEARTBEAT {
                    backoff.reset();
                }
                state.send_replace(None);
                link.metrics().up.with_label_values(&[name]).set(0);
                tracing::warn!(lane = name, cause, "the connection to Redis is lost; reconnecting");
            }
            Err(error) => {
                link.metrics().up.with_label_values(&[name]).set(0);
                // Once an outage, not once an attempt.
                if !complained {
                    tracing::warn!(lane = name, %error, "cannot connect to Redis; trying on");
                    complained = true;
                }
            }
        }
        link.pause(&mut backoff, primary).await;
    }
}

async fn connect(link: &Link, scripts: &[&str]) -> Result<(Connected, RedisClock, Arc<Fate>), String> {
    let fate = Arc::new(Fate::default());
    let lost = fate.clone();
    let on_push = move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            lost.seal();
        }
        Ok::<(), redis::aio::SendError>(())
    };
    let attempt = async {
        let mut connected = link.connect(on_push).await.map_err(|e| e.to_string())?;
        let connection = &mut connected.connection;
        let loads = script_loads(scripts);
        if !scripts.is_empty() {
            let loaded = connection.req_packed_commands(&loads, 0, loads.len()).await.map_err(|e| e.to_string())?;
            if let Some(Value::ServerError(error)) = loaded.into_iter().find(|v| matches!(v, Value::ServerError(_))) {
                return Err(format!("a script was refused: {error:?}"));
            }
        }
        let clock = ask_time(connection).await?;
        Ok((connected, clock, fate))
    };
    timeout(CONNECT_TIMEOUT * 2, attempt).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

async fn ask_time(connection: &mut MultiplexedConnection) -> Result<RedisClock, String> {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(connection).await.map_err(|e| e.to_string())?;
    Ok(RedisClock { redis_ms: seconds * 1000 + micros / 1000, at: Instant::now() })
}

/// Returns why the connection is given up.
async fn watch_over(
    mut connection: MultiplexedConnection,
    state: &watch::Sender<Option<Up>>,
    fate: &Fate,
) -> &'static str {
    loop {
        tokio::select! {
            () = fate.broke.notified() => return "it broke",
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
        match timeout(HEARTBEAT, ask_time(&mut connection)).await {
            Ok(Ok(clock)) => {
                state.send_if_modified(|up| {
                    if let Some(up) = up {
                        up.clock = clock;
                    }
                    false
                });
            }
            Ok(Err(_)) => return "it failed",
            Err(_) => return "Redis does not answer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_tells_later_and_earlier_moments() {
        let at = Instant::now() + Duration::from_secs(60);
        let clock = RedisClock { redis_ms: 100_000, at };
        assert_eq!(clock.at_least(at), 100_000);
        assert_eq!(clock.at_least(at + Duration::from_millis(1500)), 101_500);
        assert_eq!(clock.at_least(at - Duration::from_millis(1500)), 98_500);
    }
}
