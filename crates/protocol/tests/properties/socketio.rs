//! Socket.IO: whatever arrives is taken or ends the session, and what is said arrives as it was said.

use crate::strategies::{any_json, any_text};
use crate::transport::Recorder;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use protocol::dialect::socketio::attachments::{cut, fill};
use protocol::dialect::socketio::{Act, Rules, Session, engine, events, positions};
use protocol::dialect::{Encoding, Incoming};
use protocol::{Channel, Content, Payload, Publication};
use std::sync::Arc;

/// Pieces that packets are made of, and pieces that break them.
const PIECES: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "4",
    "40",
    "41",
    "42",
    "43",
    "45",
    "46",
    "451-",
    "4511-",
    "/admin,",
    "/nope,",
    "7",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "\\",
    "\"join-room\"",
    "\"room-message\"",
    "\"publish\"",
    "\"room\"",
    "\"lobby\"",
    "null",
    "true",
    "{\"_placeholder\":true,\"num\":0}",
    "{\"_placeholder\":true,\"num\":9}",
    "\u{1e}",
    "bAQID",
    "é",
    "1e999",
    "-",
    "?",
];

/// What fuzzing calls: any bytes as a session's payload, and as its messages.
fn take_anything(payload: &[u8]) {
    let rules = Rules::default();
    let mut session = Session::default();
    let mut each = |act: Act<'_>| {
        if let Act::Event(event) = act {
            let _ = events::request(&rules, &event);
        }
    };
    for packet in engine::payload(payload).into_iter().flatten() {
        if session.take(&rules, packet, 4096, &mut each).is_err() {
            break;
        }
    }
    let mut session = Session::default();
    let _ = session.receive(&rules, Incoming::Text("40"), 4096, &mut each);
    let _ = match std::str::from_utf8(payload) {
        Ok(text) => session.receive(&rules, Incoming::Text(text), 4096, &mut each),
        Err(_) => session.receive(&rules, Incoming::Binary(payload), 4096, &mut each),
    };
    assert!(session.held_bytes() <= payload.len() + 4096);
}

fn publication(data: Payload) -> Publication {
    let (offset, event, retain, from) = (Some(7), Some("room-message".into()), None, None);
    Publication { offset, data, event, retain, from, time_ms: 1, echo: true, stamp: 0 }
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_end_the_session(payload in vec(any::<u8>(), 0..200)) {
        take_anything(&payload);
    }

    #[test]
    fn any_pieces_of_packets_are_taken_or_end_the_session(pieces in vec(select(PIECES), 0..30)) {
        take_anything(pieces.concat().as_bytes());
        take_anything(format!("40\u{1e}42[{}]", pieces.concat()).as_bytes());
    }

    #[test]
    fn a_payload_carries_its_packets(texts in vec("[^\u{1e}]{0,20}", 1..5), data in vec(any::<u8>(), 0..50)) {
        let mut payload = engine::Payload::default();
        texts.iter().for_each(|text| payload.text(format!("4{text}").as_bytes()));
        payload.binary(&data);
        let body = payload.finish();
        let packets = engine::payload(&body).unwrap();
        let expected: Vec<_> = texts.iter().map(|text| engine::Packet::Message(text)).collect();
        prop_assert_eq!(&packets[..texts.len()], expected);
        prop_assert_eq!(packets.last(), Some(&engine::Packet::Binary(data.into())));
    }

    #[test]
    fn what_is_said_with_attachments_arrives_with_them(
        before in any_json(),
        after in any_json(),
        data in vec(vec(any::<u8>(), 0..40), 1..10),
    ) {
        let data: Vec<Bytes> = data.into_iter().map(Bytes::from).collect();
        let places: Vec<_> = (0..data.len()).map(|n| format!("{{\"_placeholder\":true,\"num\":{n}}}")).collect();
        let json = format!("[{before},{},{after}]", places.join(","));
        prop_assume!(!before.to_string().contains("_placeholder") && !after.to_string().contains("_placeholder"));
        let payload = fill(&json, &data).unwrap();
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&payload.bytes).is_ok());
        let (text, attachments) = cut(&payload);
        prop_assert_eq!(std::str::from_utf8(&text).unwrap(), json);
        prop_assert_eq!(attachments, data);
    }

    #[test]
    fn a_publication_is_one_packet_with_its_attachments(text in any_text(), bytes in vec(any::<u8>(), 0..40), kind in 0..3) {
        let data = match kind {
            0 => Payload::json(serde_json::to_string(&text).unwrap()),
            1 => Payload::text(text),
            _ => Payload::binary(bytes),
        };
        let is_binary = data.content == Content::Binary;
        let channel = Channel::new("lobby").unwrap();
        let mut recorder = Recorder::default();
        let encoding = Encoding::SocketIo(Arc::new(Rules::default()));
        encoding.encode_publication(&channel, Some(&"e".into()), &publication(data), &mut recorder);
        prop_assert_eq!(recorder.0.len(), if is_binary { 2 } else { 1 });
        let packet = format!("{:?}", recorder.0[0]);
        prop_assert!(packet.contains("lobby e 7"), "{}", packet);
    }

    #[test]
    fn any_text_is_places_or_none(text in any_text(), pieces in vec(select(&["a", " ", ",", "7", "+", "e", "-"][..]), 0..12)) {
        for text in [text, pieces.concat()] {
            if let Some(places) = positions::read(&text) {
                prop_assert_eq!(positions::read(&positions::write(&places)), Some(places));
            }
        }
    }

    #[test]
    fn any_room_is_a_channel_and_back(room in any_text()) {
        let rules = Rules::new(&["/admin".to_owned()], Default::default(), None).unwrap();
        for namespace in [0, 1] {
            if let Ok(channel) = rules.channel(namespace, &room) {
                prop_assert_eq!(rules.room(&channel), (namespace, room.clone()));
            }
        }
    }
}
