//! The raw relay: messages as they are, and a close where there are no words.

use crate::samples::{anonymous, binary, chat, full, member, place, text};
use crate::transport::{Recorder, Written, written};
use protocol::dialect::raw::{Past, Raw};
use protocol::dialect::{Dialect, Encoding, Incoming};
use protocol::{
    CloseCode, Command, ErrorCode, Outgoing, Payload, Publication, Publish, Push, Refusal, Reply, Request, Since,
    Welcome,
};

const ALL_BYTES: &[u8] = &[0x00, 0x0a, 0x7f, 0x80, 0xfe, 0xff];

fn decode(echo: bool, message: Incoming<'_>) -> Vec<Request> {
    let mut requests = Vec::new();
    Dialect::Raw(Box::new(Raw { channel: chat(), echo, past: None }))
        .decode(message, &mut |result| requests.push(result.unwrap()));
    requests
}

fn published(echo: bool, data: Payload) -> Request {
    let publish = Publish { channel: chat(), data, event: None, key: None, retain: None, volatile: false, echo };
    Request { id: None, command: Command::Publish(publish) }
}

fn raw(outgoing: &Outgoing) -> Vec<Written> {
    written(&Encoding::Raw, outgoing)
}

fn delivered(data: Payload) -> Vec<Written> {
    raw(&Outgoing::Push(Push::Publication { channel: chat(), publication: Publication { data, ..full() } }))
}

/// The close that a raw client gets for a refusal.
pub(crate) fn close_of(code: ErrorCode) -> CloseCode {
    match raw(&Outgoing::Refused { id: None, refusal: Refusal::new(code, "no") }).as_slice() {
        [Written::Close(close)] => *close,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_text_is_published_verbatim_even_where_it_looks_like_a_command() {
    for message in ["", "hello", "\0\r\n", "{\"type\":\"subscribe\",\"channel\":\"x\"}", "[]", "é 🦀"] {
        assert_eq!(decode(false, Incoming::Text(message)), [published(false, Payload::text(message))]);
    }
}

#[test]
fn every_binary_message_is_published_verbatim() {
    for message in [b"".as_slice(), ALL_BYTES] {
        assert_eq!(decode(false, Incoming::Binary(message)), [published(false, Payload::binary(message))]);
    }
}

#[test]
fn the_sender_gets_its_own_messages_only_if_the_connection_asked_for_it() {
    assert_eq!(decode(true, Incoming::Text("hello")), [published(true, Payload::text("hello"))]);
}

#[test]
fn text_and_json_are_delivered_as_text_and_binary_as_binary_all_verbatim() {
    let Payload { bytes, .. } = text();
    assert_eq!(delivered(text()), [Written::Text(String::from_utf8(bytes.to_vec()).unwrap())]);
    assert_eq!(delivered(Payload::json("{ \"a\" : 1 }")), [Written::Text("{ \"a\" : 1 }".into())]);
    assert_eq!(delivered(Payload::binary(ALL_BYTES)), [Written::Binary(ALL_BYTES.to_vec())]);
    assert_eq!(delivered(Payload::text("")), [Written::Text(String::new())]);
}

#[test]
fn a_live_publication_is_delivered_like_any_other() {
    for data in [text(), binary(), Payload::json("1")] {
        let mut live = Recorder::default();
        let publication = Publication { data: data.clone(), ..full() };
        Encoding::Raw.encode_publication(&chat(), None, &publication, &mut live);
        assert_eq!(live.0, delivered(data));
    }
}

#[test]
fn a_private_message_is_delivered_verbatim_too() {
    let message = Push::Message { from: anonymous(), data: binary(), event: Some("whisper".into()), time_ms: 7 };
    assert_eq!(raw(&Outgoing::Push(message)), [Written::Binary(binary().bytes.to_vec())]);
}

#[test]
fn a_gap_closes_because_it_cannot_be_told() {
    let gap = Push::Gap { channel: chat(), from: Some(1), to: Some(2), epoch: None };
    assert_eq!(raw(&Outgoing::Push(gap)), [Written::Close(CloseCode::Gap)]);
}

#[test]
fn a_refusal_and_the_end_of_the_subscription_close_with_the_code_nearest_to_theirs() {
    for code in ErrorCode::ALL {
        let close = match code {
            ErrorCode::Unauthenticated => 4001,
            ErrorCode::PermissionDenied | ErrorCode::UnknownChannel => 4003,
            ErrorCode::TooLarge => 1009,
            ErrorCode::RateLimited | ErrorCode::LimitExceeded => 4101,
            ErrorCode::Unavailable | ErrorCode::UnknownOutcome => 4105,
            ErrorCode::BadRequest => 1003,
            ErrorCode::UnknownClient
            | ErrorCode::UnknownSession
            | ErrorCode::AlreadySubscribed
            | ErrorCode::NotSubscribed
            | ErrorCode::Internal => 1011,
        };
        let expected = CloseCode::from_code(close).unwrap();
        assert_eq!(close_of(*code), expected, "{code:?}");
        let unsubscribed = Push::Unsubscribed { channel: chat(), code: *code, reason: "no".into() };
        assert_eq!(raw(&Outgoing::Push(unsubscribed)), [Written::Close(expected)], "{code:?}");
    }
}

#[test]
fn everything_else_is_kept_from_a_client_that_has_no_words_for_it() {
    let welcome = Welcome {
        client: "n1.a.7".into(),
        node: "n1.a".into(),
        session: "f3b09c2e".into(),
        ping_interval_ms: 25_000,
        max_message_bytes: 65_536,
    };
    let member = || member("ann", 1, None);
    for push in [
        Push::Welcome(welcome),
        Push::Join { channel: chat(), member: member() },
        Push::Leave { channel: chat(), member: member(), cause: protocol::Cause::Left },
        Push::Expiring { in_ms: 1 },
        Push::Reconnect { after_ms: 1, reason: CloseCode::Draining },
    ] {
        assert_eq!(raw(&Outgoing::Push(push)), []);
    }
    let published = Reply::Published { channel: chat(), position: Some(place(1)) };
    for reply in [published, Reply::Pong, Reply::Unsubscribed { channel: chat() }] {
        assert_eq!(raw(&Outgoing::Reply { id: 1, reply }), []);
    }
}

#[test]
fn a_past_is_digits_behind_an_epoch_or_alone() {
    let since = |epoch: Option<&str>, offset| Some(Past::Since(Since { epoch: epoch.map(Into::into), offset }));
    assert_eq!(Past::since("0"), since(None, 0));
    assert_eq!(Past::since("18446744073709551615"), since(None, u64::MAX));
    assert_eq!(Past::since("k3Zq:41"), since(Some("k3Zq"), 41));
    assert_eq!(Past::since("a:b:41"), since(Some("a:b"), 41));
    assert_eq!(Past::last("50"), Some(Past::Last(50)));
    for wrong in ["", "x", "-1", "+1", " 1", "1.0", ":1", "e:", "18446744073709551616"] {
        assert_eq!((Past::since(wrong), Past::last(wrong)), (None, None), "{wrong:?}");
    }
}

#[test]
fn only_what_is_kept_is_asked_for_without_a_position() {
    let asks_for_what_is_kept = |past: Option<Past>| past.unwrap().is_what_is_kept();
    assert!(asks_for_what_is_kept(Past::since("0")) && asks_for_what_is_kept(Past::last("3")));
    assert!(!asks_for_what_is_kept(Past::since("1")) && !asks_for_what_is_kept(Past::since("e:0")));
}
