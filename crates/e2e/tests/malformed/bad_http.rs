//! Requests that are no handshake, or never come to their end.

use super::{Bystander, patient_cluster};
use e2e::frames::{self, TEXT};
use e2e::{Cluster, RawSocket, handshake};
use std::time::Duration;
use tokio::time::Instant;

/// Requests that are no handshake, and the status each is answered with.
fn bad_requests(cluster: &Cluster) -> Vec<(&'static str, String, u16)> {
    let good = handshake(cluster.address(0), "/ws");
    let with = |header: &str| good.replace("\r\n\r\n", &format!("\r\n{header}\r\n\r\n"));
    let without = |line: &str| {
        let at = good.find(line).expect("a line of the handshake");
        let end = at + good[at..].find("\r\n").expect("its end") + 2;
        format!("{}{}", &good[..at], &good[end..])
    };
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    vec![
        ("garbage", "\x16\x03\x01\x02\r\n\r\n".to_owned(), 400),
        ("no HTTP", "HELO example.org\r\n\r\n".to_owned(), 400),
        ("too many headers", with(many.trim_end()), 431),
        ("a huge header", with(&format!("x: {}", "y".repeat(100_000))), 431),
        ("a huge path", good.replace("/ws", &format!("/{}", "y".repeat(100_000))), 431),
        ("another method", good.replace("GET", "POST"), 405),
        ("another method elsewhere", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".to_owned(), 405),
        ("not an upgrade", without("upgrade:"), 426),
        ("an upgrade to something else", good.replace("upgrade: websocket", "upgrade: h2c"), 426),
        ("no connection header", without("connection:"), 400),
        ("an old version", good.replace("version: 13", "version: 8"), 400),
        ("no version", without("sec-websocket-version:"), 400),
        ("no key", without("sec-websocket-key:"), 400),
        ("an old HTTP", good.replace("HTTP/1.1", "HTTP/1.0"), 400),
        ("another path", good.replace("/ws", "/wss"), 404),
        ("a path with dots", "GET /../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 404),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_is_answered_with_its_status() {
    let cluster = patient_cluster().await;
    let mut bystander = Bystander::of(&cluster).await;
    for (what, request, status) in bad_requests(&cluster) {
        let mut socket = RawSocket::connect(cluster.address(0)).await;
        socket.send(request.as_bytes()).await;
        let answer = socket.answer().await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        if status == 426 {
            assert_eq!(answer.header("upgrade"), Some("websocket"));
        }
        if what == "an old version" {
            assert_eq!(answer.header("sec-websocket-version"), Some("13"));
        }
        bystander.is_untouched().await;
    }
    let page = e2e::get(cluster.address(0), "/ws").await;
    assert_eq!(page.status, 426, "what a browser's address bar gets");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_trickles_in_is_given_up_on() {
    let cluster = patient_cluster().await;
    let mut bystander = Bystander::of(&cluster).await;
    let began = Instant::now();
    let mut silent = RawSocket::connect(cluster.address(0)).await;
    silent.send(b"G").await;
    let mut slow = RawSocket::connect(cluster.address(0)).await;
    slow.send(b"GET /ws HTTP/1.1\r\n").await;
    let trickle = async {
        // A header each half second: each alone would be in time.
        for number in 0..14 {
            slow.send(format!("x-{number}: y\r\n").as_bytes()).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        slow.rest_within(Duration::from_secs(1)).await
    };
    let (trickled, silence) = tokio::join!(trickle, silent.rest_within(Duration::from_secs(8)));
    for answer in [trickled, silence] {
        assert!(!answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    }
    assert!(began.elapsed() >= Duration::from_secs(5), "after {:?}", began.elapsed());
    bystander.is_untouched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stream_is_upgraded_once_and_frames_may_follow_the_handshake_at_once() {
    let cluster = patient_cluster().await;
    let mut socket = RawSocket::connect(cluster.address(0)).await;
    let ping = frames::whole(TEXT, br#"{"type":"ping","id":1}"#);
    socket.send(&[handshake(cluster.address(0), "/ws").as_bytes(), &ping].concat()).await;
    assert_eq!(socket.answer().await.status, 101);
    assert!(socket.text().await.contains("welcome"));
    assert!(socket.text().await.contains("pong"));
    socket.send(handshake(cluster.address(0), "/ws").as_bytes()).await;
    // "GE" read as a frame: reserved bits.
    socket.expect_close(1002).await;
}
