//! The raw material: words of the protocol with anything in them that they may hold.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use protocol::{Cause, Channel, Member, Origin, Payload, Publication, Text};
use serde_json::Value;

/// How often each property is tried. Nothing is written to disk when one fails: the failure names its input.
pub(crate) fn often() -> ProptestConfig {
    ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() }
}

/// Any Unicode, control characters included.
pub(crate) fn any_text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..40).prop_map(String::from_iter)
}

pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((any_text(), inner), 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

pub(crate) fn any_payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        any_json().prop_map(|value| Payload::json(value.to_string())),
        any_text().prop_map(Payload::text),
        vec(any::<u8>(), 0..200).prop_map(Payload::binary),
    ]
}

pub(crate) fn any_channel() -> impl Strategy<Value = Channel> {
    let name = vec(any::<char>(), 1..20).prop_map(String::from_iter);
    prop_oneof![Just("chat".to_owned()), name].prop_filter_map("not a channel name", |name| Channel::new(&name).ok())
}

pub(crate) fn word() -> impl Strategy<Value = Text> {
    any_text().prop_map(Text::from)
}

/// What a token says of a user: JSON, as text.
fn any_info() -> impl Strategy<Value = Text> {
    any_json().prop_map(|value| Text::from(value.to_string()))
}

pub(crate) fn any_origin() -> impl Strategy<Value = Origin> {
    (word(), option::of(word()), option::of(any_info())).prop_map(|(client, user, info)| Origin { client, user, info })
}

pub(crate) fn any_member() -> impl Strategy<Value = Member> {
    (word(), any::<u64>(), option::of(any_info())).prop_map(|(user, clients, info)| Member { user, clients, info })
}

pub(crate) fn any_cause() -> impl Strategy<Value = Cause> {
    prop_oneof![Just(Cause::Left), Just(Cause::Lost), Just(Cause::NodeLost)]
}

pub(crate) fn any_publication() -> impl Strategy<Value = Publication> {
    let made_of = (
        option::of(any::<u64>()),
        any_payload(),
        option::of(word()),
        option::of(word()),
        option::of(any_origin()),
        any::<(u64, bool, u64)>(),
    );
    made_of.prop_map(|(offset, data, event, retain, from, (time_ms, echo, stamp))| Publication {
        offset,
        data,
        event,
        retain,
        from,
        time_ms,
        echo,
        stamp,
    })
}
