//! permessage-deflate on the wire: what is agreed upon, compressed once for all who take it, and what comes compressed and is no message.

use e2e::frames::{self, CONTINUATION, FINAL, PING, PONG, TEXT};
use e2e::{Backend, Cluster, RawSocket};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use serde_json::{Value, json};
use std::collections::VecDeque;

const RSV1: u8 = 0x40;
const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const MANY: usize = 8;

/// A message without what its flush ends with.
fn deflated(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() * 2 + 64);
    Compress::new(Compression::new(6), false).compress_vec(message, &mut out, FlushCompress::Sync).expect("deflated");
    out.truncate(out.len() - 4);
    out
}

fn inflated(compressed: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 20);
    let whole = [compressed, &[0, 0, 0xff, 0xff]].concat();
    Decompress::new(false).decompress_vec(&whole, &mut out, FlushDecompress::Sync).expect("compressed by the gateway");
    out
}

/// A client that compresses whatever it says.
struct Compressing {
    socket: RawSocket,
    aside: VecDeque<(Value, bool)>,
}

impl Compressing {
    async fn open(cluster: &Cluster, node: usize) -> Self {
        Self::with_buffer(cluster, node, None).await
    }

    async fn with_buffer(cluster: &Cluster, node: usize, buffer_bytes: Option<u32>) -> Self {
        let offer = "sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n";
        let (socket, answer) = RawSocket::offering(cluster.address(node), "/ws", offer, buffer_bytes).await;
        assert_eq!(answer.header("sec-websocket-extensions"), Some(ANSWER));
        let mut compressing = Self { socket, aside: VecDeque::new() };
        assert_eq!(compressing.next().await.0["type"], "welcome");
        compressing
    }

    async fn send(&mut self, command: &Value) {
        self.send_compressed(&deflated(command.to_string().as_bytes())).await;
    }

    async fn send_compressed(&mut self, payload: &[u8]) {
        self.socket.send(&frames::frame(FINAL | RSV1 | TEXT, payload)).await;
    }

    async fn subscribe(&mut self, channel: &str) {
        self.send(&json!({"type": "subscribe", "id": 1, "channel": channel})).await;
        while self.next().await.0["type"] != "subscribed" {}
    }

    /// The next message, and whether it came compressed.
    async fn next(&mut self) -> (Value, bool) {
        if let Some(next) = self.aside.pop_front() {
            return next;
        }
        let frame = self.socket.frame().await.expect("a message, not the end");
        let is_compressed = frame.first == FINAL | RSV1 | TEXT;
        assert!(is_compressed || frame.first == FINAL | TEXT, "{frame:?}");
        let text = if is_compressed { inflated(&frame.payload) } else { frame.payload };
        let value = serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{error} in {text:?}"));
        (value, is_compressed)
    }

    /// The data of the next publication, and whether it came compressed.
    async fn next_data(&mut self) -> (Value, bool) {
        loop {
            let (mut push, is_compressed) = self.next().await;
            match push["type"].as_str() {
                Some("publication") => return (push["data"].take(), is_compressed),
                Some("join" | "published") => {}
                _ => panic!("not a publication: {push}"),
            }
        }
    }
}

/// Something that is worth compressing, and still is a lot compressed.
fn large(seed: u64, words: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ["alphabet ", "broadcast ", "cluster ", "delivery ", "envelope ", "fragment ", "gateway ", "history "]
            [(state >> 60) as usize % 8]
    };
    (0..words).map(|_| word()).collect()
}

async fn quiet_cluster(nodes: usize, settings: &[&str]) -> Cluster {
    let namespaces = "[[namespace]]\npattern = \"*\"\npresence = false\n";
    Cluster::of(nodes, Backend::Memory).namespaces(namespaces).settings(settings).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_dialect_agrees_to_the_first_offer_that_can_be_served() {
    let cluster = quiet_cluster(1, &[]).await;
    let small = "permessage-deflate; server_max_window_bits=12";
    let small_answer = format!("{ANSWER}; server_max_window_bits=9");
    let cases = [
        ("/ws", "permessage-deflate; client_max_window_bits", Some(ANSWER)),
        ("/raw/c", "permessage-deflate", Some(ANSWER)),
        ("/socket.io/?EIO=4&transport=websocket", "permessage-deflate", Some(ANSWER)),
        ("/ws", small, Some(small_answer.as_str())),
        ("/ws", "permessage-deflate; server_max_window_bits=8", None),
        ("/ws", "permessage-deflate; server_max_window_bits=8, permessage-deflate", Some(ANSWER)),
        ("/ws", "x-webkit-deflate-frame", None),
        // Arrays are each connection's own.
        ("/ws?batch=1", "permessage-deflate", None),
    ];
    for (path, offer, expected) in cases {
        let line = format!("sec-websocket-extensions: {offer}\r\n");
        let (_, answer) = RawSocket::offering(cluster.address(0), path, &line, None).await;
        assert_eq!(answer.header("sec-websocket-extensions"), expected, "{path} was offered {offer}");
    }
    let (_, answer) = RawSocket::offering(cluster.address(0), "/ws", "", None).await;
    assert_eq!(answer.header("sec-websocket-extensions"), None, "nothing was offered");
    assert_eq!(cluster.metric(0, "gateway_deflate_handshakes_total{outcome=\"agreed\"}").await, 5.0);
    assert_eq!(cluster.metric(0, "gateway_deflate_handshakes_total{outcome=\"declined\"}").await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_switched_off_nothing_is_agreed_upon_and_nothing_may_come_compressed() {
    let cluster = quiet_cluster(1, &["deflate.enabled=false"]).await;
    let line = "sec-websocket-extensions: permessage-deflate\r\n";
    let (mut socket, answer) = RawSocket::offering(cluster.address(0), "/ws", line, None).await;
    assert_eq!(answer.header("sec-websocket-extensions"), None);
    socket.text().await;
    socket.send(&frames::frame(FINAL | RSV1 | TEXT, &deflated(b"{}"))).await;
    socket.expect_close(1002).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_is_compressed_once_for_all_who_take_it_so() {
    let cluster = quiet_cluster(1, &["workers=1"]).await;
    let mut compressing = Vec::new();
    for _ in 0..MANY {
        let mut client = Compressing::open(&cluster, 0).await;
        client.subscribe("news").await;
        compressing.push(client);
    }
    let mut plain = cluster.client(0).await;
    plain.subscribe("news").await;
    let data = [json!(large(1, 500)), json!("small"), json!(large(2, 500))];
    let publish = |data: &Value| json!({"type": "publish", "channel": "news", "data": data});
    plain.send(&json!(data.each_ref().map(publish))).await;
    for client in &mut compressing {
        for (number, data) in data.iter().enumerate() {
            assert_eq!(client.next_data().await, (data.clone(), number != 1), "only what is large comes compressed");
        }
    }
    assert_eq!(plain.next_data(3).await, data);
    assert_eq!(cluster.metric(0, "gateway_deflated_messages_total").await, 2.0, "for {MANY} of them");
    let [before, after] =
        ["before", "after"].map(|moment| format!("gateway_deflated_bytes_total{{moment=\"{moment}\"}}"));
    assert!(cluster.metric(0, &before).await > 2.0 * cluster.metric(0, &after).await);
    // What is one connection's alone is compressed for it.
    compressing[0].send(&json!({"type": "history", "id": 2, "channel": "news"})).await;
    let (answer, is_compressed) = compressing[0].next().await;
    assert!(is_compressed && answer["publications"].as_array().is_some_and(|all| all.len() == 3), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wants_no_echo_gets_the_compressed_frames_of_the_others_only() {
    let cluster = quiet_cluster(1, &["workers=1"]).await;
    let (mut ann, mut bob) = (Compressing::open(&cluster, 0).await, Compressing::open(&cluster, 0).await);
    ann.subscribe("news").await;
    bob.subscribe("news").await;
    let publish =
        |n: u64| json!({"type": "publish", "channel": "news", "data": large(n, 300), "echo": n.is_multiple_of(2)});
    ann.send(&json!((1..=6).map(publish).collect::<Vec<_>>())).await;
    for n in [2, 4, 6] {
        assert_eq!(ann.next_data().await, (json!(large(n, 300)), true));
    }
    for n in 1..=6 {
        assert_eq!(bob.next_data().await, (json!(large(n, 300)), true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_compressed_and_in_pieces_is_one_command() {
    let cluster = quiet_cluster(1, &[]).await;
    let mut ann = Compressing::open(&cluster, 0).await;
    ann.subscribe("news").await;
    let compressed =
        deflated(json!({"type": "publish", "channel": "news", "data": large(3, 400)}).to_string().as_bytes());
    let third = compressed.len() / 3;
    let pieces = [
        frames::frame(RSV1 | TEXT, &compressed[..third]),
        frames::whole(PING, b"between"),
        frames::frame(CONTINUATION, &compressed[third..2 * third]),
        frames::frame(FINAL | CONTINUATION, &compressed[2 * third..]),
    ];
    ann.socket.send(&pieces.concat()).await;
    let pong = ann.socket.frame().await.expect("a pong");
    assert_eq!(
        (pong.first, pong.payload.as_slice()),
        (FINAL | PONG, &b"between"[..]),
        "control frames are never compressed"
    );
    assert_eq!(ann.next_data().await.0, large(3, 400));
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_and_what_is_no_deflate_close_the_connection_and_are_counted() {
    let cluster = quiet_cluster(1, &["limits.messages=10/s burst 20"]).await;
    let bomb = deflated(&vec![b' '; 8 << 20]);
    assert!(bomb.len() < 64 << 10, "8 MiB come in one frame");
    for (payload, code) in [(bomb, 1009), (vec![0xff; 30], 1007), (deflated(b"\xff{}"), 1007)] {
        let mut client = Compressing::open(&cluster, 0).await;
        client.send_compressed(&payload).await;
        client.socket.expect_close(code).await;
    }
    assert_eq!(cluster.metric(0, "gateway_limits_total{limit=\"inflation\"}").await, 1.0);
    assert_eq!(cluster.metric(0, "gateway_limits_total{limit=\"max_message\"}").await, 1.0);
    // Each of them may be as large, but not so many.
    let mut client = Compressing::open(&cluster, 0).await;
    let spaces = format!("{}{}", " ".repeat(60_000), json!({"type": "ping"}));
    let swelling = frames::frame(FINAL | RSV1 | TEXT, &deflated(spaces.as_bytes()));
    client.socket.send(&swelling.repeat(60)).await;
    client.socket.expect_close(4101).await;
    assert_eq!(cluster.metric(0, "gateway_limits_total{limit=\"inflation\"}").await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_keep_up_does_without_compressed_publications_too_and_is_told_which() {
    const MESSAGES: u64 = 150;
    let namespaces =
        "[[namespace]]\npattern = \"*\"\npresence = false\nhistory.size = 100000\nslow = \"drop_oldest\"\n";
    let settings = ["outbox.bytes=64KiB", "limits.messages=100000/s"];
    let cluster = Cluster::of(1, Backend::Memory).namespaces(namespaces).settings(&settings).start().await;
    let mut sleeper = Compressing::with_buffer(&cluster, 0, Some(4096)).await;
    sleeper.subscribe("news").await;
    let mut writer = cluster.client(0).await;
    for number in 1..=MESSAGES {
        writer.publish("news", json!(large(number, 6_000))).await;
    }
    let (mut reached, mut came, mut lost) = (0, 0, 0);
    while reached < MESSAGES {
        let (push, is_compressed) = sleeper.next().await;
        let number = |field: &str| push[field].as_u64().unwrap_or_else(|| panic!("no {field} in {push}"));
        let (from, to) = match push["type"].as_str() {
            Some("publication") => (number("offset"), number("offset")),
            Some("gap") => (number("from"), number("to")),
            _ => panic!("neither a publication nor a gap: {push}"),
        };
        assert_eq!(from, reached + 1, "in order, and nothing twice");
        reached = to;
        if push["type"] == "gap" {
            lost += to + 1 - from;
            continue;
        }
        assert!(is_compressed && push["data"] == large(to, 6_000), "publication {to} is not what it was");
        came += 1;
    }
    assert!(came > 0 && lost > 0, "{came} came and {lost} did not");
    let dropped = "gateway_dropped_publications_total{policy=\"drop_oldest\"}";
    assert_eq!(cluster.metric(0, dropped).await, lost as f64);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_raw_relay_compresses_and_inflates_too() {
    let cluster = quiet_cluster(1, &[]).await;
    let line = "sec-websocket-extensions: permessage-deflate; server_max_window_bits=9\r\n";
    let (mut ann, _) = RawSocket::offering(cluster.address(0), "/raw/board?echo=1", line, None).await;
    let text = large(5, 700);
    ann.send(&frames::frame(FINAL | RSV1 | TEXT, &deflated(text.as_bytes()))).await;
    let frame = ann.frame().await.expect("its echo");
    assert_eq!(frame.first, FINAL | RSV1 | TEXT);
    assert_eq!(inflated(&frame.payload), text.as_bytes());
}
