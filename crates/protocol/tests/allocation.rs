//! What a message costs in memory: a small multiple of its own length, whoever wrote it.
//!
//! A crate counts, because a counting allocator is `unsafe` code and that is forbidden here.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use protocol::dialect::raw::Raw;
use protocol::dialect::{Dialect, Incoming};
use protocol::envelope::{Envelope, encode_publications};
use protocol::{Channel, Order};

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

/// What a reader between nodes holds at most: a publication without a payload is 22 bytes on the wire and 240 in memory, in a
/// list that grows by doubling.
const PUBLICATION_MULTIPLE: u64 = 40;

fn assert_small_between_nodes(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let length = bytes.len() as u64;
    let envelope = allocation_counter::measure(|| drop(Envelope::decode(bytes.clone()))).bytes_max;
    assert!(envelope <= 2_048 + PUBLICATION_MULTIPLE * length, "{envelope} bytes for an envelope of {length}");
    let order = allocation_counter::measure(|| drop(Order::decode(bytes.clone()))).bytes_max;
    assert!(order <= 512, "{order} bytes for an order of {length}");
}

/// A publication without anything but a payload.
fn record(payload: &[u8]) -> Bytes {
    let length = u32::try_from(18 + payload.len()).expect("a short payload").to_be_bytes();
    [&length[..], &[0, 2], &[0; 16], payload].concat().into()
}

#[test]
fn an_envelope_costs_its_list_of_publications_and_no_payload() {
    let many = encode_publications(Some(&"e".into()), 1, &vec![record(b""); 3_000]);
    assert_small_between_nodes(&many);
    let large = encode_publications(Some(&"e".into()), 1, &[record(&[b'x'; 1_000_000])]);
    let peak = allocation_counter::measure(|| drop(Envelope::decode(large.clone()))).bytes_max;
    assert!(peak < 2_048, "{peak} bytes beside the buffer that it came in");
}

#[test]
fn lengths_that_lie_reserve_nothing() {
    for lie in [&[0xff; 4][..], &[0x7f, 0xff, 0xff, 0xff], &[0, 0xff, 0xff, 0xff]] {
        assert_small_between_nodes(&[&[1, 1, 0][..], &[0; 8], lie, &[0; 20]].concat());
        assert_small_between_nodes(&[&[1, 2, 0, 0][..], &lie[..2], &[0; 20]].concat());
        assert_small_between_nodes(&[&[1, 1][..], &[0; 16], &[0, 0], lie].concat());
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

#[test]
fn a_relayed_message_is_copied_once_and_a_name_only_if_it_is_taken() {
    let raw = Raw { channel: Channel::new("relay").expect("a name"), echo: false, past: None };
    let message = [0xff; 100_000];
    let relayed = allocation_counter::measure(|| drop(raw.decode(Incoming::Binary(&message)))).bytes_max;
    assert!((100_000..100_300).contains(&relayed), "{relayed} bytes");
    let name = "x".repeat(100_000);
    assert_eq!(allocation_counter::measure(|| drop(Channel::new(&name))).bytes_max, 0);
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

    #[test]
    fn any_bytes_between_nodes_cost_a_small_multiple_of_their_length(
        version in select(vec![1u8, 2]), kind in 0u8..5, bytes in vec(any::<u8>(), 0..3_000),
    ) {
        assert_small_between_nodes(&[&[version, kind][..], &bytes].concat());
        assert_small_between_nodes(&bytes);
    }

    #[test]
    fn any_records_between_nodes_cost_a_small_multiple_of_their_length(
        payloads in vec(vec(any::<u8>(), 0..40), 0..200), cut in 0usize..4_000,
    ) {
        let records: Vec<Bytes> = payloads.iter().map(|payload| record(payload)).collect();
        let mut bytes = encode_publications(Some(&"e".into()), 1, &records).to_vec();
        bytes.truncate(bytes.len().saturating_sub(cut).max(2));
        assert_small_between_nodes(&bytes);
    }
}
