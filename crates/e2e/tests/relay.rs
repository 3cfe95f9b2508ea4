//! Many clients of three nodes: each subscriber gets each message exactly once, and all in one order.

use e2e::{Backend, Client, Cluster, on_both};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Barrier;

const NODES: usize = 3;
const CLIENTS: usize = 300;
const CHANNELS: usize = 50;
const CHANNELS_PER_CLIENT: usize = 3;
const MESSAGES_PER_CLIENT: usize = 100;
/// Publications of one client that have not been answered yet.
const UNDER_WAY: usize = 20;
const MESSAGES_PER_CHANNEL: usize = CLIENTS * MESSAGES_PER_CLIENT / CHANNELS;

/// What this test reads of a message.
#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: Option<usize>,
    channel: Option<&'a str>,
    offset: Option<usize>,
    data: Option<&'a str>,
}

/// What one client has received, and what it has been answered.
struct Log {
    /// By channel, the data of offsets 1, 2, ….
    channels: HashMap<String, Vec<String>>,
    /// By message, where its publisher was told that it stands.
    published: Vec<(String, usize)>,
}

fn channels_of(client: usize) -> impl Iterator<Item = String> {
    (0..CHANNELS_PER_CLIENT).map(move |n| format!("room{}", (client + n * 17) % CHANNELS))
}

/// Every client writes to all channels in turn, those it reads included.
fn channel_of(client: usize, message: usize) -> String {
    format!("room{}", (client * 7 + message) % CHANNELS)
}

fn data_of(client: usize, message: usize) -> String {
    format!("message {message} of client {client}")
}

async fn each_subscriber_gets_each_message_once_and_all_in_one_order(backend: Backend) {
    // Thousands of publications are under way at any time: on a busy machine one waits longer than it usually may.
    let settings = ["limits.messages=1000/s burst 1000", "publish.deadline=15s"];
    let cluster = Cluster::of(NODES, backend).settings(&settings).start().await;
    let all_subscribed = Arc::new(Barrier::new(CLIENTS));
    let mut tasks = Vec::new();
    for number in 0..CLIENTS {
        let mut client = cluster.client(number % NODES).await;
        for channel in channels_of(number) {
            client.subscribe(&channel).await;
        }
        tasks.push(tokio::spawn(relay(client, number, all_subscribed.clone())));
    }
    let mut clients = Vec::new();
    let mut logs = Vec::new();
    for task in tasks {
        let (client, log) = task.await.expect("a client that got everything");
        clients.push(client);
        logs.push(log);
    }
    one_order(&logs);
    nothing_is_left(&cluster, clients).await;
}

/// Publishes everything, and reads until everything has come.
async fn relay(mut client: Client, number: usize, all_subscribed: Arc<Barrier>) -> (Client, Log) {
    all_subscribed.wait().await;
    for message in 0..UNDER_WAY {
        publish(&mut client, number, message).await;
    }
    let mut sent = UNDER_WAY;
    let channels = channels_of(number).map(|channel| (channel, Vec::with_capacity(MESSAGES_PER_CHANNEL))).collect();
    let mut log = Log { channels, published: vec![(String::new(), 0); MESSAGES_PER_CLIENT] };
    let mut missing = MESSAGES_PER_CLIENT + CHANNELS_PER_CLIENT * MESSAGES_PER_CHANNEL;
    while missing > 0 {
        let text = client.next_text().await;
        let seen: Seen<'_> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        match (seen.kind, seen.channel, seen.offset) {
            ("join", _, _) => continue,
            ("published", Some(channel), Some(offset)) => {
                let answered = &mut log.published[seen.id.expect("an id")];
                assert_eq!(answered.1, 0, "answered twice: {text}");
                *answered = (channel.to_owned(), offset);
                if sent < MESSAGES_PER_CLIENT {
                    publish(&mut client, number, sent).await;
                    sent += 1;
                }
            }
            ("publication", Some(channel), Some(offset)) => {
                let received = log.channels.get_mut(channel).expect("a channel that it subscribes to");
                assert_eq!(offset, received.len() + 1, "after {} of {channel} came {text}", received.len());
                received.push(seen.data.expect("data").to_owned());
            }
            _ => panic!("not expected: {text}"),
        }
        missing -= 1;
    }
    (client, log)
}

async fn publish(client: &mut Client, number: usize, message: usize) {
    let (channel, data) = (channel_of(number, message), data_of(number, message));
    client.send(&json!({"type": "publish", "id": message, "channel": channel, "data": data})).await;
}

/// All subscribers have seen the same, and it is what was published, each message at the offset its publisher was told.
fn one_order(logs: &[Log]) {
    let mut order: HashMap<&str, &Vec<String>> = HashMap::new();
    for (channel, received) in logs.iter().flat_map(|log| &log.channels) {
        assert_eq!(received.len(), MESSAGES_PER_CHANNEL);
        let first = *order.entry(channel).or_insert(received);
        assert!(received == first, "{channel} has another order for some of its subscribers");
    }
    assert_eq!(order.len(), CHANNELS);
    for (client, log) in logs.iter().enumerate() {
        for (message, (channel, offset)) in log.published.iter().enumerate() {
            assert_eq!(order[channel.as_str()][offset - 1], data_of(client, message));
        }
    }
}

/// The next publication of each channel comes right behind the last, and then nothing more.
async fn nothing_is_left(cluster: &Cluster, mut clients: Vec<Client>) {
    let mut last = cluster.client(0).await;
    for channel in 0..CHANNELS {
        last.publish(&format!("room{channel}"), json!("the end")).await;
    }
    for client in &mut clients {
        for _ in 0..CHANNELS_PER_CLIENT {
            let end = client.next_publication().await;
            assert_eq!((&end["data"], &end["offset"]), (&json!("the end"), &json!(MESSAGES_PER_CHANNEL + 1)));
        }
        client.hears_nothing().await;
    }
    let mut delivered = 0.0;
    for node in 0..NODES {
        delivered += cluster.metric(node, "gateway_deliveries_total").await;
        assert_eq!(cluster.metric(node, "gateway_gaps_total").await, 0.0);
        assert_eq!(cluster.metric(node, "gateway_inbox_overflows_total").await, 0.0);
    }
    assert_eq!(delivered as usize, CLIENTS * CHANNELS_PER_CLIENT * (MESSAGES_PER_CHANNEL + 1));
}

on_both!(each_subscriber_gets_each_message_once_and_all_in_one_order);
