//! Who gets in, and what is answered before anything is done.

use super::{KEY, cluster, detail, get, post, post_with, problem};
use e2e::{Backend, Cluster, PATIENCE, request};
use serde_json::json;
use std::io::Write;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn without_a_key_in_the_configuration_there_is_no_api() {
    let cluster = Cluster::start(1, Backend::Memory).await;
    for (method, path) in [("POST", "/api/v1/publish"), ("GET", "/api/v1/openapi.json"), ("GET", "/api")] {
        let answer = request(cluster.address(0), method, path, &format!("x-api-key: {KEY}\r\n"), "").await;
        assert_eq!(answer.status, 404, "{method} {path}");
    }
}

#[tokio::test]
async fn a_stranger_gets_a_401_and_a_key_only_what_its_scopes_allow() {
    let mut key = tempfile::NamedTempFile::new().expect("a file");
    writeln!(key, "only-for-reading-0123").expect("written");
    let tables = format!(
        "[[api_key]]\nname = \"reader\"\nkey_file = {:?}\nscopes = [\"read\"]\n\
         [[api_key]]\nname = \"slow\"\nkey = \"a-slow-publisher-key\"\nscopes = [\"publish\"]\nrate = \"1/h\"\n",
        key.path()
    );
    let cluster = Cluster::of(1, Backend::Memory).namespaces(&tables).start().await;
    let publish = json!({"channel": "room:1", "data": 1}).to_string();
    let ask = async |method, path: &str, headers: &str, body: &str| {
        request(cluster.address(0), method, &format!("/api/v1/{path}"), headers, body).await
    };
    for headers in ["", "x-api-key: nobodys-key-0123456\r\n", "authorization: Basic abc\r\n"] {
        let answer = ask("POST", "publish", headers, &publish).await;
        assert_eq!(problem(&answer), (401, "unauthenticated".to_owned()), "{headers:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert!(!answer.body.contains("nobodys-key"));
    }
    let reader = "authorization: Bearer only-for-reading-0123\r\n";
    assert_eq!(ask("GET", "presence?channel=room:1", reader, "").await.status, 200);
    let refused = ask("POST", "publish", reader, &publish).await;
    assert_eq!(problem(&refused), (403, "permission_denied".to_owned()));
    assert!(detail(&refused).contains("`publish`"));
    let slow = "x-api-key: a-slow-publisher-key\r\n";
    assert_eq!(ask("POST", "publish", slow, &publish).await.status, 200);
    let refused = ask("POST", "publish", slow, &publish).await;
    assert_eq!(problem(&refused), (429, "rate_limited".to_owned()));
    assert!(refused.retry_after_s() > 3000);
    assert_eq!(problem(&ask("GET", "counts", slow, "").await).0, 403);
}

#[tokio::test]
async fn what_is_not_understood_is_told_in_words_that_help() {
    let cluster = cluster(1, Backend::Memory).await;
    let of = async |body: &str, headers: &str| {
        let headers = format!("x-api-key: {KEY}\r\n{headers}");
        request(cluster.address(0), "POST", "/api/v1/publish", &headers, body).await
    };
    for (body, status, part) in [
        ("", 400, "EOF"),
        ("{\"channel\":", 400, "not JSON"),
        ("[\"room:1\", 1]", 400, "expected an object"),
        ("{\"channel\":\"room:1\"}", 400, "missing field `data`"),
        ("{\"chanel\":\"room:1\",\"data\":1}", 400, "unknown field `chanel`, expected one of `channel`"),
        ("{\"channel\":\"room:1\",\"data\":1,\"data\":2}", 400, "duplicate field"),
        ("{\"channel\":\"a b\",\"data\":1}", 400, "white space"),
        ("{\"channel\":\"room:1\",\"data\":1e999}", 400, "`data`"),
        ("{\"channel\":\"room:1\",\"data\":1,\"event\":\"\"}", 400, "`event` is 1 to 255 bytes"),
        ("{\"channel\":\"elsewhere\",\"data\":1}", 404, "namespace"),
        ("{\"channel\":\"closed:1\",\"data\":1}", 403, "`event`"),
        ("{\"channel\":\"closed:1\",\"event\":\"news\",\"data\":\"twenty and some more\"}", 413, "20 bytes"),
        ("{\"channel\":\"fleeting:1\",\"data\":1,\"key\":\"k\"}", 400, "`key` needs a channel with history"),
        ("{\"channel\":\"fleeting:1\",\"data\":1,\"retain\":\"k\"}", 400, "`retain` needs a channel with history"),
    ] {
        let answer = of(body, "").await;
        assert_eq!(problem(&answer).0, status, "{body}: {answer:?}");
        assert!(detail(&answer).contains(part), "{body}: {}", detail(&answer));
    }
    let good = "{\"channel\":\"room:1\",\"data\":1}";
    let typed = of(good, "content-type: application/x-www-form-urlencoded\r\n").await;
    assert_eq!(problem(&typed), (415, "unsupported_media_type".to_owned()));
    assert_eq!(of(good, "content-type: application/json; charset=utf-8\r\n").await.status, 200);
    for path in
        ["presence", "presence?channel=room:1&list=1", "history?channel=room:1&limit=0", "history?channel=a&limit=x"]
    {
        assert_eq!(problem(&get(&cluster, 0, path).await).0, 400, "{path}");
    }
    for path in ["presence?channel=fleeting:1", "history?channel=fleeting:1", "channels?after=x"] {
        assert_eq!(problem(&get(&cluster, 0, path).await).0, 400, "{path}");
    }
    for path in ["presence?channel=elsewhere", "history?channel=elsewhere"] {
        assert_eq!(problem(&get(&cluster, 0, path).await), (404, "unknown_channel".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_body_is_bounded_and_so_is_what_a_payload_may_be() {
    let cluster = cluster(1, Backend::Memory).await;
    let large = "x".repeat((1 << 20) + 1);
    let answer = post(&cluster, 0, "publish", &json!({"channel": "room:1", "data": large})).await;
    assert_eq!(problem(&answer), (413, "too_large".to_owned()));
    assert!(detail(&answer).contains("api.max_body"));
    // The same, without a word of it in the head.
    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let headers = format!("x-api-key: {KEY}\r\ntransfer-encoding: chunked\r\n");
    let stream = async {
        let mut stream = TcpStream::connect(cluster.address(0)).await.expect("a stream");
        let head = format!("POST /api/v1/publish HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).await.expect("written");
        // The node may have answered and closed before it has all of it.
        let _ = stream.write_all(chunked.as_bytes()).await;
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        String::from_utf8(answer).expect("text")
    };
    assert_eq!(stream.await, "HTTP/1.1 413");
    let answer = post(&cluster, 0, "publish", &json!({"channel": "room:1", "data": "x".repeat(64 << 10)})).await;
    assert_eq!(problem(&answer).0, 413);
    assert!(detail(&answer).contains("limits.max_message"));
    let many: Vec<String> = (0..1000).map(|n| format!("room:{n}")).collect();
    let wide = post(&cluster, 0, "broadcast", &json!({"channels": many, "data": "x".repeat(20 << 10)})).await;
    assert_eq!(problem(&wide).0, 413);
}

#[tokio::test]
async fn a_node_answers_so_many_at_once_and_tells_the_others_to_come_back() {
    let key = format!("api.key={KEY}");
    let cluster = Cluster::of(1, Backend::Memory).settings(&[&key, "api.requests=1"]).start().await;
    let mut first = begin(&cluster).await;
    let answer = get(&cluster, 0, "counts").await;
    assert_eq!(problem(&answer), (503, "over_capacity".to_owned()));
    let stranger = request(cluster.address(0), "GET", "/api/v1/counts", "", "").await;
    assert_eq!(stranger.status, 401, "a stranger waits for nothing");
    assert_eq!(end(&mut first).await, "HTTP/1.1 200");
    assert_eq!(get(&cluster, 0, "counts").await.status, 200);
}

#[tokio::test]
async fn a_node_that_stops_answers_what_it_has_been_asked() {
    let mut cluster = cluster(1, Backend::Memory).await;
    let mut first = begin(&cluster).await;
    let stopped = cluster.stopping(0);
    // Its port is closed before it waits for what is under way.
    let refused = async { while TcpStream::connect(cluster.address(0)).await.is_ok() {} };
    timeout(PATIENCE, refused).await.expect("it takes nobody new");
    let ended = timeout(Duration::from_millis(500), first.read_u8()).await;
    assert!(ended.is_err(), "it waits for the body: {ended:?}");
    assert_eq!(end(&mut first).await, "HTTP/1.1 200");
    timeout(PATIENCE, stopped).await.expect("it ends");
}

/// Begins to publish: the node waits for the body.
async fn begin(cluster: &Cluster) -> TcpStream {
    let mut stream = TcpStream::connect(cluster.address(0)).await.expect("a stream");
    let head = format!(
        "POST /api/v1/publish HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\nexpect: 100-continue\r\ncontent-length: 29\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.expect("it is being read");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

/// Sends the body; the beginning of the answer.
async fn end(stream: &mut TcpStream) -> String {
    stream.write_all(b"{\"channel\":\"room:a\",\"data\":1}").await.expect("written");
    let mut status = vec![0; 12];
    stream.read_exact(&mut status).await.expect("an answer");
    String::from_utf8(status).expect("text")
}

#[tokio::test]
async fn what_is_asked_is_counted_and_the_key_stands_nowhere() {
    let cluster = cluster(1, Backend::Memory).await;
    post_with(&cluster, 0, "publish", &json!({"channel": "room:1", "data": 1}), "").await;
    get(&cluster, 0, "nowhere").await;
    post(&cluster, 0, "publish", &json!({"channel": "elsewhere", "data": 1})).await;
    for (name, value) in [
        ("gateway_api_requests_total{route=\"publish\",status=\"200\"}", 1.0),
        ("gateway_api_requests_total{route=\"publish\",status=\"404\"}", 1.0),
        ("gateway_api_requests_total{route=\"none\",status=\"404\"}", 1.0),
        ("gateway_api_publications_total{outcome=\"ok\"}", 1.0),
        ("gateway_api_request_seconds_count{route=\"publish\"}", 2.0),
    ] {
        assert_eq!(cluster.metric(0, name).await, value, "{name}");
    }
    assert!(!cluster.admin(0, "/metrics").await.body.contains(KEY));
}
