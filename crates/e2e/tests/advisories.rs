//! What has brought other servers down or open, tried here: a test an advisory, and beside each probe somebody who goes about
//! their business and misses nothing.
//!
//! Confused algorithms and `none` in tokens are tried in `forged.rs`, in every place that takes a token; frames and heads of
//! every other wrong kind in `malformed/`.

use e2e::frames::{self, CONTINUATION, FINAL, PING, PONG, TEXT};
use e2e::{Backend, Client, Cluster, Issuer, Manner, RawSocket, Signer, handshake, tokens};
use link::testing::RedisServer;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

/// Somebody beside the probe.
struct Bystander {
    client: Client,
    published: u64,
}

impl Bystander {
    async fn of(mut client: Client) -> Self {
        client.subscribe("bystander").await;
        Self { client, published: 0 }
    }

    /// Publishes so often, and gets each of its publications in its place and nothing else.
    async fn goes_on(&mut self, times: u64) {
        for _ in 0..times {
            self.published += 1;
            let published = self.client.publish("bystander", json!(self.published)).await;
            assert_eq!(published["offset"], self.published);
            assert_eq!(self.client.next_publication().await["data"], self.published);
        }
        self.client.hears_nothing().await;
    }
}

async fn one_node() -> Cluster {
    Cluster::start(1, Backend::Memory).await
}

/// CVE-2023-43669 (tungstenite): a head without an end, and one that comes in tiny pieces, each of which had all before it
/// parsed again, kept a server busy for minutes.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2023_43669_a_flood_of_header_bytes_is_cut_off() {
    let cluster = one_node().await;
    let mut bystander = Bystander::of(cluster.client(0).await).await;
    let address = cluster.address(0);
    let begun = "GET /ws HTTP/1.1\r\nhost: x\r\n";
    let endless = async {
        let mut socket = RawSocket::connect(address).await;
        socket.send(begun.as_bytes()).await;
        let piece = format!("x: {}\r\n", "y".repeat(1_000)).repeat(100);
        // 20 MB: what comes after the refusal is not waited for.
        for _ in 0..200 {
            socket.send(piece.as_bytes()).await;
        }
        socket.rest_within(Duration::from_secs(10)).await
    };
    let in_pieces = async {
        let mut socket = RawSocket::connect(address).await;
        let head = handshake(address, "/ws").replace("\r\n\r\n", &format!("\r\nx: {}\r\n\r\n", "y".repeat(20_000)));
        for byte in head.as_bytes() {
            socket.send(&[*byte]).await;
        }
        assert_eq!(socket.answer().await.status, 101, "it was slow, and within the limits");
    };
    let (rest, (), (), ()) = tokio::join!(endless, in_pieces, Box::pin(bystander.goes_on(50)), async {
        let mut socket = RawSocket::connect(address).await;
        socket.send(format!("{begun}x: {}", "y".repeat(100_000)).as_bytes()).await;
        assert_eq!(socket.answer().await.status, 431, "a header that does not end");
    });
    // The end of the stream may overtake the answer where much was still coming.
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&rest));
    bystander.goes_on(1).await;
}

/// CVE-2024-37890 (ws): a handshake with more headers than the server was set to take brought the process down.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_37890_more_headers_than_are_taken_are_refused() {
    let cluster = one_node().await;
    let mut bystander = Bystander::of(cluster.client(0).await).await;
    // The five of the handshake are among the 64 that a request may have.
    for (count, status) in [(59, 101), (60, 431), (95, 431), (2_000, 431)] {
        for upgrade in ["upgrade: websocket", "upgrade: h2c"] {
            let more: String = (0..count).map(|n| format!("\r\nx-{n}: y")).collect();
            let request = handshake(cluster.address(0), "/ws").replace("upgrade: websocket", upgrade);
            let mut socket = RawSocket::connect(cluster.address(0)).await;
            socket.send(request.replace("\r\n\r\n", &format!("{more}\r\n\r\n")).as_bytes()).await;
            let expected = if status == 101 && upgrade.ends_with("h2c") { 426 } else { status };
            assert_eq!(socket.answer().await.status, expected, "{count} more headers with {upgrade}");
            bystander.goes_on(1).await;
        }
    }
}

/// CVE-2026-48779 (ws): tiny and empty fragments cost far more memory than the bytes they bring, below every limit in bytes.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_48779_tiny_and_empty_fragments_cost_their_bytes_and_have_a_limit() {
    const SOCKETS: usize = 20;
    const FRAGMENTS: usize = 1_000;
    let cluster = one_node().await;
    let mut bystander = Bystander::of(cluster.client(0).await).await;
    let tiny = [frames::frame(TEXT, b"a"), frames::frame(CONTINUATION, b"a").repeat(FRAGMENTS - 1)].concat();
    let empty = [frames::frame(TEXT, b""), frames::frame(CONTINUATION, b"").repeat(FRAGMENTS - 1)].concat();
    let mut sockets = Vec::new();
    for flood in [&tiny, &empty].into_iter().cycle().take(SOCKETS) {
        let mut socket = RawSocket::upgraded(cluster.address(0), "/ws").await;
        assert!(socket.text().await.contains("welcome"));
        socket.send(&[&flood[..], &frames::whole(PING, b"read")].concat()).await;
        let pong = socket.frame().await.expect("the answer to the ping");
        assert_eq!((pong.first, &pong.payload[..]), (FINAL | PONG, &b"read"[..]));
        sockets.push(socket);
    }
    bystander.goes_on(5).await;
    let held = cluster.metric(0, "gateway_budget_used_bytes").await;
    // A message that grows by doubling, and what any connection costs; not an object for each fragment.
    let allowed = SOCKETS * (2 * FRAGMENTS + 4_096);
    assert!(held >= (SOCKETS / 2 * FRAGMENTS) as f64, "unfinished messages count: {held} bytes");
    assert!(held <= allowed as f64, "{SOCKETS} unfinished messages of {FRAGMENTS} fragments hold {held} bytes");
    for mut socket in sockets {
        socket.send(&frames::frame(CONTINUATION, b"").repeat(FRAGMENTS)).await;
        socket.expect_close(1009).await;
    }
    cluster.metric_becomes(0, "gateway_connections{dialect=\"json\"}", 1.0).await;
    bystander.goes_on(5).await;
}

/// GHSA-j77h-rr39-c552 (fetching of JWK sets): a token, or an answer of the issuer, leads the server to an address of the
/// attacker's choice. Here only the address of the configuration is ever asked; see also `published_keys.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn ghsa_j77h_rr39_c552_neither_a_token_nor_a_redirect_says_where_keys_are_fetched() {
    let issuer = Issuer::start(&[(Signer::Rsa, "1")]).await;
    let inside = Issuer::start(&[(Signer::RsaNext, "2")]).await;
    let settings = [&*issuer.setting(), "auth.jwks_cooldown=1ms"];
    let cluster = Cluster::of(1, Backend::Memory).settings(&settings).start().await;
    let known = cluster.connect(0).token(&Signer::Rsa.token("1", "ann")).open().await;
    let mut bystander = Bystander::of(known).await;
    let url = inside.url();
    let claims = json!({"sub": "ann", "exp": tokens::in_seconds(60), "iss": url, "jku": url, "jwks_uri": url});
    for key_id in [&*url, "2", "../../keys", "//localhost/", "http://169.254.169.254/latest/meta-data"] {
        let refused = cluster.connect(0).token(&Signer::RsaNext.sign(key_id, &claims)).refused().await;
        assert_eq!(refused.status, 401, "{key_id}");
        bystander.goes_on(1).await;
        sleep(Duration::from_millis(2)).await;
    }
    for status in ["301", "302", "303", "307", "308"] {
        let before = issuer.asked();
        issuer.answers(Manner::With(format!("{status} Found\r\nlocation: {url}").leak(), String::new()));
        let refused = cluster.connect(0).token(&Signer::RsaNext.token("2", "ann")).refused().await;
        assert_eq!(refused.status, 503, "it may be good: {status}");
        assert!(issuer.asked() > before, "the issuer was asked, and redirected: {status}");
        bystander.goes_on(1).await;
        sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(inside.asked(), 0, "nobody was led there");
}

async fn cluster_under(redis: &RedisServer, prefix: &[&str]) -> Cluster {
    let url = format!("redis.url={}", redis.url());
    Cluster::of(1, Backend::OfSettings).settings(&[&url]).settings(prefix).start().await
}

/// Cross-talk by a shared Redis (Socket.IO's adapter, Laravel Echo, ActionCable: topics without a prefix of the application):
/// two clusters on one Redis hear one another.
#[tokio::test(flavor = "multi_thread")]
async fn redis_cross_talk_clusters_with_different_prefixes_share_nothing() {
    let redis = RedisServer::start();
    let (ours, theirs) = (cluster_under(&redis, &[]).await, cluster_under(&redis, &["redis.prefix=other:"]).await);
    let (mut ann, mut eve) = (ours.client(0).await, theirs.client(0).await);
    let mut bystander = Bystander::of(ours.client(0).await).await;
    let subscribe = json!({"type": "subscribe", "channel": "chat", "members": true});
    ann.granted(subscribe.clone(), "subscribed").await;
    let answer = eve.granted(subscribe, "subscribed").await;
    assert_eq!(answer["clients"], 1, "who is in the other cluster's channel is not in this one: {answer}");
    let keyed = |data: &str| json!({"type": "publish", "channel": "chat", "data": data, "key": "k", "retain": "r"});
    let (first, second) =
        (ann.granted(keyed("ours"), "published").await, eve.granted(keyed("theirs"), "published").await);
    assert_eq!((&first["offset"], &second["offset"]), (&json!(1), &json!(1)), "an idempotency key of each");
    assert_ne!(first["epoch"], second["epoch"]);
    for (client, data) in [(&mut ann, "ours"), (&mut eve, "theirs")] {
        assert_eq!(client.next_publication().await["data"], data);
        let history = client.granted(json!({"type": "history", "channel": "chat"}), "history").await;
        let all: Vec<_> = history["publications"].as_array().expect("a list").iter().map(|p| &p["data"]).collect();
        assert_eq!(all, [data]);
        assert_eq!(client.presence("chat").await["clients"], 1);
    }
    // Both nodes have the same name: orders go to an incarnation under a prefix.
    eve.refused(json!({"type": "send", "to": ann.id(), "data": 1}), "unknown_client").await;
    ann.hears_nothing().await;
    eve.hears_nothing().await;
    bystander.goes_on(3).await;
    let keys = redis.lines(&["KEYS", "*"]);
    let foreign: Vec<_> = keys.iter().filter(|key| !key.starts_with("gw:") && !key.starts_with("other:")).collect();
    assert!(foreign.is_empty(), "without any prefix: {foreign:?}");
    let has = |prefix: &str| keys.iter().any(|key| key.starts_with(&format!("{prefix}{{chat}}:")));
    assert!(has("gw:") && has("other:"), "each under its own, of which one is there by default: {keys:?}");
}

async fn with_cookies(settings: &[&str]) -> Cluster {
    let cookie = ["auth.cookie=session"];
    Cluster::of(1, Backend::Memory).with_tokens().settings(&cookie).settings(settings).start().await
}

/// What the page of an Origin gets whose visitor is signed in: the first command it tries, and how it ends.
async fn page_of(cluster: &Cluster, origin: &str, path: &str) -> (Option<Value>, u16) {
    let cookie = format!("session={}", tokens::of("ann"));
    let connect = if path == "/ws" { cluster.connect(0) } else { cluster.connect_raw(0, "bystander") };
    let mut page = connect.origin(origin).header("cookie", &cookie).open_bare().await;
    page.send(&json!({"type": "publish", "id": 1, "channel": "bystander", "data": "stolen"})).await;
    let code = page.expect_close().await;
    let mut answered = None;
    while let Some(message) = page.kept() {
        answered = Some(message).filter(|message| message["type"] != "welcome").or(answered);
    }
    (answered, code)
}

/// Cross-site WebSocket hijacking (CWE-1385): a browser shows cookies to whichever page connects, and the same-origin rule does
/// not hold for WebSockets.
#[tokio::test(flavor = "multi_thread")]
async fn cswsh_a_foreign_page_with_a_good_cookie_is_closed_unheard() {
    for settings in [&[][..], &["origins=https://app.example"]] {
        let cluster = with_cookies(settings).await;
        let mut bystander = Bystander::of(cluster.user(0, "bob").await).await;
        let own =
            if settings.is_empty() { format!("http://{}", cluster.address(0)) } else { "https://app.example".into() };
        let cookie = format!("session={}", tokens::of("ann"));
        let signed_in = cluster.connect(0).origin(&own).header("cookie", &cookie).open().await;
        assert!(signed_in.welcome()["client"].is_string(), "the page that may is let in by the same cookie");
        let port = cluster.address(0).port();
        for origin in [
            "https://evil.example",
            "https://app.example.evil.example",
            "https://evil.example/https://app.example",
            "http://app.example",
            "https://app.example:8443",
            &format!("http://127.0.0.1.evil.example:{port}"),
            "chrome-extension://abcdef",
            "",
        ] {
            for path in ["/ws", "/raw"] {
                assert_eq!(
                    page_of(&cluster, origin, path).await,
                    (None, 4003),
                    "{origin:?} at {path} with {settings:?}"
                );
            }
            bystander.goes_on(1).await;
        }
    }
}

/// The `null` Origin of sandboxed frames, `data:` and `file:` pages: whoever writes such a page can have any browser send it,
/// so a list that takes it takes everybody (CWE-346).
#[tokio::test(flavor = "multi_thread")]
async fn null_origin_is_nobody_s() {
    for settings in [&[][..], &["origins=https://app.example"]] {
        let cluster = with_cookies(settings).await;
        let mut bystander = Bystander::of(cluster.user(0, "bob").await).await;
        for origin in ["null", "NULL", "file://"] {
            assert_eq!(page_of(&cluster, origin, "/ws").await, (None, 4003), "{origin} with {settings:?}");
            bystander.goes_on(1).await;
        }
    }
    let listed = gateway::config::Config::from_overrides(&["origins=null"]);
    assert!(listed.is_err_and(|error| error.to_string().contains("origins")), "nor can it be listed");
}
