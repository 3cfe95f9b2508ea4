//! From clients: whatever arrives is answered, and whatever is well-formed means what it says.

use crate::strategies::{any_channel, any_json, any_text, often};
use crate::transport::{json, read};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use protocol::dialect::json::MAX_BATCH;
use protocol::dialect::{Dialect, Incoming};
use protocol::{Command, Outgoing, Payload, Publication, Push, Reply, Subscribe};
use serde_json::{Value, json as value};

/// Pieces that messages are made of, and pieces that break them.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\"type\":",
    "\"ping\"",
    "\"publish\"",
    "\"subscribe\"",
    "\"history\"",
    "\"id\":",
    "\"channel\":",
    "\"data\":",
    "\"recover\":",
    "\"since\":",
    "\"epoch\":",
    "\"offset\":",
    "\"a\"",
    "7",
    "-1",
    "1e999",
    "0.5",
    "null",
    "true",
    "\\ud800",
    "\\udc00",
    "\\u0000",
    " ",
    "\n",
    "\u{0}",
    "\u{feff}",
    "é",
    "🦀",
];

/// A JSON string as people and attackers write them.
fn written_string() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        select(vec!["a", "é", "🦀", "\\n", "\\\"", "\\\\", "\\/", "[", "}", "1e999"]).prop_map(str::to_owned),
        any::<u16>().prop_map(|unit| format!("\\u{unit:04x}")),
        (0xd800u16..=0xdfff).prop_map(|unit| format!("\\u{unit:04X}")),
    ];
    vec(part, 0..6).prop_map(|parts| format!("\"{}\"", parts.concat()))
}

/// A JSON number that need not fit anything.
fn written_number() -> impl Strategy<Value = String> {
    (any::<i32>(), option::of(any::<u32>()), option::of(-400i32..400)).prop_map(|(whole, fraction, exponent)| {
        let fraction = fraction.map_or_else(String::new, |digits| format!(".{digits}"));
        let exponent = exponent.map_or_else(String::new, |exponent| format!("E{exponent:+}"));
        format!("{whole}{fraction}{exponent}")
    })
}

/// JSON by its grammar, with all that its grammar allows.
fn written_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![written_string(), written_number(), Just("null".to_owned()), Just("true".to_owned())];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[ {}]", items.join(" ,"))),
            vec((written_string(), inner), 0..4).prop_map(|fields| {
                let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

/// Known fields with values that may not suit them.
fn nearly_a_command() -> impl Strategy<Value = String> {
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
    let kinds = ["auth", "subscribe", "unsubscribe", "publish", "send", "presence", "history", "ping", "other"];
    (select(kinds.to_vec()), vec((select(names.to_vec()), written_json()), 0..6)).prop_map(|(kind, fields)| {
        let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
        format!("{{\"type\":\"{kind}\"{}}}", fields.concat())
    })
}

fn answered(message: &str) {
    let results = read(message);
    assert!((1..=MAX_BATCH).contains(&results.len()), "{} results", results.len());
    for result in results {
        if let Err(malformed) = result {
            let refused = Outgoing::Refused { id: malformed.id, refusal: malformed.refusal };
            let answer: Value = serde_json::from_str(&json(&refused)).unwrap();
            assert_eq!((&answer["type"], &answer["code"]), (&value!("error"), &value!("bad_request")));
            assert_eq!(answer.get("id").and_then(Value::as_u64), malformed.id);
            assert!(json(&refused).len() < 1_000, "an answer is short");
        }
    }
}

proptest! {
    #![proptest_config(often())]

    #[test]
    fn any_text_is_answered(text in any_text()) {
        answered(&text);
    }

    #[test]
    fn any_bytes_are_answered(bytes in vec(any::<u8>(), 0..100)) {
        answered(&String::from_utf8_lossy(&bytes));
        let mut refusals = 0;
        Dialect::Json.decode(Incoming::Binary(&bytes), &mut |result| refusals += usize::from(result.is_err()));
        prop_assert_eq!(refusals, 1);
    }

    #[test]
    fn any_pieces_of_messages_are_answered(pieces in vec(select(PIECES), 0..40)) {
        answered(&pieces.concat());
    }

    #[test]
    fn whatever_is_nearly_a_command_is_answered(commands in vec(nearly_a_command(), 1..4), cut in any::<Index>()) {
        let array = format!("[{}]", commands.join(","));
        answered(&commands[0]);
        prop_assert_eq!(read(&array).len(), commands.len());
        let broken: String = array.chars().take(cut.index(array.chars().count())).collect();
        answered(&broken);
    }

    #[test]
    fn the_id_of_a_single_object_comes_back_whatever_its_fields_hold(command in nearly_a_command(), id in any::<u64>()) {
        prop_assume!(!command.contains("\"id\":"));
        let with_id = format!("{},\"id\":{id}}}", command.strip_suffix('}').unwrap());
        let read = read(&with_id).remove(0);
        prop_assert_eq!(read.map_or_else(|malformed| malformed.id, |request| request.id), Some(id));
    }

    #[test]
    fn what_is_published_arrives_byte_for_byte_and_never_spoils_the_message_it_travels_in(
        written in prop_oneof![written_json(), any_json().prop_map(|value| value.to_string())],
    ) {
        let message = format!("{{\"type\":\"publish\",\"channel\":\"a\",\"data\":{written}}}");
        match read(&message).remove(0) {
            Ok(request) => {
                let Command::Publish(publish) = request.command else { panic!() };
                prop_assert_eq!(&publish.data, &Payload::json(written.clone()));
                let data: Value = serde_json::from_str(&written).unwrap();
                let (live, recovered) = ways_of(publish.data);
                prop_assert_eq!(&live["data"], &data);
                prop_assert_eq!(&recovered["publications"][0]["data"], &data);
                prop_assert_eq!(&recovered["state"][0]["data"], &data);
            }
            Err(_) => prop_assert!(serde_json::from_str::<Value>(&written).is_err(), "refused for nothing: {}", written),
        }
    }

    #[test]
    fn a_subscription_means_what_it_says_whatever_its_names(
        id in option::of(any::<u64>()),
        channel in any_channel(),
        recover in option::of((any_text(), any::<u64>())),
        (members, state) in any::<(bool, bool)>(),
        token in option::of(any_text()),
    ) {
        let place = recover.as_ref().map(|(epoch, offset)| value!({ "epoch": epoch, "offset": offset }));
        let message = value!({
            "type": "subscribe", "id": id, "channel": &*channel, "recover": place, "members": members, "state": state,
            "token": token,
        });
        let read = read(&message.to_string()).remove(0);
        if id.is_none() && recover.is_some() {
            prop_assert!(read.is_err());
            return Ok(());
        }
        let request = read.unwrap();
        let recover = recover.map(|(epoch, offset)| protocol::Position { epoch: epoch.into(), offset });
        prop_assert_eq!(request.id, id);
        prop_assert_eq!(request.command, Command::Subscribe(Subscribe { channel, recover, members, state, token }));
    }
}

/// The two messages a payload travels in: the live one, and the deepest one.
fn ways_of(data: Payload) -> (Value, Value) {
    let channel = protocol::Channel::new("a").unwrap();
    let retain = Some("key".into());
    let publication =
        Publication { offset: None, data, event: None, retain, from: None, time_ms: 0, echo: true, stamp: 0 };
    let live = Push::Publication { channel: channel.clone(), publication: publication.clone() };
    let (publications, state) = (vec![publication.clone()], vec![publication]);
    let recovered = Reply::Subscribed { channel, position: None, recovered: true, publications, state, members: None };
    let parsed = |outgoing| serde_json::from_str(&json(&outgoing)).unwrap();
    (parsed(Outgoing::Push(live)), parsed(Outgoing::Reply { id: 1, reply: recovered }))
}
