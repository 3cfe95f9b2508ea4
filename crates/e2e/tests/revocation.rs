//! Tokens that are revoked: refused at every door of every node, and what lives by them is closed.

use e2e::{Backend, Client, Cluster, on_both, tokens};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// By when every node knows.
const KNOWN: Duration = Duration::from_secs(1);

fn token(user: &str, id: &str) -> String {
    tokens::claiming(user, &json!({"jti": id}))
}

fn ticket(user: &str, channel: &str, more: &Value) -> String {
    let mut claims = json!({"sub": user, "channel": channel, "exp": tokens::in_seconds(3600)});
    claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    tokens::signed(&claims)
}

fn auth(token: &str) -> Value {
    json!({"type": "auth", "token": token})
}

async fn two_nodes(backend: Backend) -> Cluster {
    Cluster::of(2, backend).with_tokens().settings(&["auth.query=true", "auth.cookie=session"]).start().await
}

/// Waits for the close that says so, and that it comes in time.
async fn is_revoked(client: &mut Client, since: Instant) {
    assert_eq!(client.expect_close().await, 4009);
    assert!(since.elapsed() < KNOWN, "after {:?}", since.elapsed());
}

async fn connections_by_a_revoked_token_are_closed_on_every_node_and_no_others(backend: Backend) {
    let cluster = two_nodes(backend).await;
    let (t1, t2) = (token("ann", "t1"), token("ann", "t2"));
    let mut here = cluster.connect(0).token(&t1).open().await;
    let mut there = cluster.connect(1).token(&t1).open().await;
    let mut by_first_message = cluster.client(1).await;
    by_first_message.granted(auth(&t1), "authed").await;
    let mut raw = cluster.connect_raw(1, "room").token(&t1).open_bare().await;
    let mut other = cluster.connect(1).token(&t2).open().await;
    let told = cluster.tell(0, "/revoke", &json!({"token_id": "t1"})).await;
    let since = Instant::now();
    assert_eq!(told["revoked"]["token_id"], "t1");
    for client in [&mut here, &mut there, &mut by_first_message, &mut raw] {
        is_revoked(client, since).await;
    }
    other.hears_nothing().await;
    assert!(cluster.metric(1, "gateway_closes_total{code=\"revoked\"}").await >= 2.0);
    assert_eq!(cluster.metric(1, "gateway_revocations").await, 1.0);
}

async fn a_revoked_token_is_refused_at_every_door_of_every_node(backend: Backend) {
    let cluster = two_nodes(backend).await;
    let (revoked, good) = (token("ann", "t1"), token("ann", "t2"));
    let room_ticket = ticket("ann", "room:1", &json!({"jti": "s1"}));
    let mut ann = cluster.connect(1).token(&good).open().await;
    for id in ["t1", "s1"] {
        cluster.tell(0, "/revoke", &json!({"token_id": id})).await;
    }
    cluster.metric_becomes(1, "gateway_revocations", 2.0).await;
    for node in [0, 1] {
        let header = cluster.connect(node).token(&revoked);
        let bearer = format!("gateway.bearer.{revoked}");
        let subprotocol = cluster.connect(node).subprotocols(&["gateway.v1.json", &bearer]);
        let query = cluster.connect(node).query(&format!("token={revoked}"));
        let cookie = cluster.connect(node).header("cookie", &format!("session={revoked}"));
        let relay = cluster.connect_raw(node, "room").token(&revoked);
        for door in [header, subprotocol, query, cookie, relay] {
            assert_eq!(door.refused().await.status, 401);
        }
        let mut page = cluster.connect(node).as_page().query(&format!("token={revoked}")).open_bare().await;
        assert_eq!(page.expect_close().await, 4001);
        let mut first_message = cluster.client(node).await;
        first_message.refused(auth(&revoked), "unauthenticated").await;
        assert_eq!(first_message.expect_close().await, 4001);
    }
    ann.refused(auth(&revoked), "unauthenticated").await;
    ann.refused(json!({"type": "subscribe", "channel": "room:1", "token": room_ticket}), "unauthenticated").await;
    ann.hears_nothing().await;
    assert!(cluster.metric(1, "gateway_tokens_total{outcome=\"revoked\"}").await >= 8.0);
}

async fn a_user_s_tokens_are_revoked_by_when_they_were_issued(backend: Backend) {
    let cluster = two_nodes(backend).await;
    let issued = |seconds| tokens::claiming("ann", &json!({"iat": tokens::in_seconds(seconds)}));
    let mut old = cluster.connect(1).token(&issued(-100)).open().await;
    let mut undated = cluster.user(1, "ann").await;
    let mut renewed = cluster.connect(1).token(&issued(-100)).open().await;
    renewed.granted(auth(&issued(100)), "authed").await;
    let mut bob = cluster.user(1, "bob").await;
    cluster.tell(0, "/revoke", &json!({"user": "ann", "issued_before": "now"})).await;
    let since = Instant::now();
    is_revoked(&mut old, since).await;
    is_revoked(&mut undated, since).await;
    renewed.hears_nothing().await;
    bob.hears_nothing().await;
    assert_eq!(cluster.connect(1).token(&issued(-1)).refused().await.status, 401);
    cluster.connect(1).token(&issued(100)).open().await.hears_nothing().await;
    cluster.tell(1, "/revoke", &json!({"user": "ann"})).await;
    is_revoked(&mut renewed, Instant::now()).await;
    assert_eq!(cluster.connect(1).token(&issued(1000)).refused().await.status, 401, "whatever it says");
}

async fn a_subscription_by_a_revoked_token_of_its_own_ends_and_the_others_go_on(backend: Backend) {
    let rooms = "[[namespace]]\npattern = \"*\"\nsubscribe = \"granted\"\n";
    let cluster = Cluster::of(2, backend).with_tokens().namespaces(rooms).start().await;
    let mut ann = cluster.user(1, "ann").await;
    for (channel, id) in [("room:1", "s1"), ("room:2", "s2")] {
        let token = ticket("ann", channel, &json!({"jti": id}));
        ann.granted(json!({"type": "subscribe", "channel": channel, "token": token}), "subscribed").await;
    }
    cluster.tell(0, "/revoke", &json!({"token_id": "s1"})).await;
    let push = ann.next().await;
    let expected = (&json!("unsubscribed"), &json!("room:1"), &json!("unauthenticated"));
    assert_eq!((&push["type"], &push["channel"], &push["code"]), expected);
    ann.hears_nothing().await;
    let again = json!({"type": "subscribe", "channel": "room:2", "token": ticket("ann", "room:2", &json!({}))});
    ann.refused(again, "already_subscribed").await;
}

async fn a_revocation_survives_the_restart_of_every_node(backend: Backend) {
    let mut cluster = two_nodes(backend).await;
    let revoked = token("ann", "t1");
    cluster.tell(0, "/revoke", &json!({"token_id": "t1"})).await;
    for node in [0, 1] {
        cluster.stop_node(node).await;
    }
    for node in [0, 1] {
        cluster.start_again(node).await;
    }
    for node in [0, 1] {
        assert_eq!(cluster.connect(node).token(&revoked).refused().await.status, 401);
    }
}

async fn what_is_revoked_is_shown_and_slips_are_refused_in_words(backend: Backend) {
    let cluster = Cluster::of(2, backend).with_tokens().settings(&["auth.revocations_max=2"]).start().await;
    let until = tokens::in_seconds(600);
    cluster.tell(0, "/revoke", &json!({"token_id": "t1", "until": until})).await;
    cluster.tell(0, "/revoke", &json!({"user": "ann", "issued_before": 5})).await;
    cluster.metric_becomes(1, "gateway_revocations", 2.0).await;
    let shown: Value = serde_json::from_str(&cluster.admin(1, "/revocations").await.body).expect("JSON");
    assert_eq!(shown["revocations"][0], json!({"token_id": "t1", "until": until}));
    assert_eq!((&shown["revocations"][1]["user"], &shown["count"]), (&json!("ann"), &json!(2)));
    let refused = async |body: Value| {
        let answer = cluster.try_tell(0, "/revoke", &body).await;
        (answer.status, answer.body)
    };
    let (status, why) = refused(json!({"token_id": "t2"})).await;
    assert!(status == 507 && why.contains("auth.revocations_max"), "{why}");
    assert_eq!(cluster.metric(0, "gateway_revocations_full_total").await, 1.0);
    for slip in [json!({}), json!({"user": "ann", "issued_before": 1_763_700_000_000_u64}), json!({"token_id": ""})] {
        assert_eq!(refused(slip).await.0, 400);
    }
    assert_eq!(refused(json!({"token_id": "t1", "until": 5})).await.0, 400, "over already");
    assert_eq!(cluster.order_with(0, "/revoke", "origin: https://evil.example\r\n").await.status, 403);
    assert_eq!(cluster.admin(0, "/revoke").await.status, 405);
}

on_both!(
    connections_by_a_revoked_token_are_closed_on_every_node_and_no_others,
    a_revoked_token_is_refused_at_every_door_of_every_node,
    a_user_s_tokens_are_revoked_by_when_they_were_issued,
    a_subscription_by_a_revoked_token_of_its_own_ends_and_the_others_go_on,
    a_revocation_survives_the_restart_of_every_node,
    what_is_revoked_is_shown_and_slips_are_refused_in_words,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_when_something_was_revoked_closes_what_lives_by_it_when_it_is_back() {
    let cluster = Cluster::of(2, Backend::Redis).with_tokens().by_road(1).start().await;
    let mut ann = cluster.connect(1).token(&token("ann", "t1")).open().await;
    cluster.road().close();
    cluster.tell(0, "/revoke", &json!({"token_id": "t1"})).await;
    ann.hears_nothing().await;
    cluster.road().open();
    assert_eq!(ann.expect_close().await, 4009);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_came_back_empty_does_not_pardon_anybody() {
    let mut cluster = Cluster::of(2, Backend::Redis).with_tokens().start().await;
    let revoked = token("ann", "t1");
    cluster.tell(0, "/revoke", &json!({"token_id": "t1"})).await;
    cluster.metric_becomes(1, "gateway_revocations", 1.0).await;
    cluster.redis_mut().kill();
    assert_eq!(cluster.try_tell(0, "/revoke", &json!({"token_id": "t2"})).await.status, 503);
    assert!(cluster.redis_mut().start_again());
    let since = Instant::now();
    while cluster.redis().command(&["HLEN", "gw:revoked"]) != ":1" {
        assert!(since.elapsed() < e2e::PATIENCE, "nobody writes it back");
        sleep(Duration::from_millis(10)).await;
    }
    for node in [0, 1] {
        cluster.kill_node(node).await;
    }
    for node in [0, 1] {
        cluster.start_again(node).await;
        assert_eq!(cluster.connect(node).token(&revoked).refused().await.status, 401);
    }
}
