//! Messages that are well framed and mean nothing.

use super::{Bystander, patient_cluster};
use e2e::{Backend, Cluster};
use serde_json::{Value, json};

/// Messages that are well framed and mean nothing, each with the id its refusal bears.
fn bad_messages() -> Vec<(String, Value)> {
    let unanswerable = [
        "",
        " ",
        "hello",
        "{",
        "}",
        "[",
        "]",
        "null",
        "true",
        "1",
        "\"ping\"",
        "{}",
        "[]",
        "[[]]",
        "[null]",
        "[1]",
        "{\"type\":\"ping\"",
        "{\"type\":\"ping\"}}",
        "{\"type\":\"ping\"}{\"type\":\"ping\"}",
        "{type:ping}",
        "{'type':'ping'}",
        "{\"type\":\"ping\",}",
        "[{\"type\":\"ping\"}",
        "{\"type\":null}",
        "{\"type\":1}",
        "{\"type\":[\"ping\"]}",
        "{\"type\":{}}",
        "{\"type\":\"\"}",
        "{\"type\":\"PING\"}",
        "{\"type\":\"ping \"}",
        "[\"ping\"]",
        "\u{feff}{\"type\":\"ping\"}",
        "{\"type\":\"p\u{0}ng\"}",
        "{\"\\ud800\":1}",
        "{\"type\":\"ping\",\"id\":-1}",
        "{\"type\":\"ping\",\"id\":1.5}",
        "{\"type\":\"ping\",\"id\":1e30}",
        "{\"type\":\"ping\",\"id\":18446744073709551616}",
        "{\"type\":\"ping\",\"id\":\"1\"}",
        "{\"type\":\"ping\",\"id\":true}",
        "{\"type\":\"ping\",\"id\":[1]}",
        "{\"type\":\"ping\",\"id\":99999999999999999999999999999999999999999999}",
    ];
    let mut messages: Vec<_> = unanswerable.iter().map(|text| ((*text).to_owned(), Value::Null)).collect();
    messages.push(("[".repeat(60_000), Value::Null));
    messages.push(("{\"a\":".repeat(12_000), Value::Null));
    messages.push((format!("{}{}", "[".repeat(30_000), "]".repeat(30_000)), Value::Null));
    messages.push((format!("[{}{{\"type\":\"ping\"}}]", "{\"type\":\"ping\"},".repeat(256)), Value::Null));
    let answerable = [
        json!({"type": "nonsense"}),
        json!({"type": "x".repeat(50_000)}),
        json!({"type": "auth"}),
        json!({"type": "auth", "token": 1}),
        json!({"type": "subscribe"}),
        json!({"type": "subscribe", "channel": 1}),
        json!({"type": "subscribe", "channel": ["chat"]}),
        json!({"type": "subscribe", "channel": "chat", "recover": 1}),
        json!({"type": "subscribe", "channel": "chat", "recover": {"epoch": "e"}}),
        json!({"type": "subscribe", "channel": "chat", "recover": {"epoch": "e", "offset": -1}}),
        json!({"type": "subscribe", "channel": "chat", "members": "yes"}),
        json!({"type": "publish", "channel": "chat"}),
        json!({"type": "publish", "data": 1}),
        json!({"type": "publish", "channel": "chat", "data": 1, "event": ""}),
        json!({"type": "publish", "channel": "chat", "data": 1, "event": "x".repeat(256)}),
        json!({"type": "publish", "channel": "chat", "data": 1, "key": "x".repeat(256)}),
        json!({"type": "publish", "channel": "chat", "data": 1, "volatile": 1}),
        json!({"type": "send", "to": 1, "data": 1}),
        json!({"type": "history", "channel": "chat", "limit": -1}),
        json!({"type": "history", "channel": "chat", "since": "1"}),
        json!({"type": "presence", "channel": "chat", "count_only": 1}),
    ];
    for (id, mut command) in answerable.into_iter().enumerate() {
        command["id"] = json!(id);
        messages.push((command.to_string(), json!(id)));
    }
    let names =
        ["", "a b", "a\r\nSET x y", "a\0b", "a,b", "{a}", "*", "chat*", "@a", "$node", "a\u{2028}b", "a\u{7f}b"];
    let names = names.iter().map(|name| (*name).to_owned()).chain(["x".repeat(256), "x".repeat(4096)]);
    for (id, name) in names.enumerate() {
        for kind in ["subscribe", "unsubscribe", "publish", "presence", "history"] {
            let command = json!({"type": kind, "id": id, "channel": name, "data": 1});
            messages.push((command.to_string(), json!(id)));
        }
    }
    for data in
        ["[".repeat(30_000), format!("{}{}", "[".repeat(101), "]".repeat(101)), "1e999".into(), "\"\\ud800\"".into()]
    {
        messages.push((format!(r#"{{"id":7,"type":"publish","channel":"chat","data":{data}}}"#), Value::Null));
    }
    messages
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_means_nothing_is_refused_and_the_connection_lives() {
    let cluster = patient_cluster().await;
    let mut bystander = Bystander::of(&cluster).await;
    let mut client = cluster.client(0).await;
    for (message, id) in bad_messages() {
        let shown: String = message.chars().take(100).collect();
        client.send_text(&message).await;
        let error = client.next().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("bad_request")), "{shown:?}: {error}");
        if !id.is_null() {
            assert_eq!(error["id"], id, "{shown:?}: {error}");
        }
        let text = error["message"].as_str().expect("a message");
        assert!(text.len() < 1000, "{shown:?} is answered at length: {error}");
        client.hears_nothing().await;
        bystander.is_untouched().await;
    }
    for bytes in [&b""[..], b"{\"type\":\"ping\"}", &[0xff; 1000], &[0; 60_000]] {
        client.send_bytes(bytes).await;
        let error = client.next().await;
        assert_eq!(error["code"], "bad_request", "{error}");
    }
    client.hears_nothing().await;
    client.subscribe("chat").await;
    bystander.is_untouched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_bad_messages_end_the_connection() {
    let cluster = Cluster::of(1, Backend::Memory).settings(&["limits.bad_messages=3"]).start().await;
    let mut bystander = Bystander::of(&cluster).await;
    let mut client = cluster.client(0).await;
    for _ in 0..5 {
        client.send_text("hello?").await;
    }
    assert_eq!(client.expect_close().await, 4010);
    for _ in 0..3 {
        assert_eq!(client.next().await["code"], "bad_request", "each was answered first");
    }
    let mut patient = cluster.client(0).await;
    patient.send_text("[1, 2, {\"type\": \"ping\", \"id\": 1}]").await;
    assert_eq!(patient.reply_to(&json!(1)).await["type"], "pong", "two of an array are two");
    patient.send_text("3").await;
    assert_eq!(patient.expect_close().await, 4010);
    bystander.is_untouched().await;
}
