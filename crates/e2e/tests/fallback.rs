//! The client for Rust where no WebSocket can be opened: it polls, and misses no more than by a WebSocket.

use client::{Channel, Client, Config, Event, PublishOptions, State, SubscribeOptions};
use e2e::{Backend, Cluster, PATIENCE};
use tokio::time::timeout;

const NAMESPACES: &str = "[[namespace]]\npattern = \"*\"\nhistory.size = 10000\n";

const POLLS: &str = "gateway_connections{dialect=\"poll\"}";

/// A URL of a node where a handshake leads nowhere, as behind a proxy that knows no WebSockets.
fn blocked(cluster: &Cluster, node: usize) -> String {
    format!("ws://{}/blocked", cluster.address(node))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_polls_misses_nothing_when_its_node_dies() {
    let settings = ["limits.messages=1000/s"];
    let mut cluster = Cluster::of(3, Backend::Redis).namespaces(NAMESPACES).settings(&settings).start().await;
    let chat = Channel::new("chat").expect("a name");
    let poller = Client::connect(Config::new([blocked(&cluster, 0), blocked(&cluster, 1)])).expect("a client");
    let mut subscription = poller.subscribe(&chat, SubscribeOptions::default()).await.expect("a subscription");
    let publisher = Client::connect(Config::new([cluster.url(2)])).expect("a client");

    // It is subscribed once this comes.
    while !matches!(timeout(PATIENCE, subscription.next()).await.expect("in time"), Some(Event::Subscribed { .. })) {}
    assert!(matches!(&*poller.state().borrow(), State::Connected { polls: true, .. }));
    let mut expected = 0_u64;
    for number in 0..300_u64 {
        if number == 150 {
            let node = usize::from(cluster.metric(0, POLLS).await < 1.0);
            cluster.kill_node(node).await;
        }
        publisher.publish(&chat, &number, PublishOptions::keyed()).await.expect("it is published");
    }
    // What it says itself goes the same way, and comes back in its place; the answer comes after what is yet to be read.
    let speaker = poller.clone();
    let said = tokio::spawn(async move { speaker.publish(&chat, &300_u64, PublishOptions::keyed()).await });
    while expected <= 300 {
        match timeout(PATIENCE, subscription.next()).await.expect("in time").expect("it goes on") {
            Event::Publication(publication) => {
                let number: u64 = publication.data.parse().expect("a number");
                assert_eq!(number, expected, "nothing is missing, and nothing comes twice");
                expected += 1;
            }
            Event::Gap(gap) => panic!("{gap:?}"),
            _ => {}
        }
    }
    said.await.expect("no panic").expect("it is published");
    assert_eq!(poller.stats().connections, 2, "it has come back once");
}
