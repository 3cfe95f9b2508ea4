//! What a message costs in memory: a small multiple of its own length, whoever wrote it.
//!
//! A crate counts, because a counting allocator is `unsafe` code and that is forbidden here.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use protocol::dialect::{Dialect, Incoming};

/// Reading a string with escapes holds the text so far, its next and doubled storage, and at last the text itself.
const MULTIPLE: u64 = 4;

/// 256 slices of an array of commands, while a growing list of them is copied, and one answer: 10 KiB.
const BASE_BYTES: u64 = 10 * 1024;

/// The most memory held at one moment while the message is read. Results are dropped as they come, as in a node.
fn peak_bytes(message: &str) -> u64 {
    let reading = allocation_counter::measure(|| {
        Dialect::Json.decode(Incoming::Text(message), &mut drop);
    });
    assert_eq!(reading.bytes_current, 0, "nothing is kept");
    reading.bytes_max
}

fn assert_small(message: &str) {
    let peak = peak_bytes(message);
    let allowed = BASE_BYTES + MULTIPLE * message.len() as u64;
    let start: String = message.chars().take(60).collect();
    assert!(peak <= allowed, "{peak} bytes for {} of {start}", message.len());
}

#[test]
fn the_counter_counts() {
    let reading = allocation_counter::measure(|| drop(std::hint::black_box(vec![0u8; 5_000])));
    assert_eq!(reading.bytes_max, 5_000);
}

#[test]
fn a_message_made_to_cost_much_costs_a_small_multiple_of_its_length() {
    let repeated = |piece: &str| piece.repeat(32 * 1024 / piece.len());
    let string = |piece: &str| format!("\"{}\"", repeated(piece));
    let array = |piece: &str| format!("[{}0]", repeated(piece));
    let deep = |open: &str, close: &str| format!("{}1{}", repeated(open), repeated(close));
    let values = [
        string("x"),
        string("\u{7f}"),
        string("\u{202e}"),
        string("\\u0001"),
        string("\\n"),
        string("\\ud800"),
        string("x\\ud83e\\udd80"),
        array("0,"),
        array("[],"),
        array("{},"),
        array("\"\","),
        array("1e9,"),
        array("\"\\u0041\","),
        deep("[", "]"),
        deep("{\"a\":", "}"),
        repeated("9"),
        format!("1e{}", repeated("9")),
        format!("{{{}\"a\":1}}", repeated("\"a\":1,")),
    ];
    let fields = [
        "type",
        "id",
        "channel",
        "data",
        "event",
        "key",
        "token",
        "to",
        "recover",
        "since",
        "limit",
        "volatile",
        "echo",
        "members",
        "state",
        "reverse",
        "count_only",
        "retain",
        "other",
    ];
    for value in &values {
        assert_small(value);
        assert_small(&format!("[{value}]"));
        assert_small(&format!("{{{value}:1}}"));
        assert_small(&value[..value.len() - 1]);
        for kind in ["auth", "subscribe", "publish", "send", "presence", "history"] {
            for field in fields.iter().filter(|field| **field != "type") {
                let rest = "\"channel\":\"a\",\"data\":1,\"to\":\"x\"";
                assert_small(&format!("{{\"type\":\"{kind}\",\"{field}\":{value}}}"));
                assert_small(&format!("{{\"type\":\"{kind}\",{rest},\"{field}\":{value}}}"));
            }
        }
        assert_small(&format!("{{\"type\":{value}}}"));
        let place = format!("{{\"epoch\":{value},\"offset\":1}}");
        assert_small(&format!("{{\"type\":\"subscribe\",\"channel\":\"a\",\"recover\":{place}}}"));
        assert_small(&format!("{{\"type\":\"history\",\"channel\":\"a\",\"since\":{place}}}"));
    }
}

#[test]
fn a_payload_is_copied_once() {
    let message = format!("{{\"type\":\"publish\",\"channel\":\"a\",\"data\":\"{}\"}}", "x".repeat(100_000));
    let peak = peak_bytes(&message);
    assert!((100_000..101_000).contains(&peak), "{peak} bytes");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_costs_a_small_multiple_of_its_length(chars in vec(any::<char>(), 0..3_000)) {
        assert_small(&String::from_iter(chars));
    }

    #[test]
    fn any_pieces_of_messages_cost_a_small_multiple_of_their_length(
        pieces in vec(select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u0001", "\\ud800", "\u{7f}", "\"type\":\"publish\"", "\"channel\":\"a\"",
            "\"data\":", "\"id\":", "\"since\":", "\"recover\":", "\"epoch\":", "0", "1e9", "null", "{\"type\":\"ping\"},",
        ]), 0..3_000),
    ) {
        assert_small(&pieces.concat());
        assert_small(&format!("[{}]", pieces.concat()));
    }
}
