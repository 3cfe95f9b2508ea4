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

/// The most JSON that MessagePack becomes: `false,` and `\\u0001` are 6 bytes for one.
const MSGPACK_MULTIPLE: u64 = 6;

fn assert_msgpack_small(message: &[u8]) {
    let reading = allocation_counter::measure(|| Dialect::Msgpack.decode(Incoming::Binary(message), &mut drop));
    assert_eq!(reading.bytes_current, 0, "nothing is kept");
    let allowed = BASE_BYTES + MSGPACK_MULTIPLE * message.len() as u64;
    let start = &message[..message.len().min(40)];
    assert!(reading.bytes_max <= allowed, "{} bytes for {} of {start:x?}", reading.bytes_max, message.len());
}

#[test]
fn msgpack_made_to_cost_much_costs_a_small_multiple_of_its_length() {
    let many = 32 * 1024;
    let items = |item: &[u8]| [b"\xdc\x40\x00", &*item.repeat(0x4000)].concat();
    let text = |byte: u8| [b"\xda\x80\x00", &*vec![byte; many]].concat();
    let mut values =
        vec![text(1), text(b'x'), text(0xff), vec![0x91; many], vec![0x81; many], b"\x81\xa1a".repeat(many)];
    values.extend([&b"\xc0"[..], b"\xc2", b"\x90", b"\x80", b"\xe0", b"\xa0", b"\xca\x00\x00\x00\x01"].map(items));
    // What they say of their length is not believed.
    values.extend([0xc6, 0xc9, 0xdb, 0xdd, 0xdf].map(|head| vec![head, 0xff, 0xff, 0xff, 0xff, 1]));
    values.extend([0xc6, 0xdb, 0xdd, 0xdf].map(|head| vec![head, 0x00, 0x10, 0x00, 0x00, 1]));
    for value in &values {
        assert_msgpack_small(value);
        assert_msgpack_small(&value[..value.len() - 1]);
        for kind in ["auth", "subscribe", "publish", "send", "history"] {
            for field in ["id", "channel", "data", "event", "token", "to", "recover", "since", "limit", "echo", "type"]
            {
                let mut message = vec![0x84];
                for text in ["type", kind, "channel", "a", "to", "x", field] {
                    rmp::encode::write_str(&mut message, text).expect("a Vec takes it");
                }
                assert_msgpack_small(&[&message[..], value].concat());
            }
        }
    }
}

#[test]
fn bytes_are_copied_once_and_text_is_written_once() {
    for (head, byte) in [(0xc6, 0xff), (0xdb, b'x')] {
        let message =
            [b"\x83\xa4type\xa7publish\xa7channel\xa1a\xa4data", &[head, 0, 1, 0, 0][..], &[byte; 65_536]].concat();
        let reading = allocation_counter::measure(|| Dialect::Msgpack.decode(Incoming::Binary(&message), &mut drop));
        assert!((65_536..66_500).contains(&reading.bytes_max), "{} bytes", reading.bytes_max);
    }
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

    #[test]
    fn any_bytes_cost_a_small_multiple_of_their_number(bytes in vec(any::<u8>(), 0..3_000)) {
        assert_msgpack_small(&bytes);
        assert_msgpack_small(&[b"\x83\xa4type\xa7publish\xa7channel\xa1a\xa4data", &bytes[..]].concat());
    }
}
