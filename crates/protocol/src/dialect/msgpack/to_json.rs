//! Payloads that come as MessagePack: bytes stay bytes, and everything else becomes JSON text.

use super::reader::{Broken, Reader, Token};
use crate::Payload;
use crate::dialect::json::MAX_DATA_DEPTH;
use std::io::{self, Write};

/// The payload that a well-formed value is.
///
/// # Errors
/// What in it JSON has no form for, in words that go on from its name.
pub(super) fn payload(value: &[u8]) -> Result<Payload, String> {
    if let Ok(Token::Bytes(bytes)) = Reader::new(value).token() {
        return Ok(Payload::binary(bytes.to_vec()));
    }
    // Some values are six times as long in JSON. Measured first, its text takes no more memory than it needs.
    let mut length = Length(0);
    write_value(&mut Reader::new(value), 0, &mut length)?;
    let mut json = Vec::with_capacity(length.0);
    write_value(&mut Reader::new(value), 0, &mut json)?;
    Ok(Payload::json(json))
}

/// Counts what it is given.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Within `depth` others. Neither a `Vec` nor a [`Length`] refuses to be written to.
fn write_value(reader: &mut Reader<'_>, depth: usize, out: &mut impl Write) -> Result<(), String> {
    match token(reader)? {
        Token::Nil => put(out, b"null"),
        Token::Bool(true) => put(out, b"true"),
        Token::Bool(false) => put(out, b"false"),
        Token::Unsigned(number) => drop(serde_json::to_writer(out, &number)),
        Token::Negative(number) => drop(serde_json::to_writer(out, &number)),
        Token::Float(number) if number.is_finite() => drop(serde_json::to_writer(out, &number)),
        Token::Float(_) => return Err("holds a number that is not finite, which JSON has no form for".to_owned()),
        Token::Text(text) => write_text(text, out)?,
        Token::Array(items) => {
            let depth = deeper(depth)?;
            put(out, b"[");
            for index in 0..items {
                separate(index, out);
                write_value(reader, depth, out)?;
            }
            put(out, b"]");
        }
        Token::Map(fields) => {
            let depth = deeper(depth)?;
            put(out, b"{");
            for index in 0..fields {
                separate(index, out);
                let Token::Text(name) = token(reader)? else {
                    return Err("holds a map with a key that is not a string, which JSON has no form for".to_owned());
                };
                write_text(name, out)?;
                put(out, b":");
                write_value(reader, depth, out)?;
            }
            put(out, b"}");
        }
        Token::Bytes(_) => return Err("holds bytes among other values: bytes are the whole of it, or none".to_owned()),
        Token::Extension => return Err("holds an extension type, which JSON has no form for".to_owned()),
    }
    Ok(())
}

fn token<'a>(reader: &mut Reader<'a>) -> Result<Token<'a>, String> {
    reader.token().map_err(|wrong: Broken| format!("cannot be read: {wrong}"))
}

fn deeper(depth: usize) -> Result<usize, String> {
    if depth < MAX_DATA_DEPTH { Ok(depth + 1) } else { Err(format!("is nested deeper than {MAX_DATA_DEPTH} levels")) }
}

fn separate(index: u32, out: &mut impl Write) {
    if index > 0 {
        put(out, b",");
    }
}

fn write_text(text: &[u8], out: &mut impl Write) -> Result<(), String> {
    let text = std::str::from_utf8(text).map_err(|error| format!("holds a string that is not UTF-8: {error}"))?;
    let _ = serde_json::to_writer(out, text);
    Ok(())
}

fn put(out: &mut impl Write, bytes: &[u8]) {
    let _ = out.write_all(bytes);
}
