//! Who may connect, how a token is shown, and how long it holds.

use e2e::{Backend, Client, Cluster, RawSocket, handshake, tokens};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const FOREIGN: &str = "https://evil.example";

fn auth(token: &str) -> Value {
    json!({"type": "auth", "token": token})
}

async fn one_node(settings: &[&str]) -> Cluster {
    Cluster::of(1, Backend::Memory).with_tokens().settings(settings).start().await
}

/// Who the gateway takes a client for: what its own publication says of it.
async fn user_of(client: &mut Client) -> Value {
    client.subscribe("who").await;
    client.publish("who", json!("me")).await;
    client.next_publication().await["from"]["user"].take()
}

/// A connection that has shown no token yet.
async fn is_unknown(client: &mut Client) {
    client.refused(json!({"type": "subscribe", "channel": "who"}), "unauthenticated").await;
}

#[tokio::test]
async fn a_token_is_taken_from_the_header() {
    let cluster = one_node(&[]).await;
    let mut ann = cluster.connect(0).token(&tokens::of("ann")).open().await;
    assert_eq!(user_of(&mut ann).await, "ann");
}

#[tokio::test]
async fn a_token_is_taken_from_a_subprotocol_that_is_not_the_one_selected() {
    let cluster = one_node(&[]).await;
    let bearer = format!("gateway.bearer.{}", tokens::of("ann"));
    let connect = cluster.connect(0).as_page().subprotocols(&["gateway.v1.json", &bearer]);
    let mut ann = connect.open().await;
    assert_eq!(ann.subprotocol(), Some("gateway.v1.json"));
    assert_eq!(user_of(&mut ann).await, "ann");
}

#[tokio::test]
async fn a_token_is_taken_from_the_first_message_and_nothing_before_it() {
    let cluster = one_node(&[]).await;
    let mut ann = cluster.client(0).await;
    for command in [
        json!({"type": "subscribe", "channel": "chat"}),
        json!({"type": "unsubscribe", "channel": "chat"}),
        json!({"type": "publish", "channel": "chat", "data": 1}),
        json!({"type": "send", "to": ann.id(), "data": 1}),
        json!({"type": "presence", "channel": "chat"}),
        json!({"type": "history", "channel": "chat"}),
    ] {
        ann.refused(command, "unauthenticated").await;
    }
    ann.granted(json!({"type": "ping"}), "pong").await;
    let authed = ann.granted(auth(&tokens::of("ann")), "authed").await;
    assert_eq!(authed["user"], "ann");
    assert!(authed["expires_in"].as_u64().is_some_and(|left| (3590..=3605).contains(&left)), "{authed}");
    assert_eq!(user_of(&mut ann).await, "ann");
}

#[tokio::test]
async fn the_first_message_and_the_next_command_may_come_in_one_breath() {
    let cluster = one_node(&[]).await;
    let mut ann = cluster.client(0).await;
    let mut array = json!([auth(&tokens::of("ann")), {"type": "subscribe", "id": 2, "channel": "chat"}]);
    array[0]["id"] = json!(1);
    ann.send(&array).await;
    assert_eq!(ann.reply_to(&json!(1)).await["type"], "authed");
    assert_eq!(ann.reply_to(&json!(2)).await["type"], "subscribed");
}

#[tokio::test]
async fn a_cookie_counts_where_it_is_named() {
    let cookie = format!("theme=dark; session={}; other=1", tokens::of("ann"));
    let with = one_node(&["auth.cookie=session"]).await;
    let mut ann = with.connect(0).as_page().header("cookie", &cookie).open().await;
    assert_eq!(user_of(&mut ann).await, "ann");
    let without = one_node(&[]).await;
    is_unknown(&mut without.connect(0).as_page().header("cookie", &cookie).open().await).await;
}

#[tokio::test]
async fn the_query_counts_where_it_is_switched_on() {
    let query = format!("v=1&token={}", tokens::of("ann"));
    let with = one_node(&["auth.query=true"]).await;
    assert_eq!(user_of(&mut with.connect(0).query(&query).open().await).await, "ann");
    let without = one_node(&[]).await;
    is_unknown(&mut without.connect(0).query(&query).open().await).await;
}

#[tokio::test]
async fn of_several_tokens_the_first_place_counts() {
    let cluster = one_node(&["auth.query=true", "auth.cookie=session"]).await;
    let bearer = format!("gateway.bearer.{}", tokens::of("by subprotocol"));
    let connect = || {
        let cookie = format!("session={}", tokens::of("by cookie"));
        cluster.connect(0).query(&format!("token={}", tokens::of("by query"))).header("cookie", &cookie)
    };
    assert_eq!(user_of(&mut connect().open().await).await, "by cookie");
    let connect = || connect().subprotocols(&["gateway.v1.json", &bearer]);
    assert_eq!(user_of(&mut connect().open().await).await, "by subprotocol");
    assert_eq!(user_of(&mut connect().token(&tokens::of("by header")).open().await).await, "by header");
    let refused = connect().token("nonsense").refused().await;
    assert_eq!(refused.status, 401, "a bad token is not passed over for a good one");
}

#[tokio::test]
async fn whoever_shows_no_token_in_time_is_closed() {
    let cluster = one_node(&["auth.timeout=1500ms"]).await;
    let began = Instant::now();
    let mut client = cluster.client(0).await;
    let mut in_time = cluster.client(0).await;
    in_time.granted(auth(&tokens::of("ann")), "authed").await;
    client.granted(json!({"type": "ping"}), "pong").await;
    assert_eq!(client.expect_close().await, 4001);
    assert!(began.elapsed() >= Duration::from_millis(1500), "after {:?}", began.elapsed());
    in_time.granted(json!({"type": "ping"}), "pong").await;
}

#[tokio::test]
async fn a_bad_token_in_the_first_message_is_the_only_try() {
    let cluster = one_node(&[]).await;
    let mut client = cluster.client(0).await;
    client.refused(auth("nonsense"), "unauthenticated").await;
    assert_eq!(client.expect_close().await, 4001);
}

#[tokio::test]
async fn audience_and_issuer_are_checked_where_they_are_set() {
    let cluster = one_node(&["auth.audience=chat", "auth.issuer=login"]).await;
    let exp = tokens::in_seconds(60);
    let good = json!({"sub": "ann", "exp": exp, "aud": ["mail", "chat"], "iss": "login"});
    assert_eq!(user_of(&mut cluster.connect(0).token(&tokens::signed(&good)).open().await).await, "ann");
    for bad in [
        json!({"sub": "ann", "exp": exp}),
        json!({"sub": "ann", "exp": exp, "aud": "chat"}),
        json!({"sub": "ann", "exp": exp, "aud": "mail", "iss": "login"}),
        json!({"sub": "ann", "exp": exp, "aud": "chat", "iss": "somebody"}),
    ] {
        assert_eq!(cluster.connect(0).token(&tokens::signed(&bad)).refused().await.status, 401, "{bad}");
    }
}

#[tokio::test]
async fn tokens_of_the_previous_secret_are_still_taken() {
    let cluster = one_node(&["auth.previous_hmac_secret=the secret before"]).await;
    let claims = json!({"sub": "ann", "exp": tokens::in_seconds(60)});
    let old = tokens::signed_with("the secret before", &claims);
    assert_eq!(user_of(&mut cluster.connect(0).token(&old).open().await).await, "ann");
    assert_eq!(user_of(&mut cluster.user(0, "bob").await).await, "bob");
}

#[tokio::test]
async fn a_page_of_a_foreign_origin_is_closed_whatever_it_shows() {
    let cluster = one_node(&["auth.cookie=session"]).await;
    let cookie = format!("session={}", tokens::of("ann"));
    for origin in [FOREIGN, "null", "http://127.0.0.1:1"] {
        let mut page = cluster.connect(0).origin(origin).header("cookie", &cookie).open().await;
        assert_eq!(page.expect_close().await, 4003, "{origin}");
    }
}

#[tokio::test]
async fn a_refused_page_can_do_nothing_before_its_close() {
    let cluster = one_node(&["auth.anonymous=true"]).await;
    let mut reader = cluster.client(0).await;
    reader.subscribe("chat").await;
    let mut page = RawSocket::connect(cluster.address(0)).await;
    let request = handshake(cluster.address(0), "/ws").replace("\r\n\r\n", &format!("\r\norigin: {FOREIGN}\r\n\r\n"));
    let publish = br#"{"type":"publish","id":1,"channel":"chat","data":"stolen"}"#;
    page.send(&[request.as_bytes(), &e2e::frames::whole(e2e::frames::TEXT, publish)].concat()).await;
    assert_eq!(page.answer().await.status, 101);
    assert!(page.text().await.contains("welcome"));
    page.expect_close(4003).await;
    reader.publish("chat", json!("mine")).await;
    assert_eq!(reader.next_publication().await["data"], "mine");
}

#[tokio::test]
async fn listed_origins_may_connect_and_others_may_not() {
    let cluster = one_node(&["auth.anonymous=true", "origins=https://app.example, http://localhost:3000"]).await;
    for origin in ["https://app.example", "http://localhost:3000"] {
        cluster.connect(0).origin(origin).open().await.subscribe("chat").await;
    }
    for origin in ["https://app.example.evil", "http://app.example"] {
        assert_eq!(cluster.connect(0).origin(origin).open().await.expect_close().await, 4003, "{origin}");
    }
    let open = one_node(&["auth.anonymous=true", "origins=*"]).await;
    open.connect(0).origin(FOREIGN).open().await.subscribe("chat").await;
}

#[tokio::test]
async fn without_keys_anyone_may_connect_and_no_token_is_taken() {
    let cluster = Cluster::start(1, Backend::Memory).await;
    let mut anyone = cluster.client(0).await;
    assert_eq!(user_of(&mut anyone).await, Value::Null);
    let own = json!([{"user": anyone.id(), "clients": 1}]);
    assert_eq!(anyone.presence("who").await["members"], own, "a stranger is its own user");
    anyone.refused(auth(&tokens::of("ann")), "unauthenticated").await;
    anyone.granted(json!({"type": "ping"}), "pong").await;
    assert_eq!(cluster.connect(0).token(&tokens::of("ann")).refused().await.status, 401);
}

#[tokio::test]
async fn a_token_can_be_renewed_before_it_ends() {
    let cluster = one_node(&[]).await;
    let mut ann = cluster.connect(0).token(&tokens::ending_in("ann", 3)).open().await;
    let mut bob = cluster.connect(0).token(&tokens::ending_in("bob", 3)).open().await;
    for client in [&mut ann, &mut bob] {
        let expiring = client.next().await;
        assert_eq!(expiring["type"], "expiring");
        assert!(expiring["in_ms"].as_u64().is_some_and(|left| (1..=3250).contains(&left)), "{expiring}");
    }
    ann.granted(auth(&tokens::of("ann")), "authed").await;
    assert_eq!(bob.expect_close().await, 4104);
    // Both would have ended together.
    sleep(Duration::from_millis(500)).await;
    ann.hears_nothing().await;
    assert_eq!(user_of(&mut ann).await, "ann");
}

#[tokio::test]
async fn a_renewal_may_be_refused_and_changes_nothing_then() {
    let cluster = one_node(&[]).await;
    let mut ann = cluster.user(0, "ann").await;
    ann.refused(auth(&tokens::of("bob")), "permission_denied").await;
    ann.refused(auth("nonsense"), "unauthenticated").await;
    assert_eq!(user_of(&mut ann).await, "ann");
}

#[tokio::test]
async fn whoever_is_subscribed_already_does_not_become_a_user() {
    let cluster = one_node(&["auth.anonymous=true"]).await;
    let mut anyone = cluster.client(0).await;
    anyone.subscribe("chat").await;
    anyone.refused(auth(&tokens::of("ann")), "permission_denied").await;
    anyone.granted(json!({"type": "unsubscribe", "channel": "chat"}), "unsubscribed").await;
    anyone.granted(auth(&tokens::of("ann")), "authed").await;
    assert_eq!(user_of(&mut anyone).await, "ann");
}
