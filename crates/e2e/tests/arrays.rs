//! Clients that have asked for arrays of messages: the same as ever, in fewer messages.

use e2e::packed::MSGPACK;
use e2e::{Backend, Client, Cluster};
use serde_json::{Value, json};

async fn cluster(namespaces: &str, settings: &[&str]) -> Cluster {
    let settings = [&["limits.messages=100000/s"], settings].concat();
    let all = format!("{namespaces}[[namespace]]\npattern = \"*\"\npresence = false\n");
    Cluster::of(1, Backend::Memory).namespaces(&all).settings(&settings).start().await
}

async fn publish(client: &mut Client, channel: &str, data: impl Iterator<Item = Value>) {
    let commands: Vec<_> = data.map(|data| json!({"type": "publish", "channel": channel, "data": data})).collect();
    client.send(&json!(commands)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_arrays_is_what_comes_one_by_one() {
    let cluster = cluster("", &[]).await;
    let mut one_by_one = cluster.client(0).await;
    let mut arrays = cluster.connect(0).query("batch=1").open().await;
    let mut packed = cluster.connect(0).query("batch=1").subprotocols(&[MSGPACK]).open().await;
    let mut subscribers = [&mut one_by_one, &mut arrays, &mut packed];
    for subscriber in &mut subscribers {
        subscriber.subscribe("chat").await;
    }
    let mut publisher = cluster.client(0).await;
    for turn in 0..20 {
        publish(&mut publisher, "chat", (0..200).map(|number| json!([turn, number]))).await;
    }
    let mut heard = Vec::new();
    for subscriber in &mut subscribers {
        let mut all = Vec::new();
        for _ in 0..4000 {
            all.push(subscriber.next_publication().await);
        }
        heard.push(all);
    }
    assert_eq!(heard[0][3999]["data"], json!([19, 199]));
    assert_eq!((&heard[0], &heard[0]), (&heard[1], &heard[2]));
    assert!(one_by_one.messages() >= 4000);
    assert!(arrays.messages() <= 1000 && packed.messages() <= 1000, "{} {}", arrays.messages(), packed.messages());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_to_one_message_come_as_one_in_their_order() {
    let cluster = cluster("", &[]).await;
    let mut client = cluster.connect(0).query("batch=1").open().await;
    let before = client.messages();
    let pings: Vec<_> = (0..200).map(|id| json!({"type": "ping", "id": id})).collect();
    client.send(&json!(pings)).await;
    for id in 0..200 {
        assert_eq!(client.next().await, json!({"type": "pong", "id": id}));
    }
    assert_eq!(client.messages() - before, 1);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_arrays_without_asking_for_them() {
    let cluster = cluster("", &[]).await;
    for query in ["batch=0", "batch", "batch=true"] {
        let mut client = cluster.connect(0).query(query).open_bare().await;
        assert_eq!(client.next().await["type"], "welcome", "{query}");
    }
    let mut raw = cluster.connect_raw(0, "chat?batch=1&echo=1").open_bare().await;
    raw.send_text("verbatim").await;
    assert_eq!(raw.next_text().await, "verbatim");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_with_arrays_is_told_what_it_does_without_in_its_place() {
    const MESSAGES: u64 = 200;
    let namespace =
        "[[namespace]]\npattern = \"news\"\npresence = false\nhistory.size = 1000\nslow = \"drop_oldest\"\n";
    let cluster = cluster(namespace, &["outbox.bytes=64KiB"]).await;
    let mut sleeper = cluster.connect(0).query("batch=1").receive_buffer(4096).open().await;
    sleeper.subscribe("news").await;
    let mut publisher = cluster.client(0).await;
    for number in 1..=MESSAGES {
        publisher.publish("news", json!([number, "x".repeat(10_000)])).await;
    }
    let (mut reached, mut gaps) = (0, 0);
    while reached < MESSAGES {
        let push = sleeper.next().await;
        let number = |field: &str| push[field].as_u64().unwrap_or_else(|| panic!("no {field} in {push}"));
        let (from, to) = match push["type"].as_str() {
            Some("gap") => (number("from"), number("to")),
            _ => (number("offset"), number("offset")),
        };
        assert_eq!(from, reached + 1, "in order, and nothing twice: {push}");
        (reached, gaps) = (to, gaps + u64::from(push["type"] == "gap"));
    }
    assert!(gaps > 0, "something had to go");
    cluster.metric_becomes(0, "gateway_outbox_bytes", 0.0).await;
    publisher.publish("news", json!("awake")).await;
    assert_eq!(sleeper.next_publication().await["data"], "awake");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_arrays_hears_the_close_behind_what_came_before_it() {
    let mut cluster = cluster("", &["drain.window=1ms"]).await;
    let mut client = cluster.connect(0).query("batch=1").open().await;
    client.subscribe("chat").await;
    let stopping = cluster.stopping(0);
    assert_eq!(client.next().await["type"], "reconnect");
    assert_eq!(client.expect_close().await, 4200);
    stopping.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arrays_are_plain_whatever_extensions_are_offered() {
    let cluster = cluster("", &[]).await;
    let offer = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";
    let mut client = cluster.connect(0).query("batch=1").header("sec-websocket-extensions", offer).open().await;
    client.subscribe("chat").await;
    let data = json!(vec!["the same again"; 1000]);
    client.publish("chat", data.clone()).await;
    assert_eq!(client.next_publication().await["data"], data, "read by a client that cannot inflate");
}
