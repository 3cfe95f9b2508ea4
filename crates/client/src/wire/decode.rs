//! Replies, refusals and pushes from text. What is new to this client is passed over; what is known but broken is told.

use super::bodies::{
    AuthedBody, ExpiringBody, GapBody, Head, HistoryBody, MemberBody, MemberPush, MessageBody, PositionBody,
    PresenceBody, PublicationBody, ReconnectBody, RefusalBody, SubscribedBody, UnsubscribedBody, data,
};
use crate::advice::WAIT_MAX;
use crate::event::{Message, Publication};
use crate::{History, Refusal};
use protocol::{Cause, Member, Members, Position, Text};
use serde::Deserialize;
use std::time::Duration;

/// Anything a gateway says.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The answer to the command with this id.
    Reply { id: u64, reply: Reply },
    /// A command was refused.
    Refused { id: Option<u64>, refusal: Refusal },
    /// What nobody asked for.
    Push(Push),
}

/// The answer to a command.
#[derive(Debug)]
pub(crate) enum Reply {
    Authed { user: String, expires_in: Option<u64> },
    Subscribed(Subscribed),
    Unsubscribed,
    Published { position: Option<Position> },
    Sent,
    Presence(Members),
    History(History),
    Pong,
}

/// The answer to `subscribe`.
#[derive(Debug)]
pub(crate) struct Subscribed {
    pub(crate) position: Option<Position>,
    pub(crate) recovered: bool,
    pub(crate) publications: Vec<Publication>,
    pub(crate) state: Vec<Publication>,
    pub(crate) members: Option<Members>,
}

/// What nobody asked for.
#[derive(Debug)]
pub(crate) enum Push {
    Welcome(Welcome),
    Publication { channel: String, publication: Publication },
    Join { channel: String, member: Member },
    Leave { channel: String, member: Member, cause: Option<Cause> },
    Gap { channel: String, from: Option<u64>, to: Option<u64>, epoch: Option<Text> },
    Message(Message),
    Unsubscribed { channel: String, refusal: Refusal },
    Expiring { in_ms: u64 },
    Reconnect { after: Duration, reason: String },
}

/// The first message of a connection.
#[derive(Debug, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) client: String,
    pub(crate) node: String,
    #[serde(default)]
    pub(crate) ping_interval_ms: u64,
    #[serde(default)]
    pub(crate) max_message_bytes: u64,
}

/// A message that is not one of this wire. It may have been a publication, so it cannot be passed over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a message could not be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("binary data was not base64: {0}")]
    Base64(#[from] base64::DecodeError),
}

/// Reads one message; `None` if it is of a type this client does not know.
pub(crate) fn decode(text: &str) -> Result<Option<Incoming>, Malformed> {
    let head: Head<'_> = serde_json::from_str(text)?;
    if head.kind == "error" {
        let refusal = serde_json::from_str::<RefusalBody>(text)?.refusal();
        return Ok(Some(Incoming::Refused { id: head.id, refusal }));
    }
    Ok(match head.id {
        Some(id) => reply(&head.kind, text)?.map(|reply| Incoming::Reply { id, reply }),
        None => push(&head.kind, text)?.map(Incoming::Push),
    })
}

fn reply(kind: &str, text: &str) -> Result<Option<Reply>, Malformed> {
    Ok(Some(match kind {
        "authed" => {
            let AuthedBody { user, expires_in } = serde_json::from_str(text)?;
            Reply::Authed { user, expires_in }
        }
        "subscribed" => {
            let body: SubscribedBody<'_> = serde_json::from_str(text)?;
            Reply::Subscribed(Subscribed {
                position: position(body.epoch, body.offset),
                recovered: body.recovered,
                publications: body.publications.into_iter().map(PublicationBody::read).collect::<Result<_, _>>()?,
                state: body.state.into_iter().map(PublicationBody::read).collect::<Result<_, _>>()?,
                members: body.clients.zip(body.users).map(|(clients, users)| members(body.members, clients, users)),
            })
        }
        "unsubscribed" => Reply::Unsubscribed,
        "published" => {
            let PositionBody { epoch, offset } = serde_json::from_str(text)?;
            Reply::Published { position: position(epoch, offset) }
        }
        "sent" => Reply::Sent,
        "presence" => {
            let body: PresenceBody<'_> = serde_json::from_str(text)?;
            Reply::Presence(members(body.members, body.clients, body.users))
        }
        "history" => {
            let body: HistoryBody<'_> = serde_json::from_str(text)?;
            let publications = body.publications.into_iter().map(PublicationBody::read).collect::<Result<_, _>>()?;
            Reply::History(History { position: position(body.epoch, body.offset), publications })
        }
        "pong" => Reply::Pong,
        _ => return Ok(None),
    }))
}

fn push(kind: &str, text: &str) -> Result<Option<Push>, Malformed> {
    Ok(Some(match kind {
        "welcome" => Push::Welcome(serde_json::from_str(text)?),
        "publication" => {
            let mut body: PublicationBody<'_> = serde_json::from_str(text)?;
            Push::Publication { channel: std::mem::take(&mut body.channel), publication: body.read()? }
        }
        "join" => {
            let MemberPush { channel, member, .. } = serde_json::from_str(text)?;
            Push::Join { channel, member: member.read() }
        }
        "leave" => {
            let MemberPush { channel, member, cause } = serde_json::from_str(text)?;
            Push::Leave { channel, member: member.read(), cause: cause.as_deref().and_then(known_cause) }
        }
        "gap" => {
            let GapBody { channel, from, to, epoch } = serde_json::from_str(text)?;
            Push::Gap { channel, from, to, epoch: epoch.map(Text::from) }
        }
        "message" => {
            let MessageBody { from, event, encoding, data: raw } = serde_json::from_str(text)?;
            Push::Message(Message { from: from.read(), event, data: data(raw, encoding.as_deref())? })
        }
        "unsubscribed" => {
            let UnsubscribedBody { channel, code, reason } = serde_json::from_str(text)?;
            Push::Unsubscribed { channel, refusal: Refusal::named(code, reason) }
        }
        "expiring" => {
            let ExpiringBody { in_ms } = serde_json::from_str(text)?;
            Push::Expiring { in_ms }
        }
        "reconnect" => {
            let ReconnectBody { after_ms, reason } = serde_json::from_str(text)?;
            Push::Reconnect { after: wait(after_ms), reason }
        }
        _ => return Ok(None),
    }))
}

pub(super) fn wait(ms: u64) -> Duration {
    Duration::from_millis(ms).min(WAIT_MAX)
}

fn position(epoch: Option<String>, offset: Option<u64>) -> Option<Position> {
    epoch.zip(offset).map(|(epoch, offset)| Position { epoch: epoch.into(), offset })
}

fn members(list: Option<Vec<MemberBody<'_>>>, clients: u64, users: u64) -> Members {
    Members { list: list.map(|list| list.into_iter().map(MemberBody::read).collect()), clients, users }
}

fn known_cause(word: &str) -> Option<Cause> {
    [Cause::Left, Cause::Lost, Cause::NodeLost].into_iter().find(|cause| cause.as_str() == word)
}
