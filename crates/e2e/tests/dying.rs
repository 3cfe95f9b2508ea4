//! Nodes that die or seem to: their users leave once, by the word of the others, and only those who are not elsewhere.

use e2e::{Backend, Client, Cluster, Plan, on_both};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const LEASE: Duration = Duration::from_secs(3);

fn plan(nodes: usize, backend: Backend) -> Plan {
    // A canary's threads end only once its clients have let go.
    Cluster::of(nodes, backend).with_tokens().settings(&["presence.lease=3s", "presence.grace=300ms", "workers=1"])
}

/// Who is said to come or go next, and why.
async fn change(client: &mut Client) -> (String, String, Option<String>) {
    let push = client.next().await;
    let kind = push["type"].as_str().expect("a type").to_owned();
    assert!(kind == "join" || kind == "leave", "{push}");
    let user = push["member"]["user"].as_str().expect("a user").to_owned();
    (kind, user, push["cause"].as_str().map(str::to_owned))
}

fn joins(user: &str) -> (String, String, Option<String>) {
    ("join".to_owned(), user.to_owned(), None)
}

fn dies(user: &str) -> (String, String, Option<String>) {
    ("leave".to_owned(), user.to_owned(), Some("node_lost".to_owned()))
}

async fn counts(client: &mut Client, channel: &str) -> (Value, Value) {
    let command = json!({"type": "presence", "channel": channel, "count_only": true});
    let mut counts = client.granted(command, "presence").await;
    (counts["clients"].take(), counts["users"].take())
}

/// Kills a node that is there for that, and waits until the others have noticed: from then on they notice at once.
async fn until_deaths_are_noticed(cluster: &mut Cluster, canary: usize) {
    let mut watcher = cluster.user(0, "watcher").await;
    watcher.subscribe("canaries").await;
    let mut client = cluster.user(canary, "canary").await;
    client.subscribe("canaries").await;
    assert_eq!(change(&mut watcher).await, joins("canary"));
    let (_, ()) = tokio::join!(client.expect_close(), cluster.kill_node(canary));
    assert_eq!(change(&mut watcher).await, dies("canary"));
    watcher.close().await;
}

async fn users_of_a_killed_node_leave_once_and_in_time_unless_they_are_elsewhere(backend: Backend) {
    let mut cluster = plan(4, backend).start().await;
    until_deaths_are_noticed(&mut cluster, 3).await;
    let mut watchers = [cluster.user(0, "watcher0").await, cluster.user(1, "watcher1").await];
    watchers[0].subscribe("chat").await;
    watchers[1].subscribe("chat").await;
    assert_eq!(change(&mut watchers[0]).await, joins("watcher1"));
    let mut victims = Vec::new();
    for user in ["ann", "ann", "bob", "carl"] {
        let mut client = cluster.user(2, user).await;
        client.subscribe("chat").await;
        victims.push(client);
    }
    let mut also_bob = cluster.user(0, "bob").await;
    also_bob.subscribe("chat").await;
    for watcher in &mut watchers {
        for user in ["ann", "bob", "carl"] {
            assert_eq!(change(watcher).await, joins(user));
        }
    }
    let died = Instant::now();
    cluster.kill_node(2).await;
    drop(victims);
    let mut carl = cluster.user(1, "carl").await;
    carl.subscribe("chat").await;
    for watcher in &mut watchers {
        assert_eq!(change(watcher).await, dies("ann"));
        // The store of one process takes a node for dead when its last thread is gone, up to 3 s after it was killed.
        let most = if backend == Backend::Redis { LEASE + Duration::from_secs(2) } else { LEASE * 3 };
        assert!(died.elapsed() <= most, "{:?} after it died", died.elapsed());
    }
    while counts(&mut carl, "chat").await != (json!(4), json!(4)) {
        tokio::task::yield_now().await;
    }
    let presence = carl.presence("chat").await;
    let users: Vec<_> = presence["members"].as_array().expect("members").iter().map(|m| m["user"].clone()).collect();
    assert_eq!(users, ["bob", "carl", "watcher0", "watcher1"]);
    for watcher in &mut watchers {
        watcher.hears_nothing().await;
    }
}

on_both!(users_of_a_killed_node_leave_once_and_in_time_unless_they_are_elsewhere);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_is_taken_for_dead_and_is_as_it_was_when_it_is_back() {
    let cluster = plan(3, Backend::Redis).by_road(2).start().await;
    let mut watchers = [cluster.user(0, "watcher0").await, cluster.user(1, "watcher1").await];
    watchers[0].subscribe("chat").await;
    watchers[1].subscribe("chat").await;
    assert_eq!(change(&mut watchers[0]).await, joins("watcher1"));
    let (mut ann, mut bob) = (cluster.user(2, "ann").await, cluster.user(2, "bob").await);
    ann.subscribe("chat").await;
    bob.subscribe("chat").await;
    let mut also_bob = cluster.user(1, "bob").await;
    also_bob.subscribe("chat").await;
    for watcher in &mut watchers {
        assert_eq!(change(watcher).await, joins("ann"));
        assert_eq!(change(watcher).await, joins("bob"));
    }
    cluster.road().close();
    for watcher in &mut watchers {
        assert_eq!(change(watcher).await, dies("ann"));
    }
    // The others go on as ever.
    also_bob.publish("chat", json!("meanwhile")).await;
    for client in watchers.iter_mut().chain([&mut also_bob]) {
        let data = loop {
            let push = client.next().await;
            if push["type"] == "publication" {
                break push["data"].clone();
            }
        };
        assert_eq!(data, "meanwhile");
    }
    cluster.road().open();
    for watcher in &mut watchers {
        assert_eq!(change(watcher).await, joins("ann"));
        assert_eq!(counts(watcher, "chat").await, (json!(5), json!(4)));
    }
    // Nobody of its own had to come back, and nothing is missing.
    assert_eq!(ann.next_publication().await["data"], "meanwhile");
    assert_eq!(cluster.metric(2, "gateway_presence_leases_lost_total").await, 1.0);
    let reaped = cluster.metric(0, "gateway_presence_reaped_entries_total").await
        + cluster.metric(1, "gateway_presence_reaped_entries_total").await;
    assert_eq!(reaped, 2.0);
    ann.close().await;
    for watcher in &mut watchers {
        assert_eq!(change(watcher).await, ("leave".to_owned(), "ann".to_owned(), Some("left".to_owned())));
        watcher.hears_nothing().await;
    }
}
