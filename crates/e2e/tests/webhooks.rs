//! What the application is told: each thing by one node, again until it is taken, and nothing is dropped in silence.

use e2e::{Application, Backend, Cluster, Plan, Say, on_both};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;

const TIMES: [&str; 2] = ["webhooks.delay=20ms", "presence.grace=200ms"];

fn plan(application: &Application, nodes: usize, backend: Backend, settings: &[&str]) -> Plan {
    let url = format!("webhooks.url={}", application.url("/told"));
    Cluster::of(nodes, backend).settings(&[&url]).settings(&TIMES).settings(settings)
}

fn is(kind: &'static str, user: &str) -> impl Fn(&Value) -> bool {
    move |event| event["type"] == kind && event["user"] == user
}

/// `type` and `user` of each, without those that came again.
fn summary(events: &[Value]) -> Vec<String> {
    let mut seen = HashSet::new();
    let new = events.iter().filter(|event| seen.insert(event["id"].to_string()));
    let text = |event: &Value| {
        let parts = ["type", "user", "cause", "event"].iter().filter_map(|field| event[field].as_str());
        parts.collect::<Vec<_>>().join(" ")
    };
    new.map(text).collect()
}

async fn who_comes_and_goes_is_told_once_and_in_order(backend: Backend) {
    let application = Application::start().await;
    let cluster = plan(&application, 1, backend, &["webhooks.secret=s3cret"]).with_tokens().start().await;
    let mut ann = cluster.user(0, "ann").await;
    ann.subscribe("a").await;
    let mut again = cluster.user(0, "ann").await;
    again.subscribe("a").await;
    let mut bob = cluster.user(0, "bob").await;
    bob.subscribe("a").await;
    again.close().await;
    ann.close().await;
    application.until_told("/told", is("left", "ann")).await;
    bob.cut();
    let events = application.until_told("/told", |event| event["type"] == "vacated").await;
    let expected = ["occupied", "joined ann", "joined bob", "left ann left", "left bob lost", "vacated"];
    assert_eq!(summary(&events), expected);
    assert!(events.iter().all(|event| event["channel"] == "a"));
    let batch = &application.asked("/told")[0];
    assert!(batch.headers["gateway-signature"].starts_with("v1="));
    assert_eq!(batch.json()["missed"], 0);
}

async fn a_killed_node_s_users_leave_once_and_are_told_of_by_one_other(backend: Backend) {
    let application = Application::start().await;
    let settings = ["presence.lease=2s", "webhooks.events=joined,left,occupied,vacated,connected,disconnected"];
    let mut cluster = plan(&application, 3, backend, &settings).with_tokens().start().await;
    let mut ann = cluster.user(0, "ann").await;
    ann.subscribe("a").await;
    let mut bob = cluster.user(1, "bob").await;
    bob.subscribe("a").await;
    let mut both = cluster.user(0, "zoe").await;
    both.subscribe("a").await;
    let mut elsewhere = cluster.user(2, "zoe").await;
    elsewhere.subscribe("a").await;
    for user in ["ann", "bob", "zoe"] {
        application.until_told("/told", is("joined", user)).await;
    }
    cluster.kill_node(0).await;
    application.until_told("/told", is("left", "ann")).await;
    elsewhere.close().await;
    let events = application.until_told("/told", is("left", "zoe")).await;
    let mut members: Vec<_> = summary(&events).into_iter().filter(|told| !told.contains("connected")).collect();
    members.sort();
    let expected = ["joined ann", "joined bob", "joined zoe", "left ann node_lost", "left zoe left", "occupied"];
    assert_eq!(members, expected);
    let told_by = application.asked("/told").into_iter().map(|asked| asked.json());
    let of_ann = told_by.filter(|batch| batch["events"].as_array().expect("events").iter().any(is("left", "ann")));
    assert!(of_ann.map(|batch| batch["node"].to_string()).all(|node| !node.starts_with("\"n0.")));
}

async fn one_who_finds_no_place_among_its_user_s_sessions_is_not_told_of(backend: Backend) {
    let application = Application::start().await;
    let settings = ["webhooks.events=connected,disconnected", "sessions=limit 1"];
    let cluster = plan(&application, 1, backend, &settings).with_tokens().start().await;
    let ann = cluster.user(0, "ann").await;
    application.until_told("/told", is("connected", "ann")).await;
    assert_eq!(cluster.user(0, "ann").await.expect_close().await, 4109);
    let mut relay = cluster.connect_raw(0, "a").token(&e2e::tokens::of("ann")).open_bare().await;
    assert_eq!(relay.expect_close().await, 4109);
    ann.close().await;
    let events = application.until_told("/told", is("disconnected", "ann")).await;
    assert_eq!(summary(&events), ["connected ann", "disconnected ann left"]);
}

#[tokio::test]
async fn what_is_not_taken_is_told_again_with_the_same_ids() {
    let application = Application::start().await;
    let cluster = plan(&application, 1, Backend::Memory, &["webhooks.deadline=200ms"]).with_tokens().start().await;
    let mut users = Vec::new();
    for (n, say) in [
        Say::With("500 Oh", String::new()),
        Say::With("307 Temporary Redirect\r\nlocation: /elsewhere", String::new()),
        Say::Never,
        Say::Drip,
        Say::Ends,
        Say::Bytes(b"hello".to_vec()),
    ]
    .into_iter()
    .enumerate()
    {
        application.says("/told", say);
        let before = application.asked("/told").len();
        let mut user = cluster.user(0, &format!("u{n}")).await;
        user.subscribe("a").await;
        application.until_asked("/told", before + 2).await;
        application.says("/told", Say::yes());
        let sent = 2.0 + n as f64;
        cluster.metric_becomes(0, "gateway_webhook_events_total{outcome=\"sent\"}", sent).await;
        users.push(user);
    }
    let events = summary(&application.events("/told"));
    assert_eq!(events, ["occupied", "joined u0", "joined u1", "joined u2", "joined u3", "joined u4", "joined u5"]);
    assert!(application.asked("/elsewhere").is_empty());
    assert_eq!(cluster.metric(0, "gateway_webhook_events_total{outcome=\"missed\"}").await, 0.0);
}

#[tokio::test]
async fn nobody_waits_for_an_application_that_hangs_and_what_does_not_fit_is_told_as_missed() {
    let application = Application::start().await;
    application.says("/told", Say::Never);
    let settings = ["webhooks.queue=4", "webhooks.batch=2", "webhooks.deadline=300ms", "webhooks.events=joined"];
    let cluster = plan(&application, 1, Backend::Memory, &settings).with_tokens().start().await;
    let mut first = cluster.user(0, "u0").await;
    first.subscribe("a").await;
    application.until_asked("/told", 1).await;
    let mut users = vec![first];
    for n in 1..=10 {
        let mut user = cluster.user(0, &format!("u{n}")).await;
        user.subscribe("a").await;
        users.push(user);
    }
    cluster.metric_becomes(0, "gateway_webhook_events_total{outcome=\"missed\"}", 6.0).await;
    application.says("/told", Say::yes());
    application.until_told("/told", is("joined", "u4")).await;
    cluster.metric_becomes(0, "gateway_webhook_waiting_events", 0.0).await;
    let mut batches: Vec<Value> = application.asked("/told").iter().map(|asked| asked.json()).collect();
    let mut seen = HashSet::new();
    batches.retain(|batch| seen.insert(batch["id"].to_string()));
    let missed: u64 = batches.iter().map(|batch| batch["missed"].as_u64().unwrap()).sum();
    assert_eq!(missed, 6, "{batches:?}");
    let told: Vec<_> = (0..=4).map(|n| format!("joined u{n}")).collect();
    assert_eq!(summary(&application.events("/told")), told);
}

#[tokio::test]
async fn what_is_too_old_is_missed_and_that_is_told() {
    let application = Application::start().await;
    application.says("/told", Say::With("500 Oh", String::new()));
    let settings = ["webhooks.keep=300ms", "webhooks.events=joined"];
    let cluster = plan(&application, 1, Backend::Memory, &settings).with_tokens().start().await;
    let mut ann = cluster.user(0, "ann").await;
    ann.subscribe("a").await;
    cluster.metric_becomes(0, "gateway_webhook_events_total{outcome=\"missed\"}", 1.0).await;
    application.says("/told", Say::by(|_| Say::yes()));
    cluster.metric_becomes(0, "gateway_webhook_batches_total{outcome=\"ok\"}", 1.0).await;
    let last = application.asked("/told").pop().unwrap().json();
    assert_eq!((&last["missed"], &last["events"]), (&json!(1), &json!([])));
}

async fn events_of_clients_are_told_where_the_namespace_says_so(backend: Backend) {
    let application = Application::start().await;
    let namespaces = "[[namespace]]\npattern = \"told\"\nclient_events = true\n[[namespace]]\npattern = \"*\"\n";
    let plan = plan(&application, 2, backend, &["webhooks.events=client_event"]).with_tokens();
    let cluster = plan.namespaces(namespaces).start().await;
    let mut reader = cluster.user(1, "bob").await;
    reader.subscribe("told").await;
    let mut ann = cluster.user(0, "ann").await;
    for (channel, event) in [("other", json!("typing")), ("told", Value::Null), ("told", json!("typing"))] {
        let mut command = json!({"type": "publish", "channel": channel, "data": {"n": 1}});
        if !event.is_null() {
            command["event"] = event;
        }
        ann.granted(command, "published").await;
    }
    let events = application.until_told("/told", is("client_event", "ann")).await;
    assert_eq!(summary(&events), ["client_event ann typing"]);
    assert_eq!((&events[0]["data"], &events[0]["offset"]), (&json!({"n": 1}), &json!(2)));
    assert_eq!(reader.next_data(2).await.len(), 2);
}

async fn a_node_that_stops_tells_of_its_last_ones(backend: Backend) {
    let application = Application::start().await;
    let settings = ["drain.window=100ms", "webhooks.delay=1h", "webhooks.events=joined,left,vacated"];
    let mut cluster = plan(&application, 1, backend, &settings).with_tokens().start().await;
    let mut ann = cluster.user(0, "ann").await;
    ann.subscribe("a").await;
    let mut bob = cluster.user(0, "bob").await;
    bob.subscribe("a").await;
    bob.close().await;
    drop(ann);
    cluster.stop_node(0).await;
    let events = application.events("/told");
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((of("joined"), of("left"), of("vacated")), (2, 2, 1), "{events:?}");
}

#[tokio::test]
async fn a_node_ends_in_time_though_nobody_takes_what_it_tells() {
    let application = Application::start().await;
    application.says("/told", Say::Never);
    let mut cluster = plan(&application, 1, Backend::Memory, &["drain.window=0s"]).start().await;
    let mut client = cluster.client(0).await;
    client.subscribe("a").await;
    application.until_asked("/told", 1).await;
    let ended = tokio::time::timeout(Duration::from_secs(15), cluster.stop_node(0)).await;
    assert!(ended.is_ok());
}

on_both! {
    one_who_finds_no_place_among_its_user_s_sessions_is_not_told_of,
    who_comes_and_goes_is_told_once_and_in_order,
    a_killed_node_s_users_leave_once_and_are_told_of_by_one_other,
    events_of_clients_are_told_where_the_namespace_says_so,
    a_node_that_stops_tells_of_its_last_ones,
}
