//! The reader, fed frames as clients send them, whole and in pieces.

use super::*;
use proptest::prelude::*;

const LIMITS: ReaderLimits = ReaderLimits { max_message_bytes: 65_536 };

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut out = vec![first];
    match payload.len() {
        n @ 0..126 => out.push(0x80 | n as u8),
        n @ 126..65536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, k)| b ^ k));
    out
}

/// Feeds bytes in pieces of `step`; returns what came out, as text for easy comparing, and how it ended.
fn feed(bytes: &[u8], step: usize) -> (Vec<String>, Result<(), CloseCode>, bool) {
    let mut reader = Reader::default();
    let mut seen = Vec::new();
    for piece in bytes.chunks(step.max(1)) {
        let mut piece = piece.to_vec();
        let fed = reader.feed(&mut piece, &LIMITS, None, &mut |event| {
            seen.push(match event {
                Event::Message(Incoming::Text(t)) => format!("text {t}"),
                Event::Message(Incoming::Binary(b)) => format!("binary {b:?}"),
                Event::Ping(p) => format!("ping {p:?}"),
                Event::Pong => "pong".into(),
                Event::Close(code) => format!("close {code:?}"),
            });
        });
        if fed.is_err() {
            return (seen, fed, reader.is_partial());
        }
    }
    (seen, Ok(()), reader.is_partial())
}

#[test]
fn messages_come_out_the_same_however_the_bytes_are_cut() {
    let mut bytes = frame(0x81, b"hello");
    bytes.extend(frame(0x01, b"frag"));
    bytes.extend(frame(0x89, b"p"));
    bytes.extend(frame(0x80, b"ment"));
    bytes.extend(frame(0x82, &[1, 2]));
    bytes.extend(frame(0x8A, b""));
    bytes.extend(frame(0x88, &1000u16.to_be_bytes()));
    let whole = feed(&bytes, bytes.len());
    assert_eq!(
        whole.0,
        ["text hello", "ping [112]", "text fragment", "binary [1, 2]", "pong", "close Some(1000)"].map(String::from)
    );
    assert!(!whole.2, "nothing is held when nothing is incomplete");
    for step in 1..bytes.len() {
        assert_eq!(feed(&bytes, step).0, whole.0, "cut every {step} bytes");
    }
}

#[test]
fn each_violation_has_its_code() {
    let unmasked = vec![0x81, 1, b'x'];
    let cases: Vec<(&str, Vec<u8>, CloseCode)> = vec![
        ("an unmasked frame", unmasked, CloseCode::ProtocolError),
        ("a reserved bit", frame(0xC1, b"x"), CloseCode::ProtocolError),
        ("a reserved opcode", frame(0x83, b"x"), CloseCode::ProtocolError),
        ("a reserved control opcode", frame(0x8B, b""), CloseCode::ProtocolError),
        ("a fragmented ping", frame(0x09, b""), CloseCode::ProtocolError),
        ("a long ping", frame(0x89, &[0; 126]), CloseCode::ProtocolError),
        ("a continuation of nothing", frame(0x80, b"x"), CloseCode::ProtocolError),
        ("two messages at once", [frame(0x01, b"a"), frame(0x01, b"b")].concat(), CloseCode::ProtocolError),
        ("a close of one byte", frame(0x88, &[3]), CloseCode::ProtocolError),
        ("a close code nobody may send", frame(0x88, &1005u16.to_be_bytes()), CloseCode::ProtocolError),
        ("a close reason that is not UTF-8", frame(0x88, &[3, 232, 0xFF]), CloseCode::InvalidText),
        ("text that is not UTF-8", frame(0x81, &[0xC3, 0x28]), CloseCode::InvalidText),
        ("a message over the limit", frame(0x82, &vec![0; 65_537]), CloseCode::TooBig),
        ("a length of 2^63", vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], CloseCode::TooBig),
        (
            "fragments over the limit together",
            [frame(0x02, &vec![0; 65_000]), frame(0x80, &vec![0; 537])].concat(),
            CloseCode::TooBig,
        ),
    ];
    for (what, bytes, code) in cases {
        assert_eq!(feed(&bytes, bytes.len()).1, Err(code), "{what}");
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_by_its_header_alone() {
    let mut header = frame(0x82, &vec![0; 70_000]);
    header.truncate(14);
    assert_eq!(feed(&header, 14), (vec![], Err(CloseCode::TooBig), false));
}

#[test]
fn a_flood_of_empty_fragments_ends() {
    let mut bytes = frame(0x01, b"");
    for _ in 0..LIMITS.max_fragments() {
        bytes.extend(frame(0x00, b""));
    }
    assert_eq!(feed(&bytes, bytes.len()).1, Err(CloseCode::TooBig));
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_do_not_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000), step in 1usize..300
    ) {
        let (seen, _, _) = feed(&bytes, step);
        prop_assert!(seen.len() <= bytes.len());
    }
}

#[test]
fn one_unfinished_message_stays_the_same_whatever_comes_between_and_the_next_is_another() {
    let mut reader = Reader::default();
    let mut feed = |bytes: &[u8]| {
        reader.feed(&mut bytes.to_vec(), &LIMITS, None, &mut |_| {}).expect("good frames");
        reader.unfinished()
    };
    assert_eq!(feed(&frame(0x81, b"whole")), None);
    let begun = feed(&frame(0x01, b"a"));
    assert!(begun.is_some());
    assert_eq!(feed(&[frame(0x89, b"ping"), frame(0x00, b"b")].concat()), begun);
    let next = [frame(0x80, b"end"), frame(0x81, b"hello")[..3].to_vec()].concat();
    let cut = feed(&next);
    assert!(cut.is_some() && cut != begun, "the end of one and the beginning of another");
    assert_eq!(feed(&frame(0x81, b"hello")[3..4]), cut);
    let third = [&frame(0x81, b"hello")[4..], &frame(0x81, b"again")[..5]].concat();
    assert!(feed(&third).is_some_and(|third| Some(third) != cut));
    assert_eq!(feed(&frame(0x81, b"again")[5..]), None);
}
