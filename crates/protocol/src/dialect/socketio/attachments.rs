//! Binary data in the midst of JSON: attachments on the wire of Socket.IO, base64 in the payloads that all dialects share.
//!
//! An attachment's place in the JSON is `{"_placeholder":true,"num":0}`. In a payload the same object also bears its bytes,
//! as `"base64"`: other dialects read it as it is. A value that is nothing but one attachment is a binary payload instead.

use super::Violation;
use crate::{Content, Payload};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use std::borrow::Cow;

const KEY: &str = "\"_placeholder\"";

/// How a place begins in a payload; within a string each of these quotes would be escaped.
const FILLED: &[u8] = b"{\"_placeholder\":true,\"num\":";

/// A value with its attachments put into their places.
///
/// # Errors
/// When a place is for an attachment that is not there.
pub fn fill(json: &str, attachments: &[Bytes]) -> Result<Payload, Violation> {
    if attachments.is_empty() || !json.contains(KEY) {
        return Ok(Payload::json(Bytes::copy_from_slice(json.as_bytes())));
    }
    let attachment = |number: usize| attachments.get(number).ok_or(Violation("a place for no attachment"));
    let mut filled = String::new();
    let mut rest = json;
    while let Some(at) = rest.find(KEY) {
        let start = rest[..at].trim_end_matches(is_space).len();
        let found = rest[..start].strip_suffix('{').and_then(|before| Some((before, place(&rest[at + KEY.len()..])?)));
        let Some((before, (number, after))) = found else {
            filled.push_str(&rest[..at + KEY.len()]);
            rest = &rest[at + KEY.len()..];
            continue;
        };
        let bytes = attachment(number)?;
        if filled.is_empty() && before.trim_matches(is_space).is_empty() && after.trim_matches(is_space).is_empty() {
            return Ok(Payload::binary(bytes.clone()));
        }
        filled.push_str(before);
        filled.push_str(std::str::from_utf8(FILLED).unwrap_or_default());
        filled.push_str(&format!("{number},\"base64\":\"{}\"}}", BASE64.encode(bytes)));
        rest = after;
    }
    filled.push_str(rest);
    Ok(Payload::json(filled))
}

/// The number of a place, and what follows it: `text` goes on behind the key.
fn place(text: &str) -> Option<(usize, &str)> {
    let skip = |text: &'_ str, word: &str| -> Option<usize> {
        let trimmed = text.trim_start_matches(is_space);
        trimmed.strip_prefix(word).map(|rest| text.len() - rest.len())
    };
    let mut at = 0;
    for word in [":", "true", ",", "\"num\"", ":"] {
        at += skip(&text[at..], word)?;
    }
    let number = text[at..].trim_start_matches(is_space);
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    let after = number[digits..].trim_start_matches(is_space).strip_prefix('}')?;
    Some((number[..digits].parse().ok()?, after))
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// A payload as one argument of an event, and the attachments that go with it.
pub fn cut(payload: &Payload) -> (Cow<'_, [u8]>, Vec<Bytes>) {
    match payload.content {
        Content::Binary => (Cow::Borrowed(b"{\"_placeholder\":true,\"num\":0}"), vec![payload.bytes.clone()]),
        Content::Text => {
            let text = std::str::from_utf8(&payload.bytes).unwrap_or_default();
            (Cow::Owned(serde_json::to_vec(text).unwrap_or_default()), Vec::new())
        }
        Content::Json => match cut_json(&payload.bytes) {
            Some((text, attachments)) => (Cow::Owned(text), attachments),
            None => (Cow::Borrowed(&payload.bytes), Vec::new()),
        },
    }
}

/// `None` if there is nothing to cut out, or something that clients would take for a place and is none: they end the
/// connection over that.
fn cut_json(json: &[u8]) -> Option<(Vec<u8>, Vec<Bytes>)> {
    let mut text = Vec::new();
    let mut attachments = Vec::new();
    let mut rest = json;
    while let Some(at) = find(rest, FILLED) {
        let digits = rest[at + FILLED.len()..].iter().take_while(|b| b.is_ascii_digit()).count();
        let after = rest[at + FILLED.len() + digits..].strip_prefix(b",\"base64\":\"")?;
        let end = after.iter().position(|b| *b == b'"')?;
        let decoded = BASE64.decode(&after[..end]).ok()?;
        let after = after[end + 1..].strip_prefix(b"}")?;
        text.extend_from_slice(&rest[..at]);
        text.extend_from_slice(FILLED);
        text.extend_from_slice(attachments.len().to_string().as_bytes());
        text.push(b'}');
        attachments.push(Bytes::from(decoded));
        if attachments.len() > super::packet::MAX_ATTACHMENTS {
            return None;
        }
        rest = after;
    }
    text.extend_from_slice(rest);
    let places = std::iter::successors(find(&text, KEY.as_bytes()), |at| {
        find(&text[at + KEY.len()..], KEY.as_bytes()).map(|next| at + KEY.len() + next)
    });
    let all_are_ours = !attachments.is_empty() && places.count() == attachments.len();
    all_are_ours.then_some((text, attachments))
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    let first = *what.first()?;
    let mut from = 0;
    while let Some(at) = text.get(from..)?.iter().position(|b| *b == first) {
        if text[from + at..].starts_with(what) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(json: &str, attachments: &[&[u8]]) -> Payload {
        let attachments: Vec<Bytes> = attachments.iter().map(|bytes| Bytes::copy_from_slice(bytes)).collect();
        fill(json, &attachments).unwrap()
    }

    #[test]
    fn what_is_nothing_but_an_attachment_is_binary_for_everybody() {
        let place = r#" {"_placeholder": true, "num":0} "#;
        assert_eq!(filled(place, &[b"\x01\x02"]), Payload::binary(&b"\x01\x02"[..]));
        let payload = Payload::binary(&b"\x01\x02"[..]);
        let (text, attachments) = cut(&payload);
        assert_eq!(&*text, b"{\"_placeholder\":true,\"num\":0}");
        assert_eq!(attachments, [Bytes::from_static(b"\x01\x02")]);
    }

    #[test]
    fn attachments_survive_the_way_through_a_payload() {
        let json = r#"{"a":{"_placeholder":true,"num":1},"b":[{"_placeholder":true,"num":0}],"s":"{\"_placeholder\":true,\"num\":0}"}"#;
        let payload = filled(json, &[b"x", b"yy"]);
        let text = std::str::from_utf8(&payload.bytes).unwrap();
        assert!(text.contains(r#"{"_placeholder":true,"num":1,"base64":"eXk="}"#), "{text}");
        let _: serde_json::Value = serde_json::from_str(text).unwrap();
        let (text, attachments) = cut(&payload);
        let renumbered = json.replace(
            "\"num\":1},\"b\":[{\"_placeholder\":true,\"num\":0}",
            "\"num\":0},\"b\":[{\"_placeholder\":true,\"num\":1}",
        );
        assert_eq!(std::str::from_utf8(&text).unwrap(), renumbered);
        assert_eq!(attachments, [Bytes::from_static(b"yy"), Bytes::from_static(b"x")]);
    }

    #[test]
    fn a_place_without_its_attachment_is_refused_and_what_only_looks_like_one_stays() {
        assert!(fill(r#"{"_placeholder":true,"num":1}"#, &[Bytes::new()]).is_err());
        for json in [r#"{"_placeholder":false,"num":0}"#, r#"["\"_placeholder\""]"#, r#"{"a":1,"_placeholder":true}"#] {
            assert_eq!(filled(json, &[b"x"]), Payload::json(json.to_owned()));
        }
    }

    #[test]
    fn what_would_end_a_client_s_connection_is_sent_without_attachments() {
        let forged = r#"[{"_placeholder":true,"num":7},{"_placeholder":true,"num":0,"base64":"eA=="}]"#;
        let payload = Payload::json(forged);
        let (text, attachments) = cut(&payload);
        assert_eq!((std::str::from_utf8(&text).unwrap(), attachments.len()), (forged, 0));
        let many = format!("[{}]", [r#"{"_placeholder":true,"num":0,"base64":""}"#; 11].join(","));
        assert_eq!(cut(&Payload::json(many)).1.len(), 0);
    }
}
