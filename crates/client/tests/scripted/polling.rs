//! Where no WebSocket can be opened: long polling, and the way back.

use crate::gateway::{Gateway, Peer, channel, next, subscribe, take, until, until_closed};
use crate::post::{Asked, Post};
use client::{Client, PublishOptions, State, Subscription, Token};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// A client whose WebSockets fail to open.
async fn polling_client() -> (Gateway, Post, Client) {
    let (mut gateway, mut config) = Gateway::new();
    config.may_poll = true;
    config.token = Some(Token::fixed("ann.token"));
    let client = Client::connect(config).unwrap();
    gateway.attempt().await.refuse(502, None).await;
    gateway.attempt().await.refuse(400, None).await;
    let mut post = Post::new();
    post.open(&mut gateway).await;
    client.connected().await.unwrap();
    (gateway, post, client)
}

fn subscribed(id: &Value, offset: u64) -> Value {
    json!([{"type": "subscribed", "id": id, "channel": "chat", "epoch": "e1", "offset": offset, "recovered": false, "publications": []}])
}

fn publication(offset: u64) -> Value {
    json!({"type": "publication", "channel": "chat", "offset": offset, "time": 1, "data": offset})
}

/// The same, subscribed to `chat` at offset 3, and the poll that waits.
async fn subscribed_client() -> (Gateway, Post, Client, Subscription, Asked) {
    let (mut gateway, mut post, client) = polling_client().await;
    let mut chat = subscribe(&client).await;
    let (command, poll) = post.both(&mut gateway).await;
    poll.say(subscribed(&command.command()["id"], 3));
    command.take();
    assert_eq!(next(&mut chat).await, "subscribed");
    let poll = post.expect(&mut gateway, "GET /poll?session=s1").await;
    (gateway, post, client, chat, poll)
}

/// The next stream is for a WebSocket, and opens.
async fn web_socket(gateway: &mut Gateway) -> Peer {
    gateway.attempt().await.welcome().await
}

#[tokio::test(start_paused = true)]
async fn after_two_websockets_that_did_not_open_the_same_is_spoken_by_polls() {
    let (mut gateway, mut post, client, mut chat, poll) = subscribed_client().await;
    assert!(matches!(&*client.state().borrow(), State::Connected { polls: true, .. }));
    poll.say(json!([publication(4), publication(5)]));
    assert_eq!(take(&mut chat, 2).await, ["4", "5"]);
    let publishing = tokio::spawn({
        let client = client.clone();
        async move { client.publish(&channel("chat"), "hello", PublishOptions::default()).await }
    });
    let (command, poll) = post.both(&mut gateway).await;
    assert_eq!((&command.line, &command.authorization), (&"POST /poll?session=s1".to_owned(), &None));
    let id = command.command()["id"].clone();
    assert_eq!(command.command()["data"], "hello");
    command.take();
    poll.say(json!([{"type": "published", "id": id, "channel": "chat", "epoch": "e1", "offset": 6}]));
    assert_eq!(publishing.await.unwrap().unwrap().position.unwrap().offset, 6);
}

#[tokio::test(start_paused = true)]
async fn the_token_opens_a_session() {
    let (mut gateway, mut config) = Gateway::new();
    config.may_poll = true;
    config.token = Some(Token::fixed("ann.token"));
    let client = Client::connect(config).unwrap();
    gateway.attempt().await.refuse(502, None).await;
    gateway.attempt().await.refuse(502, None).await;
    let asked = Post::new().expect(&mut gateway, "POST /poll").await;
    assert_eq!(asked.authorization.as_deref(), Some("Bearer ann.token"));
    asked.refuse(401);
    assert_eq!(until_closed(&client).await.0, Some(4001));
}

#[tokio::test(start_paused = true)]
async fn commands_go_one_request_after_another_and_several_at_once() {
    let (mut gateway, mut post, client, _chat, _poll) = subscribed_client().await;
    let ask = |data: u64| {
        let client = client.clone();
        tokio::spawn(async move { client.publish(&channel("chat"), &data, PublishOptions::default()).await })
    };
    let _first = ask(1);
    let first = post.next(&mut gateway).await;
    assert_eq!(first.command()["data"], 1);
    let _others = (ask(2), ask(3));
    // Nothing else is due, so that both have been asked for when this time has passed.
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.take();
    let others = post.next(&mut gateway).await.command();
    let data: Vec<_> = others.as_array().unwrap().iter().map(|command| command["data"].as_u64().unwrap()).collect();
    assert_eq!(data, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn polls_that_say_nothing_are_repeated_and_none_at_all_is_silence() {
    let (mut gateway, mut post, client, _chat, mut poll) = subscribed_client().await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(8)).await;
        poll.say(json!([]));
        poll = post.expect(&mut gateway, "GET /poll?session=s1").await;
    }
    let since = Instant::now();
    until(&client, |state| !state.is_connected()).await;
    // Two and a half pings.
    assert!(since.elapsed() >= Duration::from_secs(25) && since.elapsed() < Duration::from_secs(26));
    assert!(!poll.is_waiting());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_lost_is_opened_anew_and_goes_on_where_it_was() {
    let (mut gateway, mut post, _client, mut chat, poll) = subscribed_client().await;
    poll.refuse(404);
    post.open(&mut gateway).await;
    let (command, poll) = post.both(&mut gateway).await;
    let command = command.command();
    assert_eq!(command["recover"], json!({"epoch": "e1", "offset": 3}));
    let publications = [publication(4)];
    poll.say(json!([{
        "type": "subscribed", "id": command["id"], "channel": "chat", "epoch": "e1", "offset": 4, "recovered": true,
        "publications": publications,
    }]));
    assert_eq!(take(&mut chat, 2).await, ["recovered", "4"]);
}

#[tokio::test(start_paused = true)]
async fn a_close_is_obeyed() {
    let (mut gateway, _post, client, _chat, poll) = subscribed_client().await;
    poll.say(json!([{"type": "close", "code": 4003, "reason": "forbidden"}]));
    assert_eq!(until_closed(&client).await, (Some(4003), "forbidden".to_owned()));
    assert!(gateway.is_left_alone());
}

#[tokio::test(start_paused = true)]
async fn a_websocket_that_opens_after_a_minute_takes_over_and_misses_nothing() {
    let (mut gateway, mut post, client, mut chat, mut poll) = subscribed_client().await;
    let since = Instant::now();
    let mut peer = loop {
        tokio::select! {
            peer = web_socket(&mut gateway) => break peer,
            () = tokio::time::sleep(Duration::from_secs(8)) => {
                poll.say(json!([]));
                poll = post.expect(&mut gateway, "GET /poll?session=s1").await;
            }
        }
    };
    assert!(since.elapsed() >= Duration::from_secs(59), "{:?}", since.elapsed());
    let publications = json!([publication(4)]);
    let fields = json!({"epoch": "e1", "offset": 4, "recovered": true, "publications": publications});
    let asked = peer.answer_subscription(fields).await;
    assert_eq!(asked["recover"], json!({"epoch": "e1", "offset": 3}));
    assert_eq!(take(&mut chat, 2).await, ["recovered", "4"]);
    post.expect(&mut gateway, "DELETE /poll?session=s1").await.take();
    assert!(matches!(&*client.state().borrow(), State::Connected { polls: false, .. }));
    peer.publication(5).await;
    assert_eq!(next(&mut chat).await, "5");
}

#[tokio::test(start_paused = true)]
async fn where_the_gateway_prefers_the_newer_of_two_connections_the_websocket_stays() {
    let (mut gateway, mut post, client, mut chat, mut poll) = subscribed_client().await;
    let attempt = loop {
        tokio::select! {
            attempt = gateway.attempt() => break attempt,
            () = tokio::time::sleep(Duration::from_secs(8)) => {
                poll.say(json!([]));
                poll = post.expect(&mut gateway, "GET /poll?session=s1").await;
            }
        }
    };
    poll.say(json!([{"type": "close", "code": 4008, "reason": "replaced"}]));
    let mut peer = attempt.welcome().await;
    peer.take_subscription(3).await;
    assert_eq!(next(&mut chat).await, "subscribed");
    assert!(client.state().borrow().is_connected());
}

#[tokio::test(start_paused = true)]
async fn whoever_may_not_poll_goes_on_with_websockets() {
    let (mut gateway, mut config) = Gateway::new();
    config.may_poll = false;
    let client = Client::connect(config).unwrap();
    for _ in 0..6 {
        gateway.attempt().await.refuse(502, None).await;
    }
    let _peer = gateway.welcome().await;
    client.connected().await.unwrap();
}
