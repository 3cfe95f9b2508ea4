//! Who the client says it is, and how that is kept fresh.

use crate::gateway::{Gateway, until, until_closed};
use client::{Client, State, Token};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Gives `token-1`, `token-2` and so on.
fn numbered() -> Token {
    let last = Arc::new(AtomicU32::new(0));
    Token::asked(move || {
        let number = last.fetch_add(1, Ordering::Relaxed) + 1;
        async move { Ok::<_, std::io::Error>(format!("token-{number}")) }
    })
}

#[tokio::test(start_paused = true)]
async fn a_fixed_token_is_shown_in_every_handshake() {
    let (mut gateway, mut config) = Gateway::new();
    config.token = Some(Token::fixed("secret"));
    let client = Client::connect(config).unwrap();
    for _ in 0..2 {
        assert_eq!(gateway.welcome().await.header("authorization"), Some("Bearer secret"));
    }
    assert!(!format!("{client:?}").contains("secret"), "and in no log");
}

#[tokio::test(start_paused = true)]
async fn the_application_is_asked_for_a_token_for_every_connection() {
    let (mut gateway, mut config) = Gateway::new();
    config.token = Some(numbered());
    let _client = Client::connect(config).unwrap();
    gateway.welcome().await.close(4104, "token expired").await;
    assert_eq!(gateway.welcome().await.header("authorization"), Some("Bearer token-2"));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ends_soon_is_replaced_on_the_same_connection() {
    let (mut gateway, mut config) = Gateway::new();
    config.token = Some(numbered());
    let _client = Client::connect(config).unwrap();
    let mut peer = gateway.welcome().await;
    peer.say(json!({"type": "expiring", "in_ms": 60_000})).await;
    let shown = peer.hear_a("auth").await;
    assert_eq!(shown["token"], "token-2");
    peer.say(json!({"type": "authed", "id": shown["id"], "user": "ann", "expires_in": 3600})).await;
    peer.say(json!({"type": "expiring", "in_ms": 60_000})).await;
    assert_eq!(peer.hear_a("auth").await["token"], "token-3");
    assert!(gateway.is_left_alone());
}

#[tokio::test(start_paused = true)]
async fn while_one_new_token_is_on_its_way_no_other_is_asked_for() {
    let (mut gateway, mut config) = Gateway::new();
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    config.token = Some(Token::asked(move || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::time::sleep(Duration::from_secs(u64::from(number))).await;
            Ok::<_, std::io::Error>(format!("token-{number}"))
        }
    }));
    let _client = Client::connect(config).unwrap();
    let mut peer = gateway.welcome().await;
    for _ in 0..3 {
        peer.say(json!({"type": "expiring", "in_ms": 60_000})).await;
    }
    assert_eq!(peer.hear_a("auth").await["token"], "token-1");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_had_is_asked_for_again_after_a_wait() {
    let (mut gateway, mut config) = Gateway::new();
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    config.token = Some(Token::asked(move || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move { if number < 2 { Err("the issuer is away") } else { Ok("token".to_owned()) } }
    }));
    let client = Client::connect(config).unwrap();
    let State::Waiting { reason, .. } = until(&client, |state| matches!(state, State::Waiting { .. })).await else {
        panic!("it waits")
    };
    assert!(reason.contains("the issuer is away"), "{reason}");
    assert_eq!(gateway.welcome().await.header("authorization"), Some("Bearer token"));
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn an_application_that_takes_too_long_for_a_token_does_not_hold_up_the_client() {
    let (_gateway, mut config) = Gateway::new();
    config.token = Some(Token::asked(std::future::pending::<Result<String, std::io::Error>>));
    let begun_at = Instant::now();
    let client = Client::connect(config).unwrap();
    until(&client, |state| matches!(state, State::Waiting { .. })).await;
    assert_eq!(begun_at.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_fits_in_no_header_closes_the_client() {
    let (_gateway, mut config) = Gateway::new();
    config.token = Some(Token::fixed("two\nlines"));
    let client = Client::connect(config).unwrap();
    assert_eq!(until_closed(&client).await.0, Some(4001));
}
