//! MessagePack and JSON say the same: whatever comes in, and whatever goes out.

use crate::strategies::{
    any_cause, any_channel, any_json, any_member, any_origin, any_payload, any_publication, any_text, often, word,
};
use crate::transport::{json, msgpack, read, read_msgpack};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use protocol::dialect::json::MAX_BATCH;
use protocol::{
    CloseCode, Command, Content, ErrorCode, Members, Outgoing, Payload, Position, Publication, Push, Refusal, Reply,
    Request, Welcome,
};
use rmpv::Value as Packed;
use serde_json::{Map, Value};

/// By a decoder that is not ours; bytes as JSON clients get them.
fn unpacked(bytes: &[u8]) -> Value {
    let mut rest = bytes;
    let value = rmpv::decode::read_value(&mut rest).unwrap();
    assert!(rest.is_empty(), "{} bytes more", rest.len());
    in_json(value)
}

fn in_json(value: Packed) -> Value {
    match value {
        Packed::Nil => Value::Null,
        Packed::Boolean(flag) => flag.into(),
        Packed::Integer(number) => number.as_u64().map_or_else(|| number.as_i64().unwrap().into(), Value::from),
        Packed::F64(number) => number.into(),
        Packed::F32(number) => f64::from(number).into(),
        Packed::String(text) => text.into_str().unwrap().into(),
        Packed::Array(items) => items.into_iter().map(in_json).collect(),
        Packed::Map(fields) => {
            let mut object = Map::new();
            for (name, field) in fields {
                if let Packed::Binary(bytes) = field {
                    object.insert("encoding".into(), "base64".into());
                    object.insert("data".into(), BASE64.encode(bytes).into());
                } else {
                    object.insert(name.as_str().unwrap().into(), in_json(field));
                }
            }
            object.into()
        }
        other => panic!("{other}"),
    }
}

fn packed(value: &Value) -> Packed {
    match value {
        Value::Null => Packed::Nil,
        Value::Bool(flag) => Packed::Boolean(*flag),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), ..) => number.into(),
            (_, Some(number), _) => number.into(),
            (.., number) => number.unwrap().into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => Packed::Array(items.iter().map(packed).collect()),
        Value::Object(fields) => {
            Packed::Map(fields.iter().map(|(name, field)| (name.as_str().into(), packed(field))).collect())
        }
    }
}

fn bytes_of(value: &Packed) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).unwrap();
    bytes
}

fn any_position() -> impl Strategy<Value = Option<Position>> {
    option::of((word(), any::<u64>()).prop_map(|(epoch, offset)| Position { epoch, offset }))
}

fn any_members() -> impl Strategy<Value = Members> {
    // Past 15 the length of an array is written in another way.
    let list = option::of(vec(any_member(), 0..20));
    (list, any::<(u64, u64)>()).prop_map(|(list, (clients, users))| Members { list, clients, users })
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let publications = || vec(any_publication(), 0..4);
    prop_oneof![
        (word(), option::of(any::<u64>())).prop_map(|(user, expires_in)| Reply::Authed { user, expires_in }),
        (any_channel(), any_position(), any::<bool>(), publications(), publications(), option::of(any_members()))
            .prop_map(|(channel, position, recovered, publications, state, members)| Reply::Subscribed {
                channel,
                position,
                recovered,
                publications,
                state,
                members
            }),
        any_channel().prop_map(|channel| Reply::Unsubscribed { channel }),
        (any_channel(), any_position()).prop_map(|(channel, position)| Reply::Published { channel, position }),
        (any_channel(), any_members()).prop_map(|(channel, members)| Reply::Presence { channel, members }),
        (any_channel(), publications(), any_position()).prop_map(|(channel, publications, position)| Reply::History {
            channel,
            publications,
            position
        }),
        select(vec![Reply::Sent, Reply::Pong]),
    ]
}

fn any_push() -> impl Strategy<Value = Push> {
    prop_oneof![
        (word(), word(), word(), any::<(u64, u64)>()).prop_map(
            |(client, node, session, (ping_interval_ms, max_message_bytes))| {
                Push::Welcome(Welcome { client, node, session, ping_interval_ms, max_message_bytes })
            }
        ),
        (any_channel(), any_publication())
            .prop_map(|(channel, publication)| Push::Publication { channel, publication }),
        (any_channel(), any_member()).prop_map(|(channel, member)| Push::Join { channel, member }),
        (any_channel(), any_member(), any_cause()).prop_map(|(channel, member, cause)| Push::Leave {
            channel,
            member,
            cause
        }),
        (any_channel(), any::<(Option<u64>, Option<u64>)>(), option::of(word()))
            .prop_map(|(channel, (from, to), epoch)| Push::Gap { channel, from, to, epoch }),
        (any_origin(), any_payload(), option::of(word())).prop_map(|(from, data, event)| Push::Message {
            time_ms: 7,
            from,
            data,
            event
        }),
        (any_channel(), select(ErrorCode::ALL), word()).prop_map(|(channel, code, reason)| Push::Unsubscribed {
            channel,
            code,
            reason
        }),
        any::<u64>().prop_map(|in_ms| Push::Expiring { in_ms }),
        (any::<u64>(), select(CloseCode::ALL)).prop_map(|(after_ms, reason)| Push::Reconnect { after_ms, reason }),
    ]
}

fn any_outgoing() -> impl Strategy<Value = Outgoing> {
    let refused = (option::of(any::<u64>()), select(ErrorCode::ALL), any_text(), option::of(any::<u64>()));
    prop_oneof![
        (any::<u64>(), any_reply()).prop_map(|(id, reply)| Outgoing::Reply { id, reply }),
        refused.prop_map(|(id, code, words, retry_after_ms)| Outgoing::Refused {
            id,
            refusal: Refusal { retry_after_ms, ..Refusal::new(code, words) },
        }),
        any_push().prop_map(Outgoing::Push),
    ]
}

/// Known fields, with values that may suit them.
fn nearly_a_command() -> impl Strategy<Value = Value> {
    let kinds = ["auth", "subscribe", "unsubscribe", "publish", "send", "presence", "history", "ping", "other"];
    let names = [
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
    let place =
        (any_json(), any::<u64>()).prop_map(|(epoch, offset)| serde_json::json!({"epoch": epoch, "offset": offset}));
    let suiting = prop_oneof![
        any_json(),
        any::<u64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any_text().prop_map(Value::from),
        Just(Value::from("chat")),
        place,
    ];
    let fields = vec((select(names.to_vec()), suiting), 0..7);
    (select(kinds.to_vec()), fields).prop_map(|(kind, fields)| {
        let mut object: Map<String, Value> = [("channel", "chat"), ("to", "n1.a.7"), ("token", "t")]
            .map(|(n, v)| (n.to_owned(), v.into()))
            .into_iter()
            .collect();
        object.insert("type".into(), kind.into());
        object.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
        object.into()
    })
}

/// What a payload says, whatever its spaces.
fn meaning(mut request: Request) -> (Request, Option<Value>) {
    let (Command::Publish(protocol::Publish { data, .. }) | Command::Send(protocol::Send { data, .. })) =
        &mut request.command
    else {
        return (request, None);
    };
    let value = serde_json::from_slice(&data.bytes).unwrap();
    *data = Payload::json("");
    (request, Some(value))
}

fn published(data: &Packed) -> Payload {
    let message = Packed::Map(vec![
        ("type".into(), "publish".into()),
        ("channel".into(), "chat".into()),
        ("data".into(), data.clone()),
    ]);
    match read_msgpack(&bytes_of(&message)).remove(0).unwrap().command {
        Command::Publish(publish) => publish.data,
        other => panic!("{other:?}"),
    }
}

fn delivered(data: Payload) -> Packed {
    let channel = protocol::Channel::new("chat").unwrap();
    let publication =
        Publication { offset: None, data, event: None, retain: None, from: None, time_ms: 0, echo: true, stamp: 0 };
    let bytes = msgpack(&Outgoing::Push(Push::Publication { channel, publication }));
    let message = rmpv::decode::read_value(&mut &bytes[..]).unwrap();
    let data = message.as_map().unwrap().iter().find(|(name, _)| name.as_str() == Some("data"));
    data.unwrap().1.clone()
}

/// Any value but bytes, extensions, numbers that are not finite, and names that are not strings.
fn any_packed() -> impl Strategy<Value = Packed> {
    let leaf = prop_oneof![
        Just(Packed::Nil),
        any::<bool>().prop_map(Packed::from),
        any::<i64>().prop_map(Packed::from),
        any::<u64>().prop_map(Packed::from),
        any::<f64>().prop_map(Packed::from),
        any_text().prop_map(Packed::from),
    ];
    leaf.prop_recursive(5, 60, 20, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(Packed::Array),
            vec((any_text().prop_map(Packed::from), inner), 0..20).prop_map(Packed::Map),
        ]
    })
}

proptest! {
    #![proptest_config(often())]

    #[test]
    fn everything_that_goes_out_says_the_same_in_both(outgoing in any_outgoing()) {
        let in_json: Value = serde_json::from_str(&json(&outgoing)).unwrap();
        prop_assert_eq!(unpacked(&msgpack(&outgoing)), in_json);
    }

    #[test]
    fn every_command_means_the_same_in_both_and_is_refused_with_the_same_words(commands in vec(nearly_a_command(), 1..4)) {
        let commands = Value::from(commands);
        let in_json = read(&commands.to_string());
        let in_msgpack = read_msgpack(&bytes_of(&packed(&commands)));
        prop_assert_eq!(in_json.len(), in_msgpack.len());
        for (one, other) in in_json.into_iter().zip(in_msgpack) {
            prop_assert_eq!(one.map(meaning), other.map(meaning));
        }
    }

    #[test]
    fn what_is_published_in_msgpack_arrives_there_as_it_was(data in any_packed()) {
        let payload = published(&data);
        prop_assert_eq!(payload.content, Content::Json);
        prop_assert_eq!(delivered(payload), data);
    }

    #[test]
    fn bytes_arrive_as_they_were(bytes in vec(any::<u8>(), 0..300)) {
        let data = Packed::Binary(bytes.clone());
        prop_assert_eq!(published(&data), Payload::binary(bytes));
        prop_assert_eq!(delivered(published(&data)), data);
    }

    #[test]
    fn any_bytes_are_answered(bytes in vec(any::<u8>(), 0..200)) {
        let results = read_msgpack(&bytes);
        prop_assert!((1..=MAX_BATCH).contains(&results.len()));
        for refused in results.into_iter().filter_map(Result::err) {
            prop_assert_eq!(refused.refusal.code, ErrorCode::BadRequest);
            prop_assert!(refused.refusal.message.len() < 1_000, "an answer is short");
        }
    }

    #[test]
    fn a_message_that_lost_its_end_or_one_byte_is_answered(
        commands in vec(nearly_a_command(), 1..4), at in any::<Index>(), byte in any::<u8>(),
    ) {
        let whole = bytes_of(&packed(&commands.into()));
        let at = at.index(whole.len());
        let cut = read_msgpack(&whole[..at]);
        prop_assert!(cut.len() == 1 && cut[0].is_err(), "{:?}", cut);
        let mut changed = whole;
        changed[at] = byte;
        prop_assert!((1..=MAX_BATCH).contains(&read_msgpack(&changed).len()));
    }
}
