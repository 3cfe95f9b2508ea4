//! Values that several endpoints take or tell, and the rules that they are checked by.

use super::problem::{Problem, Written};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use protocol::dialect::json::{MAX_NAME_BYTES, check_readable};
use protocol::{Channel, Content, Origin, Payload, Position, Publication};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

/// A channel's name as it was asked for.
pub(super) fn channel(name: &str) -> Result<Channel, Problem> {
    Channel::new(name).map_err(|error| Problem::bad_request(format!("`channel`: {error}")))
}

/// A short string: an event, a key.
pub(super) fn name(field: &str, text: String) -> Result<String, Problem> {
    if text.is_empty() || text.len() > MAX_NAME_BYTES {
        return Err(Problem::bad_request(format!("`{field}` is 1 to {MAX_NAME_BYTES} bytes long")));
    }
    Ok(text)
}

/// The same where there may be none.
pub(super) fn named(field: &str, text: Option<String>) -> Result<Option<String>, Problem> {
    text.map(|text| name(field, text)).transpose()
}

/// A payload, byte for byte as it was written.
pub(super) fn payload(data: &RawValue) -> Result<Payload, Problem> {
    check_readable(data.get()).map_err(|wrong| Problem::bad_request(format!("`data` {wrong}")))?;
    Ok(Payload::json(data.get().as_bytes().to_vec()))
}

/// Where a publication went, or why not.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Outcome {
    /// Where to.
    channel: String,
    /// The life of the channel's log that `offset` counts in; absent where no history is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    /// Its place in the channel's order; absent where no history is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// Why it was not taken; absent where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Written>,
}

impl Outcome {
    pub(super) fn new(channel: String, outcome: &Result<Option<Position>, Problem>) -> Self {
        let position = outcome.as_ref().ok().and_then(Option::as_ref);
        Self {
            channel,
            epoch: position.map(|position| position.epoch.to_string()),
            offset: position.map(|position| position.offset),
            error: outcome.as_ref().err().map(Problem::written),
        }
    }
}

/// A publication as it is told.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Publication")]
pub(super) struct Told {
    /// Its place in the channel's order.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// When a node took it, in Unix milliseconds.
    time: u64,
    /// Who published; absent for a backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<From>,
    /// The application's name for what happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    /// The key that it is retained under.
    #[serde(skip_serializing_if = "Option::is_none")]
    retain: Option<String>,
    /// `base64` where `data` holds bytes so encoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    /// What was published.
    #[schemars(with = "serde_json::Value")]
    data: Box<RawValue>,
}

/// Who published.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct From {
    /// The connection's id.
    client: String,
    /// The user, if not anonymous.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// What the token says of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    info: Option<Box<RawValue>>,
}

impl Told {
    pub(super) fn new(publication: &Publication) -> Self {
        Self {
            offset: publication.offset,
            time: publication.time_ms,
            from: publication.from.as_ref().map(From::new),
            event: publication.event.as_ref().map(ToString::to_string),
            retain: publication.retain.as_ref().map(ToString::to_string),
            encoding: (publication.data.content == Content::Binary).then_some("base64"),
            data: data(&publication.data),
        }
    }
}

impl From {
    fn new(origin: &Origin) -> Self {
        Self {
            client: origin.client.to_string(),
            user: origin.user.as_ref().map(ToString::to_string),
            info: origin.info.as_ref().and_then(|info| json(info)),
        }
    }
}

/// JSON that is known to be JSON; were it not, it would be left out rather than spoil the answer.
pub(super) fn json(text: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(text.to_owned()).ok()
}

fn data(payload: &Payload) -> Box<RawValue> {
    let text = || String::from_utf8_lossy(&payload.bytes);
    let quoted = |text: &str| serde_json::value::to_raw_value(text).ok();
    let raw = match payload.content {
        Content::Json => json(&text()),
        Content::Text => quoted(&text()),
        Content::Binary => quoted(&BASE64.encode(&payload.bytes)),
    };
    raw.unwrap_or_else(|| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(data: Payload) -> String {
        let publication = Publication {
            offset: Some(7),
            data,
            event: None,
            retain: None,
            from: None,
            time_ms: 1,
            echo: true,
            stamp: 0,
        };
        serde_json::to_string(&Told::new(&publication)).unwrap()
    }

    #[test]
    fn payloads_are_told_as_the_websocket_tells_them() {
        assert_eq!(told(Payload::json("{\"a\": 1.0}")), r#"{"offset":7,"time":1,"data":{"a": 1.0}}"#);
        assert_eq!(told(Payload::text("a\"b")), r#"{"offset":7,"time":1,"data":"a\"b"}"#);
        assert_eq!(told(Payload::binary(&b"\xff"[..])), r#"{"offset":7,"time":1,"encoding":"base64","data":"/w=="}"#);
    }

    #[test]
    fn what_clients_could_not_read_is_refused() {
        let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
        for wrong in [&*deep, "1e999", "\"\\ud800\""] {
            assert!(payload(&json(wrong).unwrap()).is_err(), "{wrong}");
        }
        assert!(payload(&json(&deep[1..201]).unwrap()).is_ok());
    }
}
