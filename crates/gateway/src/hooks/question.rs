//! What the application is asked: one JSON object a question, as HOOKS.md shows them.

use crate::auth::Identity;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::{Channel, Content, Payload, Text};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where a connection comes from, as its handshake has shown.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// How it speaks.
    pub dialect: &'static str,
    /// The channel of a raw relay.
    pub channel: Option<Channel>,
    /// The client's address.
    pub address: IpAddr,
    /// The page that a browser shows.
    pub origin: Option<String>,
    /// The headers and cookies that the configuration names.
    pub headers: BTreeMap<String, String>,
}

/// Who wants something.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The connection's id.
    pub client: &'a str,
    /// Who that is, if it is known.
    pub identity: Option<&'a Identity>,
}

/// A payload as JSON shows it: a value, text, or bytes in base64.
#[derive(Debug, Serialize, Default)]
pub(crate) struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl<'a> Shown<'a> {
    pub(crate) fn of(payload: &'a Payload) -> Self {
        let text = || std::str::from_utf8(&payload.bytes).ok();
        let mut shown = Self::default();
        match payload.content {
            Content::Json => shown.data = text().and_then(|text| serde_json::from_str(text).ok()),
            Content::Text => shown.text = text(),
            Content::Binary => shown.base64 = Some(STANDARD.encode(&payload.bytes)),
        }
        shown
    }
}

/// One question.
#[derive(Debug, Serialize, Default)]
pub(super) struct Question<'a> {
    pub(super) r#type: &'static str,
    pub(super) id: String,
    pub(super) time_ms: u64,
    pub(super) node: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<&'a str>,
    #[serde(flatten)]
    pub(super) who: Who<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dialect: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) headers: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refresh: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retain: Option<&'a str>,
    #[serde(flatten)]
    pub(super) payload: Shown<'a>,
}

/// Who asks, as far as it is known: an anonymous connection has none of this.
#[derive(Debug, Serialize, Default)]
pub(super) struct Who<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<&'a str>>,
}

impl<'a> Who<'a> {
    pub(super) fn of(identity: Option<&'a Identity>) -> Self {
        let Some(identity) = identity else { return Self::default() };
        Self {
            user: Some(&identity.user),
            info: identity.info.as_deref().and_then(|info| serde_json::from_str(info).ok()),
            roles: Some(identity.roles.iter().map(Text::as_str).collect()),
        }
    }
}
