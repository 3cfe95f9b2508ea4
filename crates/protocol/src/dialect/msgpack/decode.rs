//! MessagePack to commands: the fields are found here, and taken apart as those of JSON are.

use super::reader::{Broken, Reader, Token};
use super::value::Value;
use crate::Request;
use crate::dialect::json::{Fields, MAX_BATCH, OnlyId, Written, malformed, number, request};
use crate::dialect::{Incoming, Malformed};

/// Reads one message: a map, or an array of 1 to [`MAX_BATCH`] of them. Every message yields at least one result.
///
/// An array that is not well-formed to its end, or too long, is refused as a whole; within a well-formed one each
/// command stands for itself.
pub fn decode(message: Incoming<'_>, each: &mut dyn FnMut(Result<Request, Malformed>)) {
    let Incoming::Binary(bytes) = message else {
        return each(Err(malformed(None, "this dialect speaks MessagePack in binary messages, not text ones")));
    };
    if let Err(wrong) = whole(bytes) {
        return each(Err(malformed(None, wrong.to_string())));
    }
    let mut reader = Reader::new(bytes);
    match reader.token() {
        Ok(Token::Array(0)) => each(Err(malformed(None, "an array of commands holds at least one"))),
        Ok(Token::Array(commands)) if commands as usize > MAX_BATCH => {
            each(Err(malformed(
                None,
                format!("not an array of commands: more than {MAX_BATCH} commands in one message"),
            )));
        }
        Ok(Token::Array(_)) => {
            while let Ok(command) = reader.value() {
                each(decode_one(command));
            }
        }
        _ => each(decode_one(bytes)),
    }
}

/// Exactly one value.
fn whole(bytes: &[u8]) -> Result<(), Broken> {
    let mut reader = Reader::new(bytes);
    reader.value()?;
    if reader.is_empty() { Ok(()) } else { Err(Broken::More) }
}

fn decode_one(bytes: &[u8]) -> Result<Request, Malformed> {
    let value = Value(bytes);
    if !value.is_object() {
        return Err(malformed(None, "a command is a MessagePack map such as {\"type\":\"ping\"}"));
    }
    match value.fields::<Fields<Value<'_>>>() {
        Ok(fields) => request(&fields),
        Err(error) => {
            let id = value.fields::<OnlyId<Value<'_>>>().ok().and_then(|only| number(only.id, "id").ok().flatten());
            Err(malformed(id, error.to_string()))
        }
    }
}
