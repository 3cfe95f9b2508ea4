//! Nodes under test, and what they are delivered.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod proxy;

use broker::metrics::BrokerMetrics;
use broker::redis::{BrokerConfig, RedisBroker};
use broker::{Broker, Delivery, Health, Outcome, Publish, Retention, Sink, StateLimits};
use link::testing::RedisServer;
use link::{Link, LinkConfig, LinkMetrics, SentinelConfig};
use prometheus::Registry;
use protocol::{Channel, Payload, Position, Publication};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const STATE: StateLimits = StateLimits { keys: 5, bytes: 2_000, ttl: Duration::from_secs(3600) };

pub(crate) const RETENTION: Retention = Retention { size: 1_000_000, ttl: Duration::from_secs(600), state: STATE };

/// A node: its broker, and what it has been delivered.
pub(crate) struct Node {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) registry: Registry,
}

/// Deliveries in the order they came.
#[derive(Default)]
pub(crate) struct Inbox {
    deliveries: Mutex<VecDeque<Delivery>>,
    arrived: Notify,
}

impl Sink for Inbox {
    fn deliver(&self, delivery: Delivery) {
        self.deliveries.lock().expect("the inbox").push_back(delivery);
        self.arrived.notify_one();
    }
}

impl Inbox {
    /// The next delivery.
    pub(crate) async fn next(&self) -> Delivery {
        let next = async {
            loop {
                if let Some(delivery) = self.deliveries.lock().expect("the inbox").pop_front() {
                    return delivery;
                }
                self.arrived.notified().await;
            }
        };
        timeout(PATIENCE, next).await.expect("nothing is delivered")
    }

    /// What has been delivered until now and not been taken.
    pub(crate) fn so_far(&self) -> Vec<Delivery> {
        self.deliveries.lock().expect("the inbox").drain(..).collect()
    }

    /// Whether the publication at this position is among what has been delivered and not been taken.
    pub(crate) fn holds(&self, position: &Position) -> bool {
        self.deliveries.lock().expect("the inbox").iter().any(|delivery| match delivery {
            Delivery::Publications { epoch: Some(epoch), publications, .. } if *epoch == position.epoch => {
                publications.iter().any(|p| p.offset == Some(position.offset))
            }
            _ => false,
        })
    }

    /// The next delivery, which is the opening of the channel; where it begins.
    pub(crate) async fn opened(&self, channel: &Channel) -> Option<Position> {
        match self.next().await {
            Delivery::Opened { channel: opened, position, .. } if opened == *channel => position,
            other => panic!("{channel} should have been opened, but: {other:?}"),
        }
    }

    /// The next publications of any channel, as (offset, text), until there are so many.
    pub(crate) async fn texts(&self, count: usize) -> Vec<(Option<u64>, String)> {
        let mut texts = Vec::new();
        while texts.len() < count {
            match self.next().await {
                Delivery::Publications { publications, .. } => {
                    assert!(!publications.is_empty());
                    texts.extend(publications.iter().map(|p| (p.offset, text_of(p))));
                }
                other => panic!("publications should have been delivered, but: {other:?}"),
            }
        }
        texts
    }
}

impl Node {
    /// Subscribes and waits for the opening.
    pub(crate) async fn open(&self, channel: &Channel) -> Option<Position> {
        self.broker.subscribe(channel, true);
        self.inbox.opened(channel).await
    }

    pub(crate) async fn publish(&self, publish: Publish) -> Outcome {
        let outcomes = self.broker.publish(vec![publish]).await;
        outcomes.into_iter().next().expect("an outcome")
    }

    /// Publishes a text with retention, which succeeds; returns its offset.
    pub(crate) async fn say(&self, channel: &Channel, text: &str) -> u64 {
        let position = self.publish(kept(channel, text)).await.expect("published").expect("a position");
        position.offset
    }

    /// Waits until the broker says that it serves, or that it does not.
    pub(crate) async fn until_ready(&self, ready: bool) {
        until(|| (self.broker.health() == Health::Ready) == ready).await;
    }

    /// Waits until so many flights have left since the start.
    pub(crate) async fn flight_begins(&self, count: u64) {
        until(|| self.counted("broker_flight_publications").0 >= count).await;
    }

    /// How often something was counted by a histogram, and the sum of it.
    pub(crate) fn counted(&self, name: &str) -> (u64, u64) {
        let family = self.registry.gather().into_iter().find(|f| f.name() == name).expect("the histogram");
        let histogram = family.get_metric()[0].get_histogram();
        (histogram.get_sample_count(), histogram.get_sample_sum() as u64)
    }

    /// The value of a counter or gauge without labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let family = self.registry.gather().into_iter().find(|f| f.name() == name).expect("a metric of that name");
        let metric = &family.get_metric()[0];
        (metric.get_counter().get_value() + metric.get_gauge().get_value()) as u64
    }
}

/// Waits for something that tells nobody when it happens.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("it does not happen");
}

pub(crate) fn channel(name: &str) -> Channel {
    Channel::new(name).expect("a channel")
}

pub(crate) fn publication(text: &str) -> Publication {
    let data = Payload::text(text.to_owned());
    Publication {
        offset: None,
        data,
        event: None,
        retain: None,
        from: None,
        time_ms: 7,
        echo: true,
        stamp: fastrand::u64(..),
    }
}

pub(crate) fn text_of(publication: &Publication) -> String {
    String::from_utf8(publication.data.bytes.to_vec()).expect("a text")
}

/// A publication that is kept.
pub(crate) fn kept(channel: &Channel, text: &str) -> Publish {
    Publish { retention: Some(RETENTION), ..passing(channel, text) }
}

/// A publication that is not kept.
pub(crate) fn passing(channel: &Channel, text: &str) -> Publish {
    let deadline = Instant::now() + Duration::from_secs(5);
    Publish { channel: channel.clone(), publication: publication(text), retention: None, key: None, deadline }
}

/// A publication that the channel's state keeps under a key.
pub(crate) fn retained(channel: &Channel, key: &str, text: &str) -> Publish {
    let publication = Publication { retain: Some(key.into()), ..publication(text) };
    Publish { publication, ..kept(channel, text) }
}

/// A publication that takes a key out of the channel's state.
pub(crate) fn removed(channel: &Channel, key: &str) -> Publish {
    let retained = retained(channel, key, "");
    let publication = Publication { data: Payload::json("null"), ..retained.publication };
    Publish { publication, ..retained }
}

/// A publication with an idempotency key.
pub(crate) fn keyed(channel: &Channel, text: &str, key: &str) -> Publish {
    Publish { key: Some(key.to_owned()), ..kept(channel, text) }
}

pub(crate) fn offset(outcome: &Outcome) -> u64 {
    outcome.clone().expect("published").expect("a position").offset
}

/// A node on a Redis, from its first moment.
pub(crate) fn start_node(url: &str, prefix: &str, name: &str, config: &BrokerConfig) -> Node {
    let link = LinkConfig { url: url.to_owned(), prefix: prefix.to_owned(), sentinel: None, tls: Default::default() };
    start_node_at(&link, name, config)
}

fn start_node_at(link: &LinkConfig, name: &str, config: &BrokerConfig) -> Node {
    let registry = Registry::new();
    let metrics = LinkMetrics::new(&registry).expect("metrics");
    let link = Link::new(link, metrics).expect("a link");
    let inbox = Arc::new(Inbox::default());
    let metrics = BrokerMetrics::new(&registry).expect("metrics");
    let broker = RedisBroker::start(link, name, inbox.clone(), config, metrics);
    Node { broker: Arc::new(broker), inbox, registry }
}

/// A node on whichever Redis these sentinels name, once it is ready.
pub(crate) async fn sentinel_node(sentinels: &str, name: &str) -> Node {
    let sentinel = Some(SentinelConfig { master: "mymaster".to_owned(), username: None, password: None });
    let link = LinkConfig {
        url: sentinels.to_owned(),
        prefix: LinkConfig::DEFAULT_PREFIX.to_owned(),
        sentinel,
        tls: Default::default(),
    };
    let node = start_node_at(&link, name, &BrokerConfig::default());
    node.until_ready(true).await;
    node
}

/// A node on a Redis, once it is ready.
pub(crate) async fn redis_node(server: &RedisServer, name: &str) -> Node {
    let node = start_node(&server.url(), LinkConfig::DEFAULT_PREFIX, name, &BrokerConfig::default());
    node.until_ready(true).await;
    node
}
