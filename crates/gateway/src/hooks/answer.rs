//! What the application answers, checked: nothing of it is believed that could not have come from a token or a client.

use crate::auth::Amendment;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::dialect::json::check_readable;
use protocol::{ErrorCode, Payload, Refusal};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The longest reason that is passed on to a client.
const REASON_MAX_BYTES: usize = 256;

/// An answer to any question. What it does not know is passed over, so that an application may say more than this version
/// understands; `null` is as good as nothing.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    allow: bool,
    code: Option<String>,
    reason: Option<String>,
    user: Option<String>,
    info: Option<Box<RawValue>>,
    roles: Option<Vec<String>>,
    caps: Option<BTreeMap<String, Vec<String>>>,
    channels: Option<Vec<String>>,
    expires_in: Option<u64>,
    data: Option<Box<RawValue>>,
    text: Option<String>,
    base64: Option<String>,
}

/// A no, and how it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// What the client is told: `unauthenticated`, `permission_denied` or `unavailable`.
    pub code: ErrorCode,
    /// In words for its developers.
    pub reason: String,
}

impl Denial {
    pub(super) fn unauthenticated() -> Self {
        Self { code: ErrorCode::Unauthenticated, reason: "the application does not know who this is".to_owned() }
    }

    pub(super) fn forbidden() -> Self {
        Self { code: ErrorCode::PermissionDenied, reason: "the application does not allow this".to_owned() }
    }

    /// What is told where there is no answer.
    pub fn unavailable() -> Self {
        Self { code: ErrorCode::Unavailable, reason: "the application could not be asked".to_owned() }
    }

    /// As an answer to a command.
    pub fn refusal(self) -> Refusal {
        Refusal::new(self.code, self.reason)
    }
}

impl Answer {
    pub(super) fn read(body: &[u8]) -> Result<Self, &'static str> {
        // A list would be taken for the fields in their order.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err("the answer is no JSON object");
        }
        serde_json::from_slice(body).map_err(|_| "the answer is not as in HOOKS.md: {\"allow\": true} at the least")
    }

    /// The no, if it is one.
    pub(super) fn denial(&self) -> Result<Option<Denial>, &'static str> {
        if self.allow {
            return Ok(None);
        }
        let mut denial = match self.code.as_deref() {
            None | Some("forbidden") => Denial::forbidden(),
            Some("unauthenticated") => Denial::unauthenticated(),
            Some("unavailable") => Denial::unavailable(),
            Some(_) => return Err("`code` is forbidden, unauthenticated or unavailable"),
        };
        if let Some(reason) = self.reason.as_deref().filter(|reason| !reason.is_empty()) {
            denial.reason = shortened(reason).to_owned();
        }
        Ok(Some(denial))
    }

    /// What it says of who connects.
    pub(super) fn amendment(self) -> Amendment {
        let Self { user, info, roles, caps, channels, expires_in, .. } = self;
        Amendment { user, info, roles, caps, channels, expires_in_s: expires_in }
    }

    /// What is to be published instead, if that is not what it was.
    pub(super) fn replacement(self, max_bytes: usize) -> Result<Option<Payload>, &'static str> {
        let payload = match (self.data, self.text, self.base64) {
            (None, None, None) => return Ok(None),
            (Some(data), None, None) => {
                check_readable(data.get()).map_err(|_| "`data` is JSON that many parsers cannot read")?;
                Payload::json(data.get().as_bytes().to_vec())
            }
            (None, Some(text), None) => Payload::text(text.into_bytes()),
            (None, None, Some(text)) => {
                Payload::binary(STANDARD.decode(text).map_err(|_| "`base64` is no base64 (RFC 4648 section 4)")?)
            }
            _ => return Err("`data`, `text` and `base64` exclude each other"),
        };
        if payload.bytes.len() > max_bytes {
            Err("what it replaces is larger than it may be")
        } else {
            Ok(Some(payload))
        }
    }
}

fn shortened(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_MAX_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_answer_is_none() {
        for wrong in [
            "",
            "null",
            "true",
            "[true]",
            "{}",
            r#"{"allow":"yes"}"#,
            r#"{"allow":1}"#,
            r#"{"allow":null}"#,
            r#"{"allow":true"#,
            r#"{"allow":true}x"#,
            r#"{"allow":true,"allow":false}"#,
            r#"{"allow":true,"roles":"a"}"#,
            r#"{"allow":true,"expires_in":-1}"#,
            r#"{"allow":true,"user":7}"#,
            "<html>",
            "\u{feff}{\"allow\":true}",
        ] {
            assert!(Answer::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(Answer::read(b"{\"allow\":\"\xff\"}").is_err());
        assert!(Answer::read(b" \n{\"allow\":true,\"more\":[1]}\n").unwrap().denial().unwrap().is_none());
    }

    #[test]
    fn a_denial_says_which_and_a_reason_that_is_not_too_long() {
        let denial = |text: &str| Answer::read(text.as_bytes()).unwrap().denial();
        let plain = denial(r#"{"allow":false}"#).unwrap().unwrap();
        assert_eq!(plain, Denial::forbidden());
        let other = denial(r#"{"allow":false,"code":"unauthenticated","reason":"no"}"#).unwrap().unwrap();
        assert_eq!((other.code, other.reason.as_str()), (ErrorCode::Unauthenticated, "no"));
        let long = format!(r#"{{"allow":false,"reason":"x{}"}}"#, "é".repeat(300));
        assert_eq!(denial(&long).unwrap().unwrap().reason.len(), 255);
        assert!(denial(r#"{"allow":false,"code":"teapot"}"#).is_err());
    }

    #[test]
    fn what_replaces_a_payload_is_one_of_three_and_within_the_bound() {
        let replacement = |text: &str| Answer::read(text.as_bytes()).unwrap().replacement(8);
        assert_eq!(replacement(r#"{"allow":true,"data":null}"#), Ok(None));
        assert_eq!(replacement(r#"{"allow":true,"data":{"a":1}}"#), Ok(Some(Payload::json("{\"a\":1}"))));
        assert_eq!(replacement(r#"{"allow":true,"text":"hi"}"#), Ok(Some(Payload::text("hi"))));
        assert_eq!(replacement(r#"{"allow":true,"base64":"AAE="}"#), Ok(Some(Payload::binary(vec![0, 1]))));
        for wrong in [r#"{"allow":true,"text":"a","data":1}"#, r#"{"allow":true,"base64":"?"}"#] {
            assert!(replacement(wrong).is_err(), "{wrong}");
        }
        assert!(replacement(r#"{"allow":true,"text":"123456789"}"#).is_err());
    }
}
