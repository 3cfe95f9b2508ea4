//! What each command is answered with, and why it may be refused.

use e2e::{Backend, Cluster, on_both};
use serde_json::{Value, json};

fn subscribe(channel: &str) -> Value {
    json!({"type": "subscribe", "channel": channel})
}

fn publish(channel: &str, data: &str) -> Value {
    json!({"type": "publish", "channel": channel, "data": data})
}

fn send(to: &str) -> Value {
    json!({"type": "send", "to": to, "data": {"text": "just you"}, "event": "whisper"})
}

async fn a_client_is_welcomed_with_what_it_needs_to_know(backend: Backend) {
    let cluster = Cluster::of(1, backend).settings(&["ping.interval=7s", "limits.max_message=32KiB"]).start().await;
    let client = cluster.client(0).await;
    let welcome = client.welcome();
    assert_eq!(welcome["node"], "n0");
    assert_eq!(welcome["ping_interval_ms"], 7000);
    assert_eq!(welcome["max_message_bytes"], 32 * 1024);
    assert_eq!(welcome["version"], 1);
    assert!(client.id().starts_with("n0."), "{welcome}");
    let other = cluster.client(0).await;
    assert_ne!(other.id(), client.id());
    assert_ne!(other.welcome()["session"], welcome["session"]);
}

async fn a_publication_tells_where_it_stands_and_who_sent_it(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut reader = cluster.client(0).await;
    let mut writer = cluster.client(1).await;
    let subscribed = reader.subscribe("chat").await;
    assert_eq!((&subscribed["offset"], &subscribed["recovered"]), (&json!(0), &json!(false)));
    assert_eq!(subscribed["publications"], json!([]));
    assert!(subscribed["epoch"].is_string());
    let command = json!({"type": "publish", "channel": "chat", "data": {"text": "hi"}, "event": "greeting"});
    let published = writer.granted(command, "published").await;
    assert_eq!((&published["epoch"], &published["offset"]), (&subscribed["epoch"], &json!(1)));
    let publication = reader.next_publication().await;
    assert_eq!(publication["channel"], "chat");
    assert_eq!(publication["data"], json!({"text": "hi"}));
    assert_eq!(publication["event"], "greeting");
    assert_eq!(publication["offset"], 1);
    assert_eq!(publication["from"], json!({"client": writer.id()}), "an anonymous client has no user");
    assert!(publication["time"].as_u64().is_some_and(|ms| ms > 1_700_000_000_000), "{publication}");
    assert!(publication.get("encoding").is_none(), "{publication}");
}

async fn data_arrives_as_it_was_written(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut reader = cluster.client(0).await;
    reader.subscribe("chat").await;
    let mut writer = cluster.client(1).await;
    let data = r#"{"n" : 1.50e+2,  "big":12345678901234567890123, "s":"\u00e4\/ä", "twice":1, "twice":2}"#;
    writer.send_text(&format!(r#"{{"type":"publish","channel":"chat","data":{data}}}"#)).await;
    let text = reader.next_text().await;
    assert!(text.contains(data), "{text} does not hold {data}");
}

async fn a_client_that_is_not_subscribed_may_publish_and_hears_nothing(backend: Backend) {
    let cluster = Cluster::start(1, backend).await;
    let mut writer = cluster.client(0).await;
    let mut reader = cluster.client(0).await;
    reader.subscribe("chat").await;
    writer.publish("chat", json!("one")).await;
    reader.next_publication().await;
    writer.hears_nothing().await;
}

async fn a_channel_is_subscribed_to_once(backend: Backend) {
    let cluster = Cluster::start(1, backend).await;
    let mut client = cluster.client(0).await;
    client.subscribe("chat").await;
    client.refused(subscribe("chat"), "already_subscribed").await;
    client.publish("chat", json!("one")).await;
    assert_eq!(client.next_publication().await["data"], "one");
    client.hears_nothing().await;
}

async fn two_subscriptions_in_one_breath_are_one(backend: Backend) {
    let cluster = Cluster::start(1, backend).await;
    let mut client = cluster.client(0).await;
    let twice = json!([
        {"type": "subscribe", "id": 1, "channel": "chat"},
        {"type": "subscribe", "id": 2, "channel": "chat"},
    ]);
    client.send(&twice).await;
    assert_eq!(client.reply_to(&json!(1)).await["type"], "subscribed");
    assert_eq!(client.reply_to(&json!(2)).await["code"], "already_subscribed");
}

async fn whoever_unsubscribes_hears_no_more(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut leaver = cluster.client(0).await;
    let mut stayer = cluster.client(0).await;
    let mut writer = cluster.client(1).await;
    for client in [&mut leaver, &mut stayer] {
        client.subscribe("chat").await;
    }
    leaver.subscribe("other").await;
    writer.publish("chat", json!("heard")).await;
    assert_eq!(leaver.next_publication().await["data"], "heard");
    let unsubscribed = leaver.granted(json!({"type": "unsubscribe", "channel": "chat"}), "unsubscribed").await;
    assert_eq!(unsubscribed["channel"], "chat");
    writer.publish("chat", json!("missed")).await;
    writer.publish("other", json!("the end")).await;
    assert_eq!(stayer.next_data(2).await, ["heard", "missed"]);
    assert_eq!(leaver.next_publication().await["data"], "the end");
    leaver.refused(json!({"type": "unsubscribe", "channel": "chat"}), "not_subscribed").await;
    leaver.subscribe("chat").await;
    writer.publish("chat", json!("heard again")).await;
    assert_eq!(leaver.next_publication().await["data"], "heard again");
}

async fn no_echo_spares_the_sender_and_nobody_else(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut sender = cluster.client(0).await;
    let mut neighbour = cluster.client(0).await;
    let mut distant = cluster.client(1).await;
    for client in [&mut sender, &mut neighbour, &mut distant] {
        client.subscribe("chat").await;
    }
    let silent = json!({"type": "publish", "channel": "chat", "data": "silent", "echo": false});
    assert_eq!(sender.granted(silent, "published").await["offset"], 1);
    sender.publish("chat", json!("loud")).await;
    assert_eq!(neighbour.next_data(2).await, ["silent", "loud"]);
    assert_eq!(distant.next_data(2).await, ["silent", "loud"]);
    let first = sender.next_publication().await;
    assert_eq!((&first["data"], &first["offset"]), (&json!("loud"), &json!(2)));
}

async fn a_volatile_publication_has_no_offset_and_leaves_no_trace(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut reader = cluster.client(0).await;
    let mut writer = cluster.client(1).await;
    reader.subscribe("chat").await;
    writer.publish("chat", json!("first")).await;
    let volatile = json!({"type": "publish", "channel": "chat", "data": "volatile", "volatile": true});
    let published = writer.granted(volatile, "published").await;
    assert!(published.get("offset").is_none() && published.get("epoch").is_none(), "{published}");
    assert_eq!(writer.publish("chat", json!("second")).await["offset"], 2);
    reader.next_publication().await;
    let publication = reader.next_publication().await;
    assert_eq!(publication["data"], "volatile");
    assert!(publication.get("offset").is_none(), "{publication}");
    assert_eq!(reader.next_publication().await["offset"], 2);
    let history = reader.granted(json!({"type": "history", "channel": "chat"}), "history").await;
    let kept: Vec<_> = history["publications"].as_array().expect("publications").iter().map(|p| &p["data"]).collect();
    assert_eq!(kept, ["first", "second"]);
}

async fn a_channel_without_history_has_no_positions_and_takes_no_keys(backend: Backend) {
    let namespaces = "[[namespace]]\npattern = \"cursors:*\"\nhistory.size = 0\n[[namespace]]\npattern = \"*\"\n";
    let cluster = Cluster::of(2, backend).namespaces(namespaces).start().await;
    let mut reader = cluster.client(0).await;
    let mut writer = cluster.client(1).await;
    let subscribed = reader.subscribe("cursors:1").await;
    assert!(subscribed.get("offset").is_none() && subscribed.get("epoch").is_none(), "{subscribed}");
    let published = writer.publish("cursors:1", json!({"x": 3})).await;
    assert!(published.get("offset").is_none(), "{published}");
    assert!(reader.next_publication().await.get("offset").is_none());
    let keyed = |channel: &str| json!({"type": "publish", "channel": channel, "data": 1, "key": "k"});
    writer.refused(keyed("cursors:1"), "bad_request").await;
    let mut volatile = keyed("chat");
    volatile["volatile"] = json!(true);
    writer.refused(volatile, "bad_request").await;
    writer.refused(json!({"type": "history", "channel": "cursors:1"}), "bad_request").await;
    writer.granted(keyed("chat"), "published").await;
    reader.hears_nothing().await;
}

async fn a_private_message_finds_its_connection_on_any_node(backend: Backend) {
    let cluster = Cluster::start(3, backend).await;
    let mut sender = cluster.client(0).await;
    for node in 0..3 {
        let mut receiver = cluster.client(node).await;
        sender.granted(send(receiver.id()), "sent").await;
        let message = receiver.next().await;
        assert_eq!(message["type"], "message");
        assert_eq!((&message["data"], &message["event"]), (&json!({"text": "just you"}), &json!("whisper")));
        assert_eq!(message["from"], json!({"client": sender.id()}));
        receiver.hears_nothing().await;
    }
    let own = sender.id().to_owned();
    sender.granted(send(&own), "sent").await;
    assert_eq!(sender.next().await["type"], "message");
}

async fn a_private_message_to_nobody_is_refused(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut sender = cluster.client(0).await;
    let gone = cluster.client(1).await;
    let id = gone.id().to_owned();
    gone.close().await;
    cluster.metric_becomes(1, "gateway_connections{dialect=\"json\"}", 0.0).await;
    let unknown_node = format!("nowhere.x{}", &id[id.len() - 17..]);
    for to in [id.as_str(), unknown_node.as_str(), "ann", "", "...", "n1.0000000000000000"] {
        sender.refused(send(to), "unknown_client").await;
    }
}

async fn objects_of_an_array_are_carried_out_in_order(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut client = cluster.client(0).await;
    let mut reader = cluster.client(1).await;
    reader.subscribe("chat").await;
    let array = json!([
        {"type": "subscribe", "id": 1, "channel": "chat"},
        {"type": "publish", "id": 2, "channel": "chat", "data": "one"},
        {"type": "nonsense", "id": 3},
        {"type": "publish", "id": 4, "channel": "chat", "data": "two"},
        {"type": "publish", "channel": "chat", "data": "three"},
        {"type": "ping", "id": 5},
    ]);
    client.send(&array).await;
    assert_eq!(reader.next_data(3).await, ["one", "two", "three"]);
    assert_eq!(client.reply_to(&json!(1)).await["type"], "subscribed");
    assert_eq!(client.reply_to(&json!(2)).await["offset"], 1);
    assert_eq!(client.reply_to(&json!(3)).await["code"], "bad_request");
    assert_eq!(client.reply_to(&json!(4)).await["offset"], 2);
    assert_eq!(client.reply_to(&json!(5)).await["type"], "pong");
    assert_eq!(client.next_data(3).await, ["one", "two", "three"]);
}

async fn whoever_subscribes_and_publishes_in_one_breath_gets_its_own(backend: Backend) {
    let cluster = Cluster::start(1, backend).await;
    for round in 0..20 {
        let mut client = cluster.client(0).await;
        let channel = format!("round{round}");
        client.send(&subscribe(&channel)).await;
        client.send(&publish(&channel, "mine")).await;
        assert_eq!(client.next_publication().await["data"], "mine");
        client.hears_nothing().await;
    }
}

async fn commands_without_an_id_are_answered_by_errors_alone(backend: Backend) {
    let cluster = Cluster::start(1, backend).await;
    let mut client = cluster.client(0).await;
    client.send(&subscribe("chat")).await;
    client.send(&publish("chat", "one")).await;
    client.send(&json!({"type": "ping"})).await;
    client.send(&json!({"type": "unsubscribe", "channel": "other"})).await;
    let (first, second) = (client.next().await, client.next().await);
    let (error, publication) = if first["type"] == "error" { (first, second) } else { (second, first) };
    assert_eq!((&error["code"], error.get("id")), (&json!("not_subscribed"), None));
    assert_eq!(publication["data"], "one");
    client.hears_nothing().await;
}

async fn ids_are_any_number_of_64_bits(backend: Backend) {
    let cluster = Cluster::start(1, backend).await;
    let mut client = cluster.client(0).await;
    for id in [0, 1, u64::from(u32::MAX), u64::MAX] {
        let pong = client.command(json!({"type": "ping", "id": id})).await;
        assert_eq!(pong, json!({"type": "pong", "id": id}));
    }
}

on_both!(
    a_client_is_welcomed_with_what_it_needs_to_know,
    a_publication_tells_where_it_stands_and_who_sent_it,
    data_arrives_as_it_was_written,
    a_client_that_is_not_subscribed_may_publish_and_hears_nothing,
    a_channel_is_subscribed_to_once,
    two_subscriptions_in_one_breath_are_one,
    whoever_unsubscribes_hears_no_more,
    no_echo_spares_the_sender_and_nobody_else,
    a_volatile_publication_has_no_offset_and_leaves_no_trace,
    a_channel_without_history_has_no_positions_and_takes_no_keys,
    a_private_message_finds_its_connection_on_any_node,
    a_private_message_to_nobody_is_refused,
    objects_of_an_array_are_carried_out_in_order,
    whoever_subscribes_and_publishes_in_one_breath_gets_its_own,
    commands_without_an_id_are_answered_by_errors_alone,
    ids_are_any_number_of_64_bits,
);
