//! Who may open a session and ask for one: the checks of a handshake at the first request, the secret at all further ones.

use super::*;
use e2e::{Application, Backend, Cluster, RawSocket, Say, tokens};

async fn one_node(settings: &[&str]) -> Cluster {
    Cluster::of(1, Backend::Memory).with_tokens().settings(settings).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_opened_by_whoever_may_shake_hands() {
    let cluster = one_node(&["auth.cookie=session", "origins=https://app.example"]).await;
    let token = tokens::of("ann");
    for headers in [bearer(&token), format!("cookie: session={token}\r\n")] {
        let mut poller = Poller::open(&cluster, 0, &headers, r#"{"type":"presence","channel":"c","id":1}"#).await;
        poller.until(&cluster, &[0], "presence").await;
    }
    let bad = tokens::signed_with("another secret, of 32 bytes or more!", &json!({"sub": "ann"}));
    for wrong in [bearer(&bad), bearer("x"), bearer(&tokens::ending_in("ann", -1)), bearer(&token) + &bearer(&bad)] {
        let refusal = open(&cluster, 0, &wrong, "").await;
        refused(&refusal, 401, "unauthenticated");
        assert_eq!(refusal.header("www-authenticate"), Some("Bearer"));
    }
    let (app, evil) = ("origin: https://app.example\r\n", "origin: https://evil.example\r\n");
    refused(&open(&cluster, 0, &(bearer(&token) + evil), "").await, 403, "permission_denied");
    let told = open(&cluster, 0, &(bearer(&token) + app), "").await;
    assert_eq!(told.header("access-control-allow-origin"), Some("https://app.example"));
    let asks = format!("{app}access-control-request-method: DELETE\r\n");
    let granted = request(cluster.address(0), "OPTIONS", "/poll?session=x", &asks, "").await;
    assert_eq!((granted.status, granted.header("access-control-allow-methods")), (204, Some("GET, POST, DELETE")));
    assert_eq!(request(cluster.address(0), "OPTIONS", "/poll", evil, "").await.status, 403);
    let session = objects(&told)[0]["session"].as_str().expect("a session").to_owned();
    let path = format!("/poll?session={session}");
    refused(&request(cluster.address(0), "GET", &path, evil, "").await, 403, "permission_denied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_asks_for_a_session_without_its_secret() {
    let cluster = one_node(&["auth.anonymous=true"]).await;
    let poller = Poller::open(&cluster, 0, "", "").await;
    let client = poller.kept[0]["client"].as_str().expect("an id").to_owned();
    let last = if poller.session.ends_with('0') { '1' } else { '0' };
    let guessed = format!("{}{last}", &poller.session[..poller.session.len() - 1]);
    let zeros = format!("{client}.{}", "0".repeat(32));
    // Nor for a connection of another kind by this way.
    let socket = cluster.client(0).await;
    let of_socket = format!("{}.{}", socket.id(), "0".repeat(32));
    let engine = request(cluster.address(0), "GET", "/socket.io/?EIO=4&transport=polling", "", "").await;
    let (_, opened) = engine.body.split_once('{').expect("an open packet");
    let of_engine: Value = serde_json::from_str(&format!("{{{opened}")).expect("JSON");
    let of_engine = of_engine["sid"].as_str().expect("a sid");
    for wrong in ["", "x", "n0.a.b", &client, &guessed, &zeros, &of_socket, of_engine] {
        for method in ["GET", "POST", "DELETE"] {
            let path = format!("/poll?session={wrong}");
            let body = if method == "POST" { "{}" } else { "" };
            refused(&request(cluster.address(0), method, &path, "", body).await, 404, "unknown_session");
        }
    }
    let path = format!("/socket.io/?EIO=4&transport=polling&sid={}", poller.session);
    assert_eq!(request(cluster.address(0), "GET", &path, "", "").await.status, 400);
    for method in ["GET", "DELETE"] {
        refused(&request(cluster.address(0), method, "/poll", "", "").await, 400, "bad_request");
    }
    let other = request(cluster.address(0), "PUT", "/poll", "", "").await;
    refused(&other, 405, "bad_request");
    assert_eq!(other.header("allow"), Some("GET, POST, DELETE"));
    poller.say(&cluster, 0, &json!({"type": "ping"})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_bounded_and_those_that_are_none_are_answered_as_messages_are() {
    let cluster = one_node(&["auth.anonymous=true", "limits.max_message=1KiB", "limits.bad_messages=3"]).await;
    let large = json!({"type": "publish", "channel": "c", "data": "x".repeat(2000)}).to_string();
    refused(&open(&cluster, 0, "", &large).await, 413, "too_large");
    let mut poller = Poller::open(&cluster, 0, "", "").await;
    refused(&poller.ask(&cluster, 0, "POST", &large).await, 413, "too_large");
    for wrong in ["{", "7"] {
        assert_eq!(poller.ask(&cluster, 0, "POST", wrong).await.status, 204);
        assert_eq!(poller.until(&cluster, &[0], "error").await["code"], "bad_request");
    }
    assert_eq!(poller.ask(&cluster, 0, "POST", "nonsense").await.status, 204);
    assert_eq!(poller.expect_close(&cluster, &[0]).await["code"], 4010);
    let mut stream = RawSocket::connect(cluster.address(0)).await;
    stream.send(b"POST /poll HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n\xff\xff").await;
    assert_eq!(stream.answer().await.status, 400);
    let poller = Poller::open(&cluster, 0, "", "").await;
    let mut stream = RawSocket::connect(cluster.address(0)).await;
    let head = format!("POST /poll?session={} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n", poller.session);
    stream.send(&[head.as_bytes(), b"\xff\xff"].concat()).await;
    assert_eq!(stream.answer().await.status, 400);
    assert_eq!(objects(&poller.get(&cluster, 0).await)[0]["code"], 1007);
    let late = request(cluster.address(0), "POST", "/poll", "content-length: 100\r\n", "").await;
    refused(&late, 408, "bad_request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_for_sessions_and_polls_that_wait_take_no_place_of_requests() {
    let cluster = one_node(&["limits.connections_per_user=2", "limits.http_requests=1"]).await;
    let ann = bearer(&tokens::of("ann"));
    let (first, second) = (Poller::open(&cluster, 0, &ann, "").await, Poller::open(&cluster, 0, &ann, "").await);
    let third = open(&cluster, 0, &ann, "").await;
    refused(&third, 429, "rate_limited");
    assert!(third.retry_after_s() >= 1);
    let mut held = RawSocket::connect(cluster.address(0)).await;
    held.send(format!("GET /poll?session={} HTTP/1.1\r\nhost: a\r\n\r\n", first.session).as_bytes()).await;
    // The other one speaks while the first one waits.
    second.say(&cluster, 0, &json!({"type": "ping"})).await;
    assert_eq!(cluster.metric(0, "gateway_limits_total{limit=\"http_requests\"}").await, 0.0);
    assert_eq!(second.ask(&cluster, 0, "DELETE", "").await.status, 204);
    cluster.metric_becomes(0, "gateway_connections{dialect=\"poll\"}", 1.0).await;
    Poller::open(&cluster, 0, &ann, "").await;
    let cluster = one_node(&["auth.anonymous=true", "limits.handshakes_per_address=1/m burst 2"]).await;
    for _ in 0..2 {
        Poller::open(&cluster, 0, "", "").await;
    }
    let answer = open(&cluster, 0, "", "").await;
    refused(&answer, 429, "rate_limited");
    assert!(answer.retry_after_s() > 3);
    let cluster = one_node(&["auth.anonymous=true", "admission.rate=1/m burst 1"]).await;
    Poller::open(&cluster, 0, "", "").await;
    let answer = open(&cluster, 0, "", "").await;
    refused(&answer, 503, "unavailable");
    assert!(answer.retry_after_s() >= 1);
    let cluster = one_node(&["auth.anonymous=true", "limits.messages=1/m burst 2"]).await;
    let mut poller = Poller::open(&cluster, 0, "", "").await;
    poller.say(&cluster, 0, &json!([{"type": "ping"}, {"type": "ping"}, {"type": "ping", "id": 3}])).await;
    assert_eq!(poller.until(&cluster, &[0], "error").await["code"], "rate_limited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_says_who_may_open_a_session() {
    let application = Application::start().await;
    let url = format!("hooks.connect.url={}", application.url("/connect"));
    let cluster = one_node(&[&url, "auth.anonymous=true"]).await;
    application.says("/connect", Say::Json(json!({"allow": true, "user": "guest"})));
    let mut poller = Poller::open(&cluster, 0, "", r#"{"type":"subscribe","channel":"c","members":true,"id":1}"#).await;
    assert_eq!(application.until_asked("/connect", 1).await[0].json()["dialect"], "poll");
    assert_eq!(poller.until(&cluster, &[0], "subscribed").await["members"][0]["user"], "guest");
    application.says("/connect", Say::no());
    refused(&open(&cluster, 0, "", "").await, 403, "permission_denied");
}
