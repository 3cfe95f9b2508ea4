//! Frames against the rules of RFC 6455, and right ones in every shape.

use super::{Bystander, patient_cluster};
use e2e::frames::{self, BINARY, CLOSE, CONTINUATION, FINAL, PING, TEXT};
use e2e::{End, RawSocket};

/// Frames against the rules of RFC 6455, and the code each is closed with.
fn bad_frames() -> Vec<(&'static str, Vec<u8>, u16)> {
    let fragment = |first: u8| frames::frame(first, b"half");
    let oversized = |first: u8, length: u64| frames::header(first, length);
    let fragments_over_the_limit =
        [frames::frame(TEXT, &[b'a'; 40_000]), frames::frame(CONTINUATION, &[b'a'; 40_000])].concat();
    let flood: Vec<u8> =
        std::iter::once(fragment(TEXT)).chain((0..20_000).map(|_| fragment(CONTINUATION))).flatten().collect();
    let empty_flood: Vec<u8> =
        (0..20_000).flat_map(|n| frames::frame(if n == 0 { TEXT } else { CONTINUATION }, b"")).collect();
    vec![
        ("no mask", frames::unmasked(FINAL | TEXT, b"{}"), 1002),
        ("no mask on a ping", frames::unmasked(FINAL | PING, b""), 1002),
        ("a reserved bit", frames::frame(FINAL | 0x40 | TEXT, b"{}"), 1002),
        ("another reserved bit", frames::frame(FINAL | 0x20 | TEXT, b"{}"), 1002),
        ("the third reserved bit", frames::frame(FINAL | 0x10 | TEXT, b"{}"), 1002),
        ("a reserved bit on a control frame", frames::frame(FINAL | 0x40 | PING, b""), 1002),
        ("a reserved opcode", frames::frame(FINAL | 0x3, b"{}"), 1002),
        ("the last reserved opcode for data", frames::frame(FINAL | 0x7, b"{}"), 1002),
        ("a reserved opcode for control", frames::frame(FINAL | 0xB, b""), 1002),
        ("the last reserved opcode for control", frames::frame(FINAL | 0xF, b""), 1002),
        ("a long ping", frames::whole(PING, &[0; 126]), 1002),
        ("a ping that says it is very long", oversized(FINAL | PING, 1 << 40), 1002),
        ("a long close", frames::close(1000, &[b'a'; 124]), 1002),
        ("half a ping", fragment(PING), 1002),
        ("half a close", frames::frame(CLOSE, &1000u16.to_be_bytes()), 1002),
        ("a continuation of nothing", fragment(FINAL | CONTINUATION), 1002),
        ("a beginning of a continuation of nothing", fragment(CONTINUATION), 1002),
        ("a message within a message", [fragment(TEXT), fragment(FINAL | TEXT)].concat(), 1002),
        ("a beginning within a message", [fragment(BINARY), fragment(TEXT)].concat(), 1002),
        ("a continuation after the end", [fragment(TEXT), fragment(FINAL), fragment(FINAL)].concat(), 1002),
        ("a close of one byte", frames::whole(CLOSE, b"\x03"), 1002),
        ("close 0", frames::close(0, b""), 1002),
        ("close 999", frames::close(999, b""), 1002),
        ("close 1004", frames::close(1004, b""), 1002),
        ("close 1005", frames::close(1005, b""), 1002),
        ("close 1006", frames::close(1006, b""), 1002),
        ("close 1015", frames::close(1015, b""), 1002),
        ("close 2999", frames::close(2999, b""), 1002),
        ("close 65535", frames::close(65535, b""), 1002),
        ("a reason that is not UTF-8", frames::close(1000, b"\xff"), 1007),
        ("a text that is not UTF-8", frames::whole(TEXT, b"{\"type\":\"\xff\"}"), 1007),
        ("a text that ends within a character", frames::whole(TEXT, b"\xe2\x82"), 1007),
        ("a surrogate", frames::whole(TEXT, b"\xed\xa0\x80"), 1007),
        ("an overlong character", frames::whole(TEXT, b"\xc0\xaf"), 1007),
        ("fragments that are not UTF-8", [frames::frame(TEXT, b"\xe2\x82"), frames::frame(FINAL, b"a")].concat(), 1007),
        ("one byte too many", frames::whole(TEXT, &[b' '; 65_537]), 1009),
        ("a header that says 10 MB", oversized(FINAL | TEXT, 10_000_000), 1009),
        ("a header that says more than there is", oversized(FINAL | BINARY, u64::MAX >> 1), 1009),
        ("a header that says more than there can be", oversized(FINAL | BINARY, u64::MAX), 1009),
        ("fragments that are too large together", fragments_over_the_limit, 1009),
        ("a flood of small fragments", flood, 1009),
        ("a flood of empty fragments", empty_flood, 1009),
        (
            "a large message that keeps coming",
            [oversized(FINAL | TEXT, 5_000_000), vec![b'x'; 2_000_000]].concat(),
            1009,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_frame_is_closed_with_its_code_and_the_close_arrives() {
    let cluster = patient_cluster().await;
    let mut bystander = Bystander::of(&cluster).await;
    for (what, bytes, code) in bad_frames() {
        for path in ["/ws", "/raw/board"] {
            let mut socket = RawSocket::upgraded(cluster.address(0), path).await;
            if path == "/ws" {
                assert!(socket.text().await.contains("welcome"));
            }
            socket.send(&bytes).await;
            assert_eq!(socket.end().await, End::Closed(Some(code)), "{what} on {path}");
        }
        bystander.is_untouched().await;
    }
    cluster.metric_becomes(0, "gateway_connections{dialect=\"json\"}", 1.0).await;
    cluster.metric_becomes(0, "gateway_connections{dialect=\"raw\"}", 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_frame_is_found_wherever_the_stream_is_cut() {
    let cluster = patient_cluster().await;
    let ping = frames::whole(TEXT, br#"{"type":"ping","id":1}"#);
    for cut in 1..ping.len() + 3 {
        let mut socket = RawSocket::upgraded(cluster.address(0), "/ws").await;
        assert!(socket.text().await.contains("welcome"));
        let bytes = [&ping[..], &frames::frame(FINAL | 0x3, b"")].concat();
        socket.send(&bytes[..cut]).await;
        socket.send(&bytes[cut..]).await;
        assert!(socket.text().await.contains("pong"), "what was right before it is answered");
        socket.expect_close(1002).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn good_frames_of_every_shape_are_understood() {
    let cluster = patient_cluster().await;
    let ping = br#"{"type":"ping","id":1}"#;
    let pieces: Vec<u8> = ping
        .iter()
        .enumerate()
        .flat_map(|(at, byte)| {
            let first = if at == 0 { TEXT } else { CONTINUATION };
            let last = if at == ping.len() - 1 { FINAL } else { 0 };
            // A control frame may come between fragments.
            [frames::frame(first | last, &[*byte]), frames::whole(PING, &[*byte])].concat()
        })
        .collect();
    let padded = [&ping[..], &[b' '; 65_000]].concat();
    let largest = [&ping[..], &vec![b' '; 65_536 - ping.len()]].concat();
    for bytes in [frames::whole(TEXT, ping), pieces, frames::whole(TEXT, &padded), frames::whole(TEXT, &largest)] {
        let mut socket = RawSocket::upgraded(cluster.address(0), "/ws").await;
        assert!(socket.text().await.contains("welcome"));
        for byte_or_more in bytes.chunks(if bytes.len() < 200 { 1 } else { 10_000 }) {
            socket.send(byte_or_more).await;
        }
        let mut pongs = 0;
        loop {
            let frame = socket.frame().await.expect("an answer, not the end");
            if frame.first == FINAL | TEXT {
                assert_eq!(frame.payload, br#"{"type":"pong","id":1}"#);
                break;
            }
            assert_eq!((frame.first, &frame.payload[..]), (FINAL | frames::PONG, &ping[pongs..=pongs]));
            pongs += 1;
        }
        socket.send(&frames::close(3000, b"enough")).await;
        let mut left = vec![socket.frame().await.expect("the answer to the close")];
        while left[left.len() - 1].first == FINAL | frames::PONG {
            left.push(socket.frame().await.expect("the answer to the close"));
        }
        let close = left.pop().expect("the answer to the close");
        assert_eq!((close.first, &close.payload[..2]), (FINAL | CLOSE, &3000u16.to_be_bytes()[..]));
        assert_eq!(socket.frame().await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_in_the_middle_is_let_go() {
    let cluster = patient_cluster().await;
    let mut bystander = Bystander::of(&cluster).await;
    let message = frames::whole(TEXT, br#"{"type":"publish","channel":"bystander","data":"never"}"#);
    let beginning = frames::frame(TEXT, b"{");
    for bytes in [&message[..1], &message[..5], &message[..20], &beginning[..], &[]] {
        let mut socket = RawSocket::upgraded(cluster.address(0), "/ws").await;
        socket.send(bytes).await;
        assert!(socket.text().await.contains("welcome"));
        socket.send_end().await;
        assert_eq!(socket.frame().await, None);
    }
    cluster.metric_becomes(0, "gateway_connections{dialect=\"json\"}", 1.0).await;
    bystander.is_untouched().await;
}
