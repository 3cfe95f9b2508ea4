//! Several sessions of one user: as many as may be, or only the newest; and connections that an operator ends.

use e2e::{Backend, Client, Cluster, Events, Plan, on_both, request, tokens};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn plan(backend: Backend, sessions: &str) -> Plan {
    let rule = format!("sessions={sessions}");
    Cluster::of(2, backend).with_tokens().settings(&[&rule, "auth.anonymous=true", "presence.lease=2s"])
}

fn auth(user: &str) -> Value {
    json!({"type": "auth", "token": tokens::of(user)})
}

async fn sessions_of(cluster: &Cluster) -> f64 {
    cluster.metric(0, "gateway_sessions").await + cluster.metric(1, "gateway_sessions").await
}

async fn the_newest_session_closes_the_one_before_on_whatever_node(backend: Backend) {
    let cluster = plan(backend, "newest").start().await;
    let mut first = cluster.user(0, "ann").await;
    first.subscribe("chat").await;
    let mut second = cluster.user(1, "ann").await;
    assert_eq!(first.expect_close().await, 4008);
    second.subscribe("chat").await;
    let mut third = cluster.client(0).await;
    third.granted(auth("ann"), "authed").await;
    assert_eq!(second.expect_close().await, 4008);
    third.granted(auth("ann"), "authed").await;
    let mut bob = cluster.user(0, "bob").await;
    let mut raw = cluster.connect_raw(1, "chat").token(&tokens::of("ann")).open_bare().await;
    assert_eq!(third.expect_close().await, 4008);
    // Its subscription begins once it has its place.
    cluster.metric_becomes(1, "gateway_subscriptions", 1.0).await;
    bob.publish("chat", json!("still there")).await;
    assert_eq!(&*raw.next_text().await, "\"still there\"");
    bob.hears_nothing().await;
}

/// Of clients that were opened at once, those who are still there, and how many are not.
async fn closes(clients: Vec<Client>) -> (Vec<Client>, usize) {
    let fates = clients.into_iter().map(|mut client| async move {
        // Whoever stays is answered.
        client.send(&json!({"type": "ping", "id": 1})).await;
        loop {
            match client.next_or_close().await {
                Some(message) if message["type"] == "pong" => {
                    return (client, true);
                }
                Some(_) => {}
                None => return (client, false),
            }
        }
    });
    let (open, closed): (Vec<_>, Vec<_>) = join_all(fates).await.into_iter().partition(|(_, is_open)| *is_open);
    (open.into_iter().map(|(client, _)| client).collect(), closed.len())
}

async fn of_sessions_opened_at_once_on_two_nodes_exactly_one_survives(backend: Backend) {
    for _ in 0..5 {
        let cluster = plan(backend, "newest").start().await;
        let mut clients = join_all((0..8).map(|n| cluster.user(n % 2, "ann"))).await;
        // All have been counted once each is either closed or the only one left.
        let deadline = Instant::now() + e2e::PATIENCE;
        while clients.len() > 1 {
            assert!(Instant::now() < deadline, "{} are left", clients.len());
            clients = closes(clients).await.0;
        }
        assert_eq!(clients.len(), 1, "not even one has stayed");
        clients[0].hears_nothing().await;
        assert_eq!(sessions_of(&cluster).await, 1.0);
    }
}

async fn of_sessions_opened_at_once_as_many_survive_as_may(backend: Backend) {
    let cluster = plan(backend, "limit 2").start().await;
    let clients = join_all((0..8).map(|n| cluster.user(n % 2, "ann"))).await;
    let (mut open, closed) = closes(clients).await;
    assert_eq!((open.len(), closed), (2, 6));
    for client in &mut open {
        client.hears_nothing().await;
    }
    assert_eq!(sessions_of(&cluster).await, 2.0);
}

async fn the_one_too_many_is_refused_and_those_who_are_there_are_not_disturbed(backend: Backend) {
    let cluster = plan(backend, "limit 1").start().await;
    let mut ann = cluster.user(0, "ann").await;
    ann.hears_nothing().await;
    let mut too_many = cluster.user(1, "ann").await;
    too_many.send(&json!({"type": "subscribe", "id": 1, "channel": "chat"})).await;
    assert_eq!(too_many.expect_close().await, 4109);
    assert_eq!(too_many.kept(), None, "nothing it asked for was done");
    let mut by_first_message = cluster.client(1).await;
    by_first_message.send(&auth("ann")).await;
    assert_eq!(by_first_message.expect_close().await, 4109);
    ann.granted(auth("ann"), "authed").await;
    let mut nobodies = [cluster.client(0).await, cluster.client(1).await];
    for nobody in &mut nobodies {
        nobody.hears_nothing().await;
    }
    ann.close().await;
    let deadline = Instant::now() + e2e::PATIENCE;
    loop {
        let mut again = cluster.user(1, "ann").await;
        again.send(&json!({"type": "ping", "id": 1})).await;
        if again.next_or_close().await.is_some() {
            break;
        }
        assert!(Instant::now() < deadline, "its place is not given back");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Whoever has no WebSocket answers no ping of one.
async fn whoever_listens_or_polls_is_not_put_out_by_one_too_many_and_a_dead_one_is(backend: Backend) {
    let cluster = plan(backend, "limit 1").settings(&["ping.interval=60s", "ping.timeout=60s"]).start().await;
    let bearer = |user| format!("authorization: Bearer {}\r\n", tokens::of(user));
    let mut events = Events::open(cluster.address(0), "/sse?channel=chat", &bearer("ann")).await;
    events.until("subscribed").await;
    let open = async |user| {
        let headers = format!("content-length: 0\r\n{}", bearer(user));
        let opened = request(cluster.address(0), "POST", "/poll", &headers, "").await;
        let opened: Value = serde_json::from_str(&opened.body).expect("an array");
        opened[0]["session"].as_str().expect("a session").to_owned()
    };
    let (session, _dead) = (open("bob").await, open("cat").await);
    for user in ["ann", "bob", "cat"] {
        assert_eq!(cluster.user(1, user).await.expect_close().await, 4109);
    }
    let mut writer = cluster.client(1).await;
    let listens = async {
        // Longer than anybody has to show that he lives.
        for number in 0..8 {
            writer.publish("chat", json!(number)).await;
            assert_eq!(events.until("publication").await["data"], number);
            sleep(Duration::from_secs(1)).await;
        }
    };
    let path = format!("/poll?session={session}");
    let polls = async {
        loop {
            let polled = request(cluster.address(1), "GET", &path, "", "").await;
            assert_eq!(polled.status, 200, "{polled:?}");
        }
    };
    tokio::select! {
        () = listens => {}
        () = polls => {}
    }
    // The one who did not come back has made room.
    cluster.metric_becomes(0, "gateway_closes_total{code=\"ping timeout\"}", 1.0).await;
    cluster.user(1, "cat").await.hears_nothing().await;
}

async fn a_place_whose_socket_is_dead_is_free_soon_after_it_is_wanted(backend: Backend) {
    let cluster = plan(backend, "limit 1").settings(&["ping.interval=60s", "ping.timeout=60s"]).start().await;
    let mut dead = cluster.user(0, "ann").await;
    dead.hears_nothing().await;
    // It is never read from again, so it answers no ping; and its socket stays.
    let began = Instant::now();
    loop {
        let mut again = cluster.user(1, "ann").await;
        again.send(&json!({"type": "ping", "id": 1})).await;
        if again.next_or_close().await.is_some() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(15), "locked out");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(cluster.metric(0, "gateway_closes_total{code=\"ping timeout\"}").await >= 1.0);
    drop(dead);
}

async fn operators_close_a_user_a_connection_or_a_channel(backend: Backend) {
    let cluster = Cluster::of(2, backend).with_tokens().start().await;
    let mut anns = [cluster.user(0, "ann").await, cluster.user(1, "ann").await];
    let mut bob = cluster.user(1, "bob").await;
    cluster.tell(0, "/disconnect", &json!({"user": "ann"})).await;
    for ann in &mut anns {
        assert_eq!(ann.expect_close().await, 4011);
    }
    let (mut one, mut other) = (cluster.user(1, "cid").await, cluster.user(1, "cid").await);
    let told = cluster.tell(0, "/disconnect", &json!({"client": one.id(), "reconnect": true})).await;
    assert_eq!(told["code"], 4110);
    assert_eq!(one.expect_close().await, 4110);
    other.hears_nothing().await;
    other.subscribe("chat").await;
    let mut raw = cluster.connect_raw(0, "chat").token(&tokens::of("dan")).open_bare().await;
    cluster.metric_becomes(0, "gateway_subscriptions", 1.0).await;
    cluster.tell(0, "/disconnect", &json!({"channel": "chat", "code": 4003})).await;
    assert_eq!(other.expect_close().await, 4003);
    assert_eq!(raw.expect_close().await, 4003);
    bob.hears_nothing().await;
    let unknown = json!({"client": "nowhere.abc.0000000000000001"});
    assert_eq!(cluster.try_tell(0, "/disconnect", &unknown).await.status, 404);
    for slip in [json!({}), json!({"client": "x"}), json!({"user": "ann", "code": 1000}), json!([1])] {
        assert_eq!(cluster.try_tell(0, "/disconnect", &slip).await.status, 400, "{slip}");
    }
    assert_eq!(cluster.order_with(0, "/disconnect", "sec-fetch-site: none\r\n").await.status, 403);
}

on_both!(
    the_newest_session_closes_the_one_before_on_whatever_node,
    of_sessions_opened_at_once_on_two_nodes_exactly_one_survives,
    of_sessions_opened_at_once_as_many_survive_as_may,
    the_one_too_many_is_refused_and_those_who_are_there_are_not_disturbed,
    a_place_whose_socket_is_dead_is_free_soon_after_it_is_wanted,
    whoever_listens_or_polls_is_not_put_out_by_one_too_many_and_a_dead_one_is,
    operators_close_a_user_a_connection_or_a_channel,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_connections_cannot_be_counted_a_newcomer_waits_a_little_and_is_told_to_come_back() {
    let mut cluster = plan(Backend::Redis, "newest").start().await;
    let mut ann = cluster.client(0).await;
    ann.hears_nothing().await;
    cluster.redis_mut().kill();
    let began = Instant::now();
    ann.send(&auth("ann")).await;
    assert_eq!(ann.expect_close().await, 4105);
    assert!(began.elapsed() < Duration::from_secs(5), "after {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_of_a_killed_node_are_free_after_the_lease() {
    let mut cluster = plan(Backend::Redis, "limit 1").start().await;
    let mut ann = cluster.user(0, "ann").await;
    ann.hears_nothing().await;
    let (_, ()) = tokio::join!(ann.expect_close(), cluster.kill_node(0));
    let killed_at = Instant::now();
    loop {
        let mut again = cluster.user(1, "ann").await;
        again.send(&json!({"type": "ping", "id": 1})).await;
        if again.next_or_close().await.is_some() {
            break;
        }
        assert!(killed_at.elapsed() < Duration::from_secs(5), "after {:?}", killed_at.elapsed());
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_counts_redis_hears_nothing_of_users() {
    let cluster = Cluster::of(1, Backend::Redis).with_tokens().start().await;
    let mut anns = [cluster.user(0, "ann").await, cluster.user(0, "ann").await];
    for ann in &mut anns {
        ann.hears_nothing().await;
    }
    let keys = cluster.redis().lines(&["KEYS", "gw:user:*"]);
    assert_eq!((keys.len(), cluster.redis().command(&["EXISTS", "gw:sessions"])), (0, ":0".to_owned()));
}
