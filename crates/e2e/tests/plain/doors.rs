//! Who may ask at all: the checks of a handshake, for every request.

use super::*;
use e2e::{Application, Backend, Cluster, RawSocket, Say};
use std::time::Duration;

const BODY: &str = r#"{"channel":"chat","data":1}"#;

async fn one_node(settings: &[&str]) -> Cluster {
    Cluster::of(1, Backend::Memory).with_tokens().settings(settings).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_taken_where_a_handshake_has_it_and_a_bad_one_is_refused() {
    let cluster = one_node(&["auth.cookie=session"]).await;
    let token = tokens::of("ann");
    answered(&post(&cluster, 0, &bearer(&token), BODY).await);
    answered(&post(&cluster, 0, &format!("cookie: session={token}\r\n"), BODY).await);
    let none = post(&cluster, 0, "", BODY).await;
    refused(&none, 401, "unauthenticated");
    assert_eq!(none.header("www-authenticate"), Some("Bearer"));
    let bad = tokens::signed_with("another secret, of 32 bytes or more!", &json!({"sub": "ann"}));
    for wrong in [bearer(&bad), bearer("x"), bearer(&tokens::ending_in("ann", -1)), bearer(&token) + &bearer(&bad)] {
        refused(&post(&cluster, 0, &wrong, BODY).await, 401, "unauthenticated");
    }
    refused(
        &request(cluster.address(0), "POST", &format!("/publish?token={token}"), "", BODY).await,
        401,
        "unauthenticated",
    );
    refused(&read(&cluster, 0, "", "chat").await, 401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_refused_from_the_next_request_on() {
    let cluster = one_node(&[]).await;
    let headers = bearer(&tokens::claiming("ann", &json!({"iat": tokens::in_seconds(-60)})));
    answered(&post(&cluster, 0, &headers, BODY).await);
    cluster.tell(0, "/revoke", &json!({"user": "ann"})).await;
    refused(&post(&cluster, 0, &headers, BODY).await, 401, "unauthenticated");
    refused(&read(&cluster, 0, &headers, "chat").await, 401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_the_list_ask_and_read_and_others_do_neither() {
    let cluster = one_node(&["origins=https://app.example", "auth.anonymous=true"]).await;
    let (app, evil) = ("origin: https://app.example\r\n", "origin: https://evil.example\r\n");
    let told = post(&cluster, 0, app, BODY).await;
    answered(&told);
    assert_eq!(told.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(told.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(told.header("access-control-expose-headers"), Some("retry-after"));
    for other in [evil, "origin: null\r\n"] {
        let refusal = post(&cluster, 0, other, BODY).await;
        refused(&refusal, 403, "permission_denied");
        assert_eq!(refusal.header("access-control-allow-origin"), None);
        refused(&read(&cluster, 0, other, "chat").await, 403, "permission_denied");
    }
    assert_eq!(answered(&read(&cluster, 0, app, "chat").await)["offset"], 1);
    for (path, methods) in [("/publish", "POST"), ("/channels/chat/messages", "GET")] {
        let asks = format!(
            "{app}access-control-request-method: {methods}\r\naccess-control-request-headers: authorization\r\n"
        );
        let granted = request(cluster.address(0), "OPTIONS", path, &asks, "").await;
        assert_eq!((granted.status, granted.header("access-control-allow-methods")), (204, Some(methods)));
        assert_eq!(granted.header("access-control-allow-headers"), Some("authorization, content-type"));
        assert_eq!(granted.header("access-control-allow-origin"), Some("https://app.example"));
        assert_eq!(request(cluster.address(0), "OPTIONS", path, evil, "").await.status, 403);
        let other = request(cluster.address(0), "DELETE", path, app, "").await;
        refused(&other, 405, "bad_request");
        assert_eq!(other.header("allow"), Some(methods));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_none_too_large_or_late_are_refused_and_the_node_goes_on() {
    let cluster = one_node(&["auth.anonymous=true", "limits.max_message=1KiB"]).await;
    for wrong in ["", "{", "[]", "[1", "null", "7", "\"x\"", "{}", r#"{"channel":"","data":1}"#, r#"{"channel":"a"}"#] {
        refused(&post(&cluster, 0, "", wrong).await, 400, "bad_request");
    }
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    refused(&post(&cluster, 0, form, BODY).await, 415, "bad_request");
    refused(&post(&cluster, 0, "content-type: text/plain\r\n", BODY).await, 415, "bad_request");
    answered(&post(&cluster, 0, "content-type: application/json; charset=utf-8\r\n", BODY).await);
    let large = json!({"channel": "chat", "data": "x".repeat(2000)}).to_string();
    refused(&post(&cluster, 0, "", &large).await, 413, "too_large");
    let chunked = format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let mut stream = RawSocket::connect(cluster.address(0)).await;
    stream.send(format!("POST /publish HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{chunked}").as_bytes()).await;
    assert_eq!(stream.answer().await.status, 413);
    let deep = format!(r#"{{"channel":"chat","data":{}1{}}}"#, "[".repeat(400), "]".repeat(400));
    refused(&post(&cluster, 0, "", &deep).await, 400, "bad_request");
    let many = format!("[{}]", vec!["1"; 300].join(","));
    refused(&post(&cluster, 0, "", &many).await, 400, "bad_request");
    let late = request(cluster.address(0), "POST", "/publish", "content-length: 100\r\n", "").await;
    refused(&late, 408, "bad_request");
    answered(&post(&cluster, 0, "", BODY).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_drains_sends_requests_elsewhere() {
    let cluster = Cluster::start(2, Backend::Memory).await;
    assert_eq!(cluster.order(0, "/drain?exit=false&window=1s").await.status, 202);
    let answer = post(&cluster, 0, "", BODY).await;
    refused(&answer, 503, "unavailable");
    assert!((1..=3).contains(&answer.retry_after_s()));
    refused(&read(&cluster, 0, "", "chat").await, 503, "unavailable");
    answered(&post(&cluster, 1, "", BODY).await);
    assert_eq!(cluster.metric(0, "gateway_http_requests_total{route=\"publish\",status=\"503\"}").await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_guesses_tokens_is_held_back_and_whoever_has_one_is_not() {
    let cluster = one_node(&["limits.handshakes_per_address=1/m burst 3"]).await;
    let good = bearer(&tokens::of("ann"));
    for _ in 0..10 {
        answered(&post(&cluster, 0, &good, BODY).await);
    }
    for _ in 0..3 {
        refused(&post(&cluster, 0, &bearer("guess"), BODY).await, 401, "unauthenticated");
    }
    let answer = post(&cluster, 0, &bearer("guess"), BODY).await;
    refused(&answer, 429, "rate_limited");
    assert!(answer.retry_after_s() > 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_streams_and_more_requests_than_a_node_takes_are_told_to_come_back() {
    let cluster = one_node(&["auth.anonymous=true", "admission.rate=1/m burst 2"]).await;
    answered(&post(&cluster, 0, "", BODY).await);
    answered(&post(&cluster, 0, "", BODY).await);
    let answer = post(&cluster, 0, "", BODY).await;
    refused(&answer, 503, "unavailable");
    assert!(answer.retry_after_s() >= 1);
    // One request at a time: the first one's body does not come.
    let cluster = one_node(&["auth.anonymous=true", "limits.http_requests=1"]).await;
    let mut slow = RawSocket::connect(cluster.address(0)).await;
    slow.send(b"POST /publish HTTP/1.1\r\nhost: a\r\ncontent-length: 99\r\nexpect: 100-continue\r\n\r\n").await;
    assert_eq!(slow.answer().await.status, 100, "it is being answered, and its body waited for");
    refused(&post(&cluster, 0, "", BODY).await, 503, "unavailable");
    assert_eq!(cluster.metric(0, "gateway_limits_total{limit=\"http_requests\"}").await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_says_who_may_ask_and_its_yes_holds_for_a_while() {
    let application = Application::start().await;
    let url = format!("hooks.connect.url={}", application.url("/connect"));
    let cluster = one_node(&[&url, "auth.anonymous=true"]).await;
    application.says("/connect", Say::Json(json!({"allow": true, "user": "guest"})));
    for _ in 0..3 {
        answered(&post(&cluster, 0, "", BODY).await);
    }
    let asked = application.until_asked("/connect", 1).await;
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].json()["dialect"], "http");
    let messages = answered(&read(&cluster, 0, "", "chat").await);
    assert_eq!(messages["publications"][0]["from"]["user"], "guest");
    application.says("/connect", Say::no());
    // Another token is another question.
    refused(&post(&cluster, 0, &bearer(&tokens::of("ann")), BODY).await, 403, "permission_denied");
    answered(&post(&cluster, 0, "", BODY).await);
    // Whoever is revoked is refused, whatever the application has said.
    cluster.tell(0, "/revoke", &json!({"user": "guest"})).await;
    tokio::time::timeout(e2e::PATIENCE, async {
        while post(&cluster, 0, "", BODY).await.status == 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the revocation to count");
}
