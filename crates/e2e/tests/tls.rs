//! A node that ends TLS itself: everything goes on as without, and what is no TLS gets nowhere.

use e2e::tls::{self, Trust};
use e2e::{Backend, Cluster, Plan, RawSocket, handshake};
use gateway::tls::develop::Developed;
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const SLOW: &str = "[[namespace]]\npattern = \"*\"\npresence = false\n";

fn plan(nodes: usize, settings: &[&str]) -> Plan {
    let pair = tls::settings();
    Cluster::of(nodes, Backend::Memory).settings(&pair.each_ref().map(String::as_str)).settings(settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_share_channels_by_tls_as_they_do_without() {
    let cluster = plan(2, &["limits.messages=100000/s"]).start().await;
    let trust = tls::trust();
    let mut ann = cluster.connect(0).by_tls(&trust).open().await;
    let mut bob = cluster.connect(1).by_tls(&trust).open().await;
    for client in [&mut ann, &mut bob] {
        client.subscribe("chat").await;
    }
    // From a byte to several records at once.
    for (number, length) in (1..).zip([1, 100, 16_000, 16_384, 16_385, 60_000, 2]) {
        let text = "x".repeat(length);
        ann.publish("chat", json!(text)).await;
        for client in [&mut ann, &mut bob] {
            let publication = client.next_publication().await;
            assert_eq!((&publication["offset"], &publication["data"]), (&json!(number), &json!(text)));
        }
    }
    ann.hears_nothing().await;
    bob.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_read_is_closed_by_tls_too_and_gets_only_whole_frames() {
    let settings = ["outbox.bytes=64KiB", "limits.messages=100000/s"];
    let cluster = plan(1, &settings).namespaces(SLOW).start().await;
    let trust = tls::trust();
    let mut fast = cluster.connect(0).by_tls(&trust).open().await;
    fast.subscribe("chat").await;
    let mut slow = cluster.connect(0).by_tls(&trust).receive_buffer(4096).open().await;
    slow.subscribe("chat").await;
    let padding = "x".repeat(10_000);
    for number in 1..=400 {
        fast.publish("chat", json!([number, padding])).await;
        assert_eq!(fast.next_publication().await["offset"], json!(number));
        if number % 40 == 0 {
            let waiting = cluster.metric(0, "gateway_outbox_bytes").await;
            assert!(waiting <= 65.0 * 1024.0, "{waiting} bytes wait, and only for one client");
        }
    }
    assert_eq!(cluster.metric(0, "gateway_slow_consumers_total{policy=\"close\"}").await, 1.0);
    assert_eq!(slow.expect_close().await, 4102);
    let mut reached = 0;
    while let Some(publication) = slow.kept() {
        reached += 1;
        assert_eq!(publication["offset"], reached, "what it did get is whole and in order");
    }
    assert!((1..200).contains(&reached), "{reached} of 400 had left for it");
    cluster.metric_becomes(0, "gateway_outbox_bytes", 0.0).await;
    cluster.metric_becomes(0, "gateway_budget_used_bytes", 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_the_outbox_can_bridge_costs_nothing_by_tls() {
    let cluster = plan(1, &["limits.messages=100000/s"]).namespaces(SLOW).start().await;
    let trust = tls::trust();
    let mut pausing = cluster.connect(0).by_tls(&trust).receive_buffer(4096).open().await;
    pausing.subscribe("chat").await;
    let mut writer = cluster.connect(0).by_tls(&trust).open().await;
    for round in 0..10 {
        // With the last one small: it alone may be what TLS holds back.
        for (number, length) in (1..=8).zip([9_999, 20_000, 16_384, 1, 30_000, 17, 12_345, 3]) {
            writer.publish("chat", json!([round * 8 + number, "x".repeat(length)])).await;
        }
        for number in 1..=8 {
            assert_eq!(pausing.next_publication().await["data"][0], round * 8 + number);
        }
    }
}

/// The bytes that a stream brings until its end, which TLS has to say.
async fn rest(trust: &Trust, cluster: &Cluster, request: &[u8]) -> Vec<u8> {
    let mut stream = tls::connect(trust, cluster.address(0)).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]), "never HTTP/2");
    stream.write_all(request).await.expect("a request sent");
    let mut read = Vec::new();
    let ended = timeout(e2e::PATIENCE, stream.read_to_end(&mut read)).await.expect("an end");
    ended.expect("a close_notify before the end");
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_is_said_in_tls_as_well() {
    let cluster = plan(1, &["tls.hsts=1h"]).start().await;
    let close = e2e::frames::whole(e2e::frames::CLOSE, &1000u16.to_be_bytes());
    // The close comes in one piece with the handshake.
    let request = [handshake(cluster.address(0), "/ws").as_bytes(), &close].concat();
    let read = rest(&tls::trust(), &cluster, &request).await;
    assert!(read.starts_with(b"HTTP/1.1 101") && read.ends_with(&[0x88, 2, 3, 232]), "{read:?}");
    let page = rest(&tls::trust(), &cluster, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let page = e2e::Answer::parse(&page);
    assert_eq!((page.status, page.header("strict-transport-security")), (200, Some("max-age=3600")));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_begins_a_handshake_and_does_not_end_it_is_closed_in_time() {
    let cluster = plan(1, &[]).start().await;
    let began = Instant::now();
    let silent = RawSocket::connect(cluster.address(0)).await;
    let mut half = RawSocket::connect(cluster.address(0)).await;
    // A record of 512 bytes, and no more of it than this.
    half.send(&[0x16, 3, 1, 2, 0, 1, 0, 1]).await;
    let idle = tls::connect(&tls::trust(), cluster.address(0)).await.expect("a handshake");
    let patience = Duration::from_secs(9);
    let (silent, half) = tokio::join!(silent.rest_within(patience), half.rest_within(patience));
    assert!(silent.is_empty(), "{silent:?}");
    drop((half, idle));
    assert!(began.elapsed() >= Duration::from_secs(5), "after {:?}", began.elapsed());
    cluster.metric_becomes(0, "gateway_arrival_failures_total{reason=\"late\"}", 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_no_tls_or_too_old_a_one_is_told_so() {
    let cluster = plan(1, &[]).start().await;
    let answer = e2e::get(cluster.address(0), "/").await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("https://"), "{answer:?}");
    cluster.metric_becomes(0, "gateway_arrival_failures_total{reason=\"tls_missing\"}", 1.0).await;
    // The hello of a client whose newest version is TLS 1.1: its random bytes, no session, two suites, no compression.
    let body = [&[3, 2][..], &[7; 32], &[0, 0, 4, 0xc0, 0x13, 0xc0, 0x14, 1, 0]].concat();
    let message = [&[1, 0, 0, u8::try_from(body.len()).expect("a short one")][..], &body].concat();
    let record = [&[0x16, 3, 1, 0, u8::try_from(message.len()).expect("a short one")][..], &message].concat();
    let mut old = RawSocket::connect(cluster.address(0)).await;
    old.send(&record).await;
    let refusal = old.rest_within(Duration::from_secs(5)).await;
    // protocol_version, or handshake_failure: it cannot offer what TLS 1.2 would need either.
    let is_fatal = matches!(refusal[..], [0x15, 3, _, 0, 2, 2, 70 | 40]);
    assert!(is_fatal, "instead of a fatal alert came {refusal:?}");
    cluster.metric_becomes(0, "gateway_arrival_failures_total{reason=\"tls_handshake\"}", 1.0).await;
    cluster.connect(0).by_tls(&tls::trust()).open().await.hears_nothing().await;
}

fn write(directory: &Path) -> Trust {
    let pair = Developed::new(&["127.0.0.1".to_owned()]).expect("a certificate");
    pair.write(directory).expect("the files written");
    tls::trusting(pair.cert.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_to_newcomers_and_nobody_is_disturbed() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = write(directory.path());
    let (cert, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    let files = [format!("tls.cert={}", cert.display()), format!("tls.key={}", key.display())];
    let files = files.each_ref().map(String::as_str);
    let cluster = Cluster::of(1, Backend::Memory).settings(&files).settings(&["tls.reload=50ms"]).start().await;
    assert!(cluster.metric(0, "gateway_tls_certificate_ends_seconds").await > 1_700_000_000.0);
    let mut old = cluster.connect(0).by_tls(&first).open().await;
    std::fs::write(&cert, "half a certif").expect("a broken file");
    cluster.metric_becomes(0, "gateway_tls_reloads_total{outcome=\"failed\"}", 1.0).await;
    cluster.connect(0).by_tls(&first).open().await.close().await;
    let second = write(directory.path());
    cluster.metric_becomes(0, "gateway_tls_reloads_total{outcome=\"loaded\"}", 1.0).await;
    let mut new = cluster.connect(0).by_tls(&second).open().await;
    // A client that remembers no session of the first: with one it need not be shown a certificate.
    let fresh = tls::trusting(&std::fs::read(tls::file("ca.pem")).expect("another authority"));
    tls::connect(&fresh, cluster.address(0)).await.expect_err("a certificate of somebody else");
    old.subscribe("chat").await;
    new.publish("chat", json!("still here")).await;
    assert_eq!(old.next_publication().await["data"], "still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_events_comes_by_tls_as_it_is_said() {
    let cluster = plan(1, &[]).start().await;
    let stream = TcpStream::connect(cluster.address(0)).await.expect("a node that listens");
    let mut stream = tls::shake(&tls::trust(), stream).await.expect("a handshake");
    stream.write_all(b"GET /sse?channel=chat HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("a request that is taken");
    let mut read = Vec::new();
    let mut until = async |words: &str| {
        while !String::from_utf8_lossy(&read).contains(words) {
            let more = timeout(e2e::PATIENCE, stream.read_buf(&mut read)).await.expect("more to come");
            assert!(more.is_ok_and(|length| length > 0), "{}", String::from_utf8_lossy(&read));
        }
    };
    until("\"subscribed\"").await;
    let mut ann = cluster.connect(0).by_tls(&tls::trust()).open().await;
    for number in 1..=3 {
        ann.publish("chat", json!(number)).await;
        until(&format!("\"data\":{number}}}")).await;
    }
}
