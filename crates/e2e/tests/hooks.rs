//! What the application is asked: its word counts, its silence holds up nobody but whom it is about, and its lies count as
//! silence.

use e2e::{Application, Backend, Client, Cluster, Plan, Say, on_both, tokens};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const SECRET: &str = "s3cret between gateway and application";

/// Everything is asked; `settings` besides.
fn plan(application: &Application, backend: Backend, settings: &[&str]) -> Plan {
    let urls = ["connect", "subscribe", "publish"].map(|hook| {
        let url = application.url(&format!("/{hook}"));
        format!("hooks.{hook}.url={url}")
    });
    Cluster::of(1, backend).settings(&urls.each_ref().map(String::as_str)).settings(settings)
}

async fn one_node(application: &Application, settings: &[&str]) -> Cluster {
    plan(application, Backend::Memory, settings).start().await
}

fn subscribe(channel: &str) -> Value {
    json!({"type": "subscribe", "channel": channel})
}

fn publish(channel: &str, data: &Value) -> Value {
    json!({"type": "publish", "channel": channel, "data": data})
}

async fn user_of(client: &mut Client) -> Value {
    client.subscribe("who").await;
    client.publish("who", json!("me")).await;
    client.next_publication().await["from"]["user"].take()
}

async fn counted(cluster: &Cluster, hook: &str, outcome: &str) -> f64 {
    cluster.metric(0, &format!("gateway_hooks_total{{hook=\"{hook}\",outcome=\"{outcome}\"}}")).await
}

/// What is no answer, and what it counts as.
fn lies() -> Vec<(Say, &'static str)> {
    let json = |text: &str| Say::With("200 OK", text.to_owned());
    let yes = r#"{"allow":true}"#.to_owned();
    vec![
        (Say::With("500 Oh", yes.clone()), "status"),
        (Say::With("302 Found\r\nlocation: /elsewhere", yes.clone()), "status"),
        (Say::With("201 Created", yes.clone()), "status"),
        (json("<html>sorry</html>"), "invalid"),
        (json("[true]"), "invalid"),
        (json(r#"{"allow":"true"}"#), "invalid"),
        (json("{}"), "invalid"),
        (json(""), "invalid"),
        (json(&format!("{yes}{}", " ".repeat(300_000))), "invalid"),
        (Say::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"allow\":true}".to_vec()), "invalid"),
        (Say::Bytes(b"hello\r\n\r\n".to_vec()), "unreachable"),
        (Say::Bytes(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(300_000)).into_bytes()), "unreachable"),
        (Say::Ends, "unreachable"),
        (Say::Never, "late"),
        (Say::Drip, "late"),
    ]
}

#[tokio::test]
async fn an_anonymous_connection_is_who_the_application_says() {
    let application = Application::start().await;
    let said = json!({"allow": true, "user": "ann", "info": {"n": 1}, "roles": ["staff"], "expires_in": 60});
    application.says("/connect", Say::Json(said));
    let shown = ["hooks.connect.cookies=session", "hooks.connect.headers=x-tenant", &format!("hooks.secret={SECRET}")];
    let cluster = one_node(&application, &shown).await;
    let connect = cluster.connect(0).header("cookie", "session=t0k; other=1").header("x-tenant", "acme");
    let mut ann = connect.header("x-other", "1").open().await;
    assert_eq!(user_of(&mut ann).await, "ann");
    let asked = application.asked("/connect");
    assert_eq!(asked.len(), 1);
    let question = asked[0].json();
    assert_eq!(question["headers"], json!({"cookie": "session=t0k", "x-tenant": "acme"}));
    assert_eq!(question["address"], "127.0.0.1");
    assert!(question.get("user").is_none());
    assert!(asked[0].headers["gateway-signature"].starts_with("v1="));
    for path in ["/subscribe", "/publish"] {
        let question = application.asked(path)[0].json();
        assert_eq!((&question["user"], &question["roles"]), (&json!("ann"), &json!(["staff"])));
        assert_eq!((&question["client"], &question["channel"]), (&json!(ann.id()), &json!("who")));
    }
}

#[tokio::test]
async fn a_handshake_has_no_more_kept_of_it_than_8_kib() {
    let application = Application::start().await;
    let cluster = one_node(&application, &["hooks.connect.cookies=session"]).await;
    let with = |name: &str, bytes: usize| cluster.connect(0).header("cookie", &format!("{name}={}", "x".repeat(bytes)));
    assert_eq!(with("session", 8 * 1024).refused().await.status, 431);
    assert!(application.asked("/connect").is_empty());
    with("session", 8000).open().await;
    with("other", 20_000).open().await;
    assert_eq!(application.asked("/connect").len(), 2);
}

#[tokio::test]
async fn whoever_the_application_does_not_let_in_is_told_so_for_good() {
    let application = Application::start().await;
    let cluster = one_node(&application, &[]).await;
    let deny = |code: &str| Say::Json(json!({"allow": false, "code": code}));
    for (say, status, close) in [
        (Say::no(), 403, 4003),
        (deny("unauthenticated"), 401, 4001),
        (Say::With("401 Unauthorized", String::new()), 401, 4001),
        (Say::With("403 Forbidden", "go away".to_owned()), 403, 4003),
        (deny("unavailable"), 503, 4100),
    ] {
        application.says("/connect", say);
        assert_eq!(cluster.connect(0).refused().await.status, status);
        let origin = format!("http://{}", cluster.address(0));
        let mut page = cluster.connect(0).origin(&origin).open_bare().await;
        assert_eq!(page.expect_close().await, close);
    }
    assert_eq!(counted(&cluster, "connect", "denied").await, 10.0);
    assert_eq!(cluster.metric(0, "gateway_connections{dialect=\"json\"}").await, 0.0);
}

#[tokio::test]
async fn a_token_is_amended_but_never_somebody_else_s() {
    let application = Application::start().await;
    let plan = plan(&application, Backend::Memory, &[]).with_tokens();
    let namespaces = "[[namespace]]\npattern = \"staff\"\nsubscribe = \"granted\"\nroles = [\"staff\"]\nhooks = [\"subscribe\", \"publish\"]\n\
                      [[namespace]]\npattern = \"*\"\n";
    let cluster = plan.namespaces(namespaces).start().await;
    let mut plain = cluster.user(0, "ann").await;
    plain.refused(subscribe("staff"), "permission_denied").await;
    assert!(application.asked("/subscribe").is_empty(), "what is not allowed is not asked about");
    application.says("/connect", Say::Json(json!({"allow": true, "roles": ["staff"]})));
    cluster.user(0, "ann").await.subscribe("staff").await;
    assert_eq!(application.asked("/connect")[1].json()["user"], "ann");
    application.says("/connect", Say::Json(json!({"allow": true, "user": "bob"})));
    assert_eq!(cluster.connect(0).token(&tokens::of("ann")).refused().await.status, 503);
    assert_eq!(counted(&cluster, "connect", "invalid").await, 1.0);
}

#[tokio::test]
async fn a_token_in_the_first_message_is_asked_about_and_so_is_a_renewed_one() {
    let application = Application::start().await;
    let cluster = plan(&application, Backend::Memory, &[]).with_tokens().start().await;
    let auth = |user: &str| json!({"type": "auth", "token": tokens::of(user)});
    let mut ann = cluster.client(0).await;
    assert!(application.asked("/connect").is_empty(), "nobody knows yet who that is");
    ann.send(&auth("ann")).await;
    ann.subscribe("a").await;
    ann.granted(auth("ann"), "authed").await;
    let refresh: Vec<_> = application.asked("/connect").iter().map(|asked| asked.json()["refresh"].clone()).collect();
    assert_eq!(refresh, [false, true]);
    application.says("/connect", Say::Json(json!({"allow": false, "reason": "not any more"})));
    let refused = ann.refused(auth("ann"), "permission_denied").await;
    assert_eq!(refused["message"], "not any more");
    ann.publish("a", json!(1)).await;
    let mut bob = cluster.client(0).await;
    bob.send(&auth("bob")).await;
    assert_eq!(bob.expect_close().await, 4003);
    application.says("/connect", Say::Never);
    let mut zoe = cluster.client(0).await;
    zoe.refused(auth("zoe"), "unavailable").await;
    application.says("/connect", Say::yes());
    zoe.granted(auth("zoe"), "authed").await;
}

#[tokio::test]
async fn what_is_no_answer_is_a_refusal_that_passes() {
    let application = Application::start().await;
    let cluster = one_node(&application, &["hooks.deadline=300ms"]).await;
    for (lie, outcome) in lies() {
        application.says("/connect", Say::yes());
        let mut client = cluster.client(0).await;
        for path in ["/connect", "/subscribe", "/publish"] {
            application.says(path, lie.clone());
        }
        let before = Instant::now();
        let count = counted(&cluster, "connect", outcome).await;
        let refused = cluster.connect(0).refused().await;
        assert_eq!(refused.status, 503, "{outcome}: {refused:?}");
        client.refused(subscribe("a"), "unavailable").await;
        client.refused(publish("a", &json!(1)), "unavailable").await;
        assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
        assert_eq!(counted(&cluster, "connect", outcome).await, count + 1.0);
        for path in ["/subscribe", "/publish"] {
            application.says(path, Say::yes());
        }
        client.subscribe("a").await;
        client.publish("a", json!(2)).await;
        assert_eq!(client.next_data(1).await, [2], "what was refused has not been published");
    }
}

#[tokio::test]
async fn what_is_no_answer_is_a_yes_where_the_configuration_says_so() {
    let application = Application::start().await;
    let settings = ["hooks.deadline=200ms", "hooks.on_failure=allow", "hooks.subscribe.on_failure=deny"];
    let cluster = one_node(&application, &settings).await;
    for (lie, _) in lies() {
        for path in ["/connect", "/publish"] {
            application.says(path, lie.clone());
        }
        let mut client = cluster.client(0).await;
        client.subscribe("a").await;
        client.publish("a", json!(1)).await;
        assert_eq!(client.next_data(1).await, [1]);
    }
    application.says("/subscribe", Say::Never);
    application.says("/publish", Say::Json(json!({"allow": true, "data": "x".repeat(70_000)})));
    let mut client = cluster.client(0).await;
    client.refused(subscribe("b"), "unavailable").await;
    client.publish("b", json!("as it was")).await;
    application.says("/publish", Say::no());
    client.refused(publish("b", &json!(1)), "permission_denied").await;
}

async fn a_client_beside_a_hanging_hook_misses_nothing_and_waits_for_nobody(backend: Backend) {
    let application = Application::start().await;
    application
        .says("/publish", Say::by(|asked| if asked.json()["channel"] == "slow" { Say::Never } else { Say::yes() }));
    application
        .says("/subscribe", Say::by(|asked| if asked.json()["channel"] == "slow" { Say::Never } else { Say::yes() }));
    let cluster = plan(&application, backend, &["hooks.deadline=2s", "workers=1"]).start().await;
    let mut waiting = cluster.client(0).await;
    waiting.subscribe("lively").await;
    let mut beside = cluster.client(0).await;
    let stuck = json!({"type": "subscribe", "id": 900, "channel": "slow"});
    waiting.send(&stuck).await;
    waiting.send(&json!({"type": "publish", "id": 901, "channel": "lively", "data": "behind"})).await;
    application.until_asked("/subscribe", 2).await;
    for n in 0..50 {
        beside.publish("lively", json!(n)).await;
    }
    let all: Vec<Value> = (0..50).map(|n| json!(n)).collect();
    assert_eq!(waiting.next_data(50).await, all, "before its own command is answered");
    assert_eq!(counted(&cluster, "subscribe", "late").await, 0.0);
    assert_eq!(waiting.reply_to(&json!(900)).await["code"], "unavailable");
    assert_eq!(waiting.reply_to(&json!(901)).await["type"], "published");
    assert_eq!(waiting.next_data(1).await, ["behind"]);
}

async fn a_client_s_commands_keep_their_order_while_the_application_is_asked(backend: Backend) {
    let application = Application::start().await;
    let held = Say::Held(json!({"allow": true}));
    application.says("/subscribe", held.clone());
    application.says("/publish", held);
    let cluster = plan(&application, backend, &[]).start().await;
    let mut client = cluster.client(0).await;
    client.send(&subscribe("a")).await;
    for n in 0..20 {
        client.send(&publish("a", &json!(n))).await;
    }
    application.until_asked("/subscribe", 1).await;
    application.release();
    let all: Vec<Value> = (0..20).map(|n| json!(n)).collect();
    assert_eq!(client.next_data(20).await, all);
}

async fn a_subscription_waits_for_the_publication_before_it_that_is_asked_about(backend: Backend) {
    let application = Application::start().await;
    application.says("/publish", Say::Held(json!({"allow": true})));
    let cluster = plan(&application, backend, &["workers=1"]).start().await;
    let (mut client, mut beside) = (cluster.client(0).await, cluster.client(0).await);
    client.send(&json!({"type": "publish", "id": 1, "channel": "a", "data": 1})).await;
    client.send(&json!({"type": "subscribe", "id": 2, "channel": "b"})).await;
    application.until_asked("/publish", 1).await;
    // What came before this on the same thread has been taken.
    beside.hears_nothing().await;
    assert!(application.asked("/subscribe").is_empty());
    application.release();
    let answers = [client.next().await, client.next().await].map(|answer| answer["type"].clone());
    assert!(answers.contains(&json!("published")) && answers.contains(&json!("subscribed")), "{answers:?}");
}

async fn a_denied_subscription_leaves_nothing_and_may_be_tried_again(backend: Backend) {
    let application = Application::start().await;
    let cluster = plan(&application, backend, &[]).start().await;
    let mut other = cluster.client(0).await;
    let epoch = other.subscribe("a").await["epoch"].clone();
    for n in 0..3 {
        other.publish("a", json!(n)).await;
    }
    application.says("/subscribe", Say::Json(json!({"allow": false, "reason": "members only"})));
    let mut client = cluster.client(0).await;
    let recover = json!({"type": "subscribe", "channel": "a", "recover": {"epoch": epoch, "offset": 1}});
    assert_eq!(client.refused(recover.clone(), "permission_denied").await["message"], "members only");
    other.publish("a", json!(3)).await;
    client.hears_nothing().await;
    assert_eq!(other.presence("a").await["clients"], 1);
    assert_eq!(cluster.metric(0, "gateway_subscriptions").await, 1.0);
    client.refused(json!({"type": "unsubscribe", "channel": "a"}), "not_subscribed").await;
    application.says("/subscribe", Say::yes());
    let subscribed = client.granted(recover, "subscribed").await;
    let missed: Vec<_> =
        subscribed["publications"].as_array().expect("publications").iter().map(|p| p["data"].clone()).collect();
    assert_eq!((&subscribed["recovered"], missed), (&json!(true), vec![json!(1), json!(2), json!(3)]));
}

#[tokio::test]
async fn an_answer_that_comes_late_changes_nothing() {
    let application = Application::start().await;
    let cluster = one_node(&application, &["hooks.deadline=200ms"]).await;
    let mut reader = cluster.client(0).await;
    reader.subscribe("a").await;
    let mut client = cluster.client(0).await;
    let held = Say::Held(json!({"allow": true}));
    application.says("/publish", held.clone());
    application.says("/subscribe", held);
    client.refused(publish("a", &json!("late")), "unavailable").await;
    client.refused(subscribe("a"), "unavailable").await;
    application.release();
    application.says("/publish", Say::yes());
    client.publish("a", json!("after")).await;
    client.hears_nothing().await;
    assert_eq!(reader.next_data(1).await, ["after"]);
}

#[tokio::test]
async fn what_is_published_may_be_replaced_within_the_bounds() {
    let application = Application::start().await;
    let cluster = one_node(&application, &["limits.max_message=1KiB"]).await;
    let mut client = cluster.client(0).await;
    client.subscribe("a").await;
    application.says("/publish", Say::by(|asked| Say::Json(json!({"allow": true, "data": [asked.json()["data"]]}))));
    client.publish("a", json!("x")).await;
    assert_eq!(client.next_data(1).await, [json!(["x"])]);
    let deep = format!("{}1{}", "[".repeat(120), "]".repeat(120));
    let wrong = [
        Say::Json(json!({"allow": true, "data": "x".repeat(1100)})),
        Say::Json(json!({"allow": true, "data": 1, "text": "1"})),
        Say::With("200 OK", format!("{{\"allow\":true,\"data\":{deep}}}")),
    ];
    for say in wrong {
        application.says("/publish", say);
        client.refused(publish("a", &json!("x")), "unavailable").await;
    }
    application.says("/publish", Say::Json(json!({"allow": true, "data": null})));
    client.publish("a", json!("y")).await;
    assert_eq!(client.next_data(1).await, ["y"]);
    assert_eq!(counted(&cluster, "publish", "invalid").await, 3.0);
}

#[tokio::test]
async fn a_raw_relay_is_asked_about_too() {
    let application = Application::start().await;
    let cluster = one_node(&application, &[]).await;
    let mut reader = cluster.connect_raw(0, "board").open_bare().await;
    cluster.metric_becomes(0, "gateway_subscriptions", 1.0).await;
    let mut sender = cluster.connect_raw(0, "board").open_bare().await;
    application.says(
        "/publish",
        Say::by(|asked| {
            let question = asked.json();
            match question["text"].as_str() {
                Some("bad") => Say::no(),
                Some(text) => Say::Json(json!({"allow": true, "text": text.to_uppercase()})),
                None => Say::Json(json!({"allow": question["base64"] == "AAE="})),
            }
        }),
    );
    sender.send_text("hello").await;
    sender.send_bytes(&[0, 1]).await;
    assert_eq!(reader.next_text().await.as_str(), "HELLO");
    assert_eq!(reader.next_bytes().await, [0, 1][..]);
    sender.send_text("bad").await;
    assert_eq!(sender.expect_close().await, 4003);
    let question = application.asked("/connect")[0].json();
    assert_eq!((&question["dialect"], &question["channel"]), (&json!("raw"), &json!("board")));
    application.says("/subscribe", Say::no());
    let mut kept_out = cluster.connect_raw(0, "board").open_bare().await;
    assert_eq!(kept_out.expect_close().await, 4003);
    application.says("/subscribe", Say::With("500 Oh", String::new()));
    let mut later = cluster.connect_raw(0, "board").open_bare().await;
    assert_eq!(later.expect_close().await, 4105);
}

#[tokio::test]
async fn what_somebody_says_and_then_goes_away_is_said() {
    let application = Application::start().await;
    application.says("/publish", Say::Held(json!({"allow": true})));
    let cluster = one_node(&application, &[]).await;
    let mut reader = cluster.client(0).await;
    reader.subscribe("a").await;
    let mut client = cluster.client(0).await;
    client.send(&publish("a", &json!("bye"))).await;
    application.until_asked("/publish", 1).await;
    client.close().await;
    cluster.metric_becomes(0, "gateway_connections{dialect=\"json\"}", 1.0).await;
    application.release();
    assert_eq!(reader.next_data(1).await, ["bye"]);
}

#[tokio::test]
async fn questions_beyond_the_bound_wait_for_nothing() {
    let application = Application::start().await;
    application.says("/publish", Say::Held(json!({"allow": true})));
    let cluster = one_node(&application, &["hooks.concurrency=1", "hooks.queue=2", "hooks.deadline=10s"]).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(cluster.client(0).await);
    }
    for client in &mut clients {
        client.send(&json!({"type": "publish", "id": 1, "channel": "a", "data": 1})).await;
    }
    cluster.metric_becomes(0, "gateway_hooks_total{hook=\"publish\",outcome=\"overloaded\"}", 5.0).await;
    assert_eq!(application.until_asked("/publish", 1).await.len(), 1, "one at a time");
    application.release();
    let answers = join_all(clients.iter_mut().map(async |client| client.reply_to(&json!(1)).await)).await;
    assert_eq!(answers.iter().filter(|answer| answer["type"] == "published").count(), 3);
    assert_eq!(answers.iter().filter(|answer| answer["code"] == "unavailable").count(), 5);
}

#[tokio::test]
async fn connections_to_the_application_are_kept_and_one_that_it_closes_costs_nobody_anything() {
    let application = Application::start().await;
    let cluster = one_node(&application, &[]).await;
    let mut client = cluster.client(0).await;
    // Each answer ends its connection, and says so only by doing it.
    let text = "{\"allow\":true}";
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    application.says("/publish", Say::Bytes(answer.into_bytes()));
    for n in 0..30 {
        client.publish("a", json!(n)).await;
    }
    assert_eq!(counted(&cluster, "publish", "allowed").await, 30.0);
}

#[tokio::test]
async fn an_application_that_is_away_is_asked_again_when_it_is_back() {
    let application = Application::start().await;
    let cluster = one_node(&application, &["hooks.deadline=500ms", "limits.messages=1000/s"]).await;
    let mut client = cluster.client(0).await;
    let address = application.address();
    drop(application);
    for n in 0..40 {
        client.refused(publish("a", &json!(n)), "unavailable").await;
    }
    assert!(counted(&cluster, "publish", "spared").await > 0.0);
    let application = Application::start_at(address).await;
    let deadline = Instant::now() + e2e::PATIENCE;
    while client.command(publish("a", &json!(1))).await["type"] != "published" {
        assert!(Instant::now() < deadline);
    }
    assert!(!application.asked("/publish").is_empty());
}

/// Has a publication of ann's asked about, revokes her token, and has the application say yes when she has gone. `goes_first`:
/// whether she goes before she is revoked.
async fn nothing_is_said_by_one_who_was_revoked(goes_first: bool) {
    let application = Application::start().await;
    let cluster = plan(&application, Backend::Memory, &[]).with_tokens().start().await;
    let mut reader = cluster.user(0, "bob").await;
    reader.subscribe("a").await;
    application.says("/publish", Say::Held(json!({"allow": true})));
    let mut ann = cluster.user(0, "ann").await;
    ann.send(&publish("a", &json!("revoked"))).await;
    application.until_asked("/publish", 1).await;
    let revoke = json!({"user": "ann"});
    if goes_first {
        ann.close().await;
        cluster.metric_becomes(0, "gateway_connections{dialect=\"json\"}", 1.0).await;
        cluster.tell(0, "/revoke", &revoke).await;
    } else {
        cluster.tell(0, "/revoke", &revoke).await;
        assert_eq!(ann.expect_close().await, 4009);
        ann.cut();
        cluster.metric_becomes(0, "gateway_connections{dialect=\"json\"}", 1.0).await;
    }
    application.release();
    cluster.metric_becomes(0, "gateway_hooks_total{hook=\"publish\",outcome=\"allowed\"}", 1.0).await;
    application.says("/publish", Say::yes());
    reader.publish("a", json!("mine")).await;
    assert_eq!(reader.next_data(1).await, ["mine"]);
}

#[tokio::test]
async fn one_who_is_revoked_while_the_application_is_asked_says_nothing_any_more() {
    nothing_is_said_by_one_who_was_revoked(false).await;
    nothing_is_said_by_one_who_was_revoked(true).await;
}

#[tokio::test]
async fn whoever_is_logged_out_everywhere_is_let_in_again_when_the_application_says_who_that_is() {
    let application = Application::start().await;
    application.says("/connect", Say::Json(json!({"allow": true, "user": "ann"})));
    let cluster = one_node(&application, &[]).await;
    let mut before = cluster.client(0).await;
    let revoke = json!({"user": "ann", "issued_before": "now"});
    let until_s = cluster.tell(0, "/revoke", &revoke).await["revoked"]["issued_before"].as_i64().expect("a moment");
    assert_eq!(before.expect_close().await, 4009);
    // Whole seconds count: what is said within this one may have been said before.
    while tokens::in_seconds(0) < until_s {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut again = cluster.client(0).await;
    assert_eq!(user_of(&mut again).await, "ann");
}

#[tokio::test]
async fn a_token_that_is_still_being_asked_about_when_time_is_over_is_not_called_a_bad_one() {
    let application = Application::start().await;
    application.says("/connect", Say::Never);
    let settings = ["auth.timeout=1s", "hooks.deadline=5s"];
    let cluster = plan(&application, Backend::Memory, &settings).with_tokens().start().await;
    let mut ann = cluster.client(0).await;
    ann.send(&json!({"type": "auth", "token": tokens::of("ann")})).await;
    assert_eq!(ann.expect_close().await, 4105);
    let mut silent = cluster.client(0).await;
    assert_eq!(silent.expect_close().await, 4001);
}

on_both! {
    a_client_beside_a_hanging_hook_misses_nothing_and_waits_for_nobody,
    a_client_s_commands_keep_their_order_while_the_application_is_asked,
    a_denied_subscription_leaves_nothing_and_may_be_tried_again,
    a_subscription_waits_for_the_publication_before_it_that_is_asked_about,
}
