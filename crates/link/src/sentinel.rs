//! Sentinels: whom they name as primary, and since when.
//!
//! The Redis client's own support for sentinels is not used: it reads `SENTINEL MASTERS`, which goes on naming the old
//! primary while replicas are being moved over and knows nothing of config epochs, asks one after the other, and checks
//! the role over another connection than the one that is used afterwards.

mod round;

use crate::LinkMetrics;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{ConnectionInfo, Value};
use round::Round;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, timeout};

/// How long one sentinel may take, connecting included. All are asked at once, so a dead one costs this at the most.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often the sentinels are asked while nobody connects: so late, at the most, it is noticed that another Redis has
/// become primary while the connections to the one before still stand.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// An outcome this young is shared by all who connect at the same time.
const FRESH: Duration = Duration::from_millis(50);

/// What a sentinel says of the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Grows with each failover: among several answers the highest is the newest.
    config_epoch: u64,
}

/// Why the primary is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPrimary {
    /// None answered.
    #[error("no sentinel can be asked who is primary: {0}")]
    Unreachable(String),
    /// They answer, and do not know that name.
    #[error("the sentinels watch no primary of that name (redis.sentinel.master)")]
    Unwatched,
    /// Those that answer know less than this node, and are too few to believe.
    #[error("the sentinels that answer are behind, and most do not answer")]
    Behind,
}

/// The primary that was named last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Present {
    /// Grows with each that was named after another one; 0 before the first.
    pub(crate) number: u64,
    pub(crate) named: Option<Named>,
}

pub(crate) struct Sentinels {
    addresses: Vec<redis::Client>,
    master: String,
    present: watch::Sender<Present>,
    /// For those who connect. The watch has connections of its own: it waits for every sentinel, and must hold up nobody.
    finding: Mutex<Finding>,
    metrics: Arc<LinkMetrics>,
}

struct Finding {
    asking: Asking,
    last: Option<(Instant, Result<Present, NoPrimary>)>,
}

impl Sentinels {
    pub(crate) fn new(
        addresses: Vec<ConnectionInfo>,
        master: String,
        metrics: Arc<LinkMetrics>,
    ) -> redis::RedisResult<Self> {
        let addresses = addresses.into_iter().map(redis::Client::open).collect::<redis::RedisResult<Vec<_>>>()?;
        let finding = Mutex::new(Finding { asking: Asking::new(&addresses), last: None });
        Ok(Self { addresses, master, present: watch::Sender::default(), finding, metrics })
    }

    /// The primary that was named last.
    pub(crate) fn present(&self) -> Present {
        self.present.borrow().clone()
    }

    /// Its number alone.
    pub(crate) fn number(&self) -> u64 {
        self.present.borrow().number
    }

    /// Waits until another primary is named than the one with this number.
    pub(crate) async fn moves_from(&self, number: u64) {
        let mut present = self.present.subscribe();
        // The sender lives as long as `self`.
        let _ = present.wait_for(|present| present.number != number).await;
    }

    /// Asks for the primary, for one who connects: the first good answer will do.
    pub(crate) async fn find(&self) -> Result<Present, NoPrimary> {
        let mut finding = self.finding.lock().await;
        if let Some((at, outcome)) = &finding.last
            && at.elapsed() < FRESH
        {
            return outcome.clone();
        }
        let outcome = self.ask(&mut finding.asking, true).await;
        finding.last = Some((Instant::now(), outcome.clone()));
        outcome
    }

    /// Asks all sentinels again and again, for ever.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut asking = Asking::new(&self.addresses);
        let mut has_complained = false;
        loop {
            sleep(WATCH_EVERY).await;
            let fault = self.ask(&mut asking, false).await.err();
            let had_complained = std::mem::replace(&mut has_complained, fault.is_some());
            // Once an outage, not once an attempt.
            if let Some(fault) = fault.filter(|_| !had_complained) {
                tracing::warn!(%fault, "it is not known which Redis is primary; asking on");
            }
        }
    }

    async fn ask(&self, asking: &mut Asking, first_will_do: bool) -> Result<Present, NoPrimary> {
        let known = self.present().named;
        let named = asking.round(&self.master, known.clone(), first_will_do).await?;
        Ok(self.note(known.as_ref(), named))
    }

    /// Notes an answer that was judged by what was known then.
    fn note(&self, known: Option<&Named>, named: Named) -> Present {
        let is_another = self.present.send_if_modified(|present| {
            let is_outrun = present.named.as_ref() != known
                && present.named.as_ref().is_some_and(|present| present.config_epoch > named.config_epoch);
            let is_another = present.named.as_ref() != Some(&named) && !is_outrun;
            if is_another {
                present.number += 1;
                present.named = Some(named);
            }
            is_another
        });
        let present = self.present();
        if let Some(Named { host, port, config_epoch }) = present.named.as_ref().filter(|_| is_another) {
            tracing::info!(host, port, config_epoch, "the sentinels name this Redis as primary");
            self.metrics.failovers.inc_by(u64::from(present.number > 1));
        }
        present
    }
}

/// Connections to all sentinels.
struct Asking(Vec<Sentinel>);

impl Asking {
    fn new(addresses: &[redis::Client]) -> Self {
        Self(addresses.iter().map(|client| Sentinel { client: client.clone(), connection: None }).collect())
    }

    async fn round(&mut self, master: &str, known: Option<Named>, first_will_do: bool) -> Result<Named, NoPrimary> {
        let mut round = Round::new(self.0.len(), known);
        let mut asked: FuturesUnordered<_> = self.0.iter_mut().map(|sentinel| sentinel.ask(master)).collect();
        while let Some(answer) = asked.next().await {
            let is_good = round.take(answer);
            if is_good && first_will_do {
                break;
            }
        }
        round.outcome()
    }
}

struct Sentinel {
    client: redis::Client,
    connection: Option<MultiplexedConnection>,
}

impl Sentinel {
    async fn ask(&mut self, master: &str) -> Result<Named, NoPrimary> {
        let unreachable =
            |cause: &str| NoPrimary::Unreachable(format!("{}: {cause}", self.client.get_connection_info().addr()));
        let answers = match timeout(PATIENCE, ask_over(&self.client, &mut self.connection, master)).await {
            Ok(Ok(answers)) => answers,
            failed => {
                let cause = match failed {
                    Ok(Err(error)) => error.to_string(),
                    _ => "no answer in time".to_owned(),
                };
                let fault = unreachable(&cause);
                self.connection = None;
                return Err(fault);
            }
        };
        match understand(answers) {
            Ok(Some(named)) => Ok(named),
            Ok(None) => Err(NoPrimary::Unwatched),
            Err(cause) => Err(unreachable(&cause)),
        }
    }
}

async fn ask_over(
    client: &redis::Client,
    kept: &mut Option<MultiplexedConnection>,
    master: &str,
) -> redis::RedisResult<Vec<Value>> {
    let mut connection = match kept {
        Some(connection) => connection.clone(),
        None => kept.insert(client.get_multiplexed_async_connection().await?).clone(),
    };
    let mut pipe = redis::Pipeline::with_capacity(2);
    pipe.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    pipe.cmd("SENTINEL").arg("MASTER").arg(master);
    connection.req_packed_commands(&pipe, 0, 2).await
}

/// `None` if it does not watch that name.
fn understand(answers: Vec<Value>) -> Result<Option<Named>, String> {
    let [address, master] = <[Value; 2]>::try_from(answers).map_err(|_| "too few answers")?;
    let address: Option<(String, u16)> = match address {
        Value::ServerError(error) => return Err(error.to_string()),
        address => redis::from_redis_value(address).map_err(|e| e.to_string())?,
    };
    let Some((host, port)) = address else { return Ok(None) };
    let fields: HashMap<String, String> = match master {
        Value::ServerError(error) => return Err(error.to_string()),
        master => redis::from_redis_value(master).map_err(|e| e.to_string())?,
    };
    let config_epoch = fields.get("config-epoch").and_then(|epoch| epoch.parse().ok());
    Ok(Some(Named { host, port, config_epoch: config_epoch.unwrap_or_default() }))
}
