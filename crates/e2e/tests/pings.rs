//! Silence: a quiet connection is pinged, and only one that does not answer is given up.

use e2e::frames::{self, FINAL, PING, PONG, TEXT};
use e2e::{Backend, Cluster, End, RawSocket};
use std::time::Duration;
use tokio::time::Instant;

const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(1);

async fn cluster() -> Cluster {
    Cluster::of(1, Backend::Memory).settings(&["ping.interval=1s", "ping.timeout=1s"]).start().await
}

async fn greeted(cluster: &Cluster) -> RawSocket {
    let mut socket = RawSocket::upgraded(cluster.address(0), "/ws").await;
    assert!(socket.text().await.contains("welcome"));
    socket
}

/// Answers so many pings, as every WebSocket library does by itself.
async fn answer_pings(socket: &mut RawSocket, count: usize) {
    for _ in 0..count {
        let frame = socket.frame().await.expect("a ping, not the end");
        assert_eq!(frame.first, FINAL | PING, "{frame:?}");
        socket.send(&frames::whole(PONG, &frame.payload)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_answers_pings_stays_and_a_silent_one_is_closed() {
    let cluster = cluster().await;
    let mut silent = greeted(&cluster).await;
    let mut alive = greeted(&cluster).await;
    let began = Instant::now();
    let silence = async {
        let frame = silent.frame().await.expect("a ping, not the end");
        assert_eq!(frame.first, FINAL | PING);
        assert_eq!(silent.end().await, End::Closed(Some(4103)));
        began.elapsed()
    };
    let (given_up_after, ()) = tokio::join!(silence, answer_pings(&mut alive, 4));
    // The first ping comes after half to one interval; time is counted in quarters of a second.
    assert!(given_up_after >= INTERVAL / 2 + TIMEOUT - Duration::from_millis(250), "after {given_up_after:?}");
    assert!(given_up_after <= INTERVAL + TIMEOUT + Duration::from_secs(5), "after {given_up_after:?}");
    alive.send(&frames::whole(TEXT, br#"{"type":"ping","id":1}"#)).await;
    assert!(alive.text().await.contains("pong"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_speaks_is_not_pinged() {
    let cluster = cluster().await;
    let mut busy = greeted(&cluster).await;
    let until = Instant::now() + 2 * (INTERVAL + TIMEOUT);
    while Instant::now() < until {
        busy.send(&frames::whole(TEXT, br#"{"type":"ping","id":1}"#)).await;
        assert!(busy.text().await.contains("pong"), "and nothing else");
        tokio::time::sleep(INTERVAL / 5).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_of_a_client_is_answered_with_its_own_bytes() {
    let cluster = cluster().await;
    let mut client = greeted(&cluster).await;
    for payload in [&b""[..], b"are you there?", &[0xff; 125]] {
        client.send(&frames::whole(PING, payload)).await;
        let pong = client.frame().await.expect("a pong, not the end");
        assert_eq!((pong.first, &pong.payload[..]), (FINAL | PONG, payload));
    }
}
