//! What ends a session that polls, and what it is told then: as on a WebSocket.

use super::*;
use e2e::{Backend, Cluster, on_both, tokens};
use std::time::Duration;
use tokio::time::Instant;

on_both! {
    a_drain_closes_sessions_with_its_code_and_its_time,
    whoever_is_revoked_or_disconnected_hears_it_in_the_last_array,
    a_member_who_polls_is_a_member,
}

async fn a_drain_closes_sessions_with_its_code_and_its_time(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut poller = Poller::open(&cluster, 0, "", "").await;
    assert_eq!(cluster.order(0, "/drain?exit=false&window=1s").await.status, 202);
    let told = poller.until(&cluster, &[1], "reconnect").await;
    assert_eq!(told["reason"], "draining");
    let close = poller.expect_close(&cluster, &[1]).await;
    let expected = json!({"type": "close", "code": 4200, "reason": "draining", "reconnect": "when_told"});
    assert_eq!(close, expected);
    let answer = open(&cluster, 0, "", "").await;
    refused(&answer, 503, "unavailable");
    assert!((1..=3).contains(&answer.retry_after_s()));
    Poller::open(&cluster, 1, "", "").await;
}

async fn whoever_is_revoked_or_disconnected_hears_it_in_the_last_array(backend: Backend) {
    let cluster = Cluster::of(2, backend).with_tokens().start().await;
    let token = bearer(&tokens::claiming("ann", &json!({"iat": tokens::in_seconds(-60)})));
    let mut poller = Poller::open(&cluster, 0, &token, "").await;
    let (close, _) = tokio::join!(poller.expect_close(&cluster, &[1]), async {
        cluster.tell(1, "/revoke", &json!({"user": "ann"})).await
    });
    assert_eq!((&close["code"], &close["reconnect"]), (&json!(4009), &json!("never")));
    refused(&open(&cluster, 1, &token, "").await, 401, "unauthenticated");
    let mut poller = Poller::open(&cluster, 0, &bearer(&tokens::of("bob")), "").await;
    let (close, _) = tokio::join!(poller.expect_close(&cluster, &[1]), async {
        cluster.tell(1, "/disconnect", &json!({"user": "bob"})).await
    });
    assert_eq!(close["code"], 4011);
}

async fn a_member_who_polls_is_a_member(backend: Backend) {
    let namespaces = "[[namespace]]\npattern = \"*\"\njoin_leave = true\n";
    let cluster = Cluster::of(2, backend).with_tokens().namespaces(namespaces).start().await;
    let mut watcher = cluster.user(1, "watcher").await;
    watcher.subscribe("chat").await;
    let mut poller = Poller::open(&cluster, 0, &bearer(&tokens::of("ann")), "").await;
    poller.subscribe(&cluster, &[0], &json!({"channel": "chat"})).await;
    loop {
        let push = watcher.next().await;
        if push["type"] == "join" && push["member"]["user"] == "ann" {
            break;
        }
    }
    poller.ask(&cluster, 1, "DELETE", "").await;
    let left = watcher.next().await;
    assert_eq!(
        (&left["type"], &left["member"]["user"], &left["cause"]),
        (&json!("leave"), &json!("ann"), &json!("left"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_are_the_heartbeat_of_a_session_and_without_them_it_ends() {
    let settings = ["ping.interval=1s", "ping.timeout=1s"];
    let cluster = Cluster::of(1, Backend::Memory).settings(&settings).start().await;
    let mut poller = Poller::open(&cluster, 0, "", "").await;
    assert_eq!(poller.wait_ms, 1000);
    poller.kept.clear();
    let began = Instant::now();
    for _ in 0..4 {
        assert_eq!(objects(&poller.get(&cluster, 0).await), [0u64; 0], "nobody pings who polls");
    }
    assert!(began.elapsed() >= Duration::from_millis(3900), "each was held");
    cluster.metric_becomes(0, "gateway_closes_total{code=\"ping timeout\"}", 1.0).await;
    assert!(began.elapsed() >= Duration::from_millis(5500), "for as long as an answer to a ping may take");
    assert_eq!(poller.expect_close(&cluster, &[0]).await["code"], 4103);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_may_come_later_and_one_that_ends_ends_the_session() {
    let cluster = Cluster::of(1, Backend::Memory).with_tokens().start().await;
    let mut poller = Poller::open(&cluster, 0, "", r#"{"type":"subscribe","channel":"chat","id":1}"#).await;
    assert_eq!(poller.until(&cluster, &[0], "error").await["code"], "unauthenticated");
    poller.say(&cluster, 0, &json!({"type": "auth", "token": tokens::ending_in("ann", 2), "id": 2})).await;
    assert_eq!(poller.until(&cluster, &[0], "authed").await["user"], "ann");
    assert_eq!(poller.expect_close(&cluster, &[0]).await["code"], 4104);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_may_wait_for_whoever_does_not_poll_ends_its_session() {
    let settings = ["outbox.bytes=64KiB", "limits.messages=100000/s"];
    let namespaces = "[[namespace]]\npattern = \"*\"\nhistory.size = 0\n";
    let cluster = Cluster::of(1, Backend::Memory).settings(&settings).namespaces(namespaces).start().await;
    let mut poller = Poller::open(&cluster, 0, "", "").await;
    poller.subscribe(&cluster, &[0], &json!({"channel": "chat"})).await;
    let mut writer = cluster.client(0).await;
    for number in 0..20 {
        writer.publish("chat", json!([number, "x".repeat(8000)])).await;
    }
    cluster.metric_becomes(0, "gateway_closes_total{code=\"slow consumer\"}", 1.0).await;
    assert_eq!(poller.expect_close(&cluster, &[0]).await["code"], 4102);
}
