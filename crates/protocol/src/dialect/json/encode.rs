//! Replies and pushes to objects, in JSON or another [`Notation`]. Fields always come in the same order; golden files hold
//! each message.

use super::notation::Json;
use crate::dialect::Messages;
use crate::{
    Channel, Content, Member, Members, Origin, Outgoing, Payload, Position, Publication, Push, Refusal, Reply,
    WIRE_VERSION, Welcome,
};
use std::marker::PhantomData;

/// Writes anything that goes to a client, as one text message.
pub fn encode(outgoing: &Outgoing, out: &mut dyn Messages) {
    out.text(&mut |buffer| write::<Json>(buffer, outgoing));
}

/// Writes one live publication, as one text message: the hot path of fan-out, encoded once for all its readers.
pub fn encode_publication(channel: &Channel, publication: &Publication, out: &mut dyn Messages) {
    out.text(&mut |buffer| write_publication::<Json>(buffer, channel, publication));
}

/// A reply as an object with `"status":"ok"` in place of an id, for dialects that number their answers elsewhere.
pub fn write_ok_reply(buffer: &mut Vec<u8>, reply: &Reply) {
    write_reply_begun(buffer, reply, &|buffer, kind| {
        Object::<Json>::begin(buffer).string("status", "ok").string("type", kind)
    });
}

/// The fields of a refusal, without braces.
pub fn write_error_fields(buffer: &mut Vec<u8>, refusal: &Refusal) {
    let _ = Object::<Json>::fields_of(buffer).refusal(refusal);
}

/// A `member` with its name, without braces around.
pub fn write_member(buffer: &mut Vec<u8>, member: &Member) {
    let _ = Object::<Json>::fields_of(buffer).object("member", |o| o.member(member));
}

/// A JSON string.
pub fn write_string(buffer: &mut Vec<u8>, text: &str) {
    <Json as Notation>::string(buffer, text);
}

/// How values are written. The objects are the same in all notations.
pub(in crate::dialect) trait Notation: Sized {
    /// The begin of an object.
    fn begin_object(buffer: &mut Vec<u8>);
    /// The name of its field with this number, counted from 0.
    fn name(buffer: &mut Vec<u8>, index: u8, name: &str);
    /// Its end; it began at `start` and has so many fields, at most 15.
    fn end_object(buffer: &mut Vec<u8>, start: usize, fields: u8);
    /// The begin of an array of so many items.
    fn begin_array(buffer: &mut Vec<u8>, length: usize);
    /// What stands before its item with this number, counted from 0.
    fn before_item(buffer: &mut Vec<u8>, index: usize);
    /// Its end.
    fn end_array(buffer: &mut Vec<u8>);
    /// A string.
    fn string(buffer: &mut Vec<u8>, text: &str);
    /// A number.
    fn number(buffer: &mut Vec<u8>, number: u64);
    /// `true` or `false`.
    fn boolean(buffer: &mut Vec<u8>, value: bool);
    /// A value that is JSON text.
    fn json(buffer: &mut Vec<u8>, json: &[u8]);
    /// The fields of a payload that is bytes.
    fn binary<'a>(object: Object<'a, Self>, bytes: &[u8]) -> Object<'a, Self>;
}

/// Writes anything that goes to a client.
pub(in crate::dialect) fn write<N: Notation>(buffer: &mut Vec<u8>, outgoing: &Outgoing) {
    match outgoing {
        Outgoing::Reply { id, reply } => write_reply::<N>(buffer, Some(*id), reply),
        Outgoing::Refused { id, refusal } => write_refusal::<N>(buffer, *id, refusal),
        Outgoing::Push(push) => write_push::<N>(buffer, push),
    }
}

/// Writes one live publication.
pub(in crate::dialect) fn write_publication<N: Notation>(buffer: &mut Vec<u8>, channel: &Channel, it: &Publication) {
    Object::<N>::of(buffer, "publication").string("channel", channel).publication(it).end();
}

pub(super) fn write_reply<N: Notation>(buffer: &mut Vec<u8>, id: Option<u64>, reply: &Reply) {
    write_reply_begun(buffer, reply, &|buffer, kind| {
        Object::<N>::of(buffer, kind).optional(id, |o, id| o.number("id", id))
    });
}

fn write_reply_begun<N: Notation>(
    buffer: &mut Vec<u8>,
    reply: &Reply,
    start: &dyn for<'a> Fn(&'a mut Vec<u8>, &str) -> Object<'a, N>,
) {
    match reply {
        Reply::Authed { user, expires_in } => start(buffer, "authed")
            .string("user", user)
            .optional(*expires_in, |o, seconds| o.number("expires_in", seconds)),
        Reply::Subscribed { channel, position, recovered, publications, state, members } => start(buffer, "subscribed")
            .string("channel", channel)
            .position(position.as_ref())
            .boolean("recovered", *recovered)
            .publications("publications", publications)
            .optional((!state.is_empty()).then_some(state), |o, state| o.publications("state", state))
            .optional(members.as_ref(), Object::members),
        Reply::Unsubscribed { channel } => start(buffer, "unsubscribed").string("channel", channel),
        Reply::Published { channel, position } => {
            start(buffer, "published").string("channel", channel).position(position.as_ref())
        }
        Reply::Sent => start(buffer, "sent"),
        Reply::Presence { channel, members } => start(buffer, "presence").string("channel", channel).members(members),
        Reply::History { channel, publications, position } => {
            let object = start(buffer, "history").string("channel", channel).position(position.as_ref());
            object.publications("publications", publications)
        }
        Reply::Pong => start(buffer, "pong"),
    }
    .end();
}

pub(super) fn write_refusal<N: Notation>(buffer: &mut Vec<u8>, id: Option<u64>, refusal: &Refusal) {
    Object::<N>::of(buffer, "error").optional(id, |o, id| o.number("id", id)).refusal(refusal).end();
}

fn write_push<N: Notation>(buffer: &mut Vec<u8>, push: &Push) {
    match push {
        Push::Welcome(welcome) => write_welcome(Object::<N>::of(buffer, "welcome"), welcome),
        Push::Publication { channel, publication } => {
            Object::<N>::of(buffer, "publication").string("channel", channel).publication(publication)
        }
        Push::Join { channel, member } => {
            Object::<N>::of(buffer, "join").string("channel", channel).object("member", |o| o.member(member))
        }
        Push::Leave { channel, member, cause } => Object::<N>::of(buffer, "leave")
            .string("channel", channel)
            .object("member", |o| o.member(member))
            .string("cause", cause.as_str()),
        Push::Gap { channel, from, to, epoch } => Object::<N>::of(buffer, "gap")
            .string("channel", channel)
            .optional(*from, |o, from| o.number("from", from))
            .optional(*to, |o, to| o.number("to", to))
            .optional(epoch.as_ref(), |o, epoch| o.string("epoch", epoch)),
        Push::Message { from, data, event, time_ms: _ } => Object::<N>::of(buffer, "message")
            .origin(from)
            .optional(event.as_ref(), |o, event| o.string("event", event))
            .payload(data),
        Push::Unsubscribed { channel, code, reason } => Object::<N>::of(buffer, "unsubscribed")
            .string("channel", channel)
            .string("code", code.as_str())
            .string("reason", reason),
        Push::Expiring { in_ms } => Object::<N>::of(buffer, "expiring").number("in_ms", *in_ms),
        Push::Reconnect { after_ms, reason } => {
            Object::<N>::of(buffer, "reconnect").number("after_ms", *after_ms).string("reason", reason.reason())
        }
    }
    .end();
}

fn write_welcome<'a, N: Notation>(object: Object<'a, N>, welcome: &Welcome) -> Object<'a, N> {
    object
        .string("client", &welcome.client)
        .string("node", &welcome.node)
        .string("session", &welcome.session)
        .number("ping_interval_ms", welcome.ping_interval_ms)
        .number("max_message_bytes", welcome.max_message_bytes)
        .number("version", u64::from(WIRE_VERSION))
}

/// An object being written straight into a buffer: no tree, no allocation of its own.
pub(in crate::dialect) struct Object<'a, N> {
    pub(in crate::dialect) buffer: &'a mut Vec<u8>,
    start: usize,
    fields: u8,
    notation: PhantomData<N>,
}

impl<'a, N: Notation> Object<'a, N> {
    /// Begins an object with its `type`.
    pub(super) fn of(buffer: &'a mut Vec<u8>, kind: &str) -> Self {
        Self::begin(buffer).string("type", kind)
    }

    /// Fields without the braces around them.
    fn fields_of(buffer: &'a mut Vec<u8>) -> Self {
        let start = buffer.len();
        Self { buffer, start, fields: 0, notation: PhantomData }
    }

    fn begin(buffer: &'a mut Vec<u8>) -> Self {
        let start = buffer.len();
        N::begin_object(buffer);
        Self { buffer, start, fields: 0, notation: PhantomData }
    }

    pub(super) fn end(self) {
        N::end_object(self.buffer, self.start, self.fields);
    }

    /// Names are from this file only, so they need no escaping; no object has more than 15.
    pub(in crate::dialect) fn name(&mut self, name: &str) {
        N::name(self.buffer, self.fields, name);
        self.fields += 1;
    }

    pub(in crate::dialect) fn string(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        N::string(self.buffer, value);
        self
    }

    pub(super) fn number(mut self, name: &str, value: u64) -> Self {
        self.name(name);
        N::number(self.buffer, value);
        self
    }

    pub(super) fn boolean(mut self, name: &str, value: bool) -> Self {
        self.name(name);
        N::boolean(self.buffer, value);
        self
    }

    /// A value that is JSON already.
    fn json(mut self, name: &str, value: &[u8]) -> Self {
        self.name(name);
        N::json(self.buffer, value);
        self
    }

    pub(super) fn object(mut self, name: &str, fill: impl FnOnce(Object<'_, N>) -> Object<'_, N>) -> Self {
        self.name(name);
        fill(Object::begin(self.buffer)).end();
        self
    }

    fn array<T>(mut self, name: &str, items: &[T], fill: impl Fn(Object<'_, N>, &T)) -> Self {
        self.name(name);
        N::begin_array(self.buffer, items.len());
        for (index, item) in items.iter().enumerate() {
            N::before_item(self.buffer, index);
            fill(Object::begin(self.buffer), item);
        }
        N::end_array(self.buffer);
        self
    }

    pub(super) fn optional<T>(self, value: Option<T>, write: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => write(self, value),
            None => self,
        }
    }

    pub(super) fn position(self, position: Option<&Position>) -> Self {
        self.optional(position, |o, p| o.string("epoch", &p.epoch).number("offset", p.offset))
    }

    pub(super) fn publications(self, name: &str, publications: &[Publication]) -> Self {
        self.array(name, publications, |o, p| o.publication(p).end())
    }

    fn publication(self, publication: &Publication) -> Self {
        self.optional(publication.offset, |o, offset| o.number("offset", offset))
            .number("time", publication.time_ms)
            .optional(publication.from.as_ref(), Object::origin)
            .optional(publication.event.as_ref(), |o, event| o.string("event", event))
            .optional(publication.retain.as_ref(), |o, key| o.string("retain", key))
            .payload(&publication.data)
    }

    fn origin(self, from: &Origin) -> Self {
        self.object("from", |o| {
            o.string("client", &from.client)
                .optional(from.user.as_ref(), |o, user| o.string("user", user))
                .optional(from.info.as_ref(), |o, info| o.json("info", info.as_bytes()))
        })
    }

    /// Text is a string, like that of a JSON payload; bytes are what the notation makes of them.
    fn payload(self, data: &Payload) -> Self {
        match data.content {
            Content::Json => self.json("data", &data.bytes),
            Content::Text => self.string("data", std::str::from_utf8(&data.bytes).unwrap_or_default()),
            Content::Binary => N::binary(self, &data.bytes),
        }
    }

    fn refusal(self, refusal: &Refusal) -> Self {
        self.string("code", refusal.code.as_str())
            .string("message", &refusal.message)
            .boolean("temporary", refusal.code.temporary())
            .optional(refusal.retry_after_ms, |o, ms| o.number("retry_after_ms", ms))
    }

    fn member(self, member: &Member) -> Self {
        self.string("user", &member.user)
            .number("clients", member.clients)
            .optional(member.info.as_ref(), |o, info| o.json("info", info.as_bytes()))
    }

    fn members(self, members: &Members) -> Self {
        self.optional(members.list.as_ref(), |o, list| o.array("members", list, |o, m| o.member(m).end()))
            .number("clients", members.clients)
            .number("users", members.users)
    }
}
