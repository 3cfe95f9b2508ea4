//! Publications and questions over connections that hold and break.

use crate::gateway::{Gateway, Peer, channel, next, subscribed_at};
use client::{Client, HistoryOptions, Invalid, Position, PublishError, PublishOptions, Published, RequestError, Since};
use serde_json::{Value, json};
use std::future::Future;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

fn publish(client: &Client, options: PublishOptions) -> JoinHandle<Result<Published, PublishError>> {
    let client = client.clone();
    tokio::spawn(async move { client.publish(&channel("chat"), "hello", options).await })
}

fn at(offset: u64) -> Option<Position> {
    Some(Position { epoch: "e1".into(), offset })
}

/// Asks, and lets the gateway answer with these fields; returns the command and the answer.
async fn ask<T: Send + 'static>(
    peer: &mut Peer,
    asking: impl Future<Output = T> + Send + 'static,
    mut reply: Value,
) -> (Value, T) {
    let asked = tokio::spawn(asking);
    let mut command = peer.hear().await;
    reply["id"] = command["id"].take();
    peer.say(reply).await;
    command.as_object_mut().unwrap().remove("id");
    (command, asked.await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_publication_says_what_it_was_told_to_and_is_answered_with_its_position() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let options = PublishOptions {
        event: Some("message".into()),
        key: Some("8c1f2b60".into()),
        echo: false,
        ..PublishOptions::default()
    };
    let published = publish(&client, options);
    let mut command = peer.take_publication(5).await;
    command.as_object_mut().unwrap().remove("id");
    let expected = json!({"type": "publish", "channel": "chat", "data": "hello", "event": "message", "key": "8c1f2b60",
        "echo": false});
    assert_eq!(command, expected);
    assert_eq!(published.await.unwrap().unwrap().position, at(5));
}

#[tokio::test(start_paused = true)]
async fn while_there_is_no_connection_publications_wait_for_one() {
    let (mut gateway, client, peer) = Gateway::with_client().await;
    drop(peer);
    let published = publish(&client, PublishOptions::default());
    gateway.welcome().await.take_publication(5).await;
    assert_eq!(published.await.unwrap().unwrap().position, at(5));
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_too_long_has_not_been_published() {
    let (mut gateway, config) = Gateway::new();
    let client = Client::connect(config).unwrap();
    let _held = gateway.attempt().await.ignore();
    let begun_at = Instant::now();
    let options = PublishOptions { timeout: Some(Duration::from_secs(3)), ..PublishOptions::default() };
    let outcome = publish(&client, options).await.unwrap();
    assert!(matches!(outcome, Err(PublishError::TimedOut)));
    assert!(begun_at.elapsed() >= Duration::from_secs(3) && begun_at.elapsed() < Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn more_than_may_wait_are_refused_at_once() {
    let (mut gateway, mut config) = Gateway::new();
    config.queue_messages = 1;
    let client = Client::connect(config).unwrap();
    let _held = gateway.attempt().await.ignore();
    let _waits = publish(&client, PublishOptions::default());
    tokio::task::yield_now().await;
    let outcome = publish(&client, PublishOptions::default()).await.unwrap();
    assert!(matches!(outcome, Err(PublishError::QueueFull)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_before_the_answer_leaves_the_outcome_unknown() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let published = publish(&client, PublishOptions::default());
    peer.hear_a("publish").await;
    drop(peer);
    assert!(matches!(published.await.unwrap(), Err(PublishError::UnknownOutcome(_))));
}

#[tokio::test(start_paused = true)]
async fn with_a_key_it_is_repeated_with_the_same_key() {
    let (mut gateway, client, mut peer) = Gateway::with_client().await;
    let published = publish(&client, PublishOptions::keyed());
    let first = peer.hear_a("publish").await;
    drop(peer);
    let second = gateway.welcome().await.take_publication(5).await;
    assert_eq!(first["key"], second["key"]);
    assert_eq!(published.await.unwrap().unwrap().position, at(5));
}

#[tokio::test(start_paused = true)]
async fn random_keys_differ() {
    assert_ne!(PublishOptions::keyed().key, PublishOptions::keyed().key);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_with_its_code() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let published = publish(&client, PublishOptions::default());
    let id = peer.hear_a("publish").await["id"].take();
    let refusal = json!({"type": "error", "id": id, "code": "too_large", "message": "over 4 KiB", "temporary": false});
    peer.say(refusal).await;
    let Err(PublishError::Refused(refusal)) = published.await.unwrap() else { panic!("not refused") };
    assert_eq!((refusal.code, refusal.message.as_str()), (Some(client::ErrorCode::TooLarge), "over 4 KiB"));
}

#[tokio::test(start_paused = true)]
async fn ones_own_publications_without_echo_leave_no_gap() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let mut chat = subscribed_at(&client, &mut peer, 4).await;
    let published = publish(&client, PublishOptions { echo: false, ..PublishOptions::default() });
    peer.take_publication(5).await;
    peer.publication(6).await;
    assert_eq!(next(&mut chat).await, "6");
    published.await.unwrap().unwrap();
    assert_eq!(client.stats().gaps, 0);
}

#[tokio::test(start_paused = true)]
async fn what_no_gateway_would_understand_is_not_sent() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let chat = channel("chat");
    let bad_key = PublishOptions { key: Some(String::new()), ..PublishOptions::default() };
    let bad_event = PublishOptions { event: Some("x".repeat(256)), ..PublishOptions::default() };
    for options in [bad_key, bad_event] {
        let outcome = client.publish(&chat, &1, options).await;
        assert!(matches!(outcome, Err(PublishError::Invalid(Invalid::Name(_)))));
    }
    let not_json = std::collections::HashMap::from([(vec![1], 2)]);
    let outcome = client.publish(&chat, &not_json, PublishOptions::default()).await;
    assert!(matches!(outcome, Err(PublishError::Invalid(Invalid::Data(_)))));
    let large = "x".repeat(70_000);
    let outcome = client.publish(&chat, &large, PublishOptions::default()).await;
    assert!(matches!(outcome, Err(PublishError::TooLarge { max: 65536, .. })));
    assert!(matches!(client.send("", &1, None).await, Err(RequestError::Invalid(_))));
    let (command, _) = ask(&mut peer, async move { client.ping().await }, json!({"type": "pong"})).await;
    assert_eq!(command, json!({"type": "ping"}), "nothing was sent before");
}

#[tokio::test(start_paused = true)]
async fn every_question_is_asked_and_answered_in_its_own_words() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let each = || (client.clone(), channel("chat"));

    let (c, _) = each();
    let sending = async move { c.send("n2.c.9", &json!({"text": "hi"}), Some("whisper")).await };
    let (command, sent) = ask(&mut peer, sending, json!({"type": "sent"})).await;
    assert_eq!(command, json!({"type": "send", "to": "n2.c.9", "data": {"text": "hi"}, "event": "whisper"}));
    sent.unwrap();

    let (c, chat) = each();
    let reply = json!({"type": "presence", "channel": "chat", "members": [], "clients": 0, "users": 0});
    let (command, members) = ask(&mut peer, async move { c.presence(&chat).await }, reply).await;
    assert_eq!(command, json!({"type": "presence", "channel": "chat"}));
    assert_eq!(members.unwrap().list, Some(vec![]));

    let (c, chat) = each();
    let reply = json!({"type": "presence", "channel": "chat", "clients": 4711, "users": 4000});
    let (command, members) = ask(&mut peer, async move { c.presence_count(&chat).await }, reply).await;
    assert_eq!(command, json!({"type": "presence", "channel": "chat", "count_only": true}));
    assert_eq!(members.unwrap().users, 4000);

    let (c, chat) = each();
    let since = Some(Since { epoch: Some("e1".into()), offset: 41 });
    let options = HistoryOptions { limit: Some(10), since, reverse: true };
    let publications = json!([{"offset": 42, "time": 1, "data": {"text": "hello"}}]);
    let reply =
        json!({"type": "history", "channel": "chat", "epoch": "e1", "offset": 43, "publications": publications});
    let (command, history) = ask(&mut peer, async move { c.history(&chat, options).await }, reply).await;
    let since = json!({"epoch": "e1", "offset": 41});
    assert_eq!(command, json!({"type": "history", "channel": "chat", "limit": 10, "since": since, "reverse": true}));
    let history = history.unwrap();
    assert_eq!((history.position, history.publications[0].offset), (at(43), Some(42)));
}

#[tokio::test(start_paused = true)]
async fn a_question_without_a_connection_or_an_answer_is_told_why() {
    let (mut gateway, client, mut peer) = Gateway::with_client().await;
    let asking = || {
        let client = client.clone();
        tokio::spawn(async move { client.ping().await })
    };
    let unanswered = asking();
    peer.hear_a("ping").await;
    assert!(matches!(unanswered.await.unwrap(), Err(RequestError::TimedOut)));
    let lost = asking();
    peer.hear_a("ping").await;
    drop(peer);
    assert!(matches!(lost.await.unwrap(), Err(RequestError::ConnectionLost)));
    assert!(matches!(client.ping().await, Err(RequestError::Offline)));
    gateway.welcome().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_kind_than_was_asked_for_is_an_error() {
    let (_gateway, client, mut peer) = Gateway::with_client().await;
    let (_, outcome) = ask(&mut peer, async move { client.ping().await }, json!({"type": "sent"})).await;
    assert!(matches!(outcome, Err(RequestError::WrongAnswer)));
}
