//! Replies and pushes as Socket.IO packets: acks, and events by the names that clients listen for.

use super::attachments::cut;
use super::positions::{INCOMPLETE, push};
use super::rules::Rules;
use crate::dialect::Messages;
use crate::dialect::json::{write_error_fields, write_member, write_ok_reply, write_string};
use crate::{Channel, Epoch, ErrorCode, Origin, Outgoing, Payload, Position, Publication, Push, Refusal, Reply};
use bytes::Bytes;

/// The event that tells where a connection is in its channels; clients need not listen for it.
pub const POSITIONS_EVENT: &str = "$offset";

const NO_ACK: u64 = 1 << 62;
const IDEMPOTENT: u64 = 1 << 61;
const RECOVERING: u64 = 1 << 60;
const SILENT: u64 = 1 << 59;
const ACK_BITS: u64 = (1 << 48) - 1;

/// What an answer needs to know of what was asked, packed into the number that commands carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Where it was asked.
    pub namespace: u8,
    /// The number of the ack, if one was asked for.
    pub ack: Option<u64>,
    /// Whether to have it already is as good: entering a room twice is no fault.
    pub is_idempotent: bool,
}

impl Ask {
    /// As a command's number.
    pub const fn id(self) -> u64 {
        let idempotent = if self.is_idempotent { IDEMPOTENT } else { 0 };
        let namespace = (self.namespace as u64) << 48;
        match self.ack {
            Some(ack) => idempotent | namespace | (ack & ACK_BITS),
            None => NO_ACK | idempotent | namespace,
        }
    }

    /// The number of a subscription whose past is told as events.
    pub const fn recovering(namespace: u8) -> u64 {
        RECOVERING | NO_ACK | IDEMPOTENT | (namespace as u64) << 48
    }

    /// The number of what the gateway asks by itself: nobody is told what becomes of it.
    pub const fn silent(namespace: u8) -> u64 {
        SILENT | NO_ACK | (namespace as u64) << 48
    }

    const fn of(id: u64) -> Self {
        let ack = if id & NO_ACK == 0 { Some(id & ACK_BITS) } else { None };
        Self { namespace: (id >> 48) as u8, ack, is_idempotent: id & IDEMPOTENT != 0 }
    }
}

/// How publications bear positions: connections of the same kind share the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracking {
    /// The publication's own position is all there is: its connection is in this one channel.
    Whole,
    /// The positions follow as an event of their own.
    Follows,
}

/// Writes anything that goes to a client.
pub fn encode(rules: &Rules, outgoing: &Outgoing, out: &mut dyn Messages) {
    match outgoing {
        Outgoing::Reply { id, reply } => write_reply(rules, *id, reply, out),
        Outgoing::Refused { id, refusal } => write_refusal(rules, *id, refusal, out),
        Outgoing::Push(push) => write_push(rules, push, out),
    }
}

/// Writes one live publication.
pub fn encode_publication(
    rules: &Rules,
    tracking: Tracking,
    channel: &Channel,
    epoch: Option<&Epoch>,
    publication: &Publication,
    out: &mut dyn Messages,
) {
    let offset = match (tracking, publication.offset, epoch) {
        _ if !rules.recovers => None,
        (Tracking::Whole, Some(offset), Some(epoch)) => {
            let mut text = String::new();
            push(channel, Some(&Position { epoch: epoch.clone(), offset }), &mut text);
            Some(text)
        }
        // It leaves the connection where it was.
        (_, None, _) => None,
        _ => Some(INCOMPLETE.to_owned()),
    };
    write_publication(rules, channel, publication, offset.as_deref(), out);
}

fn write_publication(
    rules: &Rules,
    channel: &Channel,
    publication: &Publication,
    offset: Option<&str>,
    out: &mut dyn Messages,
) {
    let (namespace, room) = rules.room(channel);
    let names = &rules.names;
    let first = |list: &[String]| list.first().cloned().unwrap_or_default();
    let event = publication.event.as_deref().map_or_else(|| first(&names.room_message), str::to_owned);
    let is = |list: &[String]| list.contains(&event);
    let said = Said { room: &room, publication };
    let packet = Event { rules, namespace, name: &event, payload: &publication.data };
    if is(&names.chat_message) && rules.is_default(&room) {
        // As the first tutorial has it. `null` keeps a text from being taken for an offset.
        let none = if rules.recovers && offset.is_none() { ",null" } else { "" };
        packet.write(out, &|payload, buffer| {
            buffer.extend_from_slice(payload);
            buffer.extend_from_slice(none.as_bytes());
            write_offset(offset, buffer);
        });
    } else if is(&names.chat_message) {
        packet.write(out, &|payload, buffer| {
            said.write("sender", Some(("text", payload)), buffer);
            write_offset(offset, buffer);
        });
    } else if is(&names.room_message) {
        packet.write(out, &|payload, buffer| {
            said.write("from", Some(("message", payload)), buffer);
            write_offset(offset, buffer);
        });
    } else {
        packet.write(out, &|payload, buffer| {
            buffer.extend_from_slice(payload);
            buffer.push(b',');
            said.write("from", None, buffer);
            write_offset(offset, buffer);
        });
    }
}

fn write_offset(offset: Option<&str>, buffer: &mut Vec<u8>) {
    if let Some(offset) = offset {
        buffer.push(b',');
        write_string(buffer, offset);
    }
}

/// What is told of a publication beside its payload.
struct Said<'a> {
    room: &'a str,
    publication: &'a Publication,
}

impl Said<'_> {
    fn write(&self, sender: &str, payload: Option<(&str, &[u8])>, buffer: &mut Vec<u8>) {
        write_sender(sender, self.publication.from.as_ref(), buffer);
        if let Some((name, payload)) = payload {
            write_name(name, buffer);
            buffer.extend_from_slice(payload);
        }
        write_name("room", buffer);
        write_string(buffer, self.room);
        write_name("timestamp", buffer);
        buffer.extend_from_slice(self.publication.time_ms.to_string().as_bytes());
        buffer.push(b'}');
    }
}

/// `{"from":"<socket>","user":"<user>"`, to be gone on with.
fn write_sender(name: &str, from: Option<&Origin>, buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(b"{\"");
    buffer.extend_from_slice(name.as_bytes());
    buffer.extend_from_slice(b"\":");
    match from {
        Some(from) => write_string(buffer, &from.client),
        None => buffer.extend_from_slice(b"null"),
    }
    if let Some(user) = from.and_then(|from| from.user.as_ref()) {
        write_name("user", buffer);
        write_string(buffer, user);
    }
    if let Some(info) = from.and_then(|from| from.info.as_ref()) {
        write_name("info", buffer);
        buffer.extend_from_slice(info.as_bytes());
    }
}

fn write_name(name: &str, buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(b",\"");
    buffer.extend_from_slice(name.as_bytes());
    buffer.extend_from_slice(b"\":");
}

/// An event with one payload among its arguments.
struct Event<'a> {
    rules: &'a Rules,
    namespace: u8,
    name: &'a str,
    payload: &'a Payload,
}

impl Event<'_> {
    fn write(&self, out: &mut dyn Messages, arguments: &dyn Fn(&[u8], &mut Vec<u8>)) {
        let (json, attachments) = cut(self.payload);
        out.text(&mut |buffer| {
            write_head(buffer, (b'2', b'5'), attachments.len(), self.rules.name_of(self.namespace), None);
            buffer.push(b'[');
            write_string(buffer, self.name);
            buffer.push(b',');
            arguments(&json, buffer);
            buffer.push(b']');
        });
        attachments.iter().for_each(|attachment| out.binary(attachment));
    }
}

/// Everything of a packet before its JSON, the Engine.IO digit included.
fn write_head(buffer: &mut Vec<u8>, kinds: (u8, u8), attachments: usize, namespace: &str, ack: Option<u64>) {
    buffer.extend_from_slice(&[b'4', if attachments == 0 { kinds.0 } else { kinds.1 }]);
    if attachments > 0 {
        buffer.extend_from_slice(attachments.to_string().as_bytes());
        buffer.push(b'-');
    }
    if namespace != super::MAIN_NAMESPACE {
        buffer.extend_from_slice(namespace.as_bytes());
        buffer.push(b',');
    }
    if let Some(ack) = ack {
        buffer.extend_from_slice(ack.to_string().as_bytes());
    }
}

/// Writes an event whose arguments are JSON already, or what answers one: for whoever handles events itself.
pub fn write_whole(
    rules: &Rules,
    namespace: u8,
    ack: Option<u64>,
    json: &str,
    attachments: &[Bytes],
    out: &mut dyn Messages,
) {
    let kinds = if ack.is_some() { (b'3', b'6') } else { (b'2', b'5') };
    out.text(&mut |buffer| {
        write_head(buffer, kinds, attachments.len(), rules.name_of(namespace), ack);
        buffer.extend_from_slice(json.as_bytes());
    });
    attachments.iter().for_each(|attachment| out.binary(attachment));
}

fn simple(rules: &Rules, namespace: u8, name: &str, out: &mut dyn Messages, argument: &dyn Fn(&mut Vec<u8>)) {
    out.text(&mut |buffer| {
        write_head(buffer, (b'2', b'5'), 0, rules.name_of(namespace), None);
        buffer.push(b'[');
        write_string(buffer, name);
        buffer.push(b',');
        argument(buffer);
        buffer.push(b']');
    });
}

fn write_reply(rules: &Rules, id: u64, reply: &Reply, out: &mut dyn Messages) {
    if id & RECOVERING != 0 {
        return write_past(rules, reply, out);
    }
    let ask = Ask::of(id);
    let Some(ack) = ask.ack else { return };
    out.text(&mut |buffer| {
        write_head(buffer, (b'3', b'6'), 0, rules.name_of(ask.namespace), Some(ack));
        buffer.push(b'[');
        write_ok_reply(buffer, reply);
        buffer.push(b']');
    });
}

/// What was missed, as if it had just come; what is lost of it as a gap.
fn write_past(rules: &Rules, reply: &Reply, out: &mut dyn Messages) {
    let Reply::Subscribed { channel, position, recovered, publications, .. } = reply else { return };
    if !recovered {
        let first = publications.first().and_then(|publication| publication.offset);
        let to = first.map(|first| first.saturating_sub(1)).or(position.as_ref().map(|p| p.offset));
        let epoch = position.as_ref().map(|p| p.epoch.clone());
        write_push(rules, &Push::Gap { channel: channel.clone(), from: None, to, epoch }, out);
    }
    for publication in publications {
        let offset = rules.recovers.then_some(INCOMPLETE);
        write_publication(rules, channel, publication, offset, out);
    }
}

fn write_refusal(rules: &Rules, id: Option<u64>, refusal: &Refusal, out: &mut dyn Messages) {
    if id.is_some_and(|id| id & SILENT != 0) {
        return;
    }
    let ask = id.map(Ask::of);
    let is_fine = matches!(refusal.code, ErrorCode::AlreadySubscribed | ErrorCode::NotSubscribed);
    if ask.is_some_and(|ask| ask.is_idempotent) && is_fine {
        let Some((ask, ack)) = ask.and_then(|ask| Some((ask, ask.ack?))) else { return };
        return out.text(&mut |buffer| {
            write_head(buffer, (b'3', b'6'), 0, rules.name_of(ask.namespace), Some(ack));
            buffer.extend_from_slice(b"[{\"status\":\"ok\"}]");
        });
    }
    let namespace = ask.map_or(0, |ask| ask.namespace);
    match ask.and_then(|ask| ask.ack) {
        Some(ack) => out.text(&mut |buffer| {
            write_head(buffer, (b'3', b'6'), 0, rules.name_of(namespace), Some(ack));
            buffer.extend_from_slice(b"[{\"status\":\"error\",");
            write_error_fields(buffer, refusal);
            buffer.extend_from_slice(b"}]");
        }),
        None => simple(rules, namespace, "error", out, &|buffer| {
            buffer.push(b'{');
            write_error_fields(buffer, refusal);
            buffer.push(b'}');
        }),
    }
}

fn write_push(rules: &Rules, push: &Push, out: &mut dyn Messages) {
    match push {
        // A session is opened by Engine.IO's own packet.
        Push::Welcome(_) => {}
        Push::Publication { channel, publication } => {
            let offset = rules.recovers.then_some(INCOMPLETE).filter(|_| publication.offset.is_some());
            write_publication(rules, channel, publication, offset, out);
        }
        Push::Join { channel, member } => {
            membership(rules, "join", channel, out, &|buffer| write_member(buffer, member));
        }
        Push::Leave { channel, member, cause } => membership(rules, "leave", channel, out, &|buffer| {
            write_member(buffer, member);
            write_name("cause", buffer);
            write_string(buffer, cause.as_str());
        }),
        Push::Gap { channel, from, to, epoch } => membership(rules, "gap", channel, out, &|buffer| {
            buffer.extend_from_slice(b"\"lost\":true");
            for (name, offset) in [("first", from), ("last", to)] {
                if let Some(offset) = offset {
                    write_name(name, buffer);
                    buffer.extend_from_slice(offset.to_string().as_bytes());
                }
            }
            if let Some(epoch) = epoch {
                write_name("epoch", buffer);
                write_string(buffer, epoch);
            }
        }),
        Push::Message { from, data, event, time_ms } => {
            private(rules, 0, &Private { from, data, event: event.as_deref(), time_ms: *time_ms }, out);
        }
        Push::Unsubscribed { channel, code, reason } => membership(rules, "unsubscribed", channel, out, &|buffer| {
            buffer.extend_from_slice(b"\"code\":");
            write_string(buffer, code.as_str());
            write_name("reason", buffer);
            write_string(buffer, reason);
        }),
        Push::Expiring { in_ms } => simple(rules, 0, "expiring", out, &|buffer| {
            buffer.extend_from_slice(format!("{{\"in_ms\":{in_ms}}}").as_bytes());
        }),
        Push::Reconnect { after_ms, reason } => simple(rules, 0, "reconnect", out, &|buffer| {
            buffer.extend_from_slice(format!("{{\"after_ms\":{after_ms},\"reason\":").as_bytes());
            write_string(buffer, reason.reason());
            buffer.push(b'}');
        }),
    }
}

/// An event of the gateway's about a room: `{"room":…,` and what `fields` writes.
fn membership(rules: &Rules, name: &str, channel: &Channel, out: &mut dyn Messages, fields: &dyn Fn(&mut Vec<u8>)) {
    let (namespace, room) = rules.room(channel);
    simple(rules, namespace, name, out, &|buffer| {
        buffer.extend_from_slice(b"{\"room\":");
        write_string(buffer, &room);
        buffer.push(b',');
        fields(buffer);
        buffer.push(b'}');
    });
}

/// A message to one connection.
#[derive(Debug, Clone, Copy)]
pub struct Private<'a> {
    /// Who sent it.
    pub from: &'a Origin,
    /// What.
    pub data: &'a Payload,
    /// The application's name for what happened.
    pub event: Option<&'a str>,
    /// When, in Unix milliseconds.
    pub time_ms: u64,
}

/// Writes a private message, in a namespace that its reader is in.
pub fn private(rules: &Rules, namespace: u8, said: &Private<'_>, out: &mut dyn Messages) {
    let names = &rules.names.private_message;
    let name = said.event.map_or_else(|| names.first().cloned().unwrap_or_default(), str::to_owned);
    Event { rules, namespace, name: &name, payload: said.data }.write(out, &|payload, buffer| {
        write_sender("from", Some(said.from), buffer);
        write_name("message", buffer);
        buffer.extend_from_slice(payload);
        write_name("timestamp", buffer);
        buffer.extend_from_slice(said.time_ms.to_string().as_bytes());
        buffer.push(b'}');
    });
}

/// The event that tells a connection where it is in all its channels.
pub fn positions(rules: &Rules, namespace: u8, positions: &str, out: &mut dyn Messages) {
    simple(rules, namespace, POSITIONS_EVENT, out, &|buffer| write_string(buffer, positions));
}

/// A namespace has been entered: the socket's id, and the name by which its state can be recovered.
pub fn connected(rules: &Rules, namespace: u8, sid: &str, pid: Option<&str>, out: &mut dyn Messages) {
    out.text(&mut |buffer| {
        write_head(buffer, (b'0', b'0'), 0, rules.name_of(namespace), None);
        buffer.extend_from_slice(b"{\"sid\":");
        write_string(buffer, sid);
        if let Some(pid) = pid {
            write_name("pid", buffer);
            write_string(buffer, pid);
        }
        buffer.push(b'}');
    });
}

/// A namespace has not been entered; the transport stays, and the client may try again.
pub fn connect_error(namespace: &str, message: &str, refusal: Option<&Refusal>, out: &mut dyn Messages) {
    out.text(&mut |buffer| {
        write_head(buffer, (b'4', b'4'), 0, namespace, None);
        buffer.extend_from_slice(b"{\"message\":");
        write_string(buffer, message);
        if let Some(refusal) = refusal {
            write_name("data", buffer);
            buffer.push(b'{');
            write_error_fields(buffer, refusal);
            buffer.push(b'}');
        }
        buffer.push(b'}');
    });
}

/// The gateway ends a namespace: the client does not come back by itself.
pub fn disconnected(rules: &Rules, namespace: u8, out: &mut dyn Messages) {
    out.text(&mut |buffer| write_head(buffer, (b'1', b'1'), 0, rules.name_of(namespace), None));
}
