//! More of something than any client needs: frames, headers, closes, streams.

use super::{Bystander, cluster, greeted, reached};
use e2e::frames::{self, CLOSE, CONTINUATION, FINAL, PING, PONG, TEXT};
use e2e::{Cluster, End, RawSocket, handshake};
use std::time::Duration;

/// Sends bytes over and over, up to so many times, until the gateway has had enough; tells how it closed.
async fn flood(cluster: &Cluster, first: &[u8], then: &[u8], times: usize) -> End {
    let mut socket = greeted(cluster).await;
    socket.send(first).await;
    let batch = then.repeat(100);
    let mut left = times;
    while left > 0 && socket.try_send(&batch).await {
        left = left.saturating_sub(100);
    }
    loop {
        match socket.frame_or_reset().await {
            Some(frame) if frame.first == FINAL | CLOSE => {
                return End::Closed(frame.payload.first_chunk().map(|code| u16::from_be_bytes(*code)));
            }
            Some(frame) => assert_eq!(frame.first, FINAL | PONG, "{frame:?}"),
            None => return End::Silent,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_and_pongs_come_no_faster_than_commands() {
    let cluster = cluster(&[]).await;
    let mut bystander = Bystander::of(&cluster).await;
    for (number, kind) in [PING, PONG].into_iter().enumerate() {
        let frame = frames::whole(kind, &[b'x'; 125]);
        assert_eq!(flood(&cluster, &[], &frame, 100_000).await, End::Closed(Some(4101)));
        assert_eq!(reached(&cluster, "control_frames").await, number as f64 + 1.0);
        bystander.is_untouched().await;
    }
    bystander.ends(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_has_only_so_many_fragments_empty_or_tiny() {
    let cluster = cluster(&[]).await;
    let mut bystander = Bystander::of(&cluster).await;
    for payload in [&b""[..], b"x"] {
        let (first, next) = (frames::frame(TEXT, payload), frames::frame(CONTINUATION, payload));
        assert_eq!(flood(&cluster, &first, &next, 1_000_000).await, End::Closed(Some(1009)));
        bystander.is_untouched().await;
    }
    assert_eq!(reached(&cluster, "max_message").await, 2.0);
    bystander.ends(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_messages_are_bad_ones_and_there_may_be_few() {
    let cluster = cluster(&[]).await;
    let bystander = Bystander::of(&cluster).await;
    let mut socket = greeted(&cluster).await;
    socket.send(&frames::whole(TEXT, b"").repeat(100_000)).await;
    for _ in 0..10 {
        assert!(socket.text().await.contains("bad_request"));
    }
    let close = socket.frame().await.expect("a close");
    assert_eq!((close.first, &close.payload[..2]), (FINAL | CLOSE, &4010u16.to_be_bytes()[..]));
    assert_eq!(reached(&cluster, "bad_messages").await, 1.0);
    bystander.ends(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_first_close_nothing_counts_and_the_stream_ends_in_time() {
    let cluster = cluster(&[]).await;
    let mut bystander = Bystander::of(&cluster).await;
    let mut socket = greeted(&cluster).await;
    let flood = frames::close(1000, b"bye").repeat(1000);
    while socket.try_send(&flood).await {}
    bystander.is_untouched().await;
    cluster.metric_becomes(0, "gateway_connections{dialect=\"json\"}", 1.0).await;
    assert_eq!(cluster.metric(0, "gateway_closes_total{code=\"normal\"}").await, 1.0);
    bystander.ends(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_bounded_however_they_grow() {
    let cluster = cluster(&[]).await;
    let mut bystander = Bystander::of(&cluster).await;
    let good = handshake(cluster.address(0), "/ws");
    let with = |lines: &str| good.replace("\r\n\r\n", &format!("\r\n{lines}\r\n"));
    let many = |count: usize| (0..count).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    let requests = [
        ("65 headers", with(&many(65))),
        ("100,000 headers", with(&many(100_000))),
        ("a header of 1 MiB", with(&format!("x: {}\r\n", "y".repeat(1 << 20)))),
        ("a request line of 1 MiB", good.replace("/ws", &format!("/{}", "y".repeat(1 << 20)))),
        ("a header's name of 1 MiB", with(&format!("{}: y\r\n", "x".repeat(1 << 20)))),
    ];
    for (what, request) in requests {
        let mut socket = RawSocket::connect(cluster.address(0)).await;
        for part in request.as_bytes().chunks(16 * 1024) {
            if !socket.try_send(part).await {
                break;
            }
        }
        let answer = socket.rest_within(Duration::from_secs(8)).await;
        let text = String::from_utf8_lossy(&answer);
        // A stream that is closed over unread bytes may be reset before its answer is read.
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 431 "), "{what}: {text}");
        bystander.is_untouched().await;
    }
    bystander.ends(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_sends_handshakes_too_fast_is_told_when_to_come_back() {
    let settings = ["limits.handshakes_per_address=1/m burst 3", "trusted_proxies=127.0.0.0/8"];
    let cluster = cluster(&settings).await;
    let from = |address: &str| cluster.connect(0).header("x-forwarded-for", address);
    let mut open = Vec::new();
    for host in ["2001:db8::1", "2001:db8::2", "2001:db8::3"] {
        open.push(from(host).open().await);
    }
    for refused in [from("2001:db8::4").refused().await, from("2001:db8::5").as_page().refused().await] {
        assert_eq!(refused.status, 429, "the same /64, and pages too: {refused:?}");
        assert!((20..=63).contains(&refused.retry_after_s()), "{refused:?}");
    }
    from("2001:db8:0:1::1").open().await.close().await;
    assert_eq!(reached(&cluster, "handshakes_per_address").await, 2.0);
    for client in &mut open {
        client.hears_nothing().await;
    }
}
