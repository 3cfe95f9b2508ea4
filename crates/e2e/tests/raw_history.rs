//! Raw connections that ask for history: what was kept comes first, as it was sent, and then everything live, once.

use e2e::{Backend, Client, Cluster, on_both, tokens};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SIZES: &str = r#"
    [[namespace]]
    pattern = "short"
    history.size = 5
    [[namespace]]
    pattern = "forgetful"
    history.size = 0
    [[namespace]]
    pattern = "closed"
    read_history = "nobody"
    [[namespace]]
    pattern = "staff"
    subscribe = "authenticated"
    read_history = "authenticated"
    [[namespace]]
    pattern = "*"
    history.size = 100000
"#;

async fn cluster(backend: Backend, settings: &[&str]) -> Cluster {
    let settings = [&["auth.anonymous=true", "limits.messages=100000/s"], settings].concat();
    Cluster::of(2, backend).with_tokens().namespaces(SIZES).settings(&settings).start().await
}

/// Publishes the numbers of a range; the last position.
async fn publish(cluster: &Cluster, channel: &str, numbers: std::ops::Range<u64>) -> Value {
    let mut writer = cluster.client(0).await;
    let mut last = Value::Null;
    for number in numbers {
        last = writer.publish(channel, json!(number)).await;
    }
    last
}

async fn raw(cluster: &Cluster, node: usize, channel_and_query: &str) -> Client {
    cluster.connect_raw(node, channel_and_query).open_bare().await
}

/// The numbers that come, up to this one.
async fn up_to(client: &mut Client, last: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        numbers.push(client.next_text().await.parse().expect("a number"));
    }
    numbers
}

async fn everything_kept_comes_as_it_was_sent_and_then_what_is_live(backend: Backend) {
    let cluster = cluster(backend, &[]).await;
    let mut sender = raw(&cluster, 0, "board?echo=1").await;
    let bytes: Vec<u8> = (0..=255).cycle().take(3000).collect();
    sender.send_text("stroke \"1\"\n").await;
    sender.send_bytes(&bytes).await;
    sender.send_text("").await;
    assert_eq!(sender.next_text().await.as_str(), "stroke \"1\"\n");
    assert_eq!(sender.next_bytes().await, bytes);
    assert_eq!(sender.next_text().await.as_str(), "");
    let mut late = raw(&cluster, 1, "board?since=0").await;
    assert_eq!(late.next_text().await.as_str(), "stroke \"1\"\n");
    assert_eq!(late.next_bytes().await, bytes);
    assert_eq!(late.next_text().await.as_str(), "");
    sender.send_text("live").await;
    assert_eq!(late.next_text().await.as_str(), "live");
    late.send_text("its own").await;
    for expected in ["live", "its own"] {
        assert_eq!(sender.next_text().await.as_str(), expected);
    }
    sender.send_text("the end").await;
    assert_eq!(late.next_text().await.as_str(), "the end", "its own does not come back while it is connected");
    let mut back = raw(&cluster, 1, "board?last=3").await;
    for expected in ["live", "its own", "the end"] {
        assert_eq!(back.next_text().await.as_str(), expected);
    }
}

async fn whoever_comes_while_much_is_published_has_no_hole_and_no_repeat(backend: Backend) {
    let cluster = Arc::new(cluster(backend, &[]).await);
    publish(&cluster, "busy", 1..200).await;
    let done = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let (cluster, done) = (cluster.clone(), done.clone());
        async move {
            let mut writer = cluster.client(1).await;
            let mut number = 199;
            while !done.load(Ordering::Relaxed) {
                number += 1;
                writer.publish("busy", json!(number)).await;
            }
            number
        }
    });
    for round in 0..20 {
        let mut late = raw(&cluster, round % 2, "busy?since=0").await;
        let numbers = up_to(&mut late, 220 + 5 * round as u64).await;
        assert_eq!(numbers, (1..=220 + 5 * round as u64).collect::<Vec<_>>());
    }
    let mut last = raw(&cluster, 0, "busy?since=100").await;
    done.store(true, Ordering::Relaxed);
    let written = writing.await.expect("a writer");
    assert_eq!(up_to(&mut last, written).await, (101..=written).collect::<Vec<_>>());
}

async fn a_position_and_a_number_of_the_newest_say_where_it_begins(backend: Backend) {
    let cluster = cluster(backend, &[]).await;
    for (number, (query, first)) in [
        ("since=0", 1),
        ("since=7", 8),
        ("since=EPOCH:7", 8),
        ("since=EPOCH:0", 1),
        ("since=10", 11),
        ("last=3", 8),
        ("last=1000", 1),
        ("last=0", 11),
    ]
    .into_iter()
    .enumerate()
    {
        let channel = format!("log:{number}");
        let last = publish(&cluster, &channel, 1..11).await;
        let query = query.replace("EPOCH", last["epoch"].as_str().expect("an epoch"));
        let mut reader = raw(&cluster, 1, &format!("{channel}?echo=1&{query}")).await;
        reader.send_text("11").await;
        assert_eq!(up_to(&mut reader, 11).await, (first..=11).collect::<Vec<_>>(), "{query}");
    }
}

async fn what_is_lost_closes_before_anything_comes(backend: Backend) {
    let cluster = cluster(backend, &[]).await;
    // Redis lets go of its log in pieces of about a hundred.
    let last = publish(&cluster, "short", 1..501).await;
    let epoch = last["epoch"].as_str().expect("an epoch");
    let lost = ["since=3".to_owned(), format!("since={epoch}:3"), "since=other:499".to_owned(), "since=501".to_owned()];
    for query in lost {
        let mut late = raw(&cluster, 1, &format!("short?{query}")).await;
        assert_eq!((late.expect_close().await, late.kept()), (4106, None), "{query}");
    }
    for query in ["since=497", "last=3"] {
        let mut late = raw(&cluster, 1, &format!("short?{query}")).await;
        assert_eq!(up_to(&mut late, 500).await, [498, 499, 500], "{query}");
    }
    for query in ["since=0", "last=500"] {
        let kept = up_to(&mut raw(&cluster, 1, &format!("short?{query}")).await, 500).await;
        assert!((5..300).contains(&kept.len()), "{} are kept", kept.len());
        assert!(kept.is_sorted_by(|before, next| before + 1 == *next), "{kept:?}");
    }
}

async fn a_channel_that_keeps_nothing_has_nothing_to_replay(backend: Backend) {
    let cluster = cluster(backend, &[]).await;
    publish(&cluster, "forgetful", 1..5).await;
    for query in ["since=0", "last=3"] {
        let mut reader = raw(&cluster, 1, &format!("forgetful?echo=1&{query}")).await;
        reader.send_text("5").await;
        assert_eq!(reader.next_text().await.as_str(), "5");
    }
    assert_eq!(raw(&cluster, 1, "forgetful?since=3").await.expect_close().await, 4106);
}

async fn only_who_may_read_the_history_gets_it(backend: Backend) {
    let cluster = cluster(backend, &[]).await;
    publish(&cluster, "closed", 1..3).await;
    assert_eq!(raw(&cluster, 1, "closed?since=0").await.expect_close().await, 4003);
    let mut live = raw(&cluster, 1, "closed?echo=1").await;
    live.send_text("3").await;
    assert_eq!(live.next_text().await.as_str(), "3");
    cluster.user(0, "ann").await.publish("staff", json!(1)).await;
    assert_eq!(raw(&cluster, 1, "staff?since=0").await.expect_close().await, 4003);
    let mut ann = cluster.connect_raw(1, "staff?since=0").token(&tokens::of("ann")).open_bare().await;
    assert_eq!(ann.next_text().await.as_str(), "1");
    let mut page = cluster.connect_raw(1, "log?since=0").origin("https://elsewhere.example").open_bare().await;
    assert_eq!(page.expect_close().await, 4003, "a page of another origin");
}

async fn a_history_far_larger_than_what_may_wait_comes_whole(backend: Backend) {
    let cluster = cluster(backend, &["outbox.bytes=64KiB"]).await;
    let mut writer = cluster.client(0).await;
    for number in 0..300 {
        writer.publish("large", json!([number, "x".repeat(5_000)])).await;
    }
    let mut late = cluster.connect_raw(1, "large?since=0").receive_buffer(4096).open_bare().await;
    for number in 0..300 {
        let message: Value = serde_json::from_str(&late.next_text().await).expect("JSON");
        assert_eq!(message[0], number);
        if number == 150 {
            writer.publish("large", json!([300, ""])).await;
        }
    }
    assert_eq!(late.next_text().await.as_str(), "[300,\"\"]");
    let mut json = cluster.client(0).await;
    let history = json.granted(json!({"type": "history", "channel": "large", "limit": 1}), "history").await;
    assert_eq!(history["offset"], 301);
}

async fn what_is_no_position_is_refused_at_the_handshake(backend: Backend) {
    let cluster = cluster(backend, &[]).await;
    for query in [
        "since=",
        "since=x",
        "since=-1",
        "since=%2b1",
        "since=:5",
        "since=e:",
        "since=1.5",
        "last=",
        "last=-1",
        "last=all",
        "since=%ff",
        "since=1&last=1",
        "since=18446744073709551616",
    ] {
        let refused = cluster.connect_raw(0, &format!("log?{query}")).refused().await;
        assert_eq!(refused.status, 400, "{query}");
    }
}

on_both!(
    everything_kept_comes_as_it_was_sent_and_then_what_is_live,
    whoever_comes_while_much_is_published_has_no_hole_and_no_repeat,
    a_position_and_a_number_of_the_newest_say_where_it_begins,
    what_is_lost_closes_before_anything_comes,
    a_channel_that_keeps_nothing_has_nothing_to_replay,
    only_who_may_read_the_history_gets_it,
    a_history_far_larger_than_what_may_wait_comes_whole,
    what_is_no_position_is_refused_at_the_handshake,
);
