//! Socket.IO: SOCKETIO.md shows what is written, byte for byte, and what is read.

use crate::samples::full;
use crate::transport::{Recorder, Written};
use protocol::dialect::Encoding;
use protocol::dialect::Incoming;
use protocol::dialect::socketio::{
    Act, Ask, Names, Rules, Session, connect_error, connected, disconnected, events, packet,
};
use protocol::{Channel, Origin, Outgoing, Payload, Position, Publication, Push, Reply};
use std::sync::Arc;

const DOCUMENT: &str = include_str!("../../SOCKETIO.md");

fn rules() -> Rules {
    Rules::new(&["/admin".to_owned()], Names::default(), Some("general".to_owned())).unwrap()
}

fn lines(mark: &str) -> Vec<&'static str> {
    let (_, block) = DOCUMENT.split_once("```text\n").unwrap();
    let block = block.split("```").next().unwrap();
    block.lines().filter_map(|line| line.strip_prefix(mark)).collect()
}

fn said(event: &str, json: &str) -> Publication {
    let from = Some(Origin { client: "n2.c.9".into(), user: Some("ann".into()), info: None });
    let data = Payload::json(json.to_owned());
    Publication { data, event: Some(event.into()), from, offset: Some(42), retain: None, ..full() }
}

/// Everything that the document says is written.
fn written() -> Vec<String> {
    let encoding = Encoding::SocketIo(Arc::new(rules()));
    let mut out = Recorder::default();
    let ask = |ack| Ask { namespace: 0, ack: Some(ack), is_idempotent: false }.id();
    let lobby = Channel::new("lobby").unwrap();
    connected(&rules(), 0, "n1.a.7", Some("<name>"), &mut out);
    let position = Some(Position { epoch: "k3Zq".into(), offset: 41 });
    let subscribed = Reply::Subscribed {
        channel: lobby.clone(),
        position,
        recovered: false,
        publications: vec![],
        state: vec![],
        members: None,
    };
    encoding.encode(&Outgoing::Reply { id: ask(1), reply: subscribed }, &mut out);
    let epoch = "k3Zq".into();
    for (channel, publication) in [
        ("lobby", said("room-message", "\"hello\"")),
        ("general", said("chat message", "\"hello, all\"")),
        ("lobby", Publication { offset: None, ..said("typing", "{\"room\":\"lobby\"}") }),
        ("/admin:lobby", said("room-message", "\"hello\"")),
    ] {
        encoding.encode_publication(&Channel::new(channel).unwrap(), Some(&epoch), &publication, &mut out);
    }
    encoding.encode(&Outgoing::Reply { id: ask(2), reply: Reply::Sent }, &mut out);
    let Publication { data, from, .. } = said("", "\"just you\"");
    let (from, time_ms) = (from.unwrap(), full().time_ms);
    encoding.encode(&Outgoing::Push(Push::Message { from, data, event: None, time_ms }), &mut out);
    let (id, refusal) = refused("[\"buy\",\"shares\"]", 3);
    encoding.encode(&Outgoing::Refused { id: Some(id), refusal }, &mut out);
    let gap = Push::Gap { channel: lobby, from: Some(42), to: Some(57), epoch: Some("k3Zq".into()) };
    encoding.encode(&Outgoing::Push(gap), &mut out);
    connect_error("/nowhere", "Invalid namespace", None, &mut out);
    disconnected(&rules(), 0, &mut out);
    let text = |message| match message {
        Written::Text(text) => text,
        other => panic!("{other:?}"),
    };
    out.0.into_iter().map(text).collect()
}

fn refused(data: &str, ack: u64) -> (u64, protocol::Refusal) {
    let event = protocol::dialect::socketio::Event { namespace: 0, ack: Some(ack), data, attachments: &[] };
    let refused = events::request(&rules(), &event).unwrap_err();
    (refused.id, refused.refusal)
}

#[test]
fn the_document_shows_exactly_what_is_written() {
    let mut written = written();
    let mut shown: Vec<String> = lines("< ").into_iter().map(str::to_owned).collect();
    written.sort();
    shown.sort();
    assert_eq!(written, shown);
}

#[test]
fn what_the_document_has_people_say_is_understood() {
    let mut session = Session::default();
    session.enter(1);
    for line in lines("> ") {
        let mut acts = 0;
        let taken = session.receive(&rules(), Incoming::Text(line), 4096, &mut |act| {
            acts += 1;
            if let Act::Event(event) = act {
                assert_eq!(events::request(&rules(), &event).is_err(), line.contains("buy"), "{line}");
            }
        });
        assert_eq!((taken, acts), (Ok(()), 1), "{line}");
    }
}

#[test]
fn the_document_s_limits_are_those_of_the_code() {
    for (what, most) in [
        ("attachments of a packet", packet::MAX_ATTACHMENTS),
        ("arguments of an event", packet::MAX_ARGUMENTS),
        ("packets of a POST", protocol::dialect::socketio::engine::MAX_PACKETS),
    ] {
        assert!(DOCUMENT.contains(&format!("| {what} | {most} |")), "{what}");
    }
    let tracked = protocol::dialect::socketio::positions::MAX_TRACKED;
    assert!(DOCUMENT.contains(&format!("More than {tracked} channels")));
}
