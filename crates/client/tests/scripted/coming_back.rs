//! Ends of connections, and whether and when the client comes back.

use crate::gateway::{Gateway, PING_INTERVAL, Peer, next, subscribed_at, take, until_closed};
use client::{Client, CloseCode};
use protocol::Reconnect;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// The bound of the first wait.
const FIRST: Duration = Duration::from_millis(500);

fn codes(advice: Reconnect) -> impl Iterator<Item = CloseCode> {
    CloseCode::ALL.iter().copied().filter(move |code| code.reconnect() == advice)
}

/// How long the client waits before it comes back.
async fn absence(gateway: &mut Gateway) -> (Peer, Duration) {
    let gone_at = Instant::now();
    let attempt = gateway.attempt().await;
    let waited = gone_at.elapsed();
    (attempt.welcome().await, waited)
}

#[tokio::test(start_paused = true)]
async fn codes_that_say_never_close_the_client() {
    for code in codes(Reconnect::Never) {
        let (mut gateway, client, peer) = Gateway::with_client().await;
        peer.close(code.code(), code.reason()).await;
        assert_eq!(until_closed(&client).await, (Some(code.code()), code.reason().to_owned()));
        assert!(gateway.is_left_alone());
    }
}

#[tokio::test(start_paused = true)]
async fn codes_that_say_backoff_bring_it_back_after_a_random_wait() {
    for code in codes(Reconnect::Backoff) {
        let (mut gateway, _client, peer) = Gateway::with_client().await;
        peer.close(code.code(), code.reason()).await;
        let (_, waited) = absence(&mut gateway).await;
        assert!(waited <= FIRST + Duration::from_millis(1), "{code:?}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn codes_that_say_when_told_bring_it_back_exactly_then() {
    for code in codes(Reconnect::WhenTold) {
        let (mut gateway, _client, mut peer) = Gateway::with_client().await;
        peer.say(json!({"type": "reconnect", "after_ms": 9999, "reason": code.reason()})).await;
        peer.say(json!({"type": "reconnect", "after_ms": 1830, "reason": code.reason()})).await;
        peer.close(code.code(), code.reason()).await;
        let (_, waited) = absence(&mut gateway).await;
        // The clock of timers has a resolution of a millisecond.
        assert!(waited.as_millis().abs_diff(1830) <= 1, "{code:?}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn told_to_come_back_without_a_time_it_does_so_at_once() {
    let (mut gateway, _client, peer) = Gateway::with_client().await;
    peer.close(4200, "draining").await;
    let (_, waited) = absence(&mut gateway).await;
    assert!(waited <= Duration::from_millis(1), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_time_that_was_told_is_forgotten_with_its_connection() {
    let (mut gateway, _client, mut peer) = Gateway::with_client().await;
    peer.say(json!({"type": "reconnect", "after_ms": 600_000, "reason": "draining"})).await;
    peer.close(4102, "slow consumer").await;
    let (peer, waited) = absence(&mut gateway).await;
    assert!(waited <= FIRST + Duration::from_millis(1), "another code goes by itself: {waited:?}");
    peer.close(4200, "draining").await;
    let (_, waited) = absence(&mut gateway).await;
    assert!(waited <= 2 * FIRST + Duration::from_millis(1), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_without_a_word_brings_it_back_too() {
    let (mut gateway, client, peer) = Gateway::with_client().await;
    drop(peer);
    let (_peer, waited) = absence(&mut gateway).await;
    assert!(waited <= FIRST + Duration::from_millis(1), "{waited:?}");
    client.connected().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_falls_silent_is_left_after_two_and_a_half_of_its_pings() {
    let (mut gateway, _client, peer) = Gateway::with_client().await;
    let (_, waited) = absence(&mut gateway).await;
    let limit = PING_INTERVAL * 5 / 2;
    assert!(waited >= limit && waited <= limit + FIRST + Duration::from_millis(2), "{waited:?}");
    peer.hear_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_pings_is_not_silent() {
    let (mut gateway, client, mut peer) = Gateway::with_client().await;
    for _ in 0..100 {
        tokio::time::sleep(2 * PING_INTERVAL).await;
        peer.ping().await;
    }
    assert!(gateway.is_left_alone());
    assert!(client.state().borrow().is_connected());
}

#[tokio::test(start_paused = true)]
async fn only_a_connection_that_lasted_makes_waits_short_again() {
    let (mut gateway, _client, mut peer) = Gateway::with_client().await;
    let mut longest = Duration::ZERO;
    for _ in 0..12 {
        drop(peer);
        let (next, waited) = absence(&mut gateway).await;
        (peer, longest) = (next, longest.max(waited));
    }
    assert!(longest > 2 * FIRST, "twelve short connections in a row: {longest:?}");
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(16)).await;
        peer.ping().await;
    }
    drop(peer);
    let (_, waited) = absence(&mut gateway).await;
    assert!(waited <= FIRST + Duration::from_millis(1), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_goes_on_over_connections_from_the_last_publication_handed_on() {
    let (mut gateway, client, mut peer) = Gateway::with_client().await;
    let mut chat = subscribed_at(&client, &mut peer, 4).await;
    peer.publication(5).await;
    assert_eq!(next(&mut chat).await, "5");
    drop(peer);
    let mut peer = gateway.welcome().await;
    let missed = json!([{"offset": 6, "time": 1, "data": 6}, {"offset": 7, "time": 1, "data": 7}]);
    let answer = json!({"epoch": "e1", "offset": 7, "recovered": true, "publications": missed});
    let asked = peer.answer_subscription(answer).await;
    assert_eq!(asked["recover"], json!({"epoch": "e1", "offset": 5}));
    peer.publication(7).await;
    peer.publication(8).await;
    assert_eq!(take(&mut chat, 4).await, ["recovered", "6", "7", "8"]);
    assert_eq!(chat.position().map(|position| position.offset), Some(8));
    assert_eq!((client.stats().duplicates, client.stats().gaps), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_recovered_is_exactly_one_gap() {
    let (mut gateway, client, mut peer) = Gateway::with_client().await;
    let mut chat = subscribed_at(&client, &mut peer, 4).await;
    drop(peer);
    let mut peer = gateway.welcome().await;
    peer.answer_subscription(json!({"epoch": "e2", "offset": 9, "recovered": false, "publications": []})).await;
    peer.publication(10).await;
    assert_eq!(take(&mut chat, 3).await, ["subscribed", "gap None NotRecovered", "10"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_makes_no_sense_may_have_been_a_publication_and_is_recovered() {
    let (mut gateway, client, mut peer) = Gateway::with_client().await;
    let _chat = subscribed_at(&client, &mut peer, 4).await;
    peer.say_text("{\"type\":\"publication\",\"chan").await;
    let mut peer = gateway.welcome().await;
    assert_eq!(peer.take_subscription(5).await["recover"], json!({"epoch": "e1", "offset": 4}));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_does_not_answer_a_subscription_is_left() {
    let (mut gateway, client, mut peer) = Gateway::with_client().await;
    let _chat = crate::gateway::subscribe(&client).await;
    peer.hear_a("subscribe").await;
    let (mut peer, waited) = absence(&mut gateway).await;
    let limit = Duration::from_secs(10);
    assert!(waited >= limit && waited <= limit + FIRST + Duration::from_millis(2), "{waited:?}");
    peer.take_subscription(0).await;
}

#[tokio::test(start_paused = true)]
async fn clients_of_a_lost_node_do_not_come_back_at_one_moment() {
    let mut moments = Vec::new();
    for _ in 0..20 {
        let (mut gateway, _client, peer): (_, Client, _) = Gateway::with_client().await;
        drop(peer);
        let (_, waited) = absence(&mut gateway).await;
        moments.push(waited.as_millis() / 100);
    }
    moments.sort_unstable();
    moments.dedup();
    assert!(moments.len() >= 3, "{moments:?}");
}
