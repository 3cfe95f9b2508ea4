//! What streams look like, byte for byte, and what ids are.

use super::*;
use crate::dialect::Encoding;
use crate::{CloseCode, Payload, Refusal};
use bytes::Bytes;

/// Frames of a test: only texts, each by itself.
#[derive(Default)]
struct Texts(Vec<Vec<u8>>);

impl Messages for Texts {
    fn text(&mut self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        let mut text = Vec::new();
        write(&mut text);
        self.0.push(text);
    }

    fn binary(&mut self, _: &[u8]) {
        panic!("a stream of events is text");
    }

    fn binary_with(&mut self, _: &mut dyn FnMut(&mut Vec<u8>)) {
        panic!("a stream of events is text");
    }

    fn close(&mut self, code: CloseCode) {
        panic!("closed with {code:?}");
    }
}

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

fn publication(offset: Option<u64>, json: &'static str) -> Publication {
    let data = Payload::json(Bytes::from_static(json.as_bytes()));
    Publication { offset, data, event: None, retain: None, from: None, time_ms: 5, echo: true, stamp: 1 }
}

fn position(epoch: &str, offset: u64) -> Position {
    Position { epoch: epoch.into(), offset }
}

fn events(stream: &mut Stream, outgoing: &Outgoing) -> (String, Vec<Answer>) {
    let mut texts = Texts::default();
    Encoding::Events.encode(outgoing, &mut texts);
    written(stream, &texts)
}

fn live(stream: &mut Stream, name: &str, epoch: Option<&str>, it: &Publication) -> String {
    let mut texts = Texts::default();
    Encoding::Events.encode_publication(&channel(name), epoch.map(Into::into).as_ref(), it, &mut texts);
    written(stream, &texts).0
}

fn written(stream: &mut Stream, texts: &Texts) -> (String, Vec<Answer>) {
    let mut out = Vec::new();
    let answers = texts.0.iter().filter_map(|text| stream.write(text, &mut out)).collect();
    (String::from_utf8(out).unwrap(), answers)
}

fn subscribed(name: &str, position: Option<Position>, recovered: bool, publications: Vec<Publication>) -> Outgoing {
    let (channel, state, members) = (channel(name), vec![], None);
    Outgoing::Reply { id: 1, reply: Reply::Subscribed { channel, position, recovered, publications, state, members } }
}

fn known(id: &str) -> Vec<Known> {
    match read_id(id) {
        Some(Id::Places(places)) => places,
        other => panic!("{other:?}"),
    }
}

/// The ids of a text, last first.
fn last_id(text: &str) -> &str {
    text.lines().rev().find_map(|line| line.strip_prefix("id: ")).expect("an id")
}

#[test]
fn an_event_bears_its_object_and_the_places_of_all_channels() {
    let mut stream = Stream::new(&[channel("chat"), channel("news"), channel("plain")], &[]);
    let (text, answers) = events(&mut stream, &subscribed("chat", Some(position("k3Zq", 41)), false, vec![]));
    let standing =
        "data: {\"type\":\"subscribed\",\"channel\":\"chat\",\"epoch\":\"k3Zq\",\"offset\":41,\"recovered\":false}\n\n";
    assert_eq!((text, answers), (format!("id: EEcQxS.41.k3Zq\n{standing}"), vec![Answer::Stands]));
    let (text, _) = events(&mut stream, &subscribed("plain", None, false, vec![]));
    assert_eq!(
        text, "data: {\"type\":\"subscribed\",\"channel\":\"plain\",\"recovered\":false}\n\n",
        "it has no place"
    );
    events(&mut stream, &subscribed("news", Some(position("t8Wd", 7)), true, vec![]));
    assert_eq!(
        live(&mut stream, "chat", Some("k3Zq"), &publication(Some(42), "{\"a\":\n1,\r\n\"b\":2}")),
        "id: EEcQxS.42.k3Zq,qubvCd.7.t8Wd\n\
         data: {\"type\":\"publication\",\"channel\":\"chat\",\"offset\":42,\"time\":5,\"data\":{\"a\": 1,  \"b\":2}}\n\n"
    );
    let text = live(&mut stream, "plain", None, &publication(None, "1"));
    assert_eq!(text, "data: {\"type\":\"publication\",\"channel\":\"plain\",\"time\":5,\"data\":1}\n\n");
}

#[test]
fn what_was_missed_comes_one_by_one_and_a_cut_anywhere_repeats_and_loses_nothing() {
    let mut stream = Stream::new(&[channel("chat")], &known("EEcQxS.41.k3Zq"));
    assert_eq!(stream.places().collect::<Vec<_>>(), [(&channel("chat"), Some(&position("k3Zq", 41)))]);
    let missed = vec![publication(Some(42), "1"), publication(Some(43), "2")];
    let (text, _) = events(&mut stream, &subscribed("chat", Some(position("k3Zq", 43)), true, missed));
    let parts: Vec<&str> = text.split_terminator("\n\n").collect();
    let ids: Vec<_> = parts.iter().map(|part| known(last_id(part))[0].position.offset).collect();
    assert_eq!(ids, [41, 42, 43], "{text}");
    // A further part of a long past says no epoch.
    let push = Push::Publication { channel: channel("chat"), publication: publication(Some(44), "3") };
    let (text, _) = events(&mut stream, &Outgoing::Push(push));
    assert_eq!(last_id(&text), "EEcQxS.44.k3Zq");
    // What a gap stands for counts as heard, and one of another life begins anew.
    let gap = |to, epoch: &str| Push::Gap { channel: channel("chat"), from: None, to, epoch: Some(epoch.into()) };
    let (text, _) = events(&mut stream, &Outgoing::Push(gap(Some(50), "k3Zq")));
    assert_eq!(last_id(&text), "EEcQxS.50.k3Zq");
    assert!(live(&mut stream, "chat", Some("k3Zq"), &publication(Some(49), "4")).starts_with("data: "), "never back");
    let (text, _) = events(&mut stream, &Outgoing::Push(gap(Some(3), "t8Wd")));
    assert_eq!(last_id(&text), "EEcQxS.3.t8Wd");
}

#[test]
fn the_end_tells_why_and_whether_and_when_to_come_back() {
    let mut stream = Stream::new(&[channel("chat")], &[]);
    let (text, _) =
        events(&mut stream, &Outgoing::Push(Push::Reconnect { after_ms: 800, reason: CloseCode::Draining }));
    assert_eq!(text, "retry: 800\ndata: {\"type\":\"reconnect\",\"after_ms\":800,\"reason\":\"draining\"}\n\n");
    let mut out = Vec::new();
    stream.close(4200, Some(800), &mut out);
    stream.close(4011, None, &mut out);
    let expected = "event: close\nretry: 800\n\
        data: {\"type\":\"close\",\"code\":4200,\"reason\":\"draining\",\"reconnect\":\"when_told\"}\n\n\
        event: close\nid: !4011\n\
        data: {\"type\":\"close\",\"code\":4011,\"reason\":\"disconnected\",\"reconnect\":\"never\"}\n\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert_eq!(read_id("!4011"), Some(Id::Closed(4011)));
    let mut out = Texts::default();
    heartbeat(&mut out);
    assert_eq!(written(&mut stream, &out).0, ":\n\n");
}

#[test]
fn a_refusal_is_told_by_its_code() {
    let mut stream = Stream::new(&[channel("chat")], &[]);
    let refusal = Refusal::new(ErrorCode::PermissionDenied, "no");
    let mut limited = Refusal::new(ErrorCode::RateLimited, "too fast");
    limited.retry_after_ms = Some(250);
    let (_, answers) = events(&mut stream, &Outgoing::Refused { id: Some(2), refusal: limited });
    assert_eq!(answers, [Answer::Refused(ErrorCode::RateLimited, Some(250))]);
    let (text, answers) = events(&mut stream, &Outgoing::Refused { id: Some(1), refusal });
    assert_eq!(answers, [Answer::Refused(ErrorCode::PermissionDenied, None)]);
    let object = "{\"type\":\"error\",\"code\":\"permission_denied\",\"message\":\"no\",\"temporary\":false}";
    assert_eq!(text, format!("data: {object}\n\n"));
}

#[test]
fn ids_are_read_as_they_were_written_and_nothing_else_is() {
    let names: Vec<_> = (0..MAX_CHANNELS).map(|number| channel(&format!("room:{number}"))).collect();
    let mut stream = Stream::new(&names, &[]);
    let mut text = String::new();
    for name in &names {
        let most = subscribed(name, Some(position(&"x".repeat(20), u64::MAX)), false, vec![]);
        text = events(&mut stream, &most).0;
    }
    let id = last_id(&text);
    assert!(id.len() <= MAX_ID_BYTES, "{}", id.len());
    let again = Stream::new(&names, &known(id));
    assert_eq!(again.places().collect::<Vec<_>>(), stream.places().collect::<Vec<_>>());
    // Places are by channel, in whatever order the next URL names them.
    let fewer = Stream::new(&[channel("other"), channel("room:7")], &known(id));
    let places: Vec<_> = fewer.places().map(|(_, position)| position.is_some()).collect();
    assert_eq!(places, [false, true]);
    assert_eq!(known(""), []);
    let long = "A".repeat(MAX_ID_BYTES + 1);
    let wrong = [
        ",",
        "AAAAAA",
        "AAAAAA.1",
        "AAAAAA.1.",
        "AAAAAA..e",
        "AAAAAA.+1.e",
        "AAAAAA.1.e.e",
        "AAAAA.1.e",
        "AAAAAA.1.e,",
        "AAAAAA.1.e,AAAAAA.2.e",
        "AAAAA!.1.e",
        "AAAAAA.99999999999999999999.e",
        "AAAAAA.1.e e",
        "!",
        "!x",
        "!70000",
        &long,
    ];
    for text in wrong {
        assert_eq!(read_id(text), None, "{text}");
    }
}
