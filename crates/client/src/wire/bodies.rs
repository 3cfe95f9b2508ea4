//! The shapes of messages as they are on the wire.

use super::decode::{Malformed, wait};
use crate::Refusal;
use crate::event::{Data, Publication};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::{Member, Origin, Text};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Deserialize)]
pub(super) struct Head<'a> {
    #[serde(rename = "type", borrow, default)]
    pub(super) kind: Cow<'a, str>,
    pub(super) id: Option<u64>,
}

pub(super) fn data(raw: &RawValue, encoding: Option<&str>) -> Result<Data, Malformed> {
    if encoding == Some("base64") {
        let text: Cow<'_, str> = serde_json::from_str(raw.get())?;
        return Ok(Data::Binary(STANDARD.decode(text.as_bytes())?.into()));
    }
    Ok(Data::Json(raw.get().to_owned()))
}

#[derive(Deserialize)]
pub(super) struct RefusalBody {
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) temporary: bool,
    pub(super) retry_after_ms: Option<u64>,
}

impl RefusalBody {
    pub(super) fn refusal(self) -> Refusal {
        let Self { code, message, temporary, retry_after_ms } = self;
        Refusal { temporary, retry_after: retry_after_ms.map(wait), ..Refusal::named(code, message) }
    }
}

#[derive(Deserialize)]
pub(super) struct AuthedBody {
    pub(super) user: String,
    pub(super) expires_in: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct PositionBody {
    pub(super) epoch: Option<String>,
    pub(super) offset: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct SubscribedBody<'a> {
    pub(super) epoch: Option<String>,
    pub(super) offset: Option<u64>,
    #[serde(default)]
    pub(super) recovered: bool,
    #[serde(borrow, default)]
    pub(super) publications: Vec<PublicationBody<'a>>,
    #[serde(borrow, default)]
    pub(super) state: Vec<PublicationBody<'a>>,
    #[serde(borrow)]
    pub(super) members: Option<Vec<MemberBody<'a>>>,
    pub(super) clients: Option<u64>,
    pub(super) users: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct PresenceBody<'a> {
    #[serde(borrow)]
    pub(super) members: Option<Vec<MemberBody<'a>>>,
    pub(super) clients: u64,
    pub(super) users: u64,
}

#[derive(Deserialize)]
pub(super) struct HistoryBody<'a> {
    pub(super) epoch: Option<String>,
    pub(super) offset: Option<u64>,
    #[serde(borrow)]
    pub(super) publications: Vec<PublicationBody<'a>>,
}

/// A `publication` push, or one of a reply's `publications`, which have no channel.
#[derive(Deserialize)]
pub(super) struct PublicationBody<'a> {
    #[serde(default)]
    pub(super) channel: String,
    pub(super) offset: Option<u64>,
    #[serde(default)]
    pub(super) time: u64,
    #[serde(borrow)]
    pub(super) from: Option<OriginBody<'a>>,
    pub(super) event: Option<String>,
    pub(super) retain: Option<String>,
    pub(super) encoding: Option<String>,
    #[serde(borrow)]
    pub(super) data: &'a RawValue,
}

impl PublicationBody<'_> {
    pub(super) fn read(self) -> Result<Publication, Malformed> {
        Ok(Publication {
            offset: self.offset,
            time_ms: self.time,
            from: self.from.map(OriginBody::read),
            event: self.event,
            retain: self.retain,
            data: data(self.data, self.encoding.as_deref())?,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct OriginBody<'a> {
    pub(super) client: String,
    pub(super) user: Option<String>,
    #[serde(borrow)]
    pub(super) info: Option<&'a RawValue>,
}

impl OriginBody<'_> {
    pub(super) fn read(self) -> Origin {
        let info = self.info.map(|info| info.get().into());
        Origin { client: self.client.into(), user: self.user.map(Text::from), info }
    }
}

#[derive(Deserialize)]
pub(super) struct MemberBody<'a> {
    pub(super) user: String,
    pub(super) clients: u64,
    #[serde(borrow)]
    pub(super) info: Option<&'a RawValue>,
}

impl MemberBody<'_> {
    pub(super) fn read(self) -> Member {
        let info = self.info.map(|info| info.get().into());
        Member { user: self.user.into(), clients: self.clients, info }
    }
}

#[derive(Deserialize)]
pub(super) struct MemberPush<'a> {
    pub(super) channel: String,
    #[serde(borrow)]
    pub(super) member: MemberBody<'a>,
    pub(super) cause: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct GapBody {
    pub(super) channel: String,
    pub(super) from: Option<u64>,
    pub(super) to: Option<u64>,
    pub(super) epoch: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct MessageBody<'a> {
    #[serde(borrow)]
    pub(super) from: OriginBody<'a>,
    pub(super) event: Option<String>,
    pub(super) encoding: Option<String>,
    #[serde(borrow)]
    pub(super) data: &'a RawValue,
}

#[derive(Deserialize)]
pub(super) struct UnsubscribedBody {
    pub(super) channel: String,
    pub(super) code: String,
    #[serde(default)]
    pub(super) reason: String,
}

#[derive(Deserialize)]
pub(super) struct ExpiringBody {
    pub(super) in_ms: u64,
}

#[derive(Deserialize)]
pub(super) struct ReconnectBody {
    pub(super) after_ms: u64,
    #[serde(default)]
    pub(super) reason: String,
}
