//! Replies and pushes to JSON text. Fields always come in the same order; golden files hold each message.

use crate::dialect::Messages;
use crate::{
    Channel, Content, Member, Members, Origin, Outgoing, Payload, Position, Publication, Push, Refusal, Reply,
    WIRE_VERSION, Welcome,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Writes anything that goes to a client, as one text message.
pub fn encode(outgoing: &Outgoing, out: &mut dyn Messages) {
    out.text(&mut |buffer| match outgoing {
        Outgoing::Reply { id, reply } => write_reply(buffer, *id, reply),
        Outgoing::Refused { id, refusal } => write_refusal(buffer, *id, refusal),
        Outgoing::Push(push) => write_push(buffer, push),
    });
}

/// Writes one live publication, as one text message: the hot path of fan-out, encoded once for all its readers.
pub fn encode_publication(channel: &Channel, publication: &Publication, out: &mut dyn Messages) {
    out.text(&mut |buffer| {
        Object::of(buffer, "publication").string("channel", channel).publication(publication).end();
    });
}

fn write_reply(buffer: &mut Vec<u8>, id: u64, reply: &Reply) {
    write_reply_begun(buffer, reply, &|buffer, kind| Object::of(buffer, kind).number("id", id));
}

/// A reply as an object with `"status":"ok"` in place of an id, for dialects that number their answers elsewhere.
pub fn write_ok_reply(buffer: &mut Vec<u8>, reply: &Reply) {
    write_reply_begun(buffer, reply, &|buffer, kind| Object::begin(buffer).string("status", "ok").string("type", kind));
}

fn write_reply_begun(buffer: &mut Vec<u8>, reply: &Reply, start: &dyn for<'a> Fn(&'a mut Vec<u8>, &str) -> Object<'a>) {
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

fn write_refusal(buffer: &mut Vec<u8>, id: Option<u64>, refusal: &Refusal) {
    Object::of(buffer, "error").optional(id, |o, id| o.number("id", id)).refusal(refusal).end();
}

/// The fields of a refusal, without braces.
pub fn write_error_fields(buffer: &mut Vec<u8>, refusal: &Refusal) {
    let _ = Object { buffer, first: true }.refusal(refusal);
}

/// A `member` with its name, without braces around.
pub fn write_members(buffer: &mut Vec<u8>, member: &Member) {
    let _ = Object { buffer, first: true }.object("member", |o| o.member(member));
}

fn write_push(buffer: &mut Vec<u8>, push: &Push) {
    match push {
        Push::Welcome(welcome) => write_welcome(Object::of(buffer, "welcome"), welcome),
        Push::Publication { channel, publication } => {
            Object::of(buffer, "publication").string("channel", channel).publication(publication)
        }
        Push::Join { channel, member } => {
            Object::of(buffer, "join").string("channel", channel).object("member", |o| o.member(member))
        }
        Push::Leave { channel, member, cause } => Object::of(buffer, "leave")
            .string("channel", channel)
            .object("member", |o| o.member(member))
            .string("cause", cause.as_str()),
        Push::Gap { channel, from, to, epoch } => Object::of(buffer, "gap")
            .string("channel", channel)
            .optional(*from, |o, from| o.number("from", from))
            .optional(*to, |o, to| o.number("to", to))
            .optional(epoch.as_ref(), |o, epoch| o.string("epoch", epoch)),
        Push::Message { from, data, event, time_ms: _ } => Object::of(buffer, "message")
            .origin(from)
            .optional(event.as_ref(), |o, event| o.string("event", event))
            .payload(data),
        Push::Unsubscribed { channel, code, reason } => Object::of(buffer, "unsubscribed")
            .string("channel", channel)
            .string("code", code.as_str())
            .string("reason", reason),
        Push::Expiring { in_ms } => Object::of(buffer, "expiring").number("in_ms", *in_ms),
        Push::Reconnect { after_ms, reason } => {
            Object::of(buffer, "reconnect").number("after_ms", *after_ms).string("reason", reason.reason())
        }
    }
    .end();
}

fn write_welcome<'a>(object: Object<'a>, welcome: &Welcome) -> Object<'a> {
    object
        .string("client", &welcome.client)
        .string("node", &welcome.node)
        .string("session", &welcome.session)
        .number("ping_interval_ms", welcome.ping_interval_ms)
        .number("max_message_bytes", welcome.max_message_bytes)
        .number("version", u64::from(WIRE_VERSION))
}

/// A JSON object being written straight into a buffer: no tree, no allocation of its own.
struct Object<'a> {
    buffer: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    /// Begins an object with its `type`.
    fn of(buffer: &'a mut Vec<u8>, kind: &str) -> Self {
        Self::begin(buffer).string("type", kind)
    }

    fn begin(buffer: &'a mut Vec<u8>) -> Self {
        buffer.push(b'{');
        Self { buffer, first: true }
    }

    fn end(self) {
        self.buffer.push(b'}');
    }

    /// Names are from this file only, so they need no escaping.
    fn name(&mut self, name: &str) {
        if !self.first {
            self.buffer.push(b',');
        }
        self.first = false;
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.extend_from_slice(b"\":");
    }

    fn string(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        write_string(self.buffer, value);
        self
    }

    fn number(mut self, name: &str, value: u64) -> Self {
        self.name(name);
        let _ = serde_json::to_writer(&mut *self.buffer, &value);
        self
    }

    fn boolean(mut self, name: &str, value: bool) -> Self {
        self.name(name);
        self.buffer.extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    /// A value that is JSON already.
    fn json(mut self, name: &str, value: &[u8]) -> Self {
        self.name(name);
        self.buffer.extend_from_slice(value);
        self
    }

    fn object(mut self, name: &str, fill: impl FnOnce(Object<'_>) -> Object<'_>) -> Self {
        self.name(name);
        fill(Object::begin(self.buffer)).end();
        self
    }

    fn array<T>(mut self, name: &str, items: &[T], fill: impl Fn(Object<'_>, &T)) -> Self {
        self.name(name);
        self.buffer.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.buffer.push(b',');
            }
            fill(Object::begin(self.buffer), item);
        }
        self.buffer.push(b']');
        self
    }

    fn optional<T>(self, value: Option<T>, write: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => write(self, value),
            None => self,
        }
    }

    fn position(self, position: Option<&Position>) -> Self {
        self.optional(position, |o, p| o.string("epoch", &p.epoch).number("offset", p.offset))
    }

    fn publications(self, name: &str, publications: &[Publication]) -> Self {
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

    /// Text as a JSON string, binary as base64 with a word that says so.
    fn payload(mut self, data: &Payload) -> Self {
        match data.content {
            Content::Json => self.json("data", &data.bytes),
            Content::Text => {
                self.name("data");
                write_string(self.buffer, std::str::from_utf8(&data.bytes).unwrap_or_default());
                self
            }
            Content::Binary => self.string("encoding", "base64").string("data", &BASE64.encode(&data.bytes)),
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

/// A JSON string. Writing to a `Vec` cannot fail.
pub fn write_string(buffer: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(buffer, text);
}
