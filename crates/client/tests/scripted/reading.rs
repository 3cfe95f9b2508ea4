//! Applications that read slowly or not at all: the gateway is made to wait, and nothing is lost.

use crate::gateway::{Gateway, PING_INTERVAL, Peer, channel, next, take, until};
use client::{Client, PublishError, PublishOptions, RequestError, State, SubscribeOptions, Subscription};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A subscription with room for two events, the first of which waits to be read.
async fn unread(client: &Client, peer: &mut Peer) -> Subscription {
    let options = SubscribeOptions { capacity: 2, ..SubscribeOptions::default() };
    let chat = client.subscribe(&channel("chat"), options).await.unwrap();
    peer.take_subscription(0).await;
    chat
}

fn publication(offset: u64) -> Value {
    let data = "x".repeat(200);
    json!({"type": "publication", "channel": "chat", "offset": offset, "time": 1, "data": data})
}

/// Writes publications until the client takes no more, and returns how many there were.
async fn flood(peer: &mut Peer) -> u64 {
    for offset in 1..1000 {
        if !peer.takes(&publication(offset)) {
            return offset;
        }
        // The client's turn to read.
        tokio::task::yield_now().await;
    }
    panic!("the client reads whatever comes");
}

/// Writes what the client had no room for, and one more.
fn go_on(mut peer: Peer, offset: u64) -> JoinHandle<Peer> {
    tokio::spawn(async move {
        peer.say(publication(offset)).await;
        peer
    })
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_stops_the_reading_until_there_is_room() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let mut chat = unread(&client, &mut peer).await;
    let written = flood(&mut peer).await;
    let rest = go_on(peer, written + 1);
    let mut expected = vec!["subscribed".to_owned()];
    expected.extend((1..=written + 1).map(|offset| offset.to_string()));
    assert_eq!(take(&mut chat, expected.len()).await, expected);
    rest.await.unwrap();
    assert!(client.state().borrow().is_connected());
}

#[tokio::test(start_paused = true)]
async fn silence_does_not_count_while_nothing_is_read() {
    let (mut gateway, client, mut peer) = Gateway::with_client().await;
    let mut chat = unread(&client, &mut peer).await;
    let written = flood(&mut peer).await;
    let rest = go_on(peer, written + 1);
    tokio::time::sleep(100 * PING_INTERVAL).await;
    assert!(gateway.is_left_alone());
    take(&mut chat, usize::try_from(written).unwrap() + 2).await;
    rest.await.unwrap();
    assert!(client.state().borrow().is_connected());
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_of_its_own_it_gives_the_gateway_time_to_be_heard() {
    let (mut gateway, client, mut peer) = Gateway::with_client().await;
    let mut chat = unread(&client, &mut peer).await;
    for offset in 1..=2 {
        peer.say(publication(offset)).await;
    }
    tokio::time::sleep(100 * PING_INTERVAL).await;
    assert_eq!(take(&mut chat, 3).await, ["subscribed", "1", "2"]);
    tokio::time::sleep(2 * PING_INTERVAL).await;
    assert!(gateway.is_left_alone());
    peer.ping().await;
    peer.say(publication(3)).await;
    assert_eq!(next(&mut chat).await, "3");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_does_not_read_is_left_even_if_it_pings() {
    let (mut gateway, client, mut peer) = Gateway::with_client().await;
    let begun_at = Instant::now();
    let large = "x".repeat(10_000);
    let published = tokio::spawn({
        let client = client.clone();
        async move { client.publish(&channel("chat"), &large, PublishOptions::default()).await }
    });
    for _ in 0..9 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        peer.ping().await;
    }
    gateway.attempt().await;
    let waited = begun_at.elapsed();
    assert!(waited >= Duration::from_secs(10) && waited < Duration::from_secs(11), "{waited:?}");
    assert!(matches!(published.await.unwrap(), Err(PublishError::UnknownOutcome(_))));
}

#[tokio::test(start_paused = true)]
async fn commands_are_sent_but_their_answers_wait_unread() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let _chat = unread(&client, &mut peer).await;
    flood(&mut peer).await;
    let pinged = tokio::spawn({
        let client = client.clone();
        async move { client.ping().await }
    });
    peer.hear_a("ping").await;
    assert!(matches!(pinged.await.unwrap(), Err(RequestError::TimedOut)));
}

#[tokio::test(start_paused = true)]
async fn a_client_closed_for_reading_slowly_comes_back_once_it_has_read_and_recovers_the_rest() {
    let (mut gateway, client, mut peer) = Gateway::with_client().await;
    let mut chat = unread(&client, &mut peer).await;
    for offset in 1..=4 {
        peer.say(publication(offset)).await;
    }
    peer.close_at_once(4102).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(gateway.is_left_alone(), "it is not back before the application has read");
    assert_eq!(take(&mut chat, 5).await, ["subscribed", "1", "2", "3", "4"]);
    let mut peer = gateway.welcome().await;
    let missed = json!([{"offset": 5, "time": 1, "data": 5}, {"offset": 6, "time": 1, "data": 6}]);
    let answer = json!({"epoch": "e1", "offset": 6, "recovered": true, "publications": missed});
    assert_eq!(peer.answer_subscription(answer).await["recover"], json!({"epoch": "e1", "offset": 4}));
    assert_eq!(take(&mut chat, 3).await, ["recovered", "5", "6"]);
}

#[tokio::test(start_paused = true)]
async fn the_next_attempt_waits_until_what_came_before_has_been_read() {
    let (mut gateway, client, mut peer) = Gateway::with_client().await;
    let mut chat = unread(&client, &mut peer).await;
    peer.say(json!({"type": "gap", "channel": "chat", "from": 1, "to": 1})).await;
    peer.say(json!({"type": "gap", "channel": "chat", "from": 2, "to": 2})).await;
    drop(peer);
    // It cannot see that the connection is gone, unless by writing.
    let _ = client.ping().await;
    until(&client, |state| matches!(state, State::Waiting { .. })).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(gateway.is_left_alone());
    assert_eq!(take(&mut chat, 3).await, ["subscribed", "gap Some((1, 1)) Told", "gap Some((2, 2)) Told"]);
    let mut peer = gateway.welcome().await;
    assert_eq!(peer.take_subscription(2).await["recover"], json!({"epoch": "e1", "offset": 2}));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_stream_that_was_not_read_lets_the_others_go_on() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let chat = unread(&client, &mut peer).await;
    let news = client.subscribe(&channel("news"), SubscribeOptions::default()).await.unwrap();
    peer.answer_subscription(json!({"publications": []})).await;
    flood(&mut peer).await;
    let mut news = news;
    assert_eq!(next(&mut news).await, "subscribed");
    drop(chat);
    peer.hear_a("unsubscribe").await;
    peer.say(json!({"type": "publication", "channel": "news", "time": 1, "data": 0})).await;
    assert_eq!(next(&mut news).await, "live");
}
