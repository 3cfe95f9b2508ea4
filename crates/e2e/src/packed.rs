//! What tests write as JSON, in MessagePack and back, by a codec that is not the gateway's.

use rmpv::Value as Packed;
use serde_json::{Value, json};

/// The subprotocol in which a [`crate::Client`] speaks MessagePack.
pub const MSGPACK: &str = "gateway.v1.msgpack";

/// Bytes, which JSON has no form for: a client that speaks MessagePack sends them as bytes, and shows those it gets so.
pub fn bytes(bytes: &[u8]) -> Value {
    json!({ "bytes": bytes })
}

/// One message.
pub fn pack(value: &Value) -> Vec<u8> {
    let mut message = Vec::new();
    rmpv::encode::write_value(&mut message, &packed(value)).expect("a Vec takes everything");
    message
}

/// One message, read to its end.
pub fn unpack(mut message: &[u8]) -> Value {
    let value = rmpv::decode::read_value(&mut message).unwrap_or_else(|error| panic!("{error} in {message:x?}"));
    assert!(message.is_empty(), "{} bytes follow on {value}", message.len());
    unpacked(value)
}

fn packed(value: &Value) -> Packed {
    match value {
        Value::Null => Packed::Nil,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number.into(),
            (_, Some(number)) => number.into(),
            _ => number.as_f64().expect("a number").into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => Packed::Array(items.iter().map(packed).collect()),
        Value::Object(fields) => match fields.get("bytes").and_then(Value::as_array) {
            Some(bytes) => Packed::Binary(bytes.iter().map(byte).collect()),
            None => Packed::Map(fields.iter().map(|(name, field)| (name.as_str().into(), packed(field))).collect()),
        },
    }
}

fn byte(value: &Value) -> u8 {
    value.as_u64().and_then(|number| number.try_into().ok()).expect("a byte")
}

fn unpacked(value: Packed) -> Value {
    match value {
        Packed::Nil => Value::Null,
        Packed::Boolean(flag) => flag.into(),
        Packed::Integer(number) => number.as_u64().map_or_else(|| json!(number.as_i64()), Value::from),
        Packed::F64(number) => number.into(),
        Packed::String(text) => text.into_str().expect("UTF-8").into(),
        Packed::Binary(them) => bytes(&them),
        Packed::Array(items) => items.into_iter().map(unpacked).collect(),
        Packed::Map(fields) => {
            let field = |(name, field): (Packed, Packed)| (name.as_str().expect("a name").to_owned(), unpacked(field));
            Value::Object(fields.into_iter().map(field).collect())
        }
        other => panic!("the gateway never writes {other}"),
    }
}
