//! A subscriber: one client with several channels, which comes back by itself, and writes down all that it sees.

use crate::Fault;
use crate::faults::ledger::{Cargo, ChannelId, Observation, Seen, Stamp, Witness};
use client::{Channel, Client, Config, Event, Publication, State, SubscribeOptions, Subscription};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// So many events may wait for the task that writes them down.
const UNREAD_MAX: usize = 4096;

/// One subscriber and what it has seen so far.
pub(crate) struct Subscriber {
    client: Client,
    records: Vec<Record>,
    tasks: Vec<AbortHandle>,
}

/// What is written down of one channel, shared with the task that writes.
struct Record {
    channel: ChannelId,
    observations: Arc<Mutex<Vec<Observation>>>,
    /// How many there are: to be waited on.
    count: watch::Receiver<usize>,
}

impl Subscriber {
    /// Connects and subscribes; this waits until each subscription stands.
    pub(crate) async fn start(
        number: usize,
        urls: Vec<String>,
        channels: &[ChannelId],
        began_at: Instant,
    ) -> Result<Self, Fault> {
        let mut config = Config::new(urls);
        config.connect_timeout = Duration::from_secs(5);
        let client = Client::connect(config)?;
        let (mut records, mut tasks) = (Vec::new(), Vec::new());
        for channel in channels {
            let options = SubscribeOptions { capacity: UNREAD_MAX, ..SubscribeOptions::default() };
            let subscription = client.subscribe(&Channel::new(&channel.name())?, options).await?;
            let observations = Arc::new(Mutex::new(Vec::new()));
            let (tell, count) = watch::channel(0);
            let writing = write_down(subscription, client.state(), observations.clone(), tell, began_at);
            tasks.push(tokio::spawn(writing).abort_handle());
            records.push(Record { channel: *channel, observations, count });
        }
        for record in &mut records {
            let stands = record.count.wait_for(|count| *count > 0);
            let stands = tokio::time::timeout(Duration::from_secs(30), stands).await;
            stands.map_err(|_| format!("subscriber {number} does not come into {}", record.channel.name()))??;
        }
        Ok(Self { client, records, tasks })
    }

    /// Waits until a publication has been seen in each of its channels that have one.
    pub(crate) async fn sees(&mut self, closing: &[(ChannelId, Stamp)], deadline: Instant) -> bool {
        for (channel, stamp) in closing {
            let Some(record) = self.records.iter_mut().find(|record| record.channel == *channel) else { continue };
            let observations = record.observations.clone();
            let mut checked = 0;
            let seen = record.count.wait_for(|_| {
                let observations = lock(&observations);
                let news = &observations[checked..];
                checked = observations.len();
                news.iter().any(|one| matches!(one.seen, Seen::Publication { stamp: seen, .. } if seen == *stamp))
            });
            if !matches!(tokio::time::timeout_at(deadline, seen).await, Ok(Ok(_))) {
                return false;
            }
        }
        true
    }

    /// What its client counts.
    pub(crate) fn stats(&self) -> client::Stats {
        self.client.stats()
    }

    /// The name of the node it is connected to.
    pub(crate) fn node(&self) -> Option<String> {
        match &*self.client.state().borrow() {
            State::Connected { node, .. } => Some(node.clone()),
            _ => None,
        }
    }

    /// Whether it is subscribed to a channel.
    pub(crate) fn is_in(&self, channel: ChannelId) -> bool {
        self.records.iter().any(|record| record.channel == channel)
    }

    /// Its client, to be asked something.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// How long publications were on their way that arrived between these moments.
    pub(crate) fn latencies(&self, from: Instant, to: Instant) -> Vec<Duration> {
        let mut latencies = Vec::new();
        for record in &self.records {
            let observations = lock(&record.observations);
            let within = observations.iter().filter(|observation| (from..to).contains(&observation.at));
            latencies.extend(within.filter_map(|observation| observation.latency));
        }
        latencies
    }

    /// What it has seen, by channel.
    pub(crate) fn witnesses(&self, number: usize) -> impl Iterator<Item = Witness> {
        self.records.iter().map(move |record| Witness {
            subscriber: number,
            channel: record.channel,
            observations: lock(&record.observations).clone(),
        })
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

async fn write_down(
    mut subscription: Subscription,
    state: watch::Receiver<State>,
    observations: Arc<Mutex<Vec<Observation>>>,
    tell: watch::Sender<usize>,
    began_at: Instant,
) {
    let mut node: Option<Arc<str>> = None;
    while let Some(event) = subscription.next().await {
        let at = Instant::now();
        let (seen, latency) = match event {
            Event::Subscribed { position, .. } => (Seen::Subscribed { position }, None),
            Event::Publication(publication) => {
                let (seen, sent_us) = seen(&publication, &subscription);
                let sent = sent_us.map(Duration::from_micros);
                (seen, sent.map(|sent| at.duration_since(began_at).saturating_sub(sent)))
            }
            Event::Gap(gap) => (Seen::Gap { range: gap.range }, None),
            Event::Unsubscribed(_) => (Seen::Ended, None),
            _ => continue,
        };
        match &*state.borrow() {
            // One name for all that comes over one connection: there are millions of these.
            State::Connected { node: now, .. } if node.as_deref() == Some(now.as_str()) => {}
            State::Connected { node: now, .. } => node = Some(now.as_str().into()),
            _ => node = None,
        }
        lock(&observations).push(Observation { at, node: node.clone(), seen, latency });
        tell.send_modify(|count| *count += 1);
    }
}

/// Data that is no stamp of the harness is a stamp that nobody published.
fn seen(publication: &Publication, subscription: &Subscription) -> (Seen, Option<u64>) {
    let cargo: Option<Cargo> = publication.data.parse().ok();
    let stamp = cargo.as_ref().map_or(Stamp { publisher: u32::MAX, sequence: u64::MAX }, |cargo| cargo.stamp);
    let position = publication.offset.and(subscription.position().cloned());
    (Seen::Publication { stamp, position }, cargo.map(|cargo| cargo.sent_us))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
