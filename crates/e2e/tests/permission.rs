//! Every door of a channel, beside what its namespace, a token or a role says.

use e2e::{Backend, Client, Cluster, on_both, tokens};
use serde_json::{Value, json};

const NAMESPACES: &str = r#"
    [[namespace]]
    pattern = "user:{user}"
    subscribe = "authenticated"
    publish = "nobody"
    [[namespace]]
    pattern = "own:{user}:*"
    subscribe = "authenticated"
    publish = "authenticated"
    [[namespace]]
    pattern = "room:*"
    subscribe = "granted"
    publish = "granted"
    roles.Moderator = ["subscribe", "publish", "history"]
    [[namespace]]
    pattern = "quiet:*"
    read_presence = "granted"
    read_history = "granted"
    [[namespace]]
    pattern = "board:*"
    events = ["move", "resign"]
    [[namespace]]
    pattern = "typed:*"
    schema = "SCHEMA"
    [[namespace]]
    pattern = "open"
"#;

async fn cluster(backend: Backend, settings: &[&str]) -> Cluster {
    let namespaces = NAMESPACES.replace("SCHEMA", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/move.schema.json"));
    Cluster::of(1, backend).with_tokens().settings(settings).namespaces(&namespaces).start().await
}

/// A client whose token claims this beside its user.
async fn with(cluster: &Cluster, user: &str, more: &Value) -> Client {
    cluster.connect(0).token(&tokens::claiming(user, more)).open().await
}

/// Every command about a channel, and the name of what it is to do.
fn doors(channel: &str) -> [(&'static str, Value); 7] {
    let recover = json!({"epoch": "e", "offset": 0});
    [
        ("subscribe", json!({"type": "subscribe", "channel": channel})),
        ("subscribe", json!({"type": "subscribe", "channel": channel, "recover": recover})),
        ("subscribe", json!({"type": "subscribe", "channel": channel, "members": true})),
        ("publish", json!({"type": "publish", "channel": channel, "data": 1})),
        ("presence", json!({"type": "presence", "channel": channel})),
        ("presence", json!({"type": "presence", "channel": channel, "count_only": true})),
        ("history", json!({"type": "history", "channel": channel})),
    ]
}

/// Tries every door and expects only these to open.
async fn only(client: &mut Client, channel: &str, allowed: &[&str]) {
    for (action, command) in doors(channel) {
        let answer = client.command(command.clone()).await;
        let opened = answer["type"] != "error";
        assert!(opened || answer["code"] == "permission_denied", "{command} was answered {answer}");
        // To list members one has to be allowed that too.
        let also = !command["members"].is_boolean() || allowed.contains(&"presence");
        assert_eq!(opened, allowed.contains(&action) && also, "{command} was answered {answer}");
        if answer["type"] == "subscribed" {
            client.granted(json!({"type": "unsubscribe", "channel": channel}), "unsubscribed").await;
        }
    }
}

async fn every_door_asks_the_namespace(backend: Backend) {
    let cluster = cluster(backend, &[]).await;
    let mut ann = cluster.user(0, "ann").await;
    only(&mut ann, "open", &["subscribe", "publish", "presence", "history"]).await;
    only(&mut ann, "user:ann", &["subscribe", "presence", "history"]).await;
    only(&mut ann, "own:ann:notes", &["subscribe", "publish", "presence", "history"]).await;
    for closed in ["user:bob", "own:bob:notes", "room:1", "user:anna", "user:an"] {
        only(&mut ann, closed, &[]).await;
    }
    for unknown in ["user:ann:x", "own:ann", "user:", "nowhere"] {
        for (_, command) in doors(unknown) {
            ann.refused(command, "unknown_channel").await;
        }
    }
}

async fn nobody_without_a_token_has_a_user_s_channels(backend: Backend) {
    let cluster = cluster(backend, &["auth.anonymous=true"]).await;
    let mut stranger = cluster.client(0).await;
    for closed in ["user:ann", "user:null", "own:ann:notes", "room:1"] {
        only(&mut stranger, closed, &[]).await;
    }
    let name = stranger.id().to_owned();
    only(&mut stranger, &format!("user:{name}"), &[]).await;
}

async fn a_name_with_colons_is_encoded_in_its_channel(backend: Backend) {
    let cluster = cluster(backend, &[]).await;
    let mut odd = cluster.user(0, "ann:notes").await;
    only(&mut odd, "own:ann:notes", &[]).await;
    only(&mut odd, "own:ann%3Anotes:x", &["subscribe", "publish", "presence", "history"]).await;
}

async fn a_token_grants_by_caps_channels_and_roles(backend: Backend) {
    let cluster = cluster(backend, &[]).await;
    let mut writer = with(&cluster, "ann", &json!({"caps": {"room:*": ["publish"]}})).await;
    only(&mut writer, "room:1", &["publish"]).await;
    let mut one = with(&cluster, "ann", &json!({"channels": ["room:1"]})).await;
    only(&mut one, "room:1", &["subscribe", "presence", "history"]).await;
    only(&mut one, "room:2", &[]).await;
    let mut moderator = with(&cluster, "ann", &json!({"roles": ["Moderator"]})).await;
    only(&mut moderator, "room:7", &["subscribe", "publish", "history"]).await;
    let mut support = with(&cluster, "support", &json!({"caps": {"user:*": ["history"]}})).await;
    only(&mut support, "user:ann", &["history"]).await;
    only(&mut support, "user:support", &["subscribe", "presence", "history"]).await;
}

async fn whoever_may_not_read_the_past_recovers_nothing(backend: Backend) {
    let cluster = cluster(backend, &[]).await;
    let mut ann = with(&cluster, "ann", &json!({"caps": {"quiet:*": ["history"]}})).await;
    let first = ann.publish("quiet:1", json!("before")).await;
    let recovered = ann.recover("quiet:1", &first["epoch"], 0).await;
    assert_eq!((&recovered["recovered"], recovered["publications"].as_array().map_or(0, Vec::len)), (&json!(true), 1));
    let mut bob = cluster.user(0, "bob").await;
    let live = bob.recover("quiet:1", &first["epoch"], 0).await;
    assert_eq!((&live["recovered"], &live["publications"]), (&json!(false), &json!([])));
    ann.publish("quiet:1", json!("now")).await;
    assert_eq!(bob.next_publication().await["data"], "now");
}

async fn whoever_may_not_see_members_is_not_told_who_comes(backend: Backend) {
    let cluster = cluster(backend, &["presence.grace=0s"]).await;
    let mut sees = with(&cluster, "ann", &json!({"caps": {"quiet:*": ["presence"]}})).await;
    let mut blind = cluster.user(0, "bob").await;
    blind.subscribe("quiet:1").await;
    sees.subscribe("quiet:1").await;
    let mut carl = cluster.user(0, "carl").await;
    carl.subscribe("quiet:1").await;
    assert_eq!(sees.next().await["member"]["user"], "carl");
    carl.publish("quiet:1", json!("hello")).await;
    carl.close().await;
    assert_eq!(sees.next().await["data"], "hello");
    let leave = sees.next().await;
    assert_eq!((&leave["type"], &leave["member"]["user"]), (&json!("leave"), &json!("carl")));
    assert_eq!(blind.next().await["data"], "hello", "and nothing before it");
    blind.hears_nothing().await;
}

async fn only_the_events_of_a_namespace_are_published(backend: Backend) {
    let cluster = cluster(backend, &[]).await;
    let mut ann = cluster.user(0, "ann").await;
    let publish = |event: Value| json!({"type": "publish", "channel": "board:1", "data": 1, "event": event});
    ann.granted(publish(json!("move")), "published").await;
    for event in [json!("cheat"), json!("Move"), Value::Null] {
        ann.refused(publish(event), "permission_denied").await;
    }
    let mut raw = cluster.connect_raw(0, "board:1").token(&tokens::of("ann")).open_bare().await;
    raw.send_text("move").await;
    assert_eq!(raw.expect_close().await, 4003, "a raw message has no event");
}

async fn only_what_a_schema_allows_is_published(backend: Backend) {
    let cluster = cluster(backend, &[]).await;
    let mut ann = cluster.user(0, "ann").await;
    ann.subscribe("typed:1").await;
    let publish = |data: Value| json!({"type": "publish", "channel": "typed:1", "data": data});
    for data in [json!("up"), json!({"x": 1}), json!({"x": 1, "y": -1}), json!({"x": 1, "y": 1, "z": 1}), Value::Null] {
        ann.refused(publish(data), "bad_request").await;
    }
    ann.granted(publish(json!({"x": 1, "y": 2})), "published").await;
    let mut raw = cluster.connect_raw(0, "typed:1").token(&tokens::of("ann")).open_bare().await;
    raw.send_text(r#"{"x": 3, "y": 4}"#).await;
    for data in [json!({"x": 1, "y": 2}), json!(r#"{"x": 3, "y": 4}"#)] {
        assert_eq!(ann.next().await["data"], data, "nothing that was refused is delivered");
    }
    raw.send_text(r#"{"x": "3"}"#).await;
    assert_eq!(raw.expect_close().await, 1003);
}

async fn private_messages_ask_their_own_rule(backend: Backend) {
    let cluster = cluster(backend, &["send.access=granted", "send.roles=support"]).await;
    let mut ann = cluster.user(0, "ann").await;
    let to_ann = json!({"type": "send", "to": ann.id(), "data": "psst"});
    cluster.user(0, "bob").await.refused(to_ann.clone(), "permission_denied").await;
    let scoped = json!({"caps": {"room:*": ["send"]}});
    with(&cluster, "bob", &scoped).await.refused(to_ann.clone(), "permission_denied").await;
    for grant in [json!({"roles": ["support"]}), json!({"caps": {"*": ["send"]}})] {
        with(&cluster, "bob", &grant).await.granted(to_ann.clone(), "sent").await;
        assert_eq!(ann.next().await["data"], "psst");
    }
}

async fn the_raw_relay_asks_at_both_of_its_doors(backend: Backend) {
    let cluster = cluster(backend, &["auth.query=true"]).await;
    for closed in ["user:bob", "own:bob:x", "room:1", "nowhere"] {
        let mut raw = cluster.connect_raw(0, closed).token(&tokens::of("ann")).open_bare().await;
        assert_eq!(raw.expect_close().await, 4003, "{closed}");
        let query = format!("token={}", tokens::of("ann"));
        let mut raw = cluster.connect_raw(0, closed).query(&query).open_bare().await;
        assert_eq!(raw.expect_close().await, 4003, "{closed}");
    }
    let mut reader = cluster.connect_raw(0, "user:ann").token(&tokens::of("ann")).open_bare().await;
    reader.send_text("to myself").await;
    assert_eq!(reader.expect_close().await, 4003, "nobody publishes there");
    let caps = tokens::claiming("ann", &json!({"caps": {"room:*": ["subscribe", "publish"]}}));
    let mut both = cluster.connect_raw(0, "room:1?echo=1").token(&caps).open_bare().await;
    both.send_text("hello").await;
    assert_eq!(both.next_text().await.as_str(), "hello");
}

async fn a_raw_client_without_the_token_that_is_asked_for_hears_nothing(backend: Backend) {
    let cluster = cluster(backend, &["auth.timeout=30s"]).await;
    let mut stranger = cluster.connect_raw(0, "open").open_bare().await;
    assert_eq!(stranger.expect_close().await, 4001, "at once, and nothing came before");
    assert!(stranger.kept().is_none());
}

async fn reserved_names_and_patterns_are_no_channels(backend: Backend) {
    let cluster = cluster(backend, &["limits.bad_messages=1000"]).await;
    let mut ann = with(&cluster, "ann", &json!({"caps": {"*": ["*"]}})).await;
    for name in ["@a", "$a", "room:*", "*", "room:?\u{0}", "room:{user}", "user:{user}", "a,b", ""] {
        for (_, command) in doors(name) {
            ann.refused(command, "bad_request").await;
        }
    }
    // What Redis would take for a pattern is a name like any other.
    let mut all = with(&cluster, "bob", &json!({"caps": {"room:*": ["*"]}})).await;
    for name in ["room:?", "room:[a-z]", "room:\\"] {
        all.subscribe(name).await;
        all.publish("room:a", json!(1)).await;
        all.hears_nothing().await;
    }
}

on_both!(
    every_door_asks_the_namespace,
    nobody_without_a_token_has_a_user_s_channels,
    a_name_with_colons_is_encoded_in_its_channel,
    a_token_grants_by_caps_channels_and_roles,
    whoever_may_not_read_the_past_recovers_nothing,
    whoever_may_not_see_members_is_not_told_who_comes,
    only_the_events_of_a_namespace_are_published,
    only_what_a_schema_allows_is_published,
    private_messages_ask_their_own_rule,
    the_raw_relay_asks_at_both_of_its_doors,
    a_raw_client_without_the_token_that_is_asked_for_hears_nothing,
    reserved_names_and_patterns_are_no_channels,
);
