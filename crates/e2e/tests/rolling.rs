//! Deploying and scaling under load, with clients that come back by themselves: nothing is lost, nothing comes twice, and
//! no node is stormed.

use client::{Channel, Client, Config, Event, PublishOptions, State, SubscribeOptions};
use e2e::{Backend, Cluster, on_both};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

const NAMESPACES: &str = "[[namespace]]\npattern = \"*\"\nhistory.size = 10000\n";

/// What a node takes in any second, at most.
const ADMITTED_IN_A_SECOND: usize = 60;

const SETTINGS: [&str; 4] =
    ["admission.rate=40/s burst 20", "drain.window=2s", "presence.grace=200ms", "limits.messages=1000/s"];

const CHANNELS: usize = 3;

fn channel(number: usize) -> Channel {
    Channel::new(&format!("channel{}", number % CHANNELS)).expect("a name")
}

fn connect(urls: &[String]) -> Client {
    Client::connect(Config::new(urls)).expect("a client")
}

/// A client that reads a channel: how far it is, and when it was connected to which node.
struct Reader {
    client: Client,
    /// The last number it has seen; none before its subscription stands.
    reached: watch::Receiver<Option<u64>>,
    reading: JoinHandle<()>,
    connecting: JoinHandle<Vec<(Instant, String)>>,
}

impl Reader {
    async fn start(urls: &[String], number: usize) -> Self {
        let client = connect(urls);
        let mut subscription = client.subscribe(&channel(number), SubscribeOptions::default()).await.expect("open");
        let (tell, reached) = watch::channel(None);
        let reading = tokio::spawn(async move {
            while let Some(event) = subscription.next().await {
                match event {
                    Event::Subscribed { recovered: false, .. } => {
                        assert_eq!(tell.send_replace(Some(0)), None, "it comes back with its position");
                    }
                    Event::Publication(publication) => {
                        let number: u64 = publication.data.parse().expect("a number");
                        let last = tell.send_replace(Some(number)).expect("a subscription");
                        assert_eq!(number, last + 1, "nothing is missing, and nothing comes twice");
                    }
                    Event::Gap(gap) => panic!("{gap:?}"),
                    Event::Unsubscribed(refusal) => panic!("{refusal}"),
                    _ => {}
                }
            }
        });
        let mut state = client.state();
        let connecting = tokio::spawn(async move {
            let mut moments = Vec::new();
            loop {
                match &*state.borrow_and_update() {
                    State::Connected { node, .. } => moments.push((Instant::now(), node.clone())),
                    State::Closed { .. } => return moments,
                    _ => {}
                }
                if state.changed().await.is_err() {
                    return moments;
                }
            }
        });
        Self { client, reached, reading, connecting }
    }

    /// Waits until its subscription stands.
    async fn is_there(&mut self) {
        let is_there = timeout(e2e::PATIENCE, self.reached.wait_for(Option::is_some)).await;
        is_there.expect("it gets in").expect("and stays");
    }

    /// Waits until it has everything, and ends; when it was connected to which node.
    async fn end(mut self, last: u64) -> Vec<(Instant, String)> {
        let has_all = self.reached.wait_for(|reached| *reached == Some(last));
        let state = self.client.state();
        if timeout(e2e::PATIENCE, has_all).await.is_err() {
            panic!("it stays at {:?} of {last}: {}", *self.reached.borrow(), *state.borrow());
        }
        let stats = self.client.stats();
        assert_eq!((stats.gaps, stats.jumps, stats.duplicates), (0, 0, 0));
        self.client.close().await;
        self.reading.await.expect("nothing missing and nothing twice");
        self.connecting.await.expect("its connections")
    }
}

/// Publishes numbers to each channel until it is enough; the last of each.
struct Writers {
    enough: Arc<AtomicBool>,
    tasks: JoinSet<(usize, u64)>,
}

impl Writers {
    fn start(urls: &[String]) -> Self {
        let (enough, mut tasks) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for number in 0..CHANNELS {
            let (client, enough) = (connect(urls), enough.clone());
            tasks.spawn(async move {
                let mut last: u64 = 0;
                while !enough.load(Ordering::Relaxed) {
                    last += 1;
                    let published = client.publish(&channel(number), &last, PublishOptions::keyed()).await;
                    let position = published.expect("taken, if need be again").position.expect("history");
                    assert_eq!(position.offset, last);
                    sleep(Duration::from_millis(20)).await;
                }
                client.close().await;
                (number, last)
            });
        }
        Self { enough, tasks }
    }

    async fn end(self) -> HashMap<usize, u64> {
        self.enough.store(true, Ordering::Relaxed);
        self.tasks.join_all().await.into_iter().collect()
    }
}

/// The most connections that a node took in any second.
fn busiest(moments: &[(Instant, String)]) -> usize {
    let of_node = |node: &String, from: Instant| {
        let within = |at: &Instant| *at >= from && *at < from + Duration::from_secs(1);
        moments.iter().filter(|(at, other)| other == node && within(at)).count()
    };
    moments.iter().map(|(from, node)| of_node(node, *from)).max().unwrap_or(0)
}

async fn refusals(cluster: &Cluster, node: usize) -> f64 {
    cluster.metric(node, "gateway_admission_refusals_total").await
}

async fn a_rolling_restart_loses_nothing_doubles_nothing_and_storms_nobody(backend: Backend) {
    const READERS: usize = 90;
    let mut cluster = Cluster::of(3, backend).settings(&SETTINGS).namespaces(NAMESPACES).start().await;
    let urls: Vec<_> = (0..3).map(|node| cluster.url(node)).collect();
    let mut readers = Vec::new();
    for number in 0..READERS {
        readers.push(Reader::start(&urls, number).await);
    }
    for reader in &mut readers {
        reader.is_there().await;
    }
    let writers = Writers::start(&urls);
    let mut refused = [0.0; 3];
    for (node, refused) in refused.iter_mut().enumerate() {
        *refused = refusals(&cluster, node).await;
    }
    for node in 0..3 {
        cluster.stop_node(node).await;
        for other in (0..3).filter(|other| *other != node) {
            assert_eq!(refusals(&cluster, other).await, refused[other], "those sent away are admitted at once");
        }
        cluster.start_again(node).await;
        refused[node] = 0.0;
    }
    let last = writers.end().await;
    let mut moments = Vec::new();
    for (number, reader) in readers.into_iter().enumerate() {
        let connected = reader.end(last[&(number % CHANNELS)]).await;
        assert!(connected.len() >= 2, "each was sent away at least once: {connected:?}");
        moments.extend(connected);
    }
    let busiest = busiest(&moments);
    assert!(busiest <= ADMITTED_IN_A_SECOND, "a node took {busiest} in a second");
}

async fn after_a_scale_up_a_rebalance_gives_the_new_node_its_share(backend: Backend) {
    const READERS: usize = 30;
    let mut cluster = Cluster::of(2, backend).settings(&SETTINGS).namespaces(NAMESPACES).start().await;
    let urls: Vec<_> = (0..2).map(|node| cluster.url(node)).collect();
    cluster.stop_node(1).await;
    let mut readers = Vec::new();
    for number in 0..READERS {
        readers.push(Reader::start(&urls, number).await);
    }
    for reader in &mut readers {
        reader.is_there().await;
    }
    cluster.start_again(1).await;
    let writers = Writers::start(&urls[..1]);
    assert_eq!(cluster.order(0, "/rebalance?percent=50&window=1s").await.status, 202);
    cluster.metric_becomes(0, "gateway_shed_left", 0.0).await;
    let on = |name: &str| {
        let is_on = |reader: &&Reader| matches!(&*reader.client.state().borrow(), State::Connected { node, .. } if node == name);
        readers.iter().filter(is_on).count()
    };
    // Half of the node's connections, at most the three writers' among them.
    let moved = async {
        while on("n0") + on("n1") < READERS || on("n1") < READERS / 2 - 2 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(e2e::PATIENCE, moved).await.expect("they come back on the other node");
    assert!(on("n1") <= READERS / 2 + 2, "{} of {READERS} are on the new node", on("n1"));
    let last = writers.end().await;
    for (number, reader) in readers.into_iter().enumerate() {
        reader.end(last[&(number % CHANNELS)]).await;
    }
}

on_both!(
    a_rolling_restart_loses_nothing_doubles_nothing_and_storms_nobody,
    after_a_scale_up_a_rebalance_gives_the_new_node_its_share,
);
