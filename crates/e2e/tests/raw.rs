//! The raw relay: what is sent comes out verbatim everywhere else, and every refusal is a close.

use base64::Engine;
use e2e::{Backend, Cluster, on_both, tokens};
use serde_json::{Value, json};

/// Waits until so many raw clients are subscribed: nothing tells them.
async fn subscribed(cluster: &Cluster, counts: &[usize]) {
    for (node, count) in counts.iter().enumerate() {
        cluster.metric_becomes(node, "gateway_subscriptions", *count as f64).await;
    }
}

async fn messages_are_relayed_verbatim_and_not_to_their_sender(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut sender = cluster.connect_raw(0, "board").open_bare().await;
    let mut neighbour = cluster.connect_raw(0, "board").open_bare().await;
    let mut distant = cluster.connect_raw(1, "board").open_bare().await;
    let mut elsewhere = cluster.connect_raw(1, "another").open_bare().await;
    subscribed(&cluster, &[2, 2]).await;
    let binary: Vec<u8> = (0..=255).cycle().take(3000).collect();
    let texts = ["hello", "", "{\"not\": parsed", "änderung\n\0\u{1F600}", &"x".repeat(60_000)];
    for text in texts {
        sender.send_text(text).await;
    }
    sender.send_bytes(&binary).await;
    sender.send_bytes(&[]).await;
    for receiver in [&mut neighbour, &mut distant] {
        for text in texts {
            assert_eq!(receiver.next_text().await.as_str(), text);
        }
        assert_eq!(receiver.next_bytes().await, binary);
        assert!(receiver.next_bytes().await.is_empty());
    }
    neighbour.send_text("the end").await;
    assert_eq!(sender.next_text().await.as_str(), "the end", "the first that is not its own");
    assert_eq!(distant.next_text().await.as_str(), "the end");
    let mut other = cluster.connect_raw(0, "another").open_bare().await;
    other.send_text("first here").await;
    assert_eq!(elsewhere.next_text().await.as_str(), "first here");
}

async fn whoever_asks_for_an_echo_hears_itself(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut sender = cluster.connect_raw(0, "board?echo=1").open_bare().await;
    let mut reader = cluster.connect_raw(1, "board?echo=0").open_bare().await;
    subscribed(&cluster, &[1, 1]).await;
    sender.send_text("one").await;
    sender.send_bytes(b"two").await;
    for client in [&mut sender, &mut reader] {
        assert_eq!(client.next_text().await.as_str(), "one");
        assert_eq!(client.next_bytes().await, b"two"[..]);
    }
}

async fn what_a_raw_client_sends_at_once_is_not_lost(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut reader = cluster.client(1).await;
    reader.subscribe("board").await;
    let mut sender = cluster.connect_raw(0, "board?echo=1").open_bare().await;
    for number in 0..10 {
        sender.send_text(&number.to_string()).await;
    }
    for number in 0..10 {
        assert_eq!(reader.next_publication().await["data"], number.to_string());
        assert_eq!(sender.next_text().await.as_str(), number.to_string());
    }
}

async fn raw_and_native_clients_share_a_channel(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut native = cluster.client(0).await;
    native.subscribe("chat:1").await;
    let mut raw = cluster.connect_raw(1, "chat%3A1").open_bare().await;
    subscribed(&cluster, &[1, 1]).await;
    raw.send_text("say \"hi\"").await;
    let text = native.next_publication().await;
    assert_eq!(text["data"], "say \"hi\"");
    assert!(text.get("encoding").is_none(), "{text}");
    let bytes = [0, 255, 254, b'"', 10];
    raw.send_bytes(&bytes).await;
    let binary = native.next_publication().await;
    assert_eq!(binary["encoding"], "base64");
    assert_eq!(binary["data"], base64::engine::general_purpose::STANDARD.encode(bytes));
    assert_eq!(binary["offset"], 2);
    native.send_text(r#"{"type":"publish","channel":"chat:1","data":{"a" : 1.50}}"#).await;
    native.send_text(r#"{"type":"publish","channel":"chat:1","data":"say \"hi\""}"#).await;
    assert_eq!(raw.next_text().await.as_str(), r#"{"a" : 1.50}"#);
    assert_eq!(raw.next_text().await.as_str(), r#""say \"hi\"""#, "a JSON string keeps its quotes");
    let history = native.granted(json!({"type": "history", "channel": "chat:1"}), "history").await;
    let kept = history["publications"].as_array().expect("publications");
    let data: Vec<_> = kept.iter().map(|p| (p["data"].clone(), p["encoding"].clone())).collect();
    assert_eq!(data[0], (json!("say \"hi\""), Value::Null));
    assert_eq!(data[1], (binary["data"].clone(), json!("base64")));
    let presence = native.presence("chat:1").await;
    assert_eq!(presence["clients"], 1, "a raw client is no member");
}

async fn a_refusal_is_a_close_with_its_code(backend: Backend) {
    let namespaces = r#"
        [[namespace]]
        pattern = "silent"
        publish = "nobody"
        [[namespace]]
        pattern = "secret"
        subscribe = "authenticated"
        [[namespace]]
        pattern = "small"
        max_message = "10"
    "#;
    let settings = ["auth.anonymous=true", "limits.messages=1/m burst 3", "limits.max_message=1KiB"];
    let cluster = Cluster::of(1, backend).with_tokens().namespaces(namespaces).settings(&settings).start().await;
    let mut unknown = cluster.connect_raw(0, "elsewhere").open_bare().await;
    assert_eq!(unknown.expect_close().await, 4003);
    let mut stranger = cluster.connect_raw(0, "secret").open_bare().await;
    assert_eq!(stranger.expect_close().await, 4003);
    let mut silent = cluster.connect_raw(0, "silent").open_bare().await;
    silent.send_text("hello?").await;
    assert_eq!(silent.expect_close().await, 4003);
    for (long, name) in [(11, "its channel's"), (1025, "the transport's")] {
        let mut large = cluster.connect_raw(0, "small").open_bare().await;
        large.send_text(&"x".repeat(long)).await;
        assert_eq!(large.expect_close().await, 1009, "over {name} limit");
    }
    let mut hasty = cluster.connect_raw(0, "small").open_bare().await;
    for _ in 0..4 {
        hasty.send_text("x").await;
    }
    assert_eq!(hasty.expect_close().await, 4101);
    let mut ann = cluster.connect_raw(0, "secret?echo=1").token(&tokens::of("ann")).open_bare().await;
    ann.send_text("mine").await;
    assert_eq!(ann.next_text().await.as_str(), "mine");
}

async fn who_must_show_a_token_shows_it_at_the_handshake(backend: Backend) {
    let cluster = Cluster::of(1, backend).with_tokens().settings(&["auth.timeout=30s"]).start().await;
    let mut stranger = cluster.connect_raw(0, "board").open_bare().await;
    stranger.send_text("hello").await;
    assert_eq!(stranger.expect_close().await, 4001);
    assert_eq!(cluster.connect_raw(0, "board").token("nonsense").refused().await.status, 401);
}

async fn bad_names_are_not_found(backend: Backend) {
    let cluster = Cluster::start(1, backend).await;
    let long = "x".repeat(256);
    let names = ["", "a%20b", "a%0D%0Ab", "a%00b", "%ff", "%zz", "%", "a,b", "%7Ba%7D", "a*", "@a", "$a", &long];
    for name in names {
        assert_eq!(cluster.connect_raw(0, name).refused().await.status, 404, "{name:?}");
    }
    for name in ["a", "a/b", "r%C3%A4ksm%C3%B6rg%C3%A5s", "a.b-c_d:e"] {
        let mut client = cluster.connect_raw(0, &format!("{name}?echo=1")).open_bare().await;
        client.send_text("x").await;
        assert_eq!(client.next_text().await.as_str(), "x");
    }
}

on_both!(
    messages_are_relayed_verbatim_and_not_to_their_sender,
    whoever_asks_for_an_echo_hears_itself,
    what_a_raw_client_sends_at_once_is_not_lost,
    raw_and_native_clients_share_a_channel,
    a_refusal_is_a_close_with_its_code,
    who_must_show_a_token_shows_it_at_the_handshake,
    bad_names_are_not_found,
);
