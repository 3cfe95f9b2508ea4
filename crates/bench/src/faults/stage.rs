//! What a scenario works with: a cluster under load, and words for what is done to it and what must be true meanwhile.

use crate::Fault;
use crate::cluster::Cluster;
use crate::faults::ledger::Attempt;
use crate::faults::load::Load;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// Few clients, short outages: for the tests.
    Short,
    /// As it may be in earnest.
    Long,
}

impl Length {
    /// One of two values.
    pub(crate) fn pick<T>(self, short: T, long: T) -> T {
        match self {
            Self::Short => short,
            Self::Long => long,
        }
    }
}

/// How soon a node tells on `/readyz` what has become of it: its broker probes every 2 s and waits as long for the answer.
pub(crate) const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// A scenario in progress.
pub(crate) struct Stage {
    /// What is broken.
    pub(crate) cluster: Cluster,
    /// Who publishes and subscribes meanwhile.
    pub(crate) load: Load,
    /// How much is tried.
    pub(crate) length: Length,
    /// What should have been true and was not.
    pub(crate) complaints: Vec<String>,
    /// When everything was as before, after each fault.
    pub(crate) healed_at: Vec<Instant>,
    /// Which publications must have been taken, whatever is broken.
    pub(crate) must_take: Option<fn(&Attempt) -> bool>,
    name: &'static str,
    began_at: Instant,
}

impl Stage {
    /// A stage with everything on it.
    pub(crate) fn new(name: &'static str, cluster: Cluster, load: Load, length: Length) -> Self {
        let began_at = Instant::now();
        Self { cluster, load, length, complaints: Vec::new(), healed_at: Vec::new(), must_take: None, name, began_at }
    }

    /// Tells whoever watches what happens now.
    pub(crate) fn tell(&self, what: &str) {
        println!("  {:<22} {:>6.1} s  {what}", self.name, self.began_at.elapsed().as_secs_f64());
    }

    /// Lets the load go on for a while.
    pub(crate) async fn pass(&self, short_ms: u64, long_ms: u64) {
        sleep(Duration::from_millis(self.length.pick(short_ms, long_ms))).await;
    }

    /// Says that the fault is over: from here on the time is measured until everything works.
    pub(crate) fn healed(&mut self, what: &str) {
        self.tell(what);
        self.healed_at.push(Instant::now());
    }

    /// Remembers what should be true and is not.
    pub(crate) fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            let complaint = otherwise();
            self.tell(&complaint);
            self.complaints.push(complaint);
        }
    }

    /// Waits until these nodes say on `/readyz` that they do not take traffic, while `/healthz` stays green.
    pub(crate) async fn expect_unready(&mut self, nodes: &[usize]) -> Result<(), Fault> {
        for node in nodes {
            match self.cluster.nodes[*node].becomes(false, TOLD_WITHIN).await {
                Ok(reason) => self.tell(&format!("{}: {reason}", self.cluster.nodes[*node].name())),
                Err(error) => self.expect(false, || error.to_string()),
            }
            let health = self.cluster.nodes[*node].admin("/healthz").await.map(|answer| answer.status);
            self.expect(health == Some(200), || format!("/healthz of node {} says {health:?}", node + 1));
        }
        Ok(())
    }

    /// Waits until all nodes say on `/readyz` that they take traffic.
    pub(crate) async fn expect_ready(&mut self) {
        for node in 0..self.cluster.nodes.len() {
            if let Err(error) = self.cluster.nodes[node].becomes(true, TOLD_WITHIN).await {
                self.expect(false, || error.to_string());
            }
        }
    }

    /// Waits until exactly those who subscribe are shown as present, in each channel.
    pub(crate) async fn expect_presence(&mut self, within: Duration) -> Result<(), Fault> {
        let deadline = Instant::now() + within;
        let began_at = Instant::now();
        for channel in self.load.channels.clone() {
            let expected = self.load.subscribers.iter().filter(|one| one.is_in(channel)).count() as u64;
            let name = client::Channel::new(&channel.name())?;
            loop {
                let here = self.load.subscribers[0].client().presence_count(&name).await.map(|here| here.clients);
                if matches!(here, Ok(here) if here == expected) {
                    break;
                }
                if Instant::now() > deadline {
                    let here = here.map_err(|error| error.to_string());
                    self.expect(false, || format!("{here:?} are present in {}, not {expected}", channel.name()));
                    return Ok(());
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        self.tell(&format!("presence is right after {:.1} s", began_at.elapsed().as_secs_f64()));
        Ok(())
    }

    /// All nodes, by number.
    pub(crate) fn all_nodes(&self) -> Vec<usize> {
        (0..self.cluster.nodes.len()).collect()
    }
}
