//! Whoever begins and does not end: handshakes, messages, reading, and connections that are of no use.

use super::{Bystander, cluster, greeted, reached};
use e2e::frames::{self, CONTINUATION, FINAL, PING, TEXT};
use e2e::{Cluster, End, RawSocket, handshake};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// As many as never end, half of them silent; all are let go in time.
async fn begins_and_never_ends(cluster: &Cluster, count: usize) {
    let mut half_open = Vec::new();
    for number in 0..count {
        let mut socket = RawSocket::connect(cluster.address(0)).await;
        socket.send(if number % 2 == 0 { b"" } else { b"GET /ws HTTP/1.1\r\nhost: x\r\n" }).await;
        half_open.push(socket);
    }
    let began = Instant::now();
    let mut ends = JoinSet::new();
    for socket in half_open {
        ends.spawn(socket.rest_within(Duration::from_secs(15)));
    }
    cluster.client(0).await.close().await;
    for rest in ends.join_all().await {
        assert!(!rest.starts_with(b"HTTP/1.1 101"));
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_handshakes_that_never_end_are_let_go_in_time_and_keep_nobody_out() {
    const HALF_OPEN: usize = 4000;
    let cluster = cluster(&[]).await;
    let mut early = Bystander::of(&cluster).await;
    begins_and_never_ends(&cluster, HALF_OPEN).await;
    early.is_untouched().await;
    // What the allocator keeps of the first round is enough for the second.
    let late = Bystander::of(&cluster).await;
    begins_and_never_ends(&cluster, HALF_OPEN).await;
    late.ends(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_handshake_was_refused_still_counts_as_one_that_has_yet_to_shake_hands() {
    let cluster = cluster(&["limits.unfinished_per_address=3", "workers=1"]).await;
    let head = handshake(cluster.address(0), "/ws").replace("\r\n\r\n", "\r\nauthorization: Bearer bad\r\n\r\n");
    let mut refused = Vec::new();
    for _ in 0..3 {
        let mut stream = RawSocket::connect(cluster.address(0)).await;
        stream.send(head.as_bytes()).await;
        assert_eq!(stream.answer().await.status, 401);
        refused.push(stream);
    }
    assert_eq!(cluster.connect(0).refused().await.status, 429);
    drop(refused);
    while cluster.connect(0).try_open().await.is_err() {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_begins_only_so_many_handshakes_at_a_time() {
    // One worker, so that streams are accepted in the order of their coming.
    let cluster = cluster(&["limits.unfinished_per_address=3", "workers=1"]).await;
    let mut open = Bystander::of(&cluster).await;
    let mut half_open = Vec::new();
    for _ in 0..3 {
        half_open.push(RawSocket::connect(cluster.address(0)).await);
    }
    let refused = cluster.connect(0).refused().await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!((1..=3).contains(&refused.retry_after_s()), "{refused:?}");
    assert_eq!(reached(&cluster, "unfinished_per_address").await, 1.0);
    open.is_untouched().await;
    drop(half_open);
    while cluster.connect(0).try_open().await.is_err() {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_trickles_in_is_given_up_on_also_between_pings() {
    let cluster = cluster(&["limits.message_time=2s"]).await;
    let mut bystander = Bystander::of(&cluster).await;
    let whole = frames::whole(TEXT, &[b' '; 100]);
    let beginning = frames::frame(TEXT, b" ");
    let continuation = frames::frame(CONTINUATION, b" ");
    let ping = frames::whole(PING, b"");
    for pieces in [whole.chunks(1).map(<[u8]>::to_vec).collect::<Vec<_>>(), vec![[continuation, ping].concat(); 100]] {
        let mut socket = greeted(&cluster).await;
        let began = Instant::now();
        if pieces[0].len() > 1 {
            socket.send(&beginning).await;
        }
        for piece in pieces {
            if !socket.try_send(&piece).await || began.elapsed() > Duration::from_secs(4) {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        let close = loop {
            let frame = socket.frame().await.expect("a close");
            if frame.first == FINAL | frames::CLOSE {
                break frame;
            }
        };
        assert_eq!(close.payload[..2], 4107u16.to_be_bytes());
        bystander.is_untouched().await;
    }
    assert_eq!(reached(&cluster, "message_time").await, 2.0);
    bystander.ends(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_always_in_the_middle_of_another_message_stays() {
    let cluster = cluster(&["limits.message_time=1s", "limits.messages=10000/s"]).await;
    let mut socket = greeted(&cluster).await;
    let message = frames::whole(TEXT, br#"{"type":"ping","id":1}"#);
    let (head, tail) = message.split_at(5);
    socket.send(head).await;
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        socket.send(&[tail, head].concat()).await;
        assert!(socket.text().await.contains("pong"));
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(reached(&cluster, "message_time").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_of_no_use_may_be_sent_away() {
    let cluster = cluster(&["limits.idle=2s"]).await;
    let mut bystander = Bystander::of(&cluster).await;
    let began = Instant::now();
    let mut unused = greeted(&cluster).await;
    assert_eq!(unused.end().await, End::Closed(Some(4108)));
    assert!(began.elapsed() >= Duration::from_millis(1500), "{:?}", began.elapsed());
    assert_eq!(reached(&cluster, "idle").await, 1.0);
    bystander.is_untouched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_never_reads_holds_no_more_than_its_bound() {
    let cluster = cluster(&["limits.messages=1000000/s", "outbox.bytes=64KiB"]).await;
    let bystander = Bystander::of(&cluster).await;
    let mut deaf = RawSocket::upgraded_with(cluster.address(0), "/ws", Some(4096)).await;
    let command = frames::whole(TEXT, br#"{"type":"nonsense","id":1}"#);
    let pings = frames::whole(TEXT, br#"{"type":"ping","id":1}"#).repeat(1000);
    while deaf.try_send(&pings).await {}
    deaf.try_send(&command).await;
    assert_eq!(cluster.metric(0, "gateway_closes_total{code=\"slow consumer\"}").await, 1.0);
    bystander.ends(&cluster).await;
}
