//! From the handshake to the welcome, and what else may be the answer.

use crate::gateway::{Gateway, until, until_closed};
use client::{Client, Config, ConfigError, State};
use std::time::Duration;
use tokio::time::Instant;

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[tokio::test(start_paused = true)]
async fn a_client_is_connected_once_it_is_welcomed() {
    let (mut gateway, config) = Gateway::new();
    let client = Client::connect(config).unwrap();
    assert_eq!(*client.state().borrow(), State::Connecting);
    let peer = gateway.welcome().await;
    client.connected().await.unwrap();
    let (node, id) = ("n1.a".to_owned(), "n1.a.7".to_owned());
    assert_eq!(*client.state().borrow(), State::Connected { node, client: id, polls: false });
    assert_eq!(peer.header("sec-websocket-protocol"), Some("gateway.v1.json"));
    assert_eq!(peer.header("host"), Some("gateway.test"));
    assert_eq!(peer.header("authorization"), None);
    assert_eq!(client.stats().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_refused_with_401_or_403_closes_the_client() {
    for (status, code) in [(401, 4001), (403, 4003)] {
        let (mut gateway, config) = Gateway::new();
        let client = Client::connect(config).unwrap();
        gateway.attempt().await.refuse(status, None).await;
        assert_eq!(until_closed(&client).await.0, Some(code), "{status}");
        assert!(client.connected().await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_takes_nobody_is_asked_again_when_it_says() {
    for status in [503, 429] {
        let (mut gateway, config) = Gateway::new();
        let _client = Client::connect(config).unwrap();
        gateway.attempt().await.refuse(status, Some("7")).await;
        let refused_at = Instant::now();
        gateway.welcome().await;
        let waited = refused_at.elapsed();
        assert!(waited >= milliseconds(7000) && waited <= milliseconds(7501), "{status}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_were_told_the_same_time_do_not_come_back_at_one_moment() {
    let mut moments = Vec::new();
    for _ in 0..20 {
        let (mut gateway, config) = Gateway::new();
        let _client = Client::connect(config).unwrap();
        gateway.attempt().await.refuse(503, Some("2")).await;
        let refused_at = Instant::now();
        gateway.attempt().await;
        moments.push(refused_at.elapsed().as_millis() / 100);
    }
    assert!(moments.iter().all(|moment| *moment >= 20), "none comes before: {moments:?}");
    moments.sort_unstable();
    moments.dedup();
    assert!(moments.len() >= 3, "{moments:?}");
}

#[tokio::test(start_paused = true)]
async fn while_one_node_takes_nobody_another_is_asked() {
    let (mut gateway, config) = Gateway::at(["ws://a.test/ws", "ws://b.test/ws"]);
    let _client = Client::connect(config).unwrap();
    let first = gateway.attempt().await;
    let held_off = first.host().to_owned();
    first.refuse(503, Some("30")).await;
    let refused_at = Instant::now();
    for _ in 0..3 {
        let next = gateway.attempt().await;
        assert_ne!(next.host(), held_off);
        next.refuse(500, None).await;
    }
    assert!(refused_at.elapsed() < milliseconds(30_000));
}

#[tokio::test(start_paused = true)]
async fn nodes_are_asked_in_turn() {
    let (mut gateway, config) = Gateway::at(["ws://a.test/ws", "ws://b.test/ws", "ws://c.test/ws"]);
    let _client = Client::connect(config).unwrap();
    let mut hosts = Vec::new();
    for _ in 0..6 {
        let attempt = gateway.attempt().await;
        hosts.push(attempt.host().to_owned());
        attempt.refuse(502, None).await;
    }
    assert_eq!(hosts[..3], hosts[3..]);
    hosts.sort();
    hosts.dedup();
    assert_eq!(hosts.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn whatever_else_answers_is_tried_again_with_a_wait_that_grows() {
    let (mut gateway, config) = Gateway::new();
    let client = Client::connect(config).unwrap();
    for bound_ms in [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000] {
        gateway.attempt().await.refuse(404, None).await;
        let refused_at = Instant::now();
        let waiting = until(&client, |state| matches!(state, State::Waiting { .. })).await;
        let State::Waiting { until, reason, .. } = waiting else { panic!("{waiting}") };
        assert!(reason.contains("404"), "{reason}");
        assert!(until <= refused_at + milliseconds(bound_ms), "{bound_ms}: {:?}", until - refused_at);
    }
    let _peer = gateway.welcome().await;
    client.connected().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_does_not_answer_or_does_not_welcome_is_left_in_time() {
    let (mut gateway, config) = Gateway::new();
    let begun_at = Instant::now();
    let _client = Client::connect(config).unwrap();
    let _held = gateway.attempt().await.ignore();
    let silent = gateway.attempt().await;
    let waited = begun_at.elapsed();
    assert!(waited >= milliseconds(10_000) && waited <= milliseconds(10_501), "{waited:?}");
    silent.accept().await.hear_the_end().await;
    gateway.welcome().await;
}

#[tokio::test(start_paused = true)]
async fn a_close_in_place_of_a_welcome_says_whether_to_come_back() {
    let (mut gateway, config) = Gateway::new();
    let client = Client::connect(config).unwrap();
    gateway.attempt().await.accept().await.close(4100, "over capacity").await;
    gateway.attempt().await.accept().await.close(4003, "forbidden").await;
    assert_eq!(until_closed(&client).await, (Some(4003), "forbidden".into()));
}

#[tokio::test]
async fn what_cannot_be_connected_to_is_said_at_once() {
    let connect = |urls: Vec<&str>| Client::connect(Config::new(urls)).unwrap_err();
    assert_eq!(connect(vec![]), ConfigError::NoUrl);
    assert!(matches!(connect(vec!["ws://fine/ws", "http://wrong/ws"]), ConfigError::Url { .. }));
    assert!(matches!(connect(vec!["wss://needs.tls/ws"]), ConfigError::Url { .. }));
}

#[test]
fn outside_of_a_runtime_there_is_no_client() {
    assert_eq!(Client::connect(Config::new(["ws://localhost/ws"])).unwrap_err(), ConfigError::NoRuntime);
}
