//! The load of a scenario: publishers at a steady pace, and subscribers that write down what they see.

mod closing;
mod deaf;
mod publisher;
mod subscriber;
mod wire;

pub(crate) use closing::{CLOSING_PUBLISHER, publish_last, read_logs};
pub(crate) use deaf::Deaf;
use publisher::Publisher;
pub(crate) use subscriber::Subscriber;

use crate::Fault;
use crate::cluster::Cluster;
use crate::faults::ledger::{Attempt, ChannelId};
use futures_util::future::try_join_all;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How much load.
#[derive(Debug, Clone)]
pub(crate) struct LoadPlan {
    /// Channels with history.
    pub(crate) kept_channels: u32,
    /// Channels without.
    pub(crate) live_channels: u32,
    /// Publishers of each channel: of two, one repeats what is in doubt. They are spread over the nodes.
    pub(crate) publishers: u32,
    /// How far one publisher's publications are apart.
    pub(crate) every: Duration,
    /// How many subscribers, spread over the nodes.
    pub(crate) subscribers: usize,
    /// Channels of each.
    pub(crate) channels_each: usize,
    /// Bytes of each publication, beside what the harness needs.
    pub(crate) ballast_bytes: usize,
    /// Whether clients may go to another node when a connection is over.
    pub(crate) roams: bool,
}

impl LoadPlan {
    /// The channels.
    pub(crate) fn channels(&self) -> Vec<ChannelId> {
        let channels = |count, is_kept| (0..count).map(move |number| ChannelId { number, is_kept });
        channels(self.kept_channels, true).chain(channels(self.live_channels, false)).collect()
    }
}

/// Load that runs.
pub(crate) struct Load {
    /// The channels.
    pub(crate) channels: Vec<ChannelId>,
    /// The subscribers.
    pub(crate) subscribers: Vec<Subscriber>,
    publishers: Vec<JoinHandle<Vec<Attempt>>>,
    stop: watch::Sender<bool>,
}

impl Load {
    /// Starts the subscribers, then, once all of them are in their channels, the publishers.
    pub(crate) async fn start(plan: &LoadPlan, cluster: &Cluster) -> Result<Self, Fault> {
        let began_at = Instant::now();
        let subscribers = start_subscribers(plan, &cluster.client_urls(), began_at).await?;
        let channels = plan.channels();
        let urls = cluster.urls();
        let stop = watch::Sender::new(false);
        let mut publishers = Vec::new();
        for (index, channel) in channels.iter().enumerate() {
            for nth in 0..plan.publishers {
                let number = u32::try_from(publishers.len())?;
                let publisher = Publisher {
                    number,
                    channel: *channel,
                    urls: urls.clone(),
                    node: (index + nth as usize) % urls.len(),
                    roams: plan.roams,
                    every: plan.every,
                    ballast_bytes: plan.ballast_bytes,
                    began_at,
                    is_keyed: channel.is_kept && nth % 2 == 1,
                };
                publishers.push(tokio::spawn(publisher.run(stop.subscribe())));
            }
        }
        Ok(Self { channels, subscribers, publishers, stop })
    }

    /// Stops the publishers and waits for their last answers.
    pub(crate) async fn stop_publishers(&mut self) -> Result<Vec<Attempt>, Fault> {
        self.stop.send_replace(true);
        let mut attempts = Vec::new();
        for publisher in self.publishers.drain(..) {
            attempts.extend(publisher.await?);
        }
        Ok(attempts)
    }
}

/// Starts them all at once, each in its own channels.
async fn start_subscribers(plan: &LoadPlan, urls: &[String], began_at: Instant) -> Result<Vec<Subscriber>, Fault> {
    let channels = plan.channels();
    let starting = (0..plan.subscribers).map(|number| {
        let first = number * plan.channels_each % channels.len();
        let mine: Vec<_> = channels.iter().cycle().skip(first).take(plan.channels_each).copied().collect();
        let urls = if plan.roams { urls.to_vec() } else { vec![urls[number % urls.len()].clone()] };
        async move { Subscriber::start(number, urls, &mine, began_at).await }
    });
    try_join_all(starting).await
}
