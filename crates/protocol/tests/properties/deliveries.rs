//! To clients: everything is JSON, and says what it was given to say.

use crate::strategies::{
    any_cause, any_channel, any_member, any_origin, any_payload, any_publication, any_text, often, word,
};
use crate::transport::{Written, json, written};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use protocol::dialect::Encoding;
use protocol::{
    CloseCode, Content, ErrorCode, Member, Members, Origin, Outgoing, Payload, Position, Publication, Push, Refusal,
    Reply, Text,
};
use serde_json::{Map, Value};

fn parsed(outgoing: &Outgoing) -> Value {
    serde_json::from_str(&json(outgoing)).unwrap_or_else(|error| panic!("{error}: {}", json(outgoing)))
}

fn opt<T: Into<Value>>(name: &str, value: Option<T>, into: &mut Map<String, Value>) {
    if let Some(value) = value {
        into.insert(name.into(), value.into());
    }
}

fn text(text: &Text) -> Value {
    Value::from(text.as_str())
}

/// What a client reads of a payload: the content type decides how.
fn payload(data: &Payload, into: &mut Map<String, Value>) {
    let as_text = || std::str::from_utf8(&data.bytes).unwrap();
    let (encoding, value) = match data.content {
        Content::Json => (None, serde_json::from_str(as_text()).unwrap()),
        Content::Text => (None, Value::from(as_text())),
        Content::Binary => (Some("base64"), Value::from(BASE64.encode(&data.bytes))),
    };
    opt("encoding", encoding, into);
    into.insert("data".into(), value);
}

fn info(info: Option<&Text>, into: &mut Map<String, Value>) {
    opt::<Value>("info", info.map(|info| serde_json::from_str(info).unwrap()), into);
}

fn origin(from: &Origin) -> Value {
    let mut object = Map::from_iter([("client".into(), text(&from.client))]);
    opt("user", from.user.as_ref().map(text), &mut object);
    info(from.info.as_ref(), &mut object);
    object.into()
}

fn member(member: &Member) -> Value {
    let mut object = Map::from_iter([("user".into(), text(&member.user)), ("clients".into(), member.clients.into())]);
    info(member.info.as_ref(), &mut object);
    object.into()
}

fn publication(publication: &Publication) -> Map<String, Value> {
    let mut object = Map::from_iter([("time".into(), publication.time_ms.into())]);
    opt("offset", publication.offset, &mut object);
    opt("from", publication.from.as_ref().map(origin), &mut object);
    opt("event", publication.event.as_ref().map(text), &mut object);
    opt("retain", publication.retain.as_ref().map(text), &mut object);
    payload(&publication.data, &mut object);
    object
}

fn position(position: Option<&Position>, into: &mut Map<String, Value>) {
    opt("epoch", position.map(|p| text(&p.epoch)), into);
    opt("offset", position.map(|p| p.offset), into);
}

fn any_position() -> impl Strategy<Value = Option<Position>> {
    option::of((word(), any::<u64>()).prop_map(|(epoch, offset)| Position { epoch, offset }))
}

proptest! {
    #![proptest_config(often())]

    #[test]
    fn a_publication_says_what_was_published(channel in any_channel(), it in any_publication()) {
        let mut expected = publication(&it);
        expected.insert("type".into(), "publication".into());
        expected.insert("channel".into(), (&*channel).into());
        let push = Outgoing::Push(Push::Publication { channel, publication: it });
        prop_assert_eq!(parsed(&push), Value::Object(expected));
    }

    #[test]
    fn a_private_message_says_what_was_sent(from in any_origin(), data in any_payload(), event in option::of(word())) {
        let mut expected = Map::from_iter([("type".into(), "message".into()), ("from".into(), origin(&from))]);
        opt("event", event.as_ref().map(text), &mut expected);
        payload(&data, &mut expected);
        prop_assert_eq!(parsed(&Outgoing::Push(Push::Message { from, data, event, time_ms: 7 })), Value::Object(expected));
    }

    #[test]
    fn a_subscription_says_where_it_stands_what_was_missed_and_who_is_there(
        (id, recovered, clients, users) in any::<(u64, bool, u64, u64)>(),
        channel in any_channel(),
        at in any_position(),
        publications in vec(any_publication(), 0..4),
        state in vec(any_publication(), 0..4),
        list in option::of(vec(any_member(), 0..4)),
    ) {
        let mut expected = Map::from_iter([
            ("type".into(), "subscribed".into()),
            ("id".into(), id.into()),
            ("channel".into(), (&*channel).into()),
            ("recovered".into(), recovered.into()),
            ("publications".into(), publications.iter().map(publication).collect()),
            ("clients".into(), clients.into()),
            ("users".into(), users.into()),
        ]);
        position(at.as_ref(), &mut expected);
        opt::<Value>("members", list.as_ref().map(|list| list.iter().map(member).collect()), &mut expected);
        let members = Some(Members { list, clients, users });
        let listed: Vec<Value> = state.iter().map(|entry| publication(entry).into()).collect();
        opt("state", (!listed.is_empty()).then_some(listed), &mut expected);
        let reply = Reply::Subscribed { channel, position: at, recovered, publications, state, members };
        prop_assert_eq!(parsed(&Outgoing::Reply { id, reply }), Value::Object(expected));
    }

    #[test]
    fn every_other_reply_and_push_is_json_with_its_type(
        (id, number, flag) in any::<(u64, u64, bool)>(),
        channel in any_channel(),
        at in any_position(),
        who in any_member(),
        cause in any_cause(),
        words in any_text(),
        code in select(ErrorCode::ALL),
        close in select(CloseCode::ALL),
    ) {
        let some = |number| flag.then_some(number);
        let members = Members { list: flag.then(|| vec![who.clone()]), clients: number, users: id };
        let refusal = Refusal { retry_after_ms: some(number), ..Refusal::new(code, words.clone()) };
        let reply = |reply| Outgoing::Reply { id, reply };
        let push = Outgoing::Push;
        let reason = Text::from(words.as_str());
        for (outgoing, kind) in [
            (reply(Reply::Authed { user: who.user.clone(), expires_in: some(number) }), "authed"),
            (reply(Reply::Published { channel: channel.clone(), position: at.clone() }), "published"),
            (reply(Reply::Presence { channel: channel.clone(), members }), "presence"),
            (reply(Reply::History { channel: channel.clone(), publications: vec![], position: at }), "history"),
            (Outgoing::Refused { id: some(id), refusal }, "error"),
            (push(Push::Join { channel: channel.clone(), member: who.clone() }), "join"),
            (push(Push::Leave { channel: channel.clone(), member: who.clone(), cause }), "leave"),
            (push(Push::Gap { channel: channel.clone(), from: flag.then_some(id), to: Some(number), epoch: Some(who.user) }), "gap"),
            (push(Push::Unsubscribed { channel, code, reason }), "unsubscribed"),
            (push(Push::Reconnect { after_ms: number, reason: close }), "reconnect"),
        ] {
            prop_assert_eq!(&parsed(&outgoing)["type"], kind);
        }
    }

    #[test]
    fn a_text_never_breaks_the_line_of_its_message(channel in any_channel(), text in any_text()) {
        let publication = Publication {
            offset: None, data: Payload::text(text), event: None, retain: None, from: None, time_ms: 0, echo: true, stamp: 0,
        };
        let written = json(&Outgoing::Push(Push::Publication { channel, publication }));
        prop_assert!(!written.contains(['\n', '\r', '\0']));
    }

    #[test]
    fn a_raw_client_gets_exactly_the_bytes_that_were_published(channel in any_channel(), publication in any_publication()) {
        let Payload { content, bytes } = publication.data.clone();
        let expected = match content {
            Content::Binary => Written::Binary(bytes.to_vec()),
            Content::Json | Content::Text => Written::Text(String::from_utf8(bytes.to_vec()).unwrap()),
        };
        let push = Outgoing::Push(Push::Publication { channel, publication });
        prop_assert_eq!(written(&Encoding::Raw, &push), [expected]);
    }
}
