//! Coming back: what was missed, exactly once and in order, or the word that some of it is lost.

use e2e::{Backend, Client, Cluster, on_both};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn offsets(answer: &Value) -> Vec<u64> {
    let publications = answer["publications"].as_array().unwrap_or_else(|| panic!("no publications in {answer}"));
    publications.iter().map(|p| p["offset"].as_u64().expect("an offset")).collect()
}

async fn publish_many(client: &mut Client, channel: &str, numbers: std::ops::RangeInclusive<u64>) -> Value {
    let mut last = Value::Null;
    for number in numbers {
        last = client.publish(channel, json!(number)).await;
        assert_eq!(last["offset"], number, "the data of this test are the offsets");
    }
    last
}

async fn history(client: &mut Client, more: &Value) -> Value {
    let mut command = json!({"type": "history", "channel": "chat"});
    command.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    client.granted(command, "history").await
}

async fn whoever_comes_back_on_another_node_gets_what_it_missed(backend: Backend) {
    let cluster = Cluster::start(3, backend).await;
    let mut writer = cluster.client(1).await;
    let mut reader = cluster.client(0).await;
    let epoch = reader.subscribe("chat").await["epoch"].take();
    publish_many(&mut writer, "chat", 1..=5).await;
    assert_eq!(reader.next_data(5).await, [1, 2, 3, 4, 5]);
    reader.cut();
    publish_many(&mut writer, "chat", 6..=25).await;
    let mut reader = cluster.client(2).await;
    let subscribed = reader.recover("chat", &epoch, 5).await;
    assert_eq!(subscribed["recovered"], true);
    assert_eq!(offsets(&subscribed), (6..=25).collect::<Vec<_>>());
    assert_eq!((&subscribed["epoch"], &subscribed["offset"]), (&epoch, &json!(25)));
    let first = &subscribed["publications"][0];
    assert_eq!((&first["data"], &first["from"]), (&json!(6), &json!({"client": writer.id()})));
    publish_many(&mut writer, "chat", 26..=30).await;
    assert_eq!(reader.next_data(5).await, [26, 27, 28, 29, 30]);
    reader.hears_nothing().await;
}

async fn whoever_missed_nothing_is_told_so(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut writer = cluster.client(0).await;
    let epoch = publish_many(&mut writer, "chat", 1..=3).await["epoch"].take();
    let mut reader = cluster.client(1).await;
    let subscribed = reader.recover("chat", &epoch, 3).await;
    assert_eq!((&subscribed["recovered"], &subscribed["offset"]), (&json!(true), &json!(3)));
    assert_eq!(offsets(&subscribed), [0u64; 0]);
    let mut early = cluster.client(1).await;
    let beginning = early.subscribe("empty").await;
    let mut other = cluster.client(0).await;
    let subscribed = other.recover("empty", &beginning["epoch"], 0).await;
    assert_eq!((&subscribed["recovered"], &subscribed["offset"]), (&json!(true), &json!(0)));
}

async fn under_continuous_publishing_nothing_is_lost_or_repeated(backend: Backend) {
    const RETURNS: usize = 40;
    let namespaces = "[[namespace]]\npattern = \"*\"\npresence = false\nhistory.size = 100000\n";
    let settings = ["limits.messages=100000/s"];
    let cluster = Cluster::of(3, backend).namespaces(namespaces).settings(&settings).start().await;
    let mut reader = cluster.client(0).await;
    let epoch = reader.subscribe("chat").await["epoch"].take();
    let enough = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = {
        let mut writers = Vec::new();
        for node in 0..3 {
            let writer = cluster.client(node).await;
            writers.push(tokio::spawn(publish_until(writer, enough.clone())));
        }
        writers
    };
    let mut reached = 0;
    for turn in 0..RETURNS {
        for _ in 0..10 {
            let publication = reader.next_publication().await;
            assert_eq!(publication["offset"], reached + 1, "live, after {turn} returns");
            reached += 1;
        }
        reader.cut();
        reader = cluster.client(turn % 3).await;
        let subscribed = reader.recover("chat", &epoch, reached).await;
        assert_eq!(subscribed["recovered"], true, "return {turn}");
        for offset in offsets(&subscribed) {
            assert_eq!(offset, reached + 1, "recovered by return {turn}");
            reached += 1;
        }
        assert_eq!(subscribed["offset"], reached);
    }
    enough.store(true, Ordering::Relaxed);
    let mut published = 0;
    for writer in writers {
        published += writer.await.expect("a writer that was answered");
    }
    while reached < published {
        assert_eq!(reader.next_publication().await["offset"], reached + 1);
        reached += 1;
    }
    reader.hears_nothing().await;
}

/// Keeps a few publications under way; returns how many it made.
async fn publish_until(mut client: Client, enough: Arc<AtomicBool>) -> u64 {
    const UNDER_WAY: u64 = 4;
    let publish = |id: u64| json!({"type": "publish", "id": id, "channel": "chat", "data": id});
    for id in 0..UNDER_WAY {
        client.send(&publish(id)).await;
    }
    let (mut sent, mut answered) = (UNDER_WAY, 0);
    while answered < sent {
        let reply = client.reply_to(&json!(answered)).await;
        assert_eq!(reply["type"], "published", "{reply}");
        answered += 1;
        if !enough.load(Ordering::Relaxed) {
            client.send(&publish(sent)).await;
            sent += 1;
        }
    }
    sent
}

async fn what_is_too_far_back_is_not_recovered(backend: Backend) {
    // What is kept may be more than asked for, by less than 200 publications.
    let namespaces = "[[namespace]]\npattern = \"*\"\nhistory.size = 10\n";
    let cluster = Cluster::of(2, backend).namespaces(namespaces).settings(&["limits.messages=10000/s"]).start().await;
    let mut writer = cluster.client(0).await;
    let epoch = publish_many(&mut writer, "chat", 1..=300).await["epoch"].take();
    let mut reader = cluster.client(1).await;
    let subscribed = reader.recover("chat", &epoch, 5).await;
    assert_eq!((&subscribed["recovered"], &subscribed["offset"]), (&json!(false), &json!(300)));
    let left = offsets(&subscribed);
    assert!(left.len() >= 10 && left[0] > 6, "{left:?}");
    assert_eq!(left, (left[0]..=300).collect::<Vec<_>>(), "what is left is whole");
    publish_many(&mut writer, "chat", 301..=301).await;
    assert_eq!(reader.next_publication().await["offset"], 301);
    let mut recent = cluster.client(1).await;
    let subscribed = recent.recover("chat", &epoch, 291).await;
    assert_eq!((&subscribed["recovered"], offsets(&subscribed)), (&json!(true), (292..=301).collect()));
}

async fn a_position_of_another_epoch_or_of_the_future_is_not_recovered(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut writer = cluster.client(0).await;
    let epoch = publish_many(&mut writer, "chat", 1..=3).await["epoch"].take();
    for (asked_epoch, asked_offset, brought) in
        [(json!("elsewhere"), 2, vec![1, 2, 3]), (json!("elsewhere"), 3, vec![1, 2, 3]), (epoch.clone(), 4, vec![])]
    {
        let mut reader = cluster.client(1).await;
        let subscribed = reader.recover("chat", &asked_epoch, asked_offset).await;
        assert_eq!(subscribed["recovered"], false, "{subscribed}");
        assert_eq!((&subscribed["epoch"], &subscribed["offset"]), (&epoch, &json!(3)));
        assert_eq!(offsets(&subscribed), brought);
    }
}

async fn many_who_come_back_at_once_all_get_everything(backend: Backend) {
    let namespaces = "[[namespace]]\npattern = \"*\"\npresence = false\n";
    let cluster = Cluster::of(3, backend).namespaces(namespaces).start().await;
    let mut writer = cluster.client(0).await;
    let epoch = publish_many(&mut writer, "chat", 1..=80).await["epoch"].take();
    let mut tasks = Vec::new();
    for number in 0..150 {
        let mut client = cluster.client(number % 3).await;
        let epoch = epoch.clone();
        tasks.push(tokio::spawn(async move {
            let subscribed = client.recover("chat", &epoch, 7).await;
            assert_eq!((&subscribed["recovered"], offsets(&subscribed)), (&json!(true), (8..=80).collect()));
            assert_eq!(client.next_publication().await["offset"], 81);
        }));
    }
    cluster.metric_becomes(1, "gateway_subscriptions", 50.0).await;
    cluster.metric_becomes(2, "gateway_subscriptions", 50.0).await;
    cluster.metric_becomes(0, "gateway_subscriptions", 50.0).await;
    publish_many(&mut writer, "chat", 81..=81).await;
    for task in tasks {
        task.await.expect("a client that got everything");
    }
}

async fn history_is_read_from_either_end(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut writer = cluster.client(0).await;
    let epoch = publish_many(&mut writer, "chat", 1..=20).await["epoch"].take();
    let mut reader = cluster.client(1).await;
    let elsewhere = |offset: u64| json!({"epoch": "elsewhere", "offset": offset});
    let here = |offset: u64| json!({"epoch": epoch, "offset": offset});
    for (asked, expected) in [
        (json!({}), (1..=20).collect::<Vec<u64>>()),
        (json!({"limit": 3}), vec![1, 2, 3]),
        (json!({"limit": 3, "since": 5}), vec![6, 7, 8]),
        (json!({"limit": 3, "since": here(5)}), vec![6, 7, 8]),
        (json!({"limit": 3, "since": elsewhere(5)}), vec![1, 2, 3]),
        (json!({"since": 18}), vec![19, 20]),
        (json!({"since": 20}), vec![]),
        (json!({"since": 99}), vec![]),
        (json!({"limit": 0}), vec![]),
        (json!({"limit": 3, "reverse": true}), vec![20, 19, 18]),
        (json!({"limit": 3, "reverse": true, "since": 10}), vec![9, 8, 7]),
        (json!({"limit": 3, "reverse": true, "since": elsewhere(10)}), vec![20, 19, 18]),
        (json!({"reverse": true, "since": 3}), vec![2, 1]),
        (json!({"reverse": true, "since": 1}), vec![]),
    ] {
        let answer = history(&mut reader, &asked).await;
        assert_eq!(offsets(&answer), expected, "{asked}");
        assert_eq!((&answer["epoch"], &answer["offset"]), (&epoch, &json!(20)), "{asked}");
    }
    let empty = reader.granted(json!({"type": "history", "channel": "empty"}), "history").await;
    assert_eq!((offsets(&empty), &empty["offset"]), (vec![], &json!(0)));
}

async fn a_history_ends_with_its_time(backend: Backend) {
    let namespaces = "[[namespace]]\npattern = \"*\"\nhistory.ttl = \"300ms\"\n";
    let cluster = Cluster::of(1, backend).namespaces(namespaces).start().await;
    let mut client = cluster.client(0).await;
    let epoch = publish_many(&mut client, "chat", 1..=3).await["epoch"].take();
    // The time that is given to the history has to pass.
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    let answer = history(&mut client, &json!({})).await;
    assert_eq!((offsets(&answer), &answer["offset"], &answer["epoch"]), (vec![], &json!(3), &epoch));
    let subscribed = client.recover("chat", &epoch, 1).await;
    assert_eq!((&subscribed["recovered"], &subscribed["offset"]), (&json!(false), &json!(3)));
    publish_many(&mut client, "chat", 4..=4).await;
    assert_eq!(client.next_publication().await["offset"], 4);
}

on_both!(
    whoever_comes_back_on_another_node_gets_what_it_missed,
    whoever_missed_nothing_is_told_so,
    under_continuous_publishing_nothing_is_lost_or_repeated,
    what_is_too_far_back_is_not_recovered,
    a_position_of_another_epoch_or_of_the_future_is_not_recovered,
    many_who_come_back_at_once_all_get_everything,
    history_is_read_from_either_end,
    a_history_ends_with_its_time,
);
