//! The end of a client, by its application.

use crate::gateway::{Gateway, Peer, channel, next, subscribed_at, take, until_closed};
use client::{Client, PublishError, PublishOptions, RequestError, SubscribeError, SubscribeOptions, Subscription};
use futures_util::FutureExt;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn closing_says_goodbye_and_everything_ends() {
    let (mut gateway, client, mut peer) = Gateway::with_client().await;
    let mut chat = subscribed_at(&client, &mut peer, 0).await;
    let goodbye = tokio::spawn(peer.hear_close());
    client.close().await;
    assert_eq!(goodbye.await.unwrap(), 1000);
    assert_eq!(until_closed(&client).await.0, Some(1000));
    assert_eq!(next(&mut chat).await, "the end");
    let chat = channel("chat");
    let published = client.publish(&chat, &1, PublishOptions::default()).await;
    assert!(matches!(published, Err(PublishError::Closed(_))));
    let subscribed = client.subscribe(&chat, SubscribeOptions::default()).await;
    assert!(matches!(subscribed, Err(SubscribeError::Closed(_))));
    assert!(matches!(client.ping().await, Err(RequestError::Closed(_))));
    assert!(client.connected().await.is_err());
    client.close().await;
    assert!(gateway.is_left_alone());
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_does_not_answer_the_goodbye_is_not_waited_for() {
    let (_gateway, client, _peer) = Gateway::with_client().await;
    let closed = tokio::time::timeout(Duration::from_secs(2), client.close()).await;
    assert!(closed.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_client_can_be_closed_while_it_connects_and_while_it_waits() {
    let (mut gateway, config) = Gateway::new();
    let client = Client::connect(config).unwrap();
    let _held = gateway.attempt().await.ignore();
    client.close().await;
    assert_eq!(until_closed(&client).await.0, Some(1000));

    let (mut gateway, config) = Gateway::new();
    let client = Client::connect(config).unwrap();
    gateway.attempt().await.refuse(503, Some("3600")).await;
    client.close().await;
    assert_eq!(until_closed(&client).await.0, Some(1000));
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_closes_it_and_a_subscription_is_one() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let mut chat = subscribed_at(&client, &mut peer, 0).await;
    drop(client.clone());
    drop(client);
    peer.publication(1).await;
    assert_eq!(next(&mut chat).await, "1");
    drop(chat);
    // Whether the end of the subscription is still said depends on which is seen first.
    let code = peer.hear_close_after("unsubscribe").await;
    assert_eq!(code, 1000);
}

/// Five events, for which there is room for one.
async fn unread(client: &Client, peer: &mut Peer) -> Subscription {
    let options = SubscribeOptions { capacity: 1, ..SubscribeOptions::default() };
    let chat = client.subscribe(&channel("chat"), options).await.unwrap();
    let missed: Value = (1..=3).map(|offset| json!({"offset": offset, "time": 1, "data": 0})).collect();
    peer.answer_subscription(json!({"epoch": "e1", "offset": 3, "publications": missed})).await;
    chat
}

#[tokio::test(start_paused = true)]
async fn what_was_not_read_before_the_gateway_ended_it_can_still_be_read() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let mut chat = unread(&client, &mut peer).await;
    peer.close_at_once(4009).await;
    assert_eq!(take(&mut chat, 5).await, ["subscribed", "1", "2", "3", "the end"]);
    assert_eq!(until_closed(&client).await.0, Some(4009));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_read_before_the_application_ended_it_can_still_be_read() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let mut chat = unread(&client, &mut peer).await;
    client.ping().now_or_never();
    peer.hear_a("ping").await;
    client.close().await;
    assert_eq!(take(&mut chat, 5).await, ["subscribed", "1", "2", "3", "the end"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_gateway_said_at_the_end_is_heard_even_if_nothing_can_be_written_any_more() {
    for _ in 0..20 {
        let (_gateway, client, peer) = Gateway::with_client().await;
        let writing = tokio::spawn({
            let client = client.clone();
            async move { client.publish(&channel("chat"), &1, PublishOptions::default()).await }
        });
        peer.close_at_once(4009).await;
        assert!(writing.await.unwrap().is_err());
        assert_eq!(until_closed(&client).await.0, Some(4009));
    }
}
