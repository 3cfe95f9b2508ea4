//! What nodes hand to one another, read from and written as its golden bytes.

use crate::files::{self, golden_files};
use crate::samples::{ann, anonymous, bare, binary, full, hello, member, retained, text};
use bytes::Bytes;
use protocol::envelope::{
    Envelope, Membership, decode_record, encode_membership, encode_publications, encode_record, encode_renewed,
};
use protocol::forward::{Ask, Request, Response};
use protocol::order::Whom;
use protocol::whereabouts::{Connected, Part};
use protocol::{Cause, Channel, CloseCode, Epoch, Order, Origin, Payload, Publication};

#[derive(Debug, PartialEq)]
pub(crate) enum BetweenNodes {
    Envelope(Envelope),
    Order(Order),
}
use BetweenNodes::{Envelope as OnTopic, Order as ToNode};

golden_files! { BetweenNodes:
    OnTopic(Envelope::Publications { epoch: Some(_), .. }) => "envelope-publications.hex",
    OnTopic(Envelope::Publications { epoch: None, .. }) => "envelope-publications-without-positions.hex",
    OnTopic(Envelope::Membership(_)) => "envelope-membership.hex",
    OnTopic(Envelope::Renewed) => "envelope-renewed.hex",
    ToNode(Order::Message { .. }) => "order-message.hex",
    ToNode(Order::Answer { .. }) => "order-answer.hex",
    ToNode(Order::Request { .. }) => "order-request.hex",
    ToNode(Order::Response { .. }) => "order-response.hex",
    ToNode(Order::Disconnect { .. }) => "order-disconnect.hex",
    ToNode(Order::Revoked) => "order-revoked.hex",
    ToNode(Order::Prove { .. }) => "order-prove.hex",
    ToNode(Order::Locate { .. }) => "order-locate.hex",
    ToNode(Order::Located { .. }) => "order-located.hex",
}

fn positioned(first: u64, publications: Vec<Publication>) -> BetweenNodes {
    let publications = (first..).zip(publications).map(|(at, p)| Publication { offset: Some(at), ..p }).collect();
    OnTopic(Envelope::Publications { epoch: Some("k3Zq".into()), publications })
}

fn unpositioned(publications: Vec<Publication>) -> BetweenNodes {
    let publications = publications.into_iter().map(|p| Publication { offset: None, ..p }).collect();
    OnTopic(Envelope::Publications { epoch: None, publications })
}

fn membership(user: &str, from: Origin, left: Option<Cause>) -> BetweenNodes {
    let member = member(user, u64::from(left.is_none()), from.info.as_deref());
    OnTopic(Envelope::Membership(Membership { member, client: from.client, left }))
}

/// No payload at all, and the numbers at their ends.
fn empty() -> Publication {
    let from = Some(Origin { info: None, ..ann() });
    let event = Some("cleared".into());
    Publication { event, from, time_ms: 0, echo: false, stamp: u64::MAX, ..bare(Payload::binary("")) }
}

/// Takes a key out of the state, with everything else a publication may have.
fn removal() -> Publication {
    Publication { retain: Some("read:ann".into()), data: Payload::json("null"), ..full() }
}

fn samples() -> Vec<BetweenNodes> {
    let silent_text = || Publication { echo: false, ..bare(text()) };
    let bob = Origin { client: "n3.e.1".into(), user: None, info: None };
    let order = |connection, ticket, answer_to: &str, message| {
        ToNode(Order::Message { connection, ticket, answer_to: answer_to.into(), message })
    };
    let poll = Request { ask: Ask::Poll, secret: [0xab; 16], token: Some("t".into()), body: Bytes::from_static(b"x1") };
    let disconnect = |whom, code| ToNode(Order::Disconnect { whom, code });
    vec![
        positioned(1, vec![hello()]),
        positioned(42, vec![full(), silent_text(), bare(binary()), empty()]),
        positioned(40, vec![retained(40, "read:ann", "{\"upto\":38}"), hello(), removal()]),
        unpositioned(vec![hello()]),
        unpositioned(vec![silent_text(), full()]),
        membership("ann", ann(), None),
        membership("n1.a.7", anonymous(), None),
        membership("ann", ann(), Some(Cause::Left)),
        membership("n1.a.7", anonymous(), Some(Cause::Lost)),
        membership("bob", bob, Some(Cause::NodeLost)),
        OnTopic(Envelope::Renewed),
        order(7, 9, "n2.c", Publication { offset: None, ..full() }),
        order(u64::MAX, 0, "n1.a", bare(binary())),
        ToNode(Order::Answer { ticket: 9, delivered: true }),
        ToNode(Order::Answer { ticket: 9, delivered: false }),
        ToNode(Order::Request { connection: 7, ticket: 9, answer_to: "n2.c".into(), request: poll.encode() }),
        ToNode(Order::Response {
            ticket: 9,
            response: Response { status: 200, body: Bytes::from_static(b"2") }.encode(),
        }),
        disconnect(Whom::Connection(7), CloseCode::Replaced),
        disconnect(Whom::User("ann".into()), CloseCode::Disconnected),
        disconnect(Whom::Channel(Channel::new("chat").unwrap()), CloseCode::Reset),
        ToNode(Order::Revoked),
        ToNode(Order::Prove { connection: 7 }),
        ToNode(Order::Locate { ticket: 9, limit: 100, answer_to: "n2.c".into(), user: "ann".into() }),
        located(vec![connected(None, &["chat", "news"]), connected(Some("n3.e.0000000000000001"), &[])]),
        located(Vec::new()),
    ]
}

fn connected(seen_as: Option<&str>, channels: &[&str]) -> Connected {
    Connected {
        number: 7,
        since_ms: 1_763_700_000_000,
        seen_as: seen_as.map(Into::into),
        dialect: "socketio".into(),
        transport: "polling".into(),
        subscriptions: 2,
        channels: channels.iter().map(|channel| (*channel).into()).collect(),
    }
}

fn located(connections: Vec<Connected>) -> BetweenNodes {
    let count = u32::try_from(connections.len()).unwrap();
    let part = Part { node: "n2.c".into(), parts: 2, part: 1, count, connections };
    ToNode(Order::Located { ticket: 9, part: part.encode() })
}

fn join(epoch: Option<&Epoch>, publications: &[Publication]) -> Bytes {
    let first = publications[0].offset.unwrap_or(0);
    let records: Vec<Bytes> = publications.iter().map(encode_record).collect();
    encode_publications(epoch, first, &records)
}

fn write(sample: &BetweenNodes) -> Bytes {
    match sample {
        OnTopic(Envelope::Publications { epoch, publications }) => join(epoch.as_ref(), publications),
        OnTopic(Envelope::Membership(change)) => encode_membership(change),
        OnTopic(Envelope::Renewed) => encode_renewed(),
        ToNode(order) => order.encode(),
    }
}

fn read(like: &BetweenNodes, bytes: Bytes) -> BetweenNodes {
    match like {
        OnTopic(_) => OnTopic(Envelope::decode(bytes).unwrap()),
        ToNode(_) => ToNode(Order::decode(bytes).unwrap()),
    }
}

#[test]
fn envelopes_and_orders_are_their_golden_bytes_in_both_directions() {
    files::compare(FILES, files::byte_messages, &samples(), file_of, |sample, golden| {
        let golden = Bytes::copy_from_slice(golden);
        let (written, read) = (write(sample), read(sample, golden.clone()));
        if written != golden {
            return Err(format!("the golden bytes are\n{golden:02x?}\nand these were written:\n{written:02x?}"));
        }
        if read == *sample { Ok(()) } else { Err(format!("is read as {read:?}\nand not as {sample:?}")) }
    });
}

#[test]
fn the_log_holds_the_same_bytes_that_travel() {
    let golden = Bytes::from(files::byte_messages("envelope-publications.hex").remove(1));
    let header = 2 + 1 + "k3Zq".len() + 8;
    let mut log = golden.slice(header..);
    let BetweenNodes::Envelope(Envelope::Publications { publications, .. }) = samples().remove(1) else { panic!() };
    for publication in publications {
        assert_eq!(decode_record(&mut log, publication.offset), Ok(publication));
    }
    assert!(log.is_empty());
}

#[test]
fn no_payload_is_copied_on_the_way_in() {
    let golden = Bytes::from(files::byte_messages("envelope-publications.hex").remove(0));
    let within = golden.as_ptr_range();
    let Ok(Envelope::Publications { publications, .. }) = Envelope::decode(golden) else { panic!() };
    assert!(within.contains(&publications[0].data.bytes.as_ptr()));
}

/// What this build's predecessors make of a record: they know no flag above 16, and refuse what has another.
const FLAGS_OF_PREDECESSORS: u8 = 1 | 2 | 4 | 8 | 16;

#[test]
fn a_predecessor_reads_all_records_but_those_that_are_retained() {
    let flags = |publication: &Publication| encode_record(publication)[4];
    for publication in [hello(), full(), bare(binary()), empty(), Publication { echo: false, ..bare(text()) }] {
        assert_eq!(flags(&publication) & !FLAGS_OF_PREDECESSORS, 0, "{publication:?}");
        let retained = Publication { retain: Some("key".into()), ..publication };
        assert_ne!(flags(&retained) & !FLAGS_OF_PREDECESSORS, 0, "told as a gap, never taken for a part of the data");
    }
}
