//! Who may listen: everything that is asked of a handshake and of each subscription, before there is a stream.

use super::*;
use e2e::{Application, Backend, Cluster, Say, request, tokens};

async fn one_node(settings: &[&str]) -> Cluster {
    Cluster::of(1, Backend::Memory).with_tokens().settings(settings).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_taken_where_a_handshake_has_it_and_a_bad_one_is_refused() {
    let cluster = one_node(&["auth.cookie=session", "auth.query=true", "origins=https://app.example"]).await;
    let token = tokens::of("ann");
    for headers in [bearer(&token), format!("cookie: session={token}\r\n")] {
        open(&cluster, 0, "channel=chat", &headers).await;
    }
    open(&cluster, 0, &format!("channel=chat&token={token}"), "").await;
    let bad = tokens::signed_with("another secret, of 32 bytes or more!", &json!({"sub": "ann"}));
    for wrong in [bearer(&bad), bearer("x"), bearer(&tokens::ending_in("ann", -1)), String::new()] {
        let refusal = no_stream(&cluster, "channel=chat", &wrong).await;
        refused(&refusal, 401, "unauthenticated");
        assert_eq!(refusal.header("www-authenticate"), Some("Bearer"));
    }
    let (app, evil) = ("origin: https://app.example\r\n", "origin: https://evil.example\r\n");
    refused(&no_stream(&cluster, "channel=chat", &(bearer(&token) + evil)).await, 403, "permission_denied");
    let events = open(&cluster, 0, "channel=chat", &(bearer(&token) + app)).await;
    assert_eq!(events.answer.header("access-control-allow-origin"), Some("https://app.example"));
    let granted = request(cluster.address(0), "OPTIONS", "/sse?channel=chat", app, "").await;
    assert_eq!((granted.status, granted.header("access-control-allow-methods")), (204, Some("GET")));
    let other = request(cluster.address(0), "POST", "/sse?channel=chat", &bearer(&token), "{}").await;
    refused(&other, 405, "bad_request");
    assert_eq!(other.header("allow"), Some("GET"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_channel_that_is_refused_refuses_the_stream_with_its_own_words() {
    let namespaces = "[[namespace]]\npattern = \"user:{user}\"\nsubscribe = \"authenticated\"\n\
                      [[namespace]]\npattern = \"open\"\n[[namespace]]\npattern = \"quiet\"\nread_history = \"granted\"\n";
    let plan = Cluster::of(1, Backend::Memory).with_tokens().namespaces(namespaces);
    let cluster = plan.settings(&["limits.channels_per_connection=3"]).start().await;
    let ann = bearer(&tokens::of("ann"));
    open(&cluster, 0, "channel=open&channel=user%3Aann", &ann).await;
    let refusal = no_stream(&cluster, "channel=open&channel=user%3Abob", &ann).await;
    let object = refused(&refusal, 403, "permission_denied");
    assert!(
        object["message"].as_str().is_some_and(|message| !message.is_empty()) && object["id"].is_null(),
        "{object}"
    );
    refused(&no_stream(&cluster, "channel=open&channel=elsewhere", &ann).await, 404, "unknown_channel");
    for wrong in ["", "channel=", "channel=a%20b", "channel=%zz", "chanel=open", "channel=open&last_event_id=nonsense"]
    {
        refused(&no_stream(&cluster, wrong, &ann).await, 400, "bad_request");
    }
    refused(&no_stream(&cluster, "channel=a&channel=b&channel=c&channel=d", &ann).await, 409, "limit_exceeded");
    let id = format!("{ann}last-event-id: nonsense\r\n");
    refused(&no_stream(&cluster, "channel=open", &id).await, 400, "bad_request");
    // Whoever may not read the history recovers nothing, and hears that.
    cluster.user(0, "ann").await.publish("quiet", json!(1)).await;
    let mut events = open(&cluster, 0, "channel=quiet", &ann).await;
    events.until("subscribed").await;
    let (key_and_offset, epoch) = events.last_id.rsplit_once('.').expect("an epoch");
    let (key, _) = key_and_offset.split_once('.').expect("a key");
    let id = format!("{key}.0.{epoch}");
    drop(events);
    let mut events = go_on(&cluster, 0, "channel=quiet", &ann, &id).await;
    assert_eq!(events.until("subscribed").await["recovered"], false);
    drop(events);
    // None of the refused has left anything behind.
    cluster.metric_becomes(0, "gateway_connections{dialect=\"sse\"}", 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_for_streams() {
    let cluster = one_node(&["limits.connections_per_user=1"]).await;
    let ann = bearer(&tokens::of("ann"));
    let first = open(&cluster, 0, "channel=chat", &ann).await;
    let second = no_stream(&cluster, "channel=chat", &ann).await;
    refused(&second, 429, "rate_limited");
    assert!(second.retry_after_s() >= 1);
    drop(first);
    cluster.metric_becomes(0, "gateway_connections{dialect=\"sse\"}", 0.0).await;
    open(&cluster, 0, "channel=chat", &ann).await;
    let cluster = one_node(&["auth.anonymous=true", "limits.handshakes_per_address=1/m burst 1"]).await;
    open(&cluster, 0, "channel=chat", "").await;
    refused(&no_stream(&cluster, "channel=chat", "").await, 429, "rate_limited");
    let cluster = one_node(&["auth.anonymous=true", "admission.rate=1/m burst 1"]).await;
    open(&cluster, 0, "channel=chat", "").await;
    refused(&no_stream(&cluster, "channel=chat", "").await, 503, "unavailable");
    let cluster = one_node(&["auth.anonymous=true", "limits.messages=1/m burst 2"]).await;
    refused(&no_stream(&cluster, "channel=a&channel=b&channel=c", "").await, 429, "rate_limited");
    let cluster = one_node(&["auth.anonymous=true", "limits.http_requests=1"]).await;
    let _streams = [open(&cluster, 0, "channel=a", "").await, open(&cluster, 0, "channel=a", "").await];
    // One that is open takes no place of requests.
    let answer = request(cluster.address(0), "POST", "/publish", "", r#"{"channel":"a","data":1}"#).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The stream's place went with what was refused: without one it would be one more than the node holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_refused_for_a_channel_comes_back_by_another_stream() {
    let namespaces =
        "[[namespace]]\npattern = \"open\"\n[[namespace]]\npattern = \"closed\"\nsubscribe = \"granted\"\n";
    let plan = Cluster::of(1, Backend::Memory).namespaces(namespaces);
    let cluster = plan.settings(&["auth.anonymous=true"]).start().await;
    let refusal = no_stream(&cluster, "channel=closed", "").await;
    refused(&refusal, 403, "permission_denied");
    assert_eq!(refusal.header("connection"), Some("close"));
    // What is refused before keeps its stream, which has its place.
    let refusal = no_stream(&cluster, "channel=a%20b", "").await;
    assert_eq!((refusal.status, refusal.header("connection")), (400, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_says_who_may_listen_and_to_what() {
    let application = Application::start().await;
    let connect = format!("hooks.connect.url={}", application.url("/connect"));
    let subscribe = format!("hooks.subscribe.url={}", application.url("/subscribe"));
    let namespaces = "[[namespace]]\npattern = \"*\"\nhooks = [\"subscribe\"]\n";
    let plan = Cluster::of(1, Backend::Memory).with_tokens().namespaces(namespaces);
    let cluster = plan.settings(&[&connect, &subscribe, "auth.anonymous=true"]).start().await;
    application.says("/connect", Say::Json(json!({"allow": true, "user": "guest"})));
    application.says("/subscribe", Say::Json(json!({"allow": true})));
    open(&cluster, 0, "channel=chat", "").await;
    assert_eq!(application.until_asked("/connect", 1).await[0].json()["dialect"], "sse");
    application.says("/subscribe", Say::no());
    refused(&no_stream(&cluster, "channel=chat", "").await, 403, "permission_denied");
    application.says("/connect", Say::no());
    refused(&no_stream(&cluster, "channel=chat", "").await, 403, "permission_denied");
}
