//! The native objects in the bodies of plain HTTP: publications that are asked for without a `type`, and answers without
//! an `id`.

use super::decode::{Batch, begins_with, describe, publish};
use super::encode::{Object, write_refusal, write_reply};
use super::fields::{Fields, text};
use super::notation::Json;
use crate::{Channel, CloseCode, Position, Publication, Publish, Refusal, Reply};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What a body asks to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publications {
    /// One object.
    One(Publish),
    /// An array of 1 to [`super::MAX_BATCH`]; each stands for itself.
    Several(Vec<Result<Publish, Refusal>>),
}

/// Reads a body: the fields of a `publish`, or an array of such objects. Like a message, an array that is not well-formed
/// to its end or is too long is refused as a whole.
///
/// # Errors
/// What is wrong with it: `bad_request`.
pub fn decode_publications(body: &[u8]) -> Result<Publications, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| Refusal::bad_request("the body is not UTF-8"))?;
    if !begins_with(text, '[') {
        return decode_one(text).map(Publications::One);
    }
    match serde_json::from_str::<Batch<'_>>(text) {
        Ok(Batch(objects)) if objects.is_empty() => {
            Err(Refusal::bad_request("an array of publications holds at least one"))
        }
        Ok(Batch(objects)) => {
            Ok(Publications::Several(objects.into_iter().map(|object| decode_one(object.get())).collect()))
        }
        Err(error) => Err(Refusal::bad_request(format!("not an array of publications: {error}"))),
    }
}

fn decode_one(object: &str) -> Result<Publish, Refusal> {
    if !begins_with(object, '{') {
        let message = "a publication is a JSON object such as {\"channel\":\"chat\",\"data\":1}";
        return Err(Refusal::bad_request(message));
    }
    let fields: Fields<&RawValue> =
        serde_json::from_str(object).map_err(|error| Refusal::bad_request(describe(&error)))?;
    match text(fields.kind, "type") {
        Ok(None) => {}
        Ok(Some(kind)) if kind == "publish" => {}
        Ok(Some(_)) => return Err(Refusal::bad_request("only `publish` is taken here")),
        Err(wrong) => return Err(Refusal::bad_request(wrong)),
    }
    publish(&fields).map_err(Refusal::bad_request)
}

/// Writes an answer as its object, without an `id`.
pub fn encode_answer(buffer: &mut Vec<u8>, answer: &Result<Reply, Refusal>) {
    match answer {
        Ok(reply) => write_reply::<Json>(buffer, None, reply),
        Err(refusal) => write_refusal::<Json>(buffer, None, refusal),
    }
}

/// Writes several as an array of their objects.
pub fn encode_answers(buffer: &mut Vec<u8>, answers: &[Result<Reply, Refusal>]) {
    buffer.push(b'[');
    for (index, answer) in answers.iter().enumerate() {
        if index > 0 {
            buffer.push(b',');
        }
        encode_answer(buffer, answer);
    }
    buffer.push(b']');
}

/// A part of a channel's log, for one who polls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// Where to go on from: up to here everything has been answered, or is in the gap.
    pub position: Position,
    /// Whether nothing is missing since the position that was asked for; absent if none was.
    pub recovered: Option<bool>,
    /// What is missing before the first publication: first and last offset.
    pub gap: Option<(u64, u64)>,
    /// Whether the log goes on already.
    pub more: bool,
    /// Without a hole, oldest first.
    pub publications: Vec<Publication>,
}

/// Writes them as one object.
pub fn encode_messages(buffer: &mut Vec<u8>, channel: &Channel, messages: &Messages) {
    Object::<Json>::of(buffer, "messages")
        .string("channel", channel)
        .position(Some(&messages.position))
        .optional(messages.recovered, |o, recovered| o.boolean("recovered", recovered))
        .optional(messages.gap, |o, (from, to)| o.object("gap", |o| o.number("from", from).number("to", to)))
        .boolean("more", messages.more)
        .publications("publications", &messages.publications)
        .end();
}

/// Writes what a session begins with whose client polls: the name by which it is asked for from then on, and how long a
/// poll waits.
pub fn encode_opened(buffer: &mut Vec<u8>, session: &str, wait_ms: u64) {
    Object::<Json>::of(buffer, "opened").string("session", session).number("wait_ms", wait_ms).end();
}

/// Writes that a subscription stands, without what was missed: for those who get that one by one.
pub fn encode_standing(buffer: &mut Vec<u8>, channel: &Channel, position: Option<&Position>, recovered: bool) {
    Object::<Json>::of(buffer, "subscribed")
        .string("channel", channel)
        .position(position)
        .boolean("recovered", recovered)
        .end();
}

/// Writes the end of a connection, for those who hear of no close frame.
pub fn encode_close(buffer: &mut Vec<u8>, code: u16) {
    let known = CloseCode::from_code(code);
    Object::<Json>::of(buffer, "close")
        .number("code", u64::from(code))
        .string("reason", known.map_or("", CloseCode::reason))
        .optional(known, |o, known| o.string("reconnect", known.reconnect().as_str()))
        .end();
}

/// Writes whole messages as one array, without what is between them.
pub fn encode_array<'a>(buffer: &mut Vec<u8>, objects: impl IntoIterator<Item = Cow<'a, [u8]>>) {
    buffer.push(b'[');
    for (index, object) in objects.into_iter().enumerate() {
        if index > 0 {
            buffer.push(b',');
        }
        buffer.extend_from_slice(&object);
    }
    buffer.push(b']');
}

#[cfg(test)]
mod tests {
    use super::super::MAX_BATCH;
    use super::*;
    use crate::{ErrorCode, Payload};
    use bytes::Bytes;

    fn refused(body: &[u8]) -> String {
        let refusal = decode_publications(body).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::BadRequest);
        refusal.message.into_owned()
    }

    #[test]
    fn a_body_is_a_publication_or_several_and_each_of_them_stands_for_itself() {
        let one = decode_publications(br#" {"channel":"a","data":{"x": 1},"event":"e","key":"k"}"#).unwrap();
        let Publications::One(publish) = one else { panic!("{one:?}") };
        assert_eq!(publish.data, Payload::json(Bytes::from_static(br#"{"x": 1}"#)), "byte for byte");
        assert_eq!((publish.event.as_deref(), publish.key.as_deref()), (Some("e"), Some("k")));
        assert!(publish.echo && !publish.volatile);
        let body = br#"[{"type":"publish","id":7,"channel":"a","data":null},{"channel":"a"},3,{"type":"send"}]"#;
        let Publications::Several(several) = decode_publications(body).unwrap() else { panic!() };
        assert!(several[0].is_ok());
        let wrong: Vec<_> = several[1..].iter().map(|one| one.as_ref().unwrap_err().message.clone()).collect();
        assert_eq!(wrong[0], "`publish` needs `data`");
        assert!(wrong[1].starts_with("a publication is a JSON object") && wrong[2].starts_with("only `publish`"));
    }

    #[test]
    fn what_is_no_body_is_refused_as_a_whole() {
        assert_eq!(refused(b"[]"), "an array of publications holds at least one");
        assert_eq!(refused(b"\xff{}"), "the body is not UTF-8");
        for wrong in [&b""[..], b"null", b"\"x\"", b"{", br#"{"channel":"a","data":1"#, br#"[{"channel":"a","data":1}"#]
        {
            refused(wrong);
        }
        let many = format!("[{}]", vec![r#"{"channel":"a","data":1}"#; MAX_BATCH + 1].join(","));
        assert!(refused(many.as_bytes()).contains("more than 256"));
        let as_many = format!("[{}]", vec!["1"; MAX_BATCH].join(","));
        assert!(
            matches!(decode_publications(as_many.as_bytes()), Ok(Publications::Several(all)) if all.len() == MAX_BATCH)
        );
    }

    #[test]
    fn answers_are_the_native_objects_without_an_id() {
        let channel = Channel::new("a").unwrap();
        let position = Position { epoch: "k3Zq".into(), offset: 7 };
        let reply = Reply::Published { channel: channel.clone(), position: Some(position.clone()) };
        let mut buffer = Vec::new();
        encode_answers(&mut buffer, &[Ok(reply), Err(Refusal::bad_request("no"))]);
        let expected = concat!(
            r#"[{"type":"published","channel":"a","epoch":"k3Zq","offset":7},"#,
            r#"{"type":"error","code":"bad_request","message":"no","temporary":false}]"#
        );
        assert_eq!(String::from_utf8(buffer).unwrap(), expected);
        let mut buffer = Vec::new();
        let messages =
            Messages { position, recovered: Some(false), gap: Some((5, 6)), more: true, publications: Vec::new() };
        encode_messages(&mut buffer, &channel, &messages);
        let expected = concat!(
            r#"{"type":"messages","channel":"a","epoch":"k3Zq","offset":7,"recovered":false,"#,
            r#""gap":{"from":5,"to":6},"more":true,"publications":[]}"#
        );
        assert_eq!(String::from_utf8(buffer).unwrap(), expected);
    }
}
