//! The subscriber connection: made anew for ever, kept in step with what is wanted, and probed.

use super::interest::Interest;
use super::orders;
use crate::metrics::BrokerMetrics;
use link::{Backoff, Connected, KeySpace, Link};
use protocol::Channel;
use redis::aio::{MultiplexedConnection, SendError};
use redis::{PushInfo, PushKind, Value};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

/// How many topics one command subscribes or unsubscribes.
const TOPICS: usize = 500;

/// How long Redis may take for one command.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the connection is probed, and how long a probe may stay away while nothing else arrives either.
const PROBE_EVERY: Duration = Duration::from_secs(2);
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_CEILING: Duration = Duration::from_millis(500);

pub(super) struct Subscriber {
    pub(super) link: Link,
    pub(super) interest: Arc<Interest>,
    /// Whether the present connection has brought back a probe.
    pub(super) is_confirmed: Arc<AtomicBool>,
    pub(super) metrics: BrokerMetrics,
}

impl Subscriber {
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING);
        let mut complained = false;
        let mut had_connection = false;
        loop {
            let number = self.interest.begin_connection();
            let primary = self.link.primary();
            let Err(cause) = self.connect_and_serve(number).await;
            if self.is_confirmed.swap(false, Ordering::AcqRel) {
                tracing::warn!(cause, "the subscriber connection to Redis is lost; reconnecting");
                (had_connection, complained) = (true, true);
                backoff.reset();
            } else if !complained {
                // Once an outage, not once an attempt.
                tracing::warn!(cause, "cannot subscribe at Redis; trying on");
                complained = true;
            }
            self.link.pause(&mut backoff, primary).await;
            self.metrics.reconnects.inc_by(u64::from(std::mem::take(&mut had_connection)));
        }
    }

    async fn connect_and_serve(&self, number: u64) -> Result<std::convert::Infallible, String> {
        let broken = Arc::new(Notify::new());
        let on_push = receiver(number, self.interest.clone(), broken.clone());
        let connected = timeout(PATIENCE, self.link.connect(on_push)).await;
        let Connected { mut connection, primary } =
            connected.map_err(|_| "no answer in time")?.map_err(|e| e.to_string())?;
        self.interest.connected_to(primary);
        let own_topics = [self.interest.node_topic(), self.interest.control_topic()];
        answered(connection.subscribe(&own_topics[..])).await?;
        tokio::select! {
            biased;
            () = broken.notified() => Err("it broke".to_owned()),
            () = self.link.moves_from(primary) => Err("another Redis is primary".to_owned()),
            result = self.probe(number, connection.clone()) => result,
            result = self.keep_in_step(connection) => result,
        }
    }

    /// Subscribes and unsubscribes as is wanted.
    async fn keep_in_step(&self, mut connection: MultiplexedConnection) -> Result<std::convert::Infallible, String> {
        let keys = self.link.keys();
        let mut on_wire = HashSet::new();
        loop {
            let changes = self.interest.take_changes(&on_wire, TOPICS);
            if changes.subscribe.is_empty() && changes.unsubscribe.is_empty() && changes.kept.is_empty() {
                self.interest.changes().await;
                continue;
            }
            if !changes.unsubscribe.is_empty() {
                answered(connection.unsubscribe(topics(keys, &changes.unsubscribe))).await?;
                for channel in &changes.unsubscribe {
                    on_wire.remove(channel);
                }
            }
            if !changes.subscribe.is_empty() {
                answered(connection.subscribe(topics(keys, &changes.subscribe))).await?;
                on_wire.extend(changes.subscribe.iter().cloned());
            }
            self.interest.confirm(&changes.subscribe);
            self.interest.confirm(&changes.kept);
        }
    }

    /// Publishes to the node's own topic and waits for it to come back: a Redis whose pub/sub is dead may answer
    /// everything else.
    async fn probe(
        &self,
        connection_number: u64,
        connection: MultiplexedConnection,
    ) -> Result<std::convert::Infallible, String> {
        // Never a number that an earlier connection may still bring.
        for number in connection_number << 32.. {
            let sent = Instant::now();
            self.interest.begin_probe(number);
            self.one_probe(number, connection.clone()).await?;
            if !self.is_confirmed.swap(true, Ordering::AcqRel) {
                tracing::info!("subscribed at Redis");
            }
            self.metrics.probe_came_back();
            tokio::select! {
                () = sleep(PROBE_EVERY.saturating_sub(sent.elapsed())) => {}
                () = self.interest.probe_is_wanted() => {}
            }
        }
        Err("there are no more numbers".to_owned())
    }

    async fn one_probe(&self, number: u64, mut connection: MultiplexedConnection) -> Result<(), String> {
        let message = orders::probe(number);
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(self.interest.node_topic()).arg(&message[..]);
        let mut round_trip = std::pin::pin!(async {
            connection.send_packed_command(&publish).await.map_err(|e| e.to_string())?;
            self.interest.probe_came_back(number).await;
            Ok(())
        });
        loop {
            let (heard, standstills) = (self.interest.heard(), self.interest.standstills());
            match timeout(PROBE_PATIENCE, &mut round_trip).await {
                Ok(result) => return result,
                // Messages that arrive show that it is alive and only behind: making it anew would add to the load.
                Err(_) if self.interest.heard() != heard => {}
                // It was this node that did not listen.
                Err(_) if self.interest.standstills() != standstills => {}
                Err(_) => return Err("a probe did not come back".to_owned()),
            }
        }
    }
}

/// Takes what the connection's own task receives.
fn receiver(
    number: u64,
    interest: Arc<Interest>,
    broken: Arc<Notify>,
) -> impl Fn(PushInfo) -> Result<(), SendError> + Send + Sync + 'static {
    move |push| {
        match push.kind {
            PushKind::Disconnection => broken.notify_one(),
            PushKind::Message => {
                if let Ok([Value::BulkString(topic), Value::BulkString(payload)]) = <[Value; 2]>::try_from(push.data)
                    && let Ok(topic) = std::str::from_utf8(&topic)
                {
                    interest.message(number, topic, payload.into());
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn topics(keys: &KeySpace, channels: &[Channel]) -> Vec<String> {
    channels.iter().map(|channel| keys.topic(channel)).collect()
}

async fn answered(command: impl Future<Output = redis::RedisResult<()>>) -> Result<(), String> {
    timeout(PATIENCE, command).await.map_err(|_| "Redis does not answer")?.map_err(|e| e.to_string())
}
