//! What comes on a stream, and from where the next one goes on.

use super::*;
use e2e::{Backend, on_both, tokens};
use std::time::Duration;

on_both! {
    a_stream_brings_everything_of_its_channels_and_says_first_that_it_stands,
    whoever_comes_back_by_its_id_on_another_node_misses_and_repeats_nothing,
    what_cannot_be_recovered_is_told,
    a_node_that_is_killed_costs_nothing_but_the_way_to_another_one,
    whoever_is_revoked_or_disconnected_is_told_so_and_refused_from_then_on,
    a_drain_says_when_to_come_back,
    a_listener_is_a_member,
}

async fn a_stream_brings_everything_of_its_channels_and_says_first_that_it_stands(backend: Backend) {
    let namespaces = "[[namespace]]\npattern = \"plain:*\"\nhistory.size = 0\n[[namespace]]\npattern = \"*\"\n";
    let cluster = Cluster::of(2, backend).namespaces(namespaces).start().await;
    let mut events = open(&cluster, 0, "channel=a%2Fb&channel=chat&channel=plain%3A1&channel=chat", "").await;
    let welcome = events.object().await;
    assert_eq!(welcome["type"], "welcome");
    assert!(events.retry_ms.is_some_and(|ms| (1000..=4000).contains(&ms)));
    let mut standing = Vec::new();
    for _ in 0..3 {
        let subscribed = events.until("subscribed").await;
        assert_eq!(subscribed["recovered"], false);
        standing.push(subscribed["channel"].as_str().expect("a text").to_owned());
    }
    standing.sort();
    assert_eq!(standing, ["a/b", "chat", "plain:1"]);
    let mut writer = cluster.client(1).await;
    for (channel, data) in [("chat", json!({"a": [1]})), ("plain:1", json!("x")), ("a/b", json!(2))] {
        writer.publish(channel, data.clone()).await;
        let publication = events.object().await;
        assert_eq!((&publication["type"], &publication["channel"]), (&json!("publication"), &json!(channel)));
        assert_eq!((&publication["data"], &publication["from"]["client"]), (&data, &json!(writer.id())));
    }
    assert_eq!(events.last_id.split(',').count(), 2, "those with a history: {}", events.last_id);
    // Others reach it by its id, as they reach any connection.
    let to = welcome["client"].as_str().expect("a text");
    writer.granted(json!({"type": "send", "to": to, "data": "psst"}), "sent").await;
    assert_eq!(events.object().await["data"], "psst");
    assert_eq!(cluster.metric(0, "gateway_connections{dialect=\"sse\"}").await, 1.0);
    drop(events);
    cluster.metric_becomes(0, "gateway_connections{dialect=\"sse\"}", 0.0).await;
}

async fn whoever_comes_back_by_its_id_on_another_node_misses_and_repeats_nothing(backend: Backend) {
    const RETURNS: usize = 12;
    const LAST: u64 = 600;
    let namespaces = "[[namespace]]\npattern = \"*\"\npresence = false\nhistory.size = 10000\n";
    let settings = ["limits.messages=100000/s", "limits.new_channels=100000/s"];
    let cluster = Cluster::of(3, backend).namespaces(namespaces).settings(&settings).start().await;
    let query = "channel=one&channel=two";
    let mut events = open(&cluster, 0, query, "").await;
    events.until("subscribed").await;
    events.until("subscribed").await;
    let mut writer = cluster.client(1).await;
    let writing = tokio::spawn(async move {
        for number in 1..=LAST {
            for channel in ["one", "two"] {
                writer.publish(channel, json!(number)).await;
            }
        }
    });
    let (mut reached, mut returns, mut seen) = ([0, 0], 0, 0);
    while reached != [LAST, LAST] {
        let object = events.object().await;
        if object["type"] == "subscribed" {
            assert_eq!(object["recovered"], true, "{object}");
        }
        if object["type"] == "publication" {
            let at = &mut reached[usize::from(object["channel"] == "two")];
            *at += 1;
            assert_eq!(object["data"], *at, "{object}");
            seen += 1;
        }
        // In the middle of whatever comes.
        if seen >= 37 && returns < RETURNS {
            (returns, seen) = (returns + 1, 0);
            let id = events.last_id.clone();
            drop(events);
            events = go_on(&cluster, returns % 3, query, "", &id).await;
        }
    }
    assert_eq!(returns, RETURNS);
    writing.await.expect("the writer to write");
    // By the query too, and in another order.
    let path = format!("/sse?channel=two&channel=one&last_event_id={}", events.last_id);
    let mut again = Events::open(cluster.address(2), &path, "").await;
    for _ in 0..2 {
        assert_eq!(again.until("subscribed").await["recovered"], true);
    }
}

async fn what_cannot_be_recovered_is_told(backend: Backend) {
    const LAST: u64 = 400;
    let namespaces = "[[namespace]]\npattern = \"*\"\nhistory.size = 3\n";
    let settings = ["limits.messages=100000/s"];
    let cluster = Cluster::of(2, backend).namespaces(namespaces).settings(&settings).start().await;
    let mut writer = cluster.client(1).await;
    writer.publish("chat", json!(1)).await;
    let mut events = open(&cluster, 0, "channel=chat", "").await;
    assert_eq!(events.until("subscribed").await["offset"], 1);
    let id = events.last_id.clone();
    drop(events);
    // Far more than may stay, since Redis forgets in larger pieces.
    for number in 2..=LAST {
        writer.publish("chat", json!(number)).await;
    }
    let mut events = go_on(&cluster, 1, "channel=chat", "", &id).await;
    assert_eq!(events.until("subscribed").await["recovered"], false);
    let mut number = events.until("publication").await["data"].as_u64().expect("a number");
    assert!(number > 2);
    while number < LAST {
        number += 1;
        assert_eq!(events.until("publication").await["data"], number);
    }
    // An id of another life of the channel.
    let (key, _) = id.split_once('.').expect("a key");
    let mut events = go_on(&cluster, 1, "channel=chat", "", &format!("{key}.400.other")).await;
    assert_eq!(events.until("subscribed").await["recovered"], false);
}

async fn a_node_that_is_killed_costs_nothing_but_the_way_to_another_one(backend: Backend) {
    let mut cluster = Cluster::start(2, backend).await;
    let mut events = open(&cluster, 0, "channel=chat", "").await;
    events.until("subscribed").await;
    let mut writer = cluster.client(1).await;
    writer.publish("chat", json!(1)).await;
    assert_eq!(events.until("publication").await["data"], 1);
    cluster.kill_node(0).await;
    while events.next().await.is_some() {}
    writer.publish("chat", json!(2)).await;
    let mut events = go_on(&cluster, 1, "channel=chat", "", &events.last_id).await;
    assert_eq!(events.until("subscribed").await["recovered"], true);
    assert_eq!(events.object().await["data"], 2);
    writer.publish("chat", json!(3)).await;
    assert_eq!(events.object().await["data"], 3);
}

async fn whoever_is_revoked_or_disconnected_is_told_so_and_refused_from_then_on(backend: Backend) {
    let cluster = Cluster::of(2, backend).with_tokens().start().await;
    let token = |user| bearer(&tokens::claiming(user, &json!({"iat": tokens::in_seconds(-60)})));
    for (user, order, code, status) in [("ann", "/revoke", 4009, 401), ("bob", "/disconnect", 4011, 403)] {
        let mut events = open(&cluster, 0, "channel=chat", &token(user)).await;
        events.until("subscribed").await;
        cluster.tell(1, order, &json!({"user": user})).await;
        let close = closed(&mut events).await;
        assert_eq!((&close["code"], &close["reconnect"]), (&json!(code), &json!("never")));
        assert_eq!(events.last_id, format!("!{code}"));
        let headers = format!("{}last-event-id: {}\r\n", token(user), events.last_id);
        assert_eq!(no_stream(&cluster, "channel=chat", &headers).await.status, status);
    }
    // Whoever begins anew is not kept out.
    open(&cluster, 0, "channel=chat", &token("bob")).await;
}

async fn a_drain_says_when_to_come_back(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut events = open(&cluster, 0, "channel=chat", "").await;
    events.until("subscribed").await;
    let id = events.last_id.clone();
    assert_eq!(cluster.order(0, "/drain?exit=false&window=1s").await.status, 202);
    let told = events.until("reconnect").await["after_ms"].as_u64();
    assert_eq!(events.retry_ms, told);
    let expected = json!({"type": "close", "code": 4200, "reason": "draining", "reconnect": "when_told"});
    assert_eq!(closed(&mut events).await, expected);
    assert_eq!((events.retry_ms, &events.last_id), (told, &id));
    let refusal = no_stream(&cluster, "channel=chat", "").await;
    refused(&refusal, 503, "unavailable");
    assert!((1..=3).contains(&refusal.retry_after_s()));
    // A browser would never come back after that.
    let mut told = open(&cluster, 0, "channel=chat", "sec-fetch-mode: cors\r\n").await;
    assert_eq!(closed(&mut told).await["code"], 4105);
    assert!(told.retry_ms.is_some_and(|ms| ms >= 1000));
    go_on(&cluster, 1, "channel=chat", "", &id).await;
}

async fn a_listener_is_a_member(backend: Backend) {
    let namespaces = "[[namespace]]\npattern = \"*\"\njoin_leave = true\n";
    let cluster = Cluster::of(2, backend).with_tokens().namespaces(namespaces).start().await;
    let mut watcher = cluster.user(1, "watcher").await;
    watcher.subscribe("chat").await;
    let mut events = open(&cluster, 0, "channel=chat", &bearer(&tokens::of("ann"))).await;
    events.until("subscribed").await;
    assert_eq!(watcher.presence("chat").await["users"], 2);
    let mut bob = cluster.user(1, "bob").await;
    bob.subscribe("chat").await;
    loop {
        if events.until("join").await["member"]["user"] == "bob" {
            break;
        }
    }
    drop(events);
    loop {
        let push = watcher.next().await;
        if push["type"] == "leave" {
            assert_eq!((&push["member"]["user"], &push["cause"]), (&json!("ann"), &json!("lost")));
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_stream_shows_that_it_lives_and_lives_longer_than_other_requests_may() {
    let settings = ["ping.interval=1s", "ping.timeout=1s", "auth.anonymous=true"];
    let cluster = Cluster::of(1, Backend::Memory).with_tokens().settings(&settings).start().await;
    let mut events = open(&cluster, 0, "channel=chat", "").await;
    events.until("subscribed").await;
    // Longer than any stream may speak HTTP.
    tokio::time::sleep(Duration::from_secs(33)).await;
    cluster.client(0).await.publish("chat", json!("still there")).await;
    assert_eq!(events.object().await["data"], "still there");
    assert!((30..=36).contains(&events.comments), "{} comments", events.comments);
    let mut ends = open(&cluster, 0, "channel=chat", &bearer(&tokens::ending_in("ann", 2))).await;
    assert_eq!(ends.until("expiring").await["type"], "expiring");
    assert_eq!(closed(&mut ends).await["code"], 4104);
}
