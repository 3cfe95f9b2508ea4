//! What sessions may not do: too much, too large, too slow.

use super::wire::{OPEN, Session, Stream, ask};
use e2e::{Backend, Cluster, tokens};
use std::time::Duration;
use tokio::time::sleep;

/// Packets that announce very many attachments were gathered without end elsewhere (CVE-2026-33151).
#[tokio::test(flavor = "multi_thread")]
async fn payloads_and_packets_have_bounds() {
    let cluster = Cluster::start(2, Backend::Memory).await;
    let large = format!("4{}", "x".repeat(64 * 1024));
    let many = vec!["3"; 1001].join("\u{1e}");
    for (what, body, status) in [
        ("a large body", large.as_str(), 413),
        ("many packets", &many, 400),
        ("eleven attachments", "4511-[\"room-message\",1]", 400),
        ("very many attachments", "45999999999-[\"room-message\",1]", 400),
        ("an attachment of nothing", "bAQID", 400),
        ("an attachment that is none", "451-[\"room-message\",1]\u{1e}b***", 400),
        ("no packet", "9", 400),
        ("nothing", "", 400),
    ] {
        for node in [0, 1] {
            let session = Session::entered(&cluster, 0, "").await;
            assert_eq!(session.post(&cluster, node, body).await.status, status, "{what}");
            let after = session.post(&cluster, node, "3").await.status;
            assert_eq!(after, if status == 413 { 200 } else { 400 }, "{what}: afterwards");
        }
    }
    let session = Session::entered(&cluster, 0, "").await;
    let octets = "content-type: application/octet-stream\r\n";
    assert_eq!(ask(cluster.address(0), &session.head("POST"), octets, "3").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_only_so_many_sessions() {
    let plan = Cluster::of(1, Backend::Memory).settings(&["limits.connections_per_address=2"]);
    let cluster = plan.start().await;
    let sessions = [Session::open(&cluster, 0, "").await, Session::open(&cluster, 0, "").await];
    assert_eq!(ask(cluster.address(0), OPEN, "", "").await.status, 429);
    assert_eq!(sessions[0].post(&cluster, 0, "1").await.status, 200);
    cluster.metric_becomes(0, "gateway_connections{dialect=\"socketio\"}", 1.0).await;
    Session::open(&cluster, 0, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_place_that_another_wants_shows_that_he_lives_and_keeps_it() {
    let settings = ["sessions=limit 1", "ping.interval=60s", "ping.timeout=60s"];
    let cluster = Cluster::of(1, Backend::Memory).with_tokens().settings(&settings).start().await;
    let mut stream = Stream::open(&cluster, 0, "").await;
    stream.until("0{").await;
    stream.send(&format!("40{{\"token\":\"{}\"}}", tokens::of("ann"))).await;
    stream.until("40{\"sid\":").await;
    assert_eq!(cluster.user(0, "ann").await.expect_close().await, 4109);
    stream.until("2").await;
    stream.send("3").await;
    // Longer than anybody has to show it.
    for _ in 0..7 {
        sleep(Duration::from_secs(1)).await;
        stream.send("421[\"ping\"]").await;
        stream.until("431[").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_not_finished_ends_and_the_session_polls_on() {
    let plan = Cluster::of(2, Backend::Memory).settings(&["socketio.upgrade_timeout=200ms"]);
    let cluster = plan.start().await;
    for node in [0, 1] {
        let session = Session::entered(&cluster, 0, "").await;
        let mut stream = Stream::open(&cluster, node, &format!("&sid={}", session.sid)).await;
        stream.send("2probe").await;
        stream.until("3probe").await;
        assert_eq!(stream.next().await, None);
        session.post(&cluster, node, "421[\"ping\"]").await;
        session.polls_until(&cluster, node, "431[").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_no_faster_than_they_may_known_or_not() {
    let plan = Cluster::of(1, Backend::Memory).settings(&["limits.messages=1/s burst 5", "socketio.default_room="]);
    let cluster = plan.start().await;
    let mut stream = Stream::open(&cluster, 0, "").await;
    stream.send("40").await;
    for number in 0..6 {
        stream.send(&format!("42{number}[\"nonsense\"]")).await;
    }
    stream.until("434[{\"status\":\"error\",\"code\":\"bad_request\"").await;
    stream.until("435[{\"status\":\"error\",\"code\":\"rate_limited\"").await;
}
