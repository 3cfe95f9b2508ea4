//! Retained publications: what whoever comes finds, on whatever node, and that it goes with what follows.

use e2e::{Backend, Client, Cluster, on_both};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

async fn retain(client: &mut Client, key: &str, data: Value) -> Value {
    let command = json!({"type": "publish", "channel": "chat", "data": data, "retain": key});
    client.granted(command, "published").await
}

/// Key and data of each entry, in order.
fn entries(answer: &Value) -> Vec<(&str, &Value)> {
    let state = answer["state"].as_array().unwrap_or_else(|| panic!("no state in {answer}"));
    state.iter().map(|entry| (entry["retain"].as_str().expect("a key"), &entry["data"])).collect()
}

async fn whoever_comes_finds_the_newest_of_each_key_on_every_node(backend: Backend) {
    let cluster = Cluster::start(3, backend).await;
    let mut writer = cluster.client(0).await;
    let mut early = cluster.client(1).await;
    assert_eq!(early.subscribe("chat").await.get("state"), None, "there is none yet");
    retain(&mut writer, "read:ann", json!(1)).await;
    writer.publish("chat", json!("hello")).await;
    retain(&mut writer, "read:bob", json!({"upto": 2})).await;
    let last = retain(&mut writer, "read:ann", json!(3)).await;
    for node in 0..3 {
        let mut late = cluster.client(node).await;
        let subscribed = late.subscribe("chat").await;
        assert_eq!(entries(&subscribed), [("read:bob", &json!({"upto": 2})), ("read:ann", &json!(3))]);
        assert_eq!((&subscribed["epoch"], &subscribed["offset"]), (&last["epoch"], &last["offset"]));
        let entry = &subscribed["state"][1];
        assert_eq!((&entry["offset"], &entry["from"]["client"]), (&json!(4), &json!(writer.id())));
        assert!(entry["time"].is_u64(), "{entry}");
        late.hears_nothing().await;
    }
    let pushes = [early.next_publication().await, early.next_publication().await];
    assert_eq!((&pushes[0]["retain"], &pushes[0]["data"]), (&json!("read:ann"), &json!(1)));
    assert_eq!((pushes[1].get("retain"), &pushes[1]["data"]), (None, &json!("hello")));
}

async fn null_takes_a_key_out_and_is_told_to_all(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut writer = cluster.client(0).await;
    retain(&mut writer, "a", json!(1)).await;
    retain(&mut writer, "b", json!(2)).await;
    let mut reader = cluster.client(1).await;
    assert_eq!(entries(&reader.subscribe("chat").await), [("a", &json!(1)), ("b", &json!(2))]);
    let published = retain(&mut writer, "a", Value::Null).await;
    let told = reader.next_publication().await;
    assert_eq!((&told["retain"], &told["data"], &told["offset"]), (&json!("a"), &Value::Null, &published["offset"]));
    let mut late = cluster.client(1).await;
    assert_eq!(entries(&late.subscribe("chat").await), [("b", &json!(2))]);
    retain(&mut writer, "b", Value::Null).await;
    let mut later = cluster.client(0).await;
    assert_eq!(later.subscribe("chat").await.get("state"), None);
}

async fn whoever_does_not_want_it_is_spared_it(backend: Backend) {
    let cluster = Cluster::start(1, backend).await;
    let mut client = cluster.client(0).await;
    retain(&mut client, "a", json!(1)).await;
    let command = json!({"type": "subscribe", "channel": "chat", "state": false});
    assert_eq!(client.granted(command, "subscribed").await.get("state"), None);
    assert_eq!(cluster.metric(0, "gateway_state_reads_total").await, 0.0);
}

async fn whoever_comes_back_gets_the_state_and_what_it_missed(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut writer = cluster.client(0).await;
    let mut reader = cluster.client(0).await;
    let epoch = reader.subscribe("chat").await["epoch"].take();
    reader.cut();
    retain(&mut writer, "a", json!(1)).await;
    retain(&mut writer, "a", json!(2)).await;
    retain(&mut writer, "b", json!(3)).await;
    let mut reader = cluster.client(1).await;
    let subscribed = reader.recover("chat", &epoch, 1).await;
    assert_eq!(subscribed["recovered"], true);
    assert_eq!(entries(&subscribed), [("a", &json!(2)), ("b", &json!(3))]);
    let missed: Vec<_> = subscribed["publications"].as_array().expect("a list").iter().map(|p| &p["offset"]).collect();
    assert_eq!((missed, &subscribed["offset"]), (vec![&json!(2), &json!(3)], &json!(3)));
    let mut lost = cluster.client(1).await;
    let subscribed = lost.recover("chat", &json!("another life"), 7).await;
    assert_eq!((&subscribed["recovered"], entries(&subscribed).len()), (&json!(false), 2));
}

async fn a_state_needs_history_and_a_publication_that_stays(backend: Backend) {
    let namespaces = r#"
        [[namespace]]
        pattern = "passing"
        history.size = 0
        [[namespace]]
        pattern = "stateless"
        state.keys = 0
        [[namespace]]
        pattern = "*"
    "#;
    let cluster = Cluster::of(1, backend).namespaces(namespaces).start().await;
    let mut client = cluster.client(0).await;
    client.subscribe("chat").await;
    for channel in ["passing", "stateless"] {
        let command = json!({"type": "publish", "channel": channel, "data": 1, "retain": "a"});
        client.refused(command, "bad_request").await;
    }
    let volatile = json!({"type": "publish", "channel": "chat", "data": 1, "retain": "a", "volatile": true});
    client.refused(volatile, "bad_request").await;
    client.hears_nothing().await;
}

async fn one_key_too_many_is_refused_and_counted_and_room_can_be_made(backend: Backend) {
    let namespaces = "[[namespace]]\npattern = \"*\"\nstate.keys = 2\nstate.bytes = \"1KiB\"\n";
    let cluster = Cluster::of(2, backend).namespaces(namespaces).start().await;
    let mut client = cluster.client(0).await;
    let mut reader = cluster.client(1).await;
    reader.subscribe("chat").await;
    retain(&mut client, "a", json!(1)).await;
    retain(&mut client, "b", json!(2)).await;
    let publish = |key: &str, data: Value| json!({"type": "publish", "channel": "chat", "data": data, "retain": key});
    let refusal = client.refused(publish("c", json!(3)), "limit_exceeded").await;
    assert_eq!(refusal["temporary"], false);
    client.refused(publish("a", json!("x".repeat(1000))), "limit_exceeded").await;
    let refused = "gateway_commands_total{outcome=\"limit_exceeded\",type=\"publish\"}";
    assert_eq!(cluster.metric(0, refused).await, 2.0);
    assert_eq!(retain(&mut client, "a", Value::Null).await["offset"], 3, "what was refused took no offset");
    retain(&mut client, "c", json!(3)).await;
    assert_eq!(reader.next_data(4).await, [json!(1), json!(2), Value::Null, json!(3)]);
}

/// What a client of the state holds, by the rules of the protocol.
#[derive(Default, Debug, PartialEq)]
struct Copy(std::collections::BTreeMap<String, (u64, Value)>);

impl Copy {
    fn of(answer: &Value) -> Self {
        let mut copy = Self::default();
        answer["state"].as_array().into_iter().flatten().for_each(|entry| copy.put(entry));
        copy
    }

    fn put(&mut self, publication: &Value) {
        let (key, offset) = (&publication["retain"], publication["offset"].as_u64().expect("an offset"));
        let key = key.as_str().expect("a key").to_owned();
        if publication["data"].is_null() {
            self.0.remove(&key);
        } else if self.0.get(&key).is_none_or(|(known, _)| *known < offset) {
            self.0.insert(key, (offset, publication["data"].clone()));
        }
    }
}

async fn state_and_what_follows_tell_everything_once_while_it_is_written_all_the_time(backend: Backend) {
    const COMERS: usize = 60;
    let namespaces = "[[namespace]]\npattern = \"*\"\npresence = false\nhistory.size = 100000\n";
    let settings = ["limits.messages=100000/s"];
    let cluster = Cluster::of(3, backend).namespaces(namespaces).settings(&settings).start().await;
    let enough = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for node in 0..3 {
        let writer = cluster.client(node).await;
        writers.push(tokio::spawn(write_until(writer, node, enough.clone())));
    }
    let mut followers = Vec::new();
    for comer in 0..COMERS {
        let mut client = cluster.client(comer % 3).await;
        let subscribed = client.subscribe("chat").await;
        let at = subscribed["offset"].as_u64().expect("an offset");
        let copy = Copy::of(&subscribed);
        assert!(copy.0.values().all(|(offset, _)| *offset <= at), "the state is as old as the answer says");
        followers.push((client, at, copy));
    }
    enough.store(true, Ordering::Relaxed);
    let mut last = 0;
    for writer in writers {
        last = last.max(writer.await.expect("a writer that was answered"));
    }
    let mut end = cluster.client(0).await;
    let expected = Copy::of(&end.subscribe("chat").await);
    for (mut client, mut at, mut copy) in followers {
        while at < last {
            let publication = client.next_publication().await;
            assert_eq!(publication["offset"], at + 1, "each comes, and once");
            at += 1;
            copy.put(&publication);
        }
        assert_eq!(copy, expected);
    }
}

/// Puts keys and takes them out again; returns the last offset.
async fn write_until(mut client: Client, node: usize, enough: Arc<AtomicBool>) -> u64 {
    let mut last = 0;
    for round in 0.. {
        if enough.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{node}:{}", round % 7);
        let data = if round % 5 == 0 { Value::Null } else { json!([node, round]) };
        last = retain(&mut client, &key, data).await["offset"].as_u64().expect("an offset");
    }
    last
}

async fn a_storm_of_clients_reads_the_state_once_a_worker_and_not_at_all_where_there_is_none(backend: Backend) {
    const CLIENTS: usize = 40;
    let cluster = Cluster::of(2, backend).settings(&["workers=2"]).start().await;
    let mut writer = cluster.client(0).await;
    for key in ["a", "b", "c"] {
        retain(&mut writer, key, json!(key)).await;
    }
    writer.publish("stateless", json!(1)).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(cluster.client(1).await);
    }
    for client in &mut clients {
        client.send(&json!({"type": "subscribe", "id": 1, "channel": "chat"})).await;
        client.send(&json!({"type": "subscribe", "id": 2, "channel": "stateless"})).await;
    }
    for client in &mut clients {
        assert_eq!(entries(&client.reply_to(&json!(1)).await).len(), 3);
        assert_eq!(client.reply_to(&json!(2)).await.get("state"), None);
    }
    let reads = cluster.metric(1, "gateway_state_reads_total").await;
    assert!((1.0..=2.0).contains(&reads), "{CLIENTS} clients on two workers made {reads} readings");
}

async fn a_state_as_large_as_it_may_be_reaches_a_client_of_many_channels(backend: Backend) {
    const CHANNELS: usize = 12;
    let settings = ["outbox.bytes=64KiB", "limits.messages=100000/s"];
    let cluster = Cluster::of(2, backend).settings(&settings).start().await;
    let mut writer = cluster.client(0).await;
    let large = json!("x".repeat(50_000));
    for channel in 0..CHANNELS {
        for key in ["a", "b", "c", "d"] {
            let channel = format!("c{channel}");
            let command = json!({"type": "publish", "channel": channel, "data": large, "retain": key});
            writer.granted(command, "published").await;
        }
    }
    let mut reader = cluster.connect(1).receive_buffer(4096).open().await;
    let one = |n: usize| json!({"type": "subscribe", "id": n + 1, "channel": format!("c{n}")});
    reader.send(&json!((0..CHANNELS).map(one).collect::<Vec<_>>())).await;
    for n in 0..CHANNELS {
        let subscribed = reader.reply_to(&json!(n + 1)).await;
        assert_eq!(entries(&subscribed), ["a", "b", "c", "d"].map(|key| (key, &large)));
        let waiting = cluster.metric(1, "gateway_outbox_bytes").await;
        assert!(waiting < 600_000.0, "{waiting} bytes wait: one answer is let in after the other");
    }
}

async fn a_raw_client_gets_what_is_retained_like_all_else_and_no_state(backend: Backend) {
    let cluster = Cluster::start(1, backend).await;
    let mut writer = cluster.client(0).await;
    retain(&mut writer, "a", json!(1)).await;
    let mut raw = cluster.connect_raw(0, "chat").open_bare().await;
    cluster.metric_becomes(0, "gateway_subscriptions", 1.0).await;
    retain(&mut writer, "a", json!(2)).await;
    retain(&mut writer, "a", Value::Null).await;
    assert_eq!([raw.next_text().await.as_str(), raw.next_text().await.as_str()], ["2", "null"]);
    assert_eq!(cluster.metric(0, "gateway_state_reads_total").await, 0.0);
}

on_both!(
    whoever_comes_finds_the_newest_of_each_key_on_every_node,
    null_takes_a_key_out_and_is_told_to_all,
    whoever_does_not_want_it_is_spared_it,
    whoever_comes_back_gets_the_state_and_what_it_missed,
    a_state_needs_history_and_a_publication_that_stays,
    one_key_too_many_is_refused_and_counted_and_room_can_be_made,
    state_and_what_follows_tell_everything_once_while_it_is_written_all_the_time,
    a_storm_of_clients_reads_the_state_once_a_worker_and_not_at_all_where_there_is_none,
    a_state_as_large_as_it_may_be_reaches_a_client_of_many_channels,
    a_raw_client_gets_what_is_retained_like_all_else_and_no_state,
);
