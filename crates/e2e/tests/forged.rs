//! Tokens that must not be taken, in every place where a token can be shown, and tokens in places where none should be.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use e2e::{Backend, Cluster, RawSocket, Signer, handshake, tokens};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

const RSA_PUBLIC: &str = include_str!("../../gateway/tests/keys/rsa.pub.pem");

/// A node that checks by a secret and by a public key at once, which is where the two could be confused.
async fn one_node(settings: &[&str]) -> Cluster {
    let keys = concat!("auth.public_key_file=", env!("CARGO_MANIFEST_DIR"), "/../gateway/tests/keys/rsa.pub.pem");
    Cluster::of(1, Backend::Memory).with_tokens().settings(&[keys]).settings(settings).start().await
}

fn encoded(part: &Value) -> String {
    BASE64URL.encode(part.to_string())
}

/// A token whose header and claims are these texts, signed with this secret.
fn written(secret: &str, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("a signature");
    format!("{message}.{signature}")
}

fn forged() -> Vec<(&'static str, String)> {
    let soon = tokens::in_seconds(60);
    let claims = json!({"sub": "ann", "exp": soon});
    let good = tokens::signed(&claims);
    let parts: Vec<&str> = good.split('.').collect();
    let root = encoded(&json!({"sub": "root", "exp": soon}));
    let unsigned = |alg: &str| format!("{}.{root}.", encoded(&json!({"alg": alg})));
    let with_header = |header: Value| written(tokens::SECRET, &header.to_string(), &claims.to_string());
    vec![
        ("nonsense", "nonsense".to_owned()),
        ("two parts", parts[..2].join(".")),
        ("four parts", format!("{good}.{}", parts[2])),
        ("another secret", tokens::signed_with("another secret", &claims)),
        ("an empty secret", tokens::signed_with("", &claims)),
        ("a wrong signature", format!("{}.{}.{}", parts[0], parts[1], parts[2].chars().rev().collect::<String>())),
        ("another user's claims", format!("{}.{root}.{}", parts[0], parts[2])),
        ("no algorithm", unsigned("none")),
        ("no algorithm, in capitals", unsigned("NONE")),
        ("an empty algorithm", unsigned("")),
        ("the public key as a secret", tokens::signed_with(RSA_PUBLIC, &claims)),
        ("the public key as a secret, trimmed", tokens::signed_with(RSA_PUBLIC.trim_end(), &claims)),
        ("a secret's signature said to be a key's", with_header(json!({"alg": "RS256"}))),
        ("another private key", Signer::RsaNext.token("any", "ann")),
        ("a key of another kind", Signer::P256.token("any", "ann")),
        ("a critical header", with_header(json!({"alg": "HS256", "crit": ["exp"], "exp": soon}))),
        ("an unencoded payload", with_header(json!({"alg": "HS256", "crit": ["b64"], "b64": false}))),
        ("a compressed payload", with_header(json!({"alg": "HS256", "zip": "DEF"}))),
        ("an algorithm given twice", written(tokens::SECRET, r#"{"alg":"none","alg":"HS256"}"#, &claims.to_string())),
        ("a long key name", with_header(json!({"alg": "HS256", "kid": "k".repeat(300)}))),
    ]
}

fn wrong_claims() -> Vec<(&'static str, String)> {
    let (soon, past) = (tokens::in_seconds(60), tokens::in_seconds(-60));
    let twice = format!(r#"{{"sub":"ann","exp":{past},"exp":{soon}}}"#);
    let signed = |claims: Value| tokens::signed(&claims);
    vec![
        ("over", signed(json!({"sub": "ann", "exp": past}))),
        ("over by the leeway", signed(json!({"sub": "ann", "exp": tokens::in_seconds(-tokens::LEEWAY_S)}))),
        ("not yet", signed(json!({"sub": "ann", "exp": soon, "nbf": soon}))),
        ("no end", signed(json!({"sub": "ann"}))),
        ("an end in words", signed(json!({"sub": "ann", "exp": soon.to_string()}))),
        ("an end that is negative", signed(json!({"sub": "ann", "exp": -1}))),
        ("an end given twice", written(tokens::SECRET, r#"{"alg":"HS256"}"#, &twice)),
        ("no user", signed(json!({"exp": soon}))),
        ("an empty user", signed(json!({"sub": "", "exp": soon}))),
        ("a user that is a number", signed(json!({"sub": 1, "exp": soon}))),
        ("a long user", signed(json!({"sub": "a".repeat(256), "exp": soon}))),
        ("much to say", signed(json!({"sub": "ann", "exp": soon, "info": "a".repeat(5000)}))),
        ("empty parts", signed(json!({"sub": "ann", "exp": soon})).replace('.', "..")),
        ("capabilities that are none", signed(json!({"sub": "ann", "exp": soon, "caps": {"chat:*": ["fly"]}}))),
        ("a pattern that is none", signed(json!({"sub": "ann", "exp": soon, "caps": {"*chat": ["publish"]}}))),
        ("roles that are none", signed(json!({"sub": "ann", "exp": soon, "roles": "staff"}))),
        ("a reserved channel", signed(json!({"sub": "ann", "exp": soon, "channels": ["@x"]}))),
        ("one subscription only", tokens::ticket("ann", "chat", 60)),
        ("claims that are no object", written(tokens::SECRET, r#"{"alg":"HS256"}"#, "[]")),
    ]
}

fn all() -> Vec<(&'static str, String)> {
    [forged(), wrong_claims()].concat()
}

#[tokio::test]
async fn a_bad_token_is_refused_at_the_handshake() {
    let cluster = one_node(&["auth.query=true", "auth.cookie=session"]).await;
    for (why, token) in all() {
        let bearer = format!("gateway.bearer.{token}");
        for connect in [
            cluster.connect(0).token(&token),
            cluster.connect_raw(0, "chat").token(&token),
            cluster.connect(0).subprotocols(&["gateway.v1.json", &bearer]),
            cluster.connect(0).header("cookie", &format!("session={token}")),
            cluster.connect(0).query(&format!("token={token}")),
        ] {
            let refused = connect.refused().await;
            assert_eq!(refused.status, 401, "{why}");
            let answer = format!("{refused:?}");
            assert!(!answer.contains(&token), "{why}: the token comes back in {answer}");
        }
    }
}

#[tokio::test]
async fn a_browser_with_a_bad_token_is_let_in_and_closed_because_it_sees_no_status() {
    let cluster = one_node(&[]).await;
    for (why, token) in all() {
        let bearer = format!("gateway.bearer.{token}");
        let mut page = cluster.connect(0).as_page().subprotocols(&["gateway.v1.json", &bearer]).open().await;
        assert_eq!(page.expect_close().await, 4001, "{why}");
    }
}

#[tokio::test]
async fn a_bad_first_message_is_answered_and_closed() {
    let cluster = one_node(&[]).await;
    for (why, token) in all() {
        let mut client = cluster.client(0).await;
        let refused = client.refused(json!({"type": "auth", "token": token}), "unauthenticated").await;
        assert!(!refused["message"].as_str().is_none_or(str::is_empty), "{why}");
        assert!(!refused.to_string().contains(&token), "{why}: the token comes back in {refused}");
        assert_eq!(client.expect_close().await, 4001, "{why}");
    }
    let mut client = cluster.client(0).await;
    client.refused(json!({"type": "auth", "token": "x".repeat(20_000)}), "unauthenticated").await;
    assert_eq!(client.expect_close().await, 4001);
}

#[tokio::test]
async fn good_tokens_beside_them_are_taken() {
    let cluster = one_node(&[]).await;
    for token in [tokens::of("ann"), Signer::Rsa.token("any", "ann")] {
        cluster.connect(0).token(&token).open().await.subscribe("chat").await;
    }
}

/// The status of a handshake with these headers and this path.
async fn status(cluster: &Cluster, path: &str, headers: &[String]) -> u16 {
    let address = cluster.address(0);
    let mut socket = RawSocket::connect(address).await;
    let lines = headers.iter().map(|header| format!("\r\n{header}")).collect::<String>();
    let request = handshake(address, path).replace("\r\n\r\n", &format!("{lines}\r\n\r\n"));
    socket.send(request.as_bytes()).await;
    socket.answer().await.status
}

#[tokio::test]
async fn places_that_are_too_large_or_given_twice_are_answered_cleanly() {
    let cluster = one_node(&["auth.query=true"]).await;
    let (ann, bob) = (tokens::of("ann"), tokens::of("bob"));
    let header = |token: &str| format!("authorization: Bearer {token}");
    let offer = |names: &str| format!("sec-websocket-protocol: {names}");
    for (why, path, headers, expected) in [
        ("two headers", "/ws", vec![header(&ann), header(&bob)], 401),
        ("two equal headers", "/ws", vec![header(&ann), header(&ann)], 101),
        ("two subprotocols", "/ws", vec![offer(&format!("gateway.bearer.{ann}, gateway.bearer.{bob}"))], 401),
        ("two queries", &*format!("/ws?token={ann}&token={bob}"), vec![], 401),
        ("a query that is no encoding", "/ws?token=%zz", vec![], 401),
        ("no token", "/ws", vec![header("")], 101),
        ("another scheme", "/ws", vec!["authorization: Basic YTpi".to_owned()], 101),
        ("a scheme alone", "/ws", vec!["authorization: Bearer".to_owned()], 101),
        ("a scheme in capitals", "/ws", vec![format!("authorization: BEARER {ann}")], 101),
        ("not ASCII", "/ws", vec!["authorization: Bearer \u{fc}".to_owned()], 401),
        ("over 16 KiB", "/ws", vec![header(&"x".repeat(17_000))], 401),
        ("over any head", "/ws", vec![header(&"x".repeat(90_000))], 431),
        ("over any path", &*format!("/ws?token={}", "x".repeat(90_000)), vec![], 431),
    ] {
        assert_eq!(status(&cluster, path, &headers).await, expected, "{why}");
    }
    cluster.connect(0).token(&ann).open().await.subscribe("chat").await;
}
