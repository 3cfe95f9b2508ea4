//! Between nodes: what is written is read back, and what cannot be read is an error and never a panic.

use crate::strategies::{any_cause, any_member, any_publication, often, word};
use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;
use protocol::envelope::{
    Envelope, EnvelopeError, Membership, decode_record, encode_membership, encode_publications, encode_record,
    encode_renewed,
};
use protocol::whereabouts::Part;
use protocol::{Cause, Content, Order, Origin, Payload, Publication, Text};

/// Publications with consecutive offsets, or with none.
fn any_run() -> impl Strategy<Value = Envelope> {
    let epoch = "[a-zA-Zé]{1,40}".prop_map(Text::from);
    (option::of((epoch, 0..u64::MAX / 2)), vec(any_publication(), 1..6)).prop_map(|(place, mut publications)| {
        for (publication, at) in publications.iter_mut().zip(0..) {
            publication.offset = place.as_ref().map(|(_, first)| first + at);
        }
        Envelope::Publications { epoch: place.map(|(epoch, _)| epoch), publications }
    })
}

fn any_change() -> impl Strategy<Value = Envelope> {
    (any_member(), word(), option::of(any_cause())).prop_map(|(member, client, left)| {
        let member = protocol::Member { clients: u64::from(left.is_none()), ..member };
        Envelope::Membership(Membership { member, client, left })
    })
}

fn any_envelope() -> impl Strategy<Value = Envelope> {
    prop_oneof![any_run(), any_change(), Just(Envelope::Renewed)]
}

fn any_order() -> impl Strategy<Value = Order> {
    prop_oneof![
        (any::<(u64, u64)>(), word(), any_publication()).prop_map(|((connection, ticket), answer_to, message)| {
            Order::Message { connection, ticket, answer_to, message: Publication { offset: None, ..message } }
        }),
        any::<(u64, bool)>().prop_map(|(ticket, delivered)| Order::Answer { ticket, delivered }),
        (any::<(u64, u64)>(), word(), any::<Vec<u8>>()).prop_map(|((connection, ticket), answer_to, request)| {
            Order::Request { connection, ticket, answer_to, request: request.into() }
        }),
        any::<(u64, Vec<u8>)>().prop_map(|(ticket, response)| Order::Response { ticket, response: response.into() }),
        (any::<(u64, u16)>(), word(), word())
            .prop_map(|((ticket, limit), answer_to, user)| { Order::Locate { ticket, limit, answer_to, user } }),
        any::<(u64, Vec<u8>)>().prop_map(|(ticket, part)| Order::Located { ticket, part: part.into() }),
    ]
}

fn write(envelope: &Envelope) -> Bytes {
    match envelope {
        Envelope::Publications { epoch, publications } => {
            let records: Vec<Bytes> = publications.iter().map(encode_record).collect();
            encode_publications(epoch.as_ref(), publications[0].offset.unwrap_or(0), &records)
        }
        Envelope::Membership(change) => encode_membership(change),
        Envelope::Renewed => encode_renewed(),
    }
}

fn changed(bytes: &Bytes, at: Index, to: u8) -> Bytes {
    let mut bytes = BytesMut::from(&bytes[..]);
    let at = at.index(bytes.len());
    bytes[at] = to;
    bytes.freeze()
}

proptest! {
    #![proptest_config(often())]

    #[test]
    fn an_envelope_is_read_as_it_was_written(envelope in any_envelope()) {
        prop_assert_eq!(Envelope::decode(write(&envelope)), Ok(envelope));
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_what_follows_it_is_left(publication in any_publication(), rest in vec(any::<u8>(), 0..9)) {
        let mut bytes = Bytes::from([&encode_record(&publication)[..], &rest].concat());
        prop_assert_eq!(decode_record(&mut bytes, publication.offset), Ok(publication));
        prop_assert_eq!(&bytes[..], rest);
    }

    #[test]
    fn an_order_is_read_as_it_was_written(order in any_order()) {
        prop_assert_eq!(Order::decode(order.encode()), Ok(order));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..120), kind in 0u8..10) {
        let known = Bytes::from([&[1, kind], &bytes[..]].concat());
        for bytes in [Bytes::from(bytes), known] {
            let _ = (Envelope::decode(bytes.clone()), Order::decode(bytes.clone()));
            let _ = (decode_record(&mut bytes.clone(), None), Part::decode(bytes.clone()));
        }
    }

    #[test]
    fn a_damaged_envelope_is_refused_or_means_something_that_can_be_written(
        envelope in any_envelope(), at in any::<Index>(), to in any::<u8>(),
    ) {
        if let Ok(read) = Envelope::decode(changed(&write(&envelope), at, to)) {
            prop_assert_eq!(Envelope::decode(write(&read)), Ok(read));
        }
    }

    #[test]
    fn publications_cut_short_are_refused_or_fewer(envelope in any_run(), at in any::<Index>()) {
        let bytes = write(&envelope);
        let Envelope::Publications { epoch, publications } = envelope else { panic!() };
        match Envelope::decode(bytes.slice(..at.index(bytes.len()))) {
            Ok(Envelope::Publications { epoch: read_epoch, publications: read }) => {
                prop_assert_eq!(read_epoch, epoch);
                prop_assert!(read.len() < publications.len() && publications.starts_with(&read));
            }
            other => prop_assert_eq!(other, Err(EnvelopeError::Short)),
        }
    }
}

fn publication(data: Payload) -> Publication {
    Publication { offset: None, data, event: None, retain: None, from: None, time_ms: 0, echo: true, stamp: 0 }
}

fn damaged(at: usize, to: u8) -> Result<Publication, EnvelopeError> {
    let from = Some(Origin { client: "c".into(), user: None, info: None });
    let mut record = encode_record(&Publication { from, ..publication(Payload::text("text")) }).to_vec();
    record[at] = to;
    decode_record(&mut Bytes::from(record), None)
}

#[test]
fn a_byte_that_says_nothing_known_is_named() {
    assert_eq!(Envelope::decode(Bytes::new()), Err(EnvelopeError::Short));
    assert_eq!(Envelope::decode(Bytes::from_static(&[2, 1])), Err(EnvelopeError::Version(2)));
    assert_eq!(Envelope::decode(Bytes::from_static(&[1, 4])), Err(EnvelopeError::Unknown("kind")));
    assert_eq!(Envelope::decode(Bytes::from_static(&[1, 3, 0])), Err(EnvelopeError::Unknown("rest")));
    for (change, error) in [([0, 1], "change"), ([2, 0], "change"), ([1, 3], "cause")] {
        let bytes = Bytes::from([&[1, 2], &change[..], &[0, 0, 0, 0]].concat());
        assert_eq!(Envelope::decode(bytes), Err(EnvelopeError::Unknown(error)));
    }
    assert_eq!(damaged(5, 3), Err(EnvelopeError::Unknown("content type")));
    for flag in [64, 128, 8, 16] {
        assert_eq!(damaged(4, flag), Err(EnvelopeError::Unknown("flag")), "{flag}");
    }
}

#[test]
fn text_that_is_not_utf_8_is_refused_in_payloads_and_names_and_not_in_binary() {
    let last = 4 + 1 + 1 + 8 + 8 + 3 + 3;
    assert_eq!(damaged(last, 0xff), Err(EnvelopeError::Text));
    let client = last - 4 + 1;
    assert_eq!(damaged(client, 0xff), Err(EnvelopeError::Text));
    let binary = publication(Payload::binary(&[0xff][..]));
    assert_eq!(decode_record(&mut encode_record(&binary), None), Ok(binary));
}

#[test]
fn an_envelope_without_publications_or_with_more_than_a_membership_is_refused() {
    assert_eq!(Envelope::decode(encode_publications(Some(&"e".into()), 1, &[])), Err(EnvelopeError::Short));
    let member = protocol::Member { user: "ann".into(), clients: 0, info: Some("{}".into()) };
    let change = Membership { member, client: "c".into(), left: Some(Cause::Lost) };
    let longer = [&encode_membership(&change)[..], b"x"].concat();
    assert_eq!(Envelope::decode(Bytes::from(longer)), Err(EnvelopeError::Unknown("rest")));
}

#[test]
fn offsets_that_run_past_their_end_are_refused() {
    let record = || encode_record(&publication(Payload::text("text")));
    let run = |records: &[Bytes]| Envelope::decode(encode_publications(Some(&"e".into()), u64::MAX, records));
    let Ok(Envelope::Publications { publications, .. }) = run(&[record()]) else { panic!() };
    assert_eq!(publications[0].offset, Some(u64::MAX));
    assert_eq!(run(&[record(), record()]), Err(EnvelopeError::Unknown("offset")));
}

#[test]
fn texts_too_long_for_their_length_are_cut_between_characters_and_info_is_left_out() {
    let long = Text::from("é".repeat(40_000));
    let json = Text::from(format!("\"{}\"", "x".repeat(65_534)));
    let from = Some(Origin { client: long.clone(), user: None, info: Some(json) });
    let written = Publication { event: Some(long), from, ..publication(Payload::text("text")) };
    let read = decode_record(&mut encode_record(&written), None).unwrap();
    let cut = Text::from("é".repeat(32_767));
    assert_eq!(read.event, Some(cut.clone()));
    assert_eq!(read.from, Some(Origin { client: cut, user: None, info: None }));
    assert_eq!(read.data, Payload { content: Content::Text, bytes: "text".into() });
}

#[test]
fn an_epoch_too_long_to_tell_leaves_the_publications_without_positions() {
    let record = encode_record(&publication(Payload::text("text")));
    let at = |length| {
        Envelope::decode(encode_publications(Some(&"e".repeat(length).into()), 7, std::slice::from_ref(&record)))
    };
    let Ok(Envelope::Publications { epoch, publications }) = at(255) else { panic!() };
    assert_eq!((epoch, publications[0].offset), (Some("e".repeat(255).into()), Some(7)));
    let Ok(Envelope::Publications { epoch, publications }) = at(256) else { panic!() };
    assert_eq!((epoch, publications[0].offset), (None, None));
}
