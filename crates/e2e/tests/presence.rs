//! Who is in a channel: the same on every node, by user, and told when it changes.

use e2e::{Backend, Client, Cluster, on_both};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// The members a client is shown, by name, with their number of connections.
async fn members(client: &mut Client, channel: &str) -> Vec<(String, u64)> {
    let presence = client.presence(channel).await;
    listed(&presence)
}

fn listed(answer: &Value) -> Vec<(String, u64)> {
    let list = answer["members"].as_array().unwrap_or_else(|| panic!("no members in {answer}"));
    let mut members: Vec<_> = list.iter().map(|m| (name(m), m["clients"].as_u64().expect("a count"))).collect();
    members.sort();
    let clients: u64 = members.iter().map(|(_, clients)| clients).sum();
    assert_eq!((&answer["clients"], &answer["users"]), (&json!(clients), &json!(members.len())), "{answer}");
    members
}

fn name(member: &Value) -> String {
    member["user"].as_str().unwrap_or_else(|| panic!("no user in {member}")).to_owned()
}

fn of(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    pairs.iter().map(|(user, clients)| ((*user).to_owned(), *clients)).collect()
}

/// What a client is told of next: who, which way, and why.
async fn change(client: &mut Client) -> (String, String, Option<String>) {
    let push = client.next().await;
    let kind = push["type"].as_str().expect("a type").to_owned();
    assert!(kind == "join" || kind == "leave", "{push}");
    (kind, name(&push["member"]), push["cause"].as_str().map(str::to_owned))
}

fn joins(user: &str) -> (String, String, Option<String>) {
    ("join".to_owned(), user.to_owned(), None)
}

fn leaves(user: &str, cause: &str) -> (String, String, Option<String>) {
    ("leave".to_owned(), user.to_owned(), Some(cause.to_owned()))
}

/// One subscriber of each node, told of everybody who comes after all of them.
async fn watchers(cluster: &Cluster, channel: &str) -> Vec<Client> {
    let mut watchers: Vec<Client> = Vec::new();
    for node in 0..cluster.len() {
        let mut watcher = cluster.user(node, &format!("watcher{node}")).await;
        watcher.subscribe(channel).await;
        for earlier in &mut watchers {
            assert_eq!(change(earlier).await, joins(&format!("watcher{node}")));
        }
        watchers.push(watcher);
    }
    watchers
}

async fn every_node_shows_the_same_members_and_counts(backend: Backend) {
    let cluster = Cluster::of(3, backend).with_tokens().settings(&["auth.anonymous=true"]).start().await;
    let mut clients = [
        cluster.user(0, "ann").await,
        cluster.user(1, "ann").await,
        cluster.user(2, "bob").await,
        cluster.client(0).await,
    ];
    for client in &mut clients {
        client.subscribe("chat").await;
    }
    let stranger = clients[3].id().to_owned();
    let mut expected = of(&[("ann", 2), ("bob", 1), (&stranger, 1)]);
    expected.sort();
    for node in 0..3 {
        let mut asker = cluster.user(node, "asker").await;
        assert_eq!(members(&mut asker, "chat").await, expected, "on node {node}");
        let counts =
            asker.granted(json!({"type": "presence", "channel": "chat", "count_only": true}), "presence").await;
        assert_eq!((&counts["clients"], &counts["users"]), (&json!(4), &json!(3)));
        assert!(counts.get("members").is_none(), "{counts}");
        assert_eq!(members(&mut asker, "empty").await, of(&[]));
    }
}

async fn two_connections_of_a_user_come_and_go_as_one(backend: Backend) {
    let cluster = Cluster::of(3, backend).with_tokens().start().await;
    let mut watchers = watchers(&cluster, "chat").await;
    let mut ann = [cluster.user(0, "ann").await, cluster.user(2, "ann").await];
    ann[0].subscribe("chat").await;
    ann[1].subscribe("chat").await;
    let mut bob = cluster.user(1, "bob").await;
    bob.subscribe("chat").await;
    for watcher in &mut watchers {
        assert_eq!(change(watcher).await, joins("ann"));
        assert_eq!(change(watcher).await, joins("bob"));
    }
    let [first, mut second] = ann;
    first.close().await;
    bob.close().await;
    for watcher in &mut watchers {
        assert_eq!(change(watcher).await, leaves("bob", "left"));
    }
    second.granted(json!({"type": "unsubscribe", "channel": "chat"}), "unsubscribed").await;
    for watcher in &mut watchers {
        assert_eq!(change(watcher).await, leaves("ann", "left"));
        assert_eq!(members(watcher, "chat").await, of(&[("watcher0", 1), ("watcher1", 1), ("watcher2", 1)]));
        watcher.hears_nothing().await;
    }
}

async fn what_a_token_says_of_its_user_is_shown(backend: Backend) {
    let cluster = Cluster::of(2, backend).with_tokens().start().await;
    let mut watcher = cluster.user(0, "watcher").await;
    watcher.subscribe("chat").await;
    let info = json!({"name": "Ann", "colour": [1, 2]});
    let claims = json!({"sub": "ann", "exp": e2e::tokens::in_seconds(60), "info": info});
    let mut ann = cluster.connect(1).token(&e2e::tokens::signed(&claims)).open().await;
    ann.subscribe("chat").await;
    assert_eq!(watcher.next().await["member"], json!({"user": "ann", "clients": 1, "info": info}));
    ann.publish("chat", json!("hi")).await;
    let publication = watcher.next_publication().await;
    assert_eq!(publication["from"], json!({"client": ann.id(), "user": "ann", "info": info}));
    ann.close().await;
    assert_eq!(watcher.next().await["member"], json!({"user": "ann", "clients": 0, "info": info}));
}

async fn subscribing_can_tell_who_is_there(backend: Backend) {
    let cluster = Cluster::of(2, backend).with_tokens().start().await;
    let mut ann = cluster.user(0, "ann").await;
    let plain = ann.subscribe("chat").await;
    assert!(plain.get("members").is_none(), "{plain}");
    let mut bob = cluster.user(1, "bob").await;
    let subscribe = json!({"type": "subscribe", "channel": "chat", "members": true});
    let subscribed = bob.granted(subscribe, "subscribed").await;
    assert_eq!(listed(&subscribed), of(&[("ann", 1), ("bob", 1)]), "the one who asks is among them");
    assert_eq!(change(&mut ann).await, joins("bob"));
    bob.hears_nothing().await;
}

async fn a_connection_that_breaks_is_shown_for_the_grace_and_then_lost(backend: Backend) {
    let grace = Duration::from_millis(1500);
    let cluster = Cluster::of(2, backend).with_tokens().settings(&["presence.grace=1500ms"]).start().await;
    let mut watchers = watchers(&cluster, "chat").await;
    let mut ann = cluster.user(0, "ann").await;
    ann.subscribe("chat").await;
    for watcher in &mut watchers {
        assert_eq!(change(watcher).await, joins("ann"));
    }
    let cut = Instant::now();
    ann.cut();
    cluster.metric_becomes(0, "gateway_connections{dialect=\"json\"}", 1.0).await;
    for watcher in &mut watchers {
        let shown = members(watcher, "chat").await;
        assert!(cut.elapsed() > grace || shown.iter().any(|(user, _)| user == "ann"), "{shown:?}");
    }
    for watcher in &mut watchers {
        assert_eq!(change(watcher).await, leaves("ann", "lost"));
        assert!(cut.elapsed() >= grace, "after {:?}", cut.elapsed());
        assert_eq!(members(watcher, "chat").await, of(&[("watcher0", 1), ("watcher1", 1)]));
    }
}

async fn whoever_comes_back_within_the_grace_was_never_away(backend: Backend) {
    let cluster = Cluster::of(2, backend).with_tokens().settings(&["presence.grace=2s"]).start().await;
    let mut watchers = watchers(&cluster, "chat").await;
    let mut ann = cluster.user(0, "ann").await;
    ann.subscribe("chat").await;
    let mut bob = cluster.user(0, "bob").await;
    bob.subscribe("chat").await;
    ann.cut();
    let mut ann = cluster.user(1, "ann").await;
    ann.subscribe("chat").await;
    cluster.metric_becomes(0, "gateway_connections{dialect=\"json\"}", 2.0).await;
    // Bob's grace begins after Ann's, so once his is over hers is over too.
    bob.cut();
    for watcher in &mut watchers {
        assert_eq!(change(watcher).await, joins("ann"));
        assert_eq!(change(watcher).await, joins("bob"));
        assert_eq!(change(watcher).await, leaves("bob", "lost"));
        assert_eq!(members(watcher, "chat").await, of(&[("ann", 1), ("watcher0", 1), ("watcher1", 1)]));
        watcher.hears_nothing().await;
    }
}

async fn a_thousand_who_leave_at_once_are_all_gone(backend: Backend) {
    const ROOMS: usize = 50;
    const MEMBERS: usize = 20;
    let cluster = Cluster::of(3, backend).with_tokens().start().await;
    let mut watcher = cluster.user(0, "watcher").await;
    for room in 0..ROOMS {
        watcher.subscribe(&format!("room{room}")).await;
    }
    let mut clients = Vec::new();
    for number in 0..ROOMS * MEMBERS {
        let mut client = cluster.user(number % 3, &format!("user{number}")).await;
        client.subscribe(&format!("room{}", number % ROOMS)).await;
        clients.push(client);
    }
    for _ in 0..ROOMS * MEMBERS {
        assert_eq!(change(&mut watcher).await.0, "join");
    }
    let closing: Vec<_> = clients.into_iter().map(|client| tokio::spawn(client.close())).collect();
    let mut gone = Vec::new();
    for _ in 0..ROOMS * MEMBERS {
        let (kind, user, cause) = change(&mut watcher).await;
        assert_eq!((kind.as_str(), cause.as_deref()), ("leave", Some("left")));
        gone.push(user);
    }
    gone.sort();
    gone.dedup();
    assert_eq!(gone.len(), ROOMS * MEMBERS, "each of them has left once");
    for task in closing {
        task.await.expect("a close that was answered");
    }
    for node in 0..3 {
        let mut asker = cluster.user(node, "asker").await;
        for room in 0..ROOMS {
            assert_eq!(members(&mut asker, &format!("room{room}")).await, of(&[("watcher", 1)]));
        }
    }
    watcher.hears_nothing().await;
}

async fn a_crowd_is_counted_and_neither_listed_nor_announced(backend: Backend) {
    let cluster = Cluster::of(2, backend).with_tokens().settings(&["presence.members_max=3"]).start().await;
    let mut clients = Vec::new();
    for number in 0..6 {
        let mut client = cluster.user(number % 2, &format!("user{number}")).await;
        client.subscribe("crowd").await;
        clients.push(client);
    }
    let mut asker = cluster.user(0, "asker").await;
    let presence = asker.presence("crowd").await;
    assert!(presence.get("members").is_none(), "{presence}");
    assert_eq!((&presence["clients"], &presence["users"]), (&json!(6), &json!(6)));
    clients[5].publish("crowd", json!("the end")).await;
    let mut joined = 0;
    while clients[0].next().await["type"] == "join" {
        joined += 1;
    }
    assert_eq!(joined, 2, "the second and the third are announced, and no more");
}

async fn says_goodbye(mut client: Client) {
    assert_eq!(client.expect_close().await, 4200);
}

async fn the_members_of_a_stopped_node_are_gone_everywhere(backend: Backend) {
    let settings = ["drain.window=250ms", "presence.grace=500ms"];
    let mut cluster = Cluster::of(3, backend).with_tokens().settings(&settings).start().await;
    let mut watchers = watchers(&cluster, "chat").await;
    let mut ann = cluster.user(0, "ann").await;
    ann.subscribe("chat").await;
    let mut also_ann = cluster.user(1, "ann").await;
    also_ann.subscribe("chat").await;
    let mut bob = cluster.user(0, "bob").await;
    bob.subscribe("chat").await;
    for watcher in &mut watchers[1..] {
        assert_eq!(change(watcher).await, joins("ann"));
        assert_eq!(change(watcher).await, joins("bob"));
    }
    let watcher = watchers.remove(0);
    let stopping = cluster.stopping(0);
    tokio::join!(stopping, says_goodbye(watcher), says_goodbye(ann), says_goodbye(bob));
    for watcher in &mut watchers {
        let mut gone = Vec::new();
        for _ in 0..2 {
            let (kind, user, _) = change(watcher).await;
            assert_eq!(kind, "leave");
            gone.push(user);
        }
        gone.sort();
        assert_eq!(gone, ["bob", "watcher0"], "Ann is still there on another node");
        assert_eq!(members(watcher, "chat").await, of(&[("ann", 1), ("watcher1", 1), ("watcher2", 1)]));
        watcher.hears_nothing().await;
    }
}

on_both!(
    every_node_shows_the_same_members_and_counts,
    two_connections_of_a_user_come_and_go_as_one,
    what_a_token_says_of_its_user_is_shown,
    subscribing_can_tell_who_is_there,
    a_connection_that_breaks_is_shown_for_the_grace_and_then_lost,
    whoever_comes_back_within_the_grace_was_never_away,
    a_thousand_who_leave_at_once_are_all_gone,
    a_crowd_is_counted_and_neither_listed_nor_announced,
    the_members_of_a_stopped_node_are_gone_everywhere,
);
