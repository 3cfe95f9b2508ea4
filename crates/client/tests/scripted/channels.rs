//! Subscribing, leaving, and what else happens in channels.

use crate::gateway::{Gateway, channel, next, subscribe, subscribed_at, take};
use client::{Client, Event, SubscribeError, SubscribeOptions};
use futures_util::FutureExt;
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn a_subscription_made_before_the_connection_is_asked_for_once_it_is_there() {
    let (mut gateway, config) = Gateway::new();
    let client = Client::connect(config).unwrap();
    let mut chat = subscribe(&client).await;
    let mut peer = gateway.welcome().await;
    let asked = peer.take_subscription(3).await;
    assert_eq!((&asked["channel"], asked.get("recover")), (&json!("chat"), None));
    peer.publication(4).await;
    assert_eq!(take(&mut chat, 2).await, ["subscribed", "4"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_there_comes_with_the_answer_and_who_comes_and_goes_as_events() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let options = SubscribeOptions { members: true, ..SubscribeOptions::default() };
    let mut chat = client.subscribe(&channel("chat"), options).await.unwrap();
    let members = json!([{"user": "ann", "clients": 2, "info": {"name": "Ann"}}]);
    let asked =
        peer.answer_subscription(json!({"publications": [], "members": members, "clients": 2, "users": 1})).await;
    assert_eq!(asked["members"], true);
    let Some(Event::Subscribed { members: Some(members), .. }) = chat.next().await else { panic!("no members") };
    assert_eq!((members.clients, members.users), (2, 1));
    let bob = |clients: u64| json!({"user": "bob", "clients": clients});
    peer.say(json!({"type": "join", "channel": "chat", "member": bob(1)})).await;
    peer.say(json!({"type": "leave", "channel": "chat", "member": bob(0), "cause": "lost"})).await;
    assert_eq!(take(&mut chat, 2).await, ["join bob", "leave bob Some(Lost)"]);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_subscription_ends_it_at_the_gateway() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let chat = subscribed_at(&client, &mut peer, 0).await;
    drop(chat);
    assert_eq!(peer.hear().await, json!({"type": "unsubscribe", "channel": "chat"}));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_subscription_is_not_asked_for_again() {
    let (mut gateway, client, mut peer) = Gateway::with_client().await;
    let chat = subscribed_at(&client, &mut peer, 0).await;
    drop(peer);
    drop(chat);
    let mut peer = gateway.welcome().await;
    let pinged = tokio::spawn(async move { client.ping().await });
    let first = peer.hear_a("ping").await;
    peer.say(json!({"type": "pong", "id": first["id"]})).await;
    pinged.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_channel_has_one_subscription_at_a_time_and_another_once_that_is_dropped() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let first = subscribed_at(&client, &mut peer, 0).await;
    let second = client.subscribe(&channel("chat"), SubscribeOptions::default()).await;
    assert!(matches!(second, Err(SubscribeError::AlreadySubscribed)));
    drop(first);
    let mut third = subscribe(&client).await;
    peer.hear_a("unsubscribe").await;
    peer.take_subscription(1).await;
    assert_eq!(next(&mut third).await, "subscribed");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_whose_making_was_given_up_is_not_there() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let chat = channel("chat");
    let given_up = client.subscribe(&chat, SubscribeOptions::default()).now_or_never();
    assert!(given_up.is_none(), "its order is given and not yet taken");
    let mut again = subscribe(&client).await;
    peer.take_subscription(0).await;
    assert_eq!(next(&mut again).await, "subscribed");
}

#[tokio::test(start_paused = true)]
async fn a_refused_subscription_ends_with_the_reason() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let mut chat = subscribe(&client).await;
    let asked = peer.hear_a("subscribe").await;
    let (id, code) = (&asked["id"], "permission_denied");
    peer.say(json!({"type": "error", "id": id, "code": code, "message": "not you", "temporary": false})).await;
    assert_eq!(take(&mut chat, 2).await, ["unsubscribed permission_denied", "the end"]);
}

#[tokio::test(start_paused = true)]
async fn a_gap_and_a_jump_of_offsets_are_told_and_counted() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let mut chat = subscribed_at(&client, &mut peer, 4).await;
    peer.say(json!({"type": "gap", "channel": "chat", "from": 5, "to": 6, "epoch": "e1"})).await;
    peer.publication(7).await;
    peer.publication(9).await;
    let expected = ["gap Some((5, 6)) Told", "7", "gap Some((8, 8)) Jump", "9"];
    assert_eq!(take(&mut chat, 4).await, expected);
    assert_eq!((client.stats().gaps, client.stats().jumps), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn private_messages_go_to_whoever_reads_them_last() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let whisper = |text: &str| json!({"type": "message", "from": {"client": "n2.c.9", "user": "ann"}, "data": text});
    let mut first = client.messages(8).await.unwrap();
    peer.say(whisper("one")).await;
    let message = first.next().await.unwrap();
    assert_eq!((message.data.parse::<String>().unwrap(), &*message.from.client), ("one".to_owned(), "n2.c.9"));
    let mut second = client.messages(8).await.unwrap();
    assert_eq!(first.next().await, None);
    peer.say(whisper("two")).await;
    assert_eq!(second.next().await.unwrap().data.as_json(), Some("\"two\""));
}
