//! What Redis answers to a reading of a channel: somebody else may have written to its keys.

use crate::cost;
use redis::Value;

pub(super) const WORDS: &[&str] = &["k3Zq", "\u{1}", "1-0", "18446744073709551615-0", "18446744073709551616-0", "m", "\0\0\0\u{12}"];
pub(super) const GOLDEN: &[&str] = &["envelope"];

/// As for the envelope, whose records these are; and a value is two bytes here, in Redis' own form at least four.
const MULTIPLE: u64 = 120;
const BASE_BYTES: u64 = 4_096;

/// The most values, and how deep they nest.
const VALUES_MAX: usize = 500;
const DEPTH_MAX: usize = 4;

/// The bytes say what an answer is made of.
pub fn check(data: &[u8]) {
    let (size, mut rest) = (data.len(), data);
    let mut left = VALUES_MAX;
    let entries = Value::Array(std::iter::from_fn(|| value(&mut rest, DEPTH_MAX, &mut left)).collect());
    let ours = |entries: Value| {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        Value::Array(vec![text("k3Zq"), text("7"), text("\0\0\0\0\0\0\0\u{1}"), Value::Nil, Value::Int(1), entries])
    };
    for answer in [ours(entries.clone()), entries] {
        // What is read is consumed: its own memory was there before.
        let count = cost::within(size, MULTIPLE, BASE_BYTES, || broker::redis::read_answer(answer));
        assert!(count.is_none_or(|count| count <= VALUES_MAX));
    }
}

/// One byte of kind, one of length.
fn value(rest: &mut &[u8], depth: usize, left: &mut usize) -> Option<Value> {
    let (&[kind, length], after) = rest.split_first_chunk::<2>()?;
    *rest = after;
    *left = left.checked_sub(1)?;
    let length = usize::from(length);
    Some(match kind % 6 {
        0 => Value::Nil,
        1 => Value::Int(i64::from(length as u8 as i8)),
        2 if depth > 0 => Value::Array((0..length % 8).map_while(|_| value(rest, depth - 1, left)).collect()),
        3 => Value::SimpleString("OK".to_owned()),
        _ => {
            let (bytes, after) = rest.split_at(length.min(rest.len()));
            *rest = after;
            Value::BulkString(bytes.to_vec())
        }
    })
}
