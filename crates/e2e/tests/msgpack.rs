//! MessagePack: the same objects as in JSON, beside clients that speak JSON or nothing at all.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use e2e::packed::{MSGPACK, bytes};
use e2e::{Backend, Client, Cluster, on_both, tokens};
use serde_json::{Value, json};

async fn packing(cluster: &Cluster, node: usize) -> Client {
    cluster.connect(node).subprotocols(&[MSGPACK]).open().await
}

fn all_bytes() -> Vec<u8> {
    (0..=255).cycle().take(3000).collect()
}

/// What JSON clients get of bytes.
fn in_base64(bytes: &[u8]) -> (Value, Value) {
    (json!("base64"), json!(BASE64.encode(bytes)))
}

fn encoding_and_data(publication: &Value) -> (Value, Value) {
    (publication["encoding"].clone(), publication["data"].clone())
}

async fn both_share_a_channel_its_members_and_its_history(backend: Backend) {
    let cluster = Cluster::of(2, backend).with_tokens().settings(&["auth.anonymous=true"]).start().await;
    let mut ann = cluster.connect(0).subprotocols(&[MSGPACK]).token(&tokens::of("ann")).open().await;
    assert_eq!((ann.subprotocol(), &ann.welcome()["version"]), (Some(MSGPACK), &json!(1)));
    let mut bob = cluster.user(1, "bob").await;
    ann.subscribe("chat").await;
    let subscribed = bob.granted(json!({"type": "subscribe", "channel": "chat", "members": true}), "subscribed").await;
    assert_eq!(subscribed["users"], 2);
    let join = ann.next().await;
    assert_eq!((&join["type"], &join["member"]["user"]), (&json!("join"), &json!("bob")));
    let data =
        json!({"text": "änderung\u{1F600}\0", "at": [1, -2, 2.5, u64::MAX, i64::MIN, true, null, {}], "n": 1e300});
    let long: Vec<Value> = (0..70_000).map(|number| json!(number % 100)).collect();
    for data in [data, json!("plain"), Value::Null, json!([]), json!(long[..20]), json!({"long": long[..20_000]})] {
        ann.publish("chat", data.clone()).await;
        let (to_ann, to_bob) = (ann.next_publication().await, bob.next_publication().await);
        assert_eq!((&to_ann["data"], &to_ann), (&data, &to_bob));
        bob.publish("chat", data.clone()).await;
        let (to_ann, to_bob) = (ann.next_publication().await, bob.next_publication().await);
        assert_eq!((&to_ann["data"], &to_ann), (&data, &to_bob));
        assert_eq!(to_ann["from"]["user"], "bob");
    }
    let history = json!({"type": "history", "channel": "chat", "id": 77});
    assert_eq!(ann.command(history.clone()).await, bob.command(history).await);
    let presence = json!({"type": "presence", "channel": "chat", "id": 78});
    let members = ann.command(presence.clone()).await;
    assert_eq!((members.clone(), &members["clients"]), (bob.command(presence).await, &json!(2)));
    bob.close().await;
    assert_eq!(ann.next().await["cause"], "left");
}

async fn bytes_arrive_as_they_were_sent(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let (mut packing, mut other) = (packing(&cluster, 0).await, packing(&cluster, 1).await);
    let mut reader = cluster.client(1).await;
    for client in [&mut packing, &mut other, &mut reader] {
        client.subscribe("board").await;
    }
    let mut raw = cluster.connect_raw(0, "board").open_bare().await;
    cluster.metric_becomes(0, "gateway_subscriptions", 2.0).await;
    for them in [all_bytes(), vec![], vec![0xc1], b"text".to_vec()] {
        packing.publish("board", bytes(&them)).await;
        raw.send_bytes(&them).await;
        assert_eq!(raw.next_bytes().await, them);
        for client in [&mut packing, &mut other] {
            for _ in 0..2 {
                let publication = client.next_publication().await;
                assert_eq!(encoding_and_data(&publication), (Value::Null, bytes(&them)));
            }
        }
        for _ in 0..2 {
            assert_eq!(encoding_and_data(&reader.next_publication().await), in_base64(&them));
        }
    }
    raw.send_text("a \"text\"").await;
    assert_eq!(other.next_publication().await["data"], "a \"text\"");
    other.publish("board", json!({"a": [1, 2.0]})).await;
    assert_eq!(raw.next_text().await.as_str(), r#"{"a":[1,2.0]}"#);
}

async fn bytes_are_recovered_retained_and_sent_to_one_client(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut writer = packing(&cluster, 0).await;
    let picture = bytes(&all_bytes());
    let first = writer.publish("album", json!("first")).await;
    let retain = json!({"type": "publish", "channel": "album", "data": picture, "retain": "cover", "event": "new"});
    writer.granted(retain, "published").await;
    let mut reader = packing(&cluster, 1).await;
    let subscribed = reader.recover("album", &first["epoch"], 1).await;
    assert_eq!(subscribed["recovered"], true);
    let missed = &subscribed["publications"][0];
    assert_eq!((&missed["data"], &missed["event"], &missed["retain"]), (&picture, &json!("new"), &json!("cover")));
    assert_eq!(subscribed["state"][0]["data"], picture);
    let to = cluster.client(0).await;
    for (from, to) in [(&mut writer, &mut reader), (&mut packing(&cluster, 1).await, &mut { to })] {
        from.granted(json!({"type": "send", "to": to.id(), "data": picture}), "sent").await;
        let message = to.next().await;
        let expected =
            if to.subprotocol().is_some() { (Value::Null, picture.clone()) } else { in_base64(&all_bytes()) };
        assert_eq!((&message["type"], encoding_and_data(&message)), (&json!("message"), expected));
    }
}

async fn several_commands_come_in_one_message_and_an_own_publication_may_be_left_out(backend: Backend) {
    let cluster = Cluster::start(1, backend).await;
    let mut client = packing(&cluster, 0).await;
    client
        .send(&json!([
            {"type": "subscribe", "id": 1, "channel": "chat"},
            {"type": "publish", "id": 2, "channel": "chat", "data": {"bytes": [1, 2]}, "echo": false},
            {"type": "nonsense", "id": 3},
            {"type": "publish", "id": 4, "channel": "chat", "data": 4},
        ]))
        .await;
    for (id, kind) in [(1, "subscribed"), (2, "published"), (3, "error"), (4, "published")] {
        assert_eq!(client.reply_to(&json!(id)).await["type"], kind);
    }
    assert_eq!(client.next_publication().await["data"], 4);
    client.hears_nothing().await;
}

async fn the_messages_of_the_other_dialect_are_refused_and_too_many_of_them_close(backend: Backend) {
    let cluster = Cluster::of(1, backend).settings(&["limits.bad_messages=3"]).start().await;
    let mut packed = packing(&cluster, 0).await;
    let mut in_json = cluster.connect(0).subprotocols(&["gateway.v1.json"]).open().await;
    for _ in 0..3 {
        packed.send_text(r#"{"type":"ping","id":1}"#).await;
        let error = packed.next().await;
        assert_eq!(error["code"], "bad_request");
        assert_eq!(error["message"], "this dialect speaks MessagePack in binary messages, not text ones");
        in_json.send_bytes(b"\x81\xa4type\xa4ping").await;
        assert_eq!(in_json.next().await["message"], "this dialect speaks JSON in text messages, not binary ones");
    }
    assert_eq!((packed.expect_close().await, in_json.expect_close().await), (4010, 4010));
}

async fn the_first_dialect_that_a_client_offers_is_spoken(backend: Backend) {
    let cluster = Cluster::of(1, backend).with_tokens().start().await;
    let bearer = format!("gateway.bearer.{}", tokens::of("ann"));
    let json = "gateway.v1.json";
    for (offered, selected) in [
        ([MSGPACK, json], MSGPACK),
        ([json, MSGPACK], json),
        (["other", MSGPACK], MSGPACK),
        (["gateway.v1.raw", json], json),
    ] {
        let connect = cluster.connect(0).as_page().subprotocols(&[offered[0], &bearer, offered[1]]);
        let mut client = connect.open().await;
        assert_eq!(client.subprotocol(), Some(selected));
        client.subscribe("chat").await;
    }
}

async fn whoever_reads_too_slowly_is_told_a_gap(backend: Backend) {
    let namespaces = "[[namespace]]\npattern = \"*\"\npresence = false\nhistory.size = 1000\nslow = \"drop_oldest\"\n";
    let settings = ["outbox.bytes=64KiB", "limits.messages=100000/s"];
    let cluster = Cluster::of(2, backend).namespaces(namespaces).settings(&settings).start().await;
    let mut sleeper = cluster.connect(0).subprotocols(&[MSGPACK]).receive_buffer(4096).open().await;
    sleeper.subscribe("news").await;
    let mut writer = packing(&cluster, 1).await;
    let mut reader = packing(&cluster, 0).await;
    reader.subscribe("news").await;
    const MESSAGES: u64 = 2000;
    for number in 1..=MESSAGES {
        writer.publish("news", bytes(&[number as u8; 10_000])).await;
        assert_eq!(reader.next_publication().await["offset"], number);
        if cluster.metric(0, "gateway_dropped_publications_total{policy=\"drop_oldest\"}").await > 10.0 {
            break;
        }
    }
    let last = writer.publish("news", json!("the last")).await["offset"].as_u64().expect("an offset");
    let (mut reached, mut gaps) = (0, 0);
    while reached < last {
        let push = sleeper.next().await;
        let (from, to) = if push["type"] == "gap" { ("from", "to") } else { ("offset", "offset") };
        assert_eq!(push[from], reached + 1, "in order, and nothing twice");
        reached = push[to].as_u64().expect("an offset");
        gaps += u64::from(push["type"] == "gap");
    }
    assert!(gaps > 0, "something went");
}

on_both!(
    both_share_a_channel_its_members_and_its_history,
    bytes_arrive_as_they_were_sent,
    bytes_are_recovered_retained_and_sent_to_one_client,
    several_commands_come_in_one_message_and_an_own_publication_may_be_left_out,
    the_messages_of_the_other_dialect_are_refused_and_too_many_of_them_close,
    the_first_dialect_that_a_client_offers_is_spoken,
    whoever_reads_too_slowly_is_told_a_gap,
);
