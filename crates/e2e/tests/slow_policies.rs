//! Clients that do not keep up in channels that would rather do without publications than without them: what goes is told
//! in its place, and nobody else notices.

use e2e::frames::{self, TEXT};
use e2e::{Backend, Client, Cluster, End, RawSocket, on_both};
use serde_json::{Value, json};
use std::time::Duration;

const OUTBOX_BYTES: f64 = 64.0 * 1024.0;
/// A chunk that waits costs a little more than its bytes.
const OVERHEAD_BYTES: f64 = 1024.0;
const MESSAGES: u64 = 200;

async fn cluster(backend: Backend, slow: &str, settings: &[&str]) -> Cluster {
    let namespaces = format!(
        "[[namespace]]\npattern = \"passing:*\"\npresence = false\nhistory.size = 0\nslow = \"{slow}\"\n\
         [[namespace]]\npattern = \"patient:*\"\npresence = false\n\
         [[namespace]]\npattern = \"*\"\npresence = false\nhistory.size = 100000\nslow = \"{slow}\"\n"
    );
    let settings = [&["outbox.bytes=64KiB", "limits.messages=100000/s"], settings].concat();
    Cluster::of(2, backend).namespaces(&namespaces).settings(&settings).start().await
}

/// A client of the first node that reads only when it is asked to.
async fn sleeper(cluster: &Cluster, channels: &[&str]) -> Client {
    let mut sleeper = cluster.connect(0).receive_buffer(4096).open().await;
    for channel in channels {
        sleeper.subscribe(channel).await;
    }
    sleeper
}

fn padded(number: u64) -> Value {
    json!([number, "x".repeat(10_000)])
}

/// Publishes many times what may wait, in step with a reader that misses nothing.
async fn publish_much(cluster: &Cluster, channel: &str, retain: impl Fn(u64) -> Value) {
    let mut reader = cluster.client(0).await;
    reader.subscribe(channel).await;
    let mut writer = cluster.client(1).await;
    for number in 1..=MESSAGES {
        let publish = json!({"type": "publish", "channel": channel, "data": padded(number), "retain": retain(number)});
        writer.granted(publish, "published").await;
        assert_eq!(reader.next_publication().await["data"][0], number);
        if number % 20 == 0 {
            let waiting = cluster.metric(0, "gateway_outbox_bytes").await;
            assert!(waiting <= OUTBOX_BYTES + OVERHEAD_BYTES, "{waiting} bytes wait, and only for one client");
        }
    }
    reader.hears_nothing().await;
}

fn never(_: u64) -> Value {
    Value::Null
}

/// Reads to an offset, and returns what came (the offsets delivered) and what did not (the ranges of gaps), which together
/// are everything, in order.
async fn read_to(client: &mut Client, channel: &str, last: u64) -> (Vec<Value>, Vec<(u64, u64)>) {
    let (mut came, mut gaps, mut reached) = (Vec::new(), Vec::new(), 0);
    while reached < last {
        let push = client.next().await;
        assert_eq!(push["channel"], channel, "{push}");
        let number = |field: &str| push[field].as_u64().unwrap_or_else(|| panic!("no {field} in {push}"));
        let (from, to) = match push["type"].as_str() {
            Some("publication") => (number("offset"), number("offset")),
            Some("gap") => (number("from"), number("to")),
            _ => panic!("not a publication and no gap: {push}"),
        };
        assert_eq!(from, reached + 1, "in order, and nothing twice: {push}");
        reached = to;
        match push["type"] == "gap" {
            true => gaps.push((from, to)),
            false => came.push(push),
        }
    }
    (came, gaps)
}

fn slow(policy: &str) -> String {
    format!("gateway_slow_consumers_total{{policy=\"{policy}\"}}")
}

fn dropped(policy: &str) -> String {
    format!("gateway_dropped_publications_total{{policy=\"{policy}\"}}")
}

async fn the_oldest_go_for_whoever_does_not_read_and_history_brings_them_back(backend: Backend) {
    let cluster = cluster(backend, "drop_oldest", &[]).await;
    let mut sleeper = sleeper(&cluster, &["news"]).await;
    publish_much(&cluster, "news", never).await;
    assert_eq!((cluster.metric(0, &slow("drop_oldest")).await, cluster.metric(0, &slow("close")).await), (1.0, 0.0));
    let (came, gaps) = read_to(&mut sleeper, "news", MESSAGES).await;
    let lost: u64 = gaps.iter().map(|(from, to)| to - from + 1).sum();
    assert_eq!(cluster.metric(0, &dropped("drop_oldest")).await, lost as f64);
    assert_eq!(gaps.len(), 1, "all that went in one stretch is one gap");
    assert_eq!(came.last().expect("the newest")["data"], padded(MESSAGES), "what waits is the newest");
    let (from, to) = gaps[0];
    let mut repaired = Vec::new();
    while from + (repaired.len() as u64) <= to {
        let since = from - 1 + repaired.len() as u64;
        let limit = to - since;
        let ask = json!({"type": "history", "channel": "news", "since": since, "limit": limit});
        let answer = sleeper.granted(ask, "history").await;
        repaired.extend(answer["publications"].as_array().expect("a list").iter().map(|p| p["data"][0].clone()));
    }
    assert_eq!(repaired, (from..=to).map(Value::from).collect::<Vec<_>>());
    sleeper.publish("news", json!("awake")).await;
    assert_eq!(sleeper.next_publication().await["data"], "awake");
    cluster.metric_becomes(0, "gateway_outbox_bytes", 0.0).await;
}

async fn only_the_newest_of_each_key_waits_for_whoever_does_not_read(backend: Backend) {
    let cluster = cluster(backend, "latest", &[]).await;
    let mut sleeper = sleeper(&cluster, &["cursors"]).await;
    let key = |number: u64| json!(format!("cursor:{}", number % 3));
    publish_much(&cluster, "cursors", key).await;
    let (came, gaps) = read_to(&mut sleeper, "cursors", MESSAGES).await;
    assert!(came.len() < 40 && gaps.len() < 40, "{} came and {} gaps", came.len(), gaps.len());
    let newest: Vec<_> = came.iter().rev().take(3).rev().map(|p| (&p["retain"], &p["data"][0])).collect();
    let expected = (MESSAGES - 2..=MESSAGES).map(|n| (key(n), json!(n))).collect::<Vec<_>>();
    assert_eq!(newest, expected.iter().map(|(key, n)| (key, n)).collect::<Vec<_>>());
    let mut fresh = cluster.client(1).await;
    let state = fresh.subscribe("cursors").await;
    let state: Vec<_> =
        state["state"].as_array().expect("a state").iter().map(|p| (&p["retain"], &p["data"][0])).collect();
    assert_eq!(state, newest, "the state is as if nothing had gone");
    assert_eq!((cluster.metric(0, &slow("latest")).await, cluster.metric(0, &slow("close")).await), (1.0, 0.0));
    let lost: u64 = gaps.iter().map(|(from, to)| to - from + 1).sum();
    assert_eq!(cluster.metric(0, &dropped("latest")).await, lost as f64);
}

async fn where_there_is_no_history_a_gap_says_only_that_something_is_missing(backend: Backend) {
    let cluster = cluster(backend, "drop_oldest", &[]).await;
    let mut sleeper = sleeper(&cluster, &["passing:1"]).await;
    publish_much(&cluster, "passing:1", never).await;
    let (mut came, mut gaps) = (Vec::new(), 0);
    while came.last() != Some(&MESSAGES) {
        let push = sleeper.next().await;
        if push["type"] == "gap" {
            assert_eq!(push, json!({"type": "gap", "channel": "passing:1"}));
            gaps += 1;
        } else {
            came.push(push["data"][0].as_u64().expect("a number"));
        }
    }
    assert!(came.is_sorted() && came.len() < MESSAGES as usize && gaps == 1, "{gaps} gaps, {came:?}");
}

async fn replies_and_other_channels_lose_nothing(backend: Backend) {
    const PINGS: u64 = 200;
    let cluster = cluster(backend, "drop_oldest", &[]).await;
    let mut sleeper = sleeper(&cluster, &["news", "patient:1"]).await;
    let mut writer = cluster.client(1).await;
    for number in 1..=MESSAGES {
        writer.publish("news", padded(number)).await;
        if number % 20 == 0 {
            writer.publish("patient:1", json!(number)).await;
        }
        sleeper.send(&json!({"type": "ping", "id": 1000 + number})).await;
    }
    let (mut pongs, mut patient, mut reached) = (0, 0, 0);
    while pongs < PINGS || patient < MESSAGES || reached < MESSAGES {
        let message = sleeper.next().await;
        match (message["type"].as_str(), message["channel"].as_str()) {
            (Some("pong"), _) => {
                pongs += 1;
                assert_eq!(message["id"], 1000 + pongs);
            }
            (Some("publication"), Some("patient:1")) => {
                patient += 20;
                assert_eq!(message["data"], patient);
            }
            (Some(kind), Some("news")) => {
                let (from, to) = if kind == "gap" { ("from", "to") } else { ("offset", "offset") };
                assert_eq!(message[from], reached + 1, "{message}");
                reached = message[to].as_u64().expect("an offset");
            }
            _ => panic!("unexpected: {message}"),
        }
    }
    assert!(cluster.metric(0, &dropped("drop_oldest")).await > 0.0);
    assert_eq!(cluster.metric(0, &slow("close")).await, 0.0);
}

async fn whoever_takes_nothing_at_all_is_closed_in_time_however_much_it_says(backend: Backend) {
    let settings = ["outbox.timeout=1s", "ping.interval=1m", "ping.timeout=1m"];
    let cluster = cluster(backend, "drop_oldest", &settings).await;
    let mut dead = RawSocket::upgraded_with(cluster.address(0), "/ws", Some(4096)).await;
    dead.send(&frames::whole(TEXT, br#"{"type":"subscribe","channel":"news"}"#)).await;
    cluster.metric_becomes(0, "gateway_subscriptions", 1.0).await;
    let mut writer = cluster.client(1).await;
    let mut count = 0;
    while cluster.metric(0, &slow("close")).await == 0.0 {
        writer.publish("news", padded(count)).await;
        dead.send(&frames::whole(TEXT, br#"{"type":"ping"}"#)).await;
        count += 1;
    }
    let stalled = "gateway_slow_consumer_reasons_total{reason=\"stalled\"}";
    assert_eq!(cluster.metric(0, stalled).await, 1.0);
    assert_eq!(dead.end().await, End::Closed(Some(4102)));
    cluster.metric_becomes(0, "gateway_connections{dialect=\"json\"}", 0.0).await;
    assert_eq!(cluster.metric(0, "gateway_outbox_bytes").await, 0.0);
}

async fn whoever_reads_slowly_but_reads_is_not_taken_for_dead(backend: Backend) {
    const WAITING: u64 = 60;
    let settings = ["outbox.bytes=1MiB", "outbox.timeout=2s", "ping.interval=1s", "ping.timeout=2s"];
    let cluster = cluster(backend, "drop_oldest", &settings).await;
    let mut slowpoke = sleeper(&cluster, &["news"]).await;
    let mut writer = cluster.client(1).await;
    for number in 1..=WAITING {
        writer.publish("news", padded(number)).await;
    }
    // A ping that comes now waits for longer than its answer may take: everything before it has to be read.
    let began = tokio::time::Instant::now();
    for number in 1..=WAITING {
        assert_eq!(slowpoke.next_publication().await["offset"], number);
        tokio::time::sleep(Duration::from_millis(70)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(4));
    slowpoke.hears_nothing().await;
}

async fn over_the_budget_the_worst_go_first_and_the_others_notice_nothing(backend: Backend) {
    let settings = ["outbox.bytes=1MiB", "outbox.budget=500KiB", "workers=1"];
    let cluster = cluster(backend, "drop_oldest", &settings).await;
    let mut sleepers = Vec::new();
    for channel in ["patient:worst", "worse", "patient:bad"] {
        sleepers.push(sleeper(&cluster, &[channel]).await);
    }
    let mut writer = cluster.client(1).await;
    // What waits for each on top of what the kernel takes.
    for (channel, count) in [("patient:worst", 40), ("patient:bad", 12), ("worse", 20)] {
        for number in 1..=count {
            writer.publish(channel, padded(number)).await;
        }
    }
    cluster.metric_becomes(0, &slow("close"), 1.0).await;
    let reason = "gateway_slow_consumer_reasons_total{reason=\"budget\"}";
    assert!(cluster.metric(0, reason).await >= 1.0);
    let limit = cluster.metric(0, "gateway_budget_limit_bytes").await;
    assert_eq!(limit, 500.0 * 1024.0);
    let [mut worst, mut worse, mut bad] = <[Client; 3]>::try_from(sleepers).expect("three");
    assert_eq!(worst.expect_close().await, 4102);
    let (_, gaps) = read_to(&mut worse, "worse", 20).await;
    assert_eq!(gaps.len(), 0, "one was enough");
    for number in 1..=12 {
        assert_eq!(bad.next_publication().await["offset"], number);
    }
    cluster.metric_becomes(0, "gateway_budget_used_bytes", 0.0).await;
}

async fn over_the_budget_whoever_can_do_without_is_relieved_and_stays(backend: Backend) {
    let settings = ["outbox.bytes=1MiB", "outbox.budget=400KiB", "workers=1"];
    let cluster = cluster(backend, "drop_oldest", &settings).await;
    let mut worst = sleeper(&cluster, &["worst"]).await;
    let mut bad = sleeper(&cluster, &["patient:bad"]).await;
    let mut writer = cluster.client(1).await;
    for (channel, count) in [("patient:bad", 12), ("worst", 60)] {
        for number in 1..=count {
            writer.publish(channel, padded(number)).await;
        }
    }
    cluster.metric_becomes(0, &slow("drop_oldest"), 1.0).await;
    let (_, gaps) = read_to(&mut worst, "worst", 60).await;
    assert!(!gaps.is_empty());
    for number in 1..=12 {
        assert_eq!(bad.next_publication().await["offset"], number);
    }
    assert_eq!(cluster.metric(0, &slow("close")).await, 0.0);
}

async fn half_messages_are_part_of_the_budget(backend: Backend) {
    const CLIENTS: usize = 12;
    let settings = ["outbox.budget=400KiB", "workers=1"];
    let cluster = cluster(backend, "close", &settings).await;
    let mut talkers = Vec::new();
    for _ in 0..CLIENTS {
        let mut talker = RawSocket::upgraded(cluster.address(0), "/ws").await;
        talker.text().await;
        let half = [frames::header(frames::FINAL | TEXT, 60_000), vec![b'x'; 50_000]].concat();
        talker.send(&half).await;
        talkers.push(talker);
    }
    let mut bystander = cluster.client(0).await;
    bystander.subscribe("news").await;
    let mut closed = 0.0;
    while closed == 0.0 || cluster.metric(0, "gateway_budget_used_bytes").await > 400.0 * 1024.0 {
        closed = cluster.metric(0, &slow("close")).await;
        bystander.publish("news", json!(1)).await;
        bystander.next_publication().await;
    }
    assert!((closed as usize) < CLIENTS, "not all of them");
}

async fn a_raw_client_is_closed_for_being_slow_whatever_the_policy(backend: Backend) {
    for policy in ["drop_oldest", "latest"] {
        let cluster = cluster(backend, policy, &[]).await;
        let mut raw = RawSocket::upgraded_with(cluster.address(0), "/raw/news", Some(4096)).await;
        cluster.metric_becomes(0, "gateway_subscriptions", 1.0).await;
        publish_much(&cluster, "news", never).await;
        assert_eq!(raw.end().await, End::Closed(Some(4102)));
        assert_eq!((cluster.metric(0, &slow("close")).await, cluster.metric(0, &slow(policy)).await), (1.0, 0.0));
    }
}

on_both!(
    the_oldest_go_for_whoever_does_not_read_and_history_brings_them_back,
    only_the_newest_of_each_key_waits_for_whoever_does_not_read,
    where_there_is_no_history_a_gap_says_only_that_something_is_missing,
    replies_and_other_channels_lose_nothing,
    whoever_takes_nothing_at_all_is_closed_in_time_however_much_it_says,
    whoever_reads_slowly_but_reads_is_not_taken_for_dead,
    over_the_budget_the_worst_go_first_and_the_others_notice_nothing,
    over_the_budget_whoever_can_do_without_is_relieved_and_stays,
    half_messages_are_part_of_the_budget,
    a_raw_client_is_closed_for_being_slow_whatever_the_policy,
);
