//! The broker over Redis: a publishing lane, a subscriber connection and a reading lane for each node.

mod config;
mod flight;
mod history;
mod interest;
mod notes;
mod orders;
mod positions;
mod publisher;
mod queue;
mod reader;
mod reading;
mod scripts;
mod subscriber;
mod told;

pub use config::BrokerConfig;
#[cfg(feature = "fuzzing")]
pub use reading::read_answer;

use crate::metrics::BrokerMetrics;
use crate::{Broker, Health, Note, Outcome, Page, Publish, Range, Sink, Unavailable};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use interest::Interest;
use link::{Lane, Link};
use protocol::Channel;
use publisher::Publisher;
use reader::Reader;
use redis::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use subscriber::Subscriber;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use told::Told;

/// How long an order may take to reach Redis.
const ORDER_PATIENCE: Duration = Duration::from_secs(2);

/// One node's broker. Dropping it stops its tasks and closes its connections.
pub struct RedisBroker {
    link: Link,
    publisher: Publisher,
    interest: Arc<Interest>,
    is_subscribed: Arc<AtomicBool>,
    metrics: BrokerMetrics,
    tasks: [AbortHandle; 3],
}

impl RedisBroker {
    /// Starts connecting in the background. `node` is `<id>.<incarnation>`; orders to it arrive here.
    pub fn start(link: Link, node: &str, sink: Arc<dyn Sink>, config: &BrokerConfig, metrics: BrokerMetrics) -> Self {
        let told = Arc::new(Told::new());
        let publisher = Publisher::start(&link, node, &told, config, &metrics);
        let interest = Arc::new(Interest::new(link.keys(), node, sink, told, config, &metrics));
        let is_subscribed = Arc::new(AtomicBool::new(false));
        let subscriber = Subscriber {
            link: link.clone(),
            interest: interest.clone(),
            is_confirmed: is_subscribed.clone(),
            metrics: metrics.clone(),
        };
        let lane = Lane::start(&link, "read", &[scripts::READ, scripts::EPOCH]);
        let reader = Reader::new(interest.clone(), lane, link.keys(), &metrics);
        let beating = interest.clone();
        let beat = async move { beating.keep_beating().await };
        let tasks = [tokio::spawn(subscriber.run()), tokio::spawn(reader.run()), tokio::spawn(beat)];
        let tasks = tasks.map(|task| task.abort_handle());
        Self { link, publisher, interest, is_subscribed, metrics, tasks }
    }

    /// Publishes outside any channel; returns how many nodes listened.
    fn order(&self, topic: &str, message: &[u8]) -> impl Future<Output = Result<i64, Unavailable>> + use<> {
        let mut pipe = redis::pipe();
        pipe.cmd("PUBLISH").arg(topic).arg(message);
        let lane = self.publisher.lane().clone();
        async move {
            let answers = lane.query(&pipe, Instant::now() + ORDER_PATIENCE).await.map_err(|_| Unavailable)?;
            match answers.first() {
                Some(Value::Int(receivers)) => Ok(*receivers),
                _ => Err(Unavailable),
            }
        }
    }
}

impl Drop for RedisBroker {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Broker for RedisBroker {
    fn publish(&self, batch: Vec<Publish>) -> BoxFuture<'static, Vec<Outcome>> {
        self.publisher.publish(batch)
    }

    fn subscribe(&self, channel: &Channel, positioned: bool) {
        self.interest.subscribe(channel, positioned);
    }

    fn unsubscribe(&self, channel: &Channel) {
        self.interest.unsubscribe(channel);
    }

    fn history(&self, channel: &Channel, range: Range) -> BoxFuture<'static, Result<Page, Unavailable>> {
        let (link, interest) = (self.link.clone(), self.interest.clone());
        history::read(link, interest, channel.clone(), range, self.metrics.clone()).boxed()
    }

    fn state(&self, channel: &Channel) -> BoxFuture<'static, Result<Page, Unavailable>> {
        let (link, interest) = (self.link.clone(), self.interest.clone());
        history::read_state(link, interest, channel.clone(), self.metrics.clone()).boxed()
    }

    fn direct(&self, node: &str, order: Bytes) -> BoxFuture<'static, Result<bool, Unavailable>> {
        let receivers = self.order(&self.link.keys().node_topic(node), &orders::direct(&order));
        async move { Ok(receivers.await? > 0) }.boxed()
    }

    fn control(&self, order: Bytes) -> BoxFuture<'static, Result<(), Unavailable>> {
        let receivers = self.order(self.interest.control_topic(), &order);
        async move { receivers.await.map(|_| ()) }.boxed()
    }

    fn note(&self, name: &str, note: Note) -> BoxFuture<'static, Result<Option<String>, Unavailable>> {
        notes::carry_out(self.link.clone(), self.link.keys().note(name), note).boxed()
    }

    fn health(&self) -> Health {
        match self.publisher.health() {
            not_ready @ Health::NotReady(_) => not_ready,
            _ if !self.is_subscribed.load(Ordering::Acquire) => {
                Health::NotReady("the subscriber connection to Redis does not stand".to_owned())
            }
            health => health,
        }
    }
}
