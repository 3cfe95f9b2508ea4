//! Clients that a stopping node sends away and that come back elsewhere when they were told to: nobody has been away.

use e2e::{Backend, Client, Cluster, on_both};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The grace is long enough for a busy machine to connect and subscribe.
const GRACE: Duration = Duration::from_secs(2);
const SETTINGS: [&str; 3] = ["drain.window=500ms", "presence.grace=2s", "limits.messages=100000/s"];

/// A user who follows its node's advice, and what it is told of others meanwhile.
struct User {
    name: String,
    client: Client,
    told: Vec<Value>,
}

impl User {
    async fn on(cluster: &Cluster, node: usize, name: String) -> Self {
        let mut client = cluster.user(node, &name).await;
        client.subscribe("chat").await;
        Self { name, client, told: Vec::new() }
    }

    /// Is sent away; returns how long after its close it is to come back.
    async fn is_sent_away(&mut self) -> Duration {
        assert_eq!(self.client.expect_close().await, 4200);
        let mut after_ms = None;
        while let Some(push) = self.client.kept() {
            match push["type"].as_str() {
                Some("reconnect") => after_ms = push["after_ms"].as_u64(),
                _ => self.told.push(push),
            }
        }
        Duration::from_millis(after_ms.expect("advice when to come back"))
    }

    /// Is sent away, and comes back to another node when it was told to.
    async fn moves(&mut self, connect: e2e::Connect) {
        let away = self.is_sent_away().await;
        sleep(away).await;
        let mut client = connect.token(&e2e::tokens::of(&self.name)).open().await;
        client.subscribe("chat").await;
        self.client = client;
    }
}

async fn whoever_comes_back_when_it_was_told_to_was_never_away_and_the_others_leave_once(backend: Backend) {
    let mut cluster = Cluster::of(2, backend).with_tokens().settings(&SETTINGS).start().await;
    let mut watcher = cluster.user(1, "watcher").await;
    watcher.subscribe("chat").await;
    let mut users = Vec::new();
    for number in 0..20 {
        users.push(User::on(&cluster, 0, format!("user{number}")).await);
        assert_eq!(watcher.next().await["type"], "join");
    }
    let (leaving, returning) = users.split_at_mut(10);
    let began = Instant::now();
    let stopping = cluster.stopping(0);
    let going = join_all(leaving.iter_mut().map(User::is_sent_away));
    let moving = join_all(returning.iter_mut().map(|user| user.moves(cluster.connect(1))));
    let watching = async {
        let mut gone = BTreeMap::new();
        for _ in 0..10 {
            let push = watcher.next().await;
            assert_eq!((&push["type"], &push["cause"]), (&json!("leave"), &json!("lost")), "{push}");
            gone.insert(push["member"]["user"].as_str().expect("a user").to_owned(), began.elapsed());
        }
        gone
    };
    let ((), aways, _, gone) = tokio::join!(stopping, going, moving, watching);
    assert_eq!(gone.len(), 10);
    for (user, away) in leaving.iter().zip(aways) {
        let after = gone[&user.name];
        assert!(after >= away + GRACE, "{} left after {after:?}; it was told {away:?}", user.name);
    }
    watcher.hears_nothing().await;
    let presence = watcher.presence("chat").await;
    assert_eq!((&presence["clients"], &presence["users"]), (&json!(11), &json!(11)), "{presence}");
}

async fn a_rolling_restart_of_all_nodes_makes_no_presence_noise(backend: Backend) {
    const USERS: usize = 12;
    // Three that are replaced by three others, one after another.
    let mut cluster = Cluster::of(6, backend).with_tokens().settings(&SETTINGS).start().await;
    let mut users = Vec::new();
    for number in 0..USERS {
        users.push((User::on(&cluster, number % 3, format!("user{number:02}")).await, number % 3));
    }
    for (index, (user, _)) in users.iter_mut().enumerate() {
        for _ in index + 1..USERS {
            assert_eq!(user.client.next().await["type"], "join");
        }
    }
    for old in 0..3 {
        let stopping = tokio::spawn(cluster.stopping(old));
        let cluster = &cluster;
        let moving = users.iter_mut().enumerate().filter(|(_, (_, node))| *node == old);
        let moving = moving.map(|(number, (user, node))| {
            // Some go to a node that is about to be replaced as well.
            *node = if number % 2 == 0 || old == 2 { old + 3 } else { old + 1 };
            user.moves(cluster.connect(*node))
        });
        join_all(moving.collect::<Vec<_>>()).await;
        stopping.await.expect("a stop");
    }
    for (user, _) in &mut users {
        let presence = user.client.presence("chat").await;
        let members = presence["members"].as_array().expect("members");
        assert_eq!((members.len(), &presence["clients"]), (USERS, &json!(USERS)), "{presence}");
        user.client.hears_nothing().await;
        assert_eq!(user.told, [Value::Null; 0], "{} was told of somebody", user.name);
    }
}

on_both!(
    whoever_comes_back_when_it_was_told_to_was_never_away_and_the_others_leave_once,
    a_rolling_restart_of_all_nodes_makes_no_presence_noise,
);
