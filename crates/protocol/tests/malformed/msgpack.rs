//! MessagePack that is no command, and payloads that JSON clients could not be given.

use crate::transport::read_msgpack;
use protocol::dialect::json::{MAX_BATCH, MAX_DATA_DEPTH};
use protocol::{Command, ErrorCode, Payload};
use rmpv::Value;

/// The id and the words of the one refusal that a message earns.
fn refused(message: &[u8]) -> (Option<u64>, String) {
    match read_msgpack(message).as_slice() {
        [Err(malformed)] => {
            assert_eq!(malformed.refusal.code, ErrorCode::BadRequest);
            (malformed.id, malformed.refusal.message.to_string())
        }
        other => panic!("{message:x?} was to earn one refusal, not {other:?}"),
    }
}

fn packed(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).unwrap();
    bytes
}

fn map(fields: &[(&str, Value)]) -> Value {
    Value::Map(fields.iter().map(|(name, value)| ((*name).into(), value.clone())).collect())
}

/// A `publish` whose `data` is written like this.
fn publish(data: &[u8]) -> Vec<u8> {
    let mut message =
        packed(&map(&[("type", "publish".into()), ("id", 7.into()), ("channel", "a".into()), ("data", Value::Nil)]));
    message.pop();
    message.extend_from_slice(data);
    message
}

fn published(data: &[u8]) -> Payload {
    match read_msgpack(&publish(data)).remove(0).unwrap().command {
        Command::Publish(publish) => publish.data,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_msgpack_is_told_why() {
    let early = "not MessagePack: it ends too early";
    // A map of two fields with one; lengths of 4 GiB; a number without its bytes; 65,535 items in three bytes.
    for message in [
        &b""[..],
        b"\x82\xa4type\xa4ping",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xffabc",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff\x01",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xcf\0\0\0",
        b"\xdc\xff\xff",
        b"\xd4\x01",
    ] {
        assert_eq!(refused(message), (None, early.into()), "{message:x?}");
    }
    assert_eq!(refused(b"\xc1").1, "not MessagePack: no value begins with the byte 0xc1");
    assert_eq!(refused(b"\x81\xa4type\xa4ping\x00").1, "not MessagePack: something follows on its end");
}

#[test]
fn msgpack_that_is_no_map_is_told_what_a_command_looks_like() {
    for message in [packed(&5.into()), packed(&"ping".into()), packed(&Value::Nil), packed(&Value::Binary(vec![1]))] {
        assert_eq!(refused(&message), (None, "a command is a MessagePack map such as {\"type\":\"ping\"}".into()));
    }
}

#[test]
fn an_array_holds_1_to_256_commands_and_each_stands_for_itself() {
    let ping = |id: u64| map(&[("type", "ping".into()), ("id", id.into())]);
    let array = |commands: Vec<Value>| packed(&Value::Array(commands));
    assert_eq!(refused(&array(vec![])), (None, "an array of commands holds at least one".into()));
    let most = read_msgpack(&array((0..MAX_BATCH as u64).map(ping).collect()));
    assert!(most.len() == MAX_BATCH && most.iter().all(Result::is_ok));
    let (id, words) = refused(&array((0..=MAX_BATCH as u64).map(ping).collect()));
    assert_eq!((id, words.as_str()), (None, "not an array of commands: more than 256 commands in one message"));
    let mixed = read_msgpack(&array(vec![ping(1), 5.into(), Value::Array(vec![ping(2)]), ping(3)]));
    assert_eq!(mixed.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true]);
}

#[test]
fn a_field_twice_or_without_a_name_is_refused_with_the_id_where_it_can_be_read() {
    let twice = map(&[("id", 7.into()), ("type", "ping".into()), ("type", "ping".into())]);
    assert_eq!(refused(&packed(&twice)), (Some(7), "duplicate field `type`".into()));
    let two_ids = map(&[("id", 7.into()), ("type", "ping".into()), ("id", 8.into())]);
    assert_eq!(refused(&packed(&two_ids)), (None, "duplicate field `id`".into()));
    let unnamed = Value::Map(vec![("type".into(), "ping".into()), (5.into(), 1.into())]);
    assert_eq!(refused(&packed(&unnamed)), (None, "the names of a command's fields are strings".into()));
    let known_once = map(&[("type", "ping".into()), ("id", 7.into()), ("x", 1.into()), ("x", 2.into())]);
    assert!(read_msgpack(&packed(&known_once))[0].is_ok(), "unknown fields are passed over");
}

#[test]
fn numbers_are_taken_in_every_width_they_can_be_written_in() {
    for id in [&b"\x07"[..], b"\xcc\x07", b"\xcd\0\x07", b"\xce\0\0\0\x07", b"\xd0\x07", b"\xd3\0\0\0\0\0\0\0\x07"] {
        let message = [b"\x82\xa4type\xa4ping\xa2id", id].concat();
        assert_eq!(read_msgpack(&message)[0].as_ref().unwrap().id, Some(7), "{id:x?}");
    }
    for id in [&b"\xff"[..], b"\xd0\xff", b"\xcb\x40\x1c\0\0\0\0\0\0", b"\xa17", b"\xc3"] {
        let message = [b"\x82\xa4type\xa4ping\xa2id", id].concat();
        assert_eq!(refused(&message).1, "`id` is a whole number from 0 to 18446744073709551615");
    }
}

#[test]
fn bytes_are_no_string_and_a_string_is_utf8() {
    let named = |channel| map(&[("type", "subscribe".into()), ("id", 7.into()), ("channel", channel)]);
    assert_eq!(refused(&packed(&named(Value::Binary(b"a".to_vec())))), (Some(7), "`channel` is a string".into()));
    let (id, words) = refused(b"\x83\xa4type\xa9subscribe\xa2id\x07\xa7channel\xa1\xff");
    assert_eq!(id, Some(7));
    assert!(words.starts_with("`channel` is not a well-formed string: "), "{words}");
}

#[test]
fn values_become_the_json_that_says_the_same() {
    for (data, json) in [
        (&b"\xc0"[..], "null"),
        (b"\xc3", "true"),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
        (b"\xd3\x80\0\0\0\0\0\0\0", "-9223372036854775808"),
        (b"\xca\x3d\xcc\xcc\xcd", "0.10000000149011612"),
        (b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1"),
        (b"\xcb\x40\x1c\0\0\0\0\0\0", "7.0"),
        (b"\xa3\"\x01\n", r#""\"\u0001\n""#),
        (b"\x93\x01\x80\x90", "[1,{},[]]"),
        (b"\x82\xa1a\x01\xa1a\x02", r#"{"a":1,"a":2}"#),
    ] {
        assert_eq!(published(data), Payload::json(json), "{data:x?}");
    }
    assert_eq!(published(b"\xc4\x03\0\xff\n"), Payload::binary(&b"\0\xff\n"[..]));
    assert_eq!(published(b"\xc4\0"), Payload::binary(""));
}

#[test]
fn a_payload_that_json_has_no_form_for_is_refused() {
    let not_finite = "`data` holds a number that is not finite, which JSON has no form for";
    let key = "`data` holds a map with a key that is not a string, which JSON has no form for";
    let extension = "`data` holds an extension type, which JSON has no form for";
    for (data, words) in [
        (&b"\xcb\x7f\xf8\0\0\0\0\0\0"[..], not_finite),
        (b"\xca\xff\x80\0\0", not_finite),
        (b"\x81\x01\x02", key),
        (b"\x81\xc4\x01a\x02", key),
        (b"\xd6\xff\0\0\0\0", extension),
        (b"\x91\xc7\x00\x05", extension),
        (b"\x81\xa1a\xc4\x01a", "`data` holds bytes among other values: bytes are the whole of it, or none"),
    ] {
        assert_eq!(refused(&publish(data)), (Some(7), words.into()), "{data:x?}");
    }
    let (_, words) = refused(&publish(b"\x91\xa1\xff"));
    assert!(words.starts_with("`data` holds a string that is not UTF-8: "), "{words}");
}

#[test]
fn a_payload_may_be_nested_100_levels_deep_and_not_101() {
    for (open, item) in [(&b"\x91"[..], &b"\x01"[..]), (b"\x81\xa1a", b"\x01")] {
        let nested = |depth| [&open.repeat(depth), item].concat();
        assert!(published(&nested(MAX_DATA_DEPTH)).bytes.len() > MAX_DATA_DEPTH);
        for depth in [MAX_DATA_DEPTH + 1, 100_000] {
            let words = "`data` is nested deeper than 100 levels";
            assert_eq!(refused(&publish(&nested(depth))), (Some(7), words.into()));
        }
    }
}
