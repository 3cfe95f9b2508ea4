//! The golden files of the wire: every command is written as they say, and every reply and push of them is understood.

use super::{Command, Incoming, Place, Push, Reply, Since, decode, encode};
use crate::event::{Data, Message, Publication};
use protocol::dialect::json::DEFAULT_HISTORY_LIMIT;
use protocol::dialect::{self, Dialect, Encoding, Messages};
use protocol::{Channel, CloseCode, Outgoing, Payload, Request, Text};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fs;
use std::path::PathBuf;

/// The messages of all golden files whose name begins so.
fn messages(prefix: &str) -> Vec<String> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../protocol/tests/golden");
    let mut messages = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with(prefix) {
            messages.extend(fs::read_to_string(&path).unwrap().lines().map(str::to_owned));
        }
    }
    assert!(messages.len() > 1, "{prefix}: the golden files are there");
    messages
}

/// A command as the gateway reads it.
fn read(text: &str) -> Request {
    let mut read = Vec::new();
    Dialect::Json.decode(dialect::Incoming::Text(text), &mut |request| read.push(request.unwrap()));
    assert_eq!(read.len(), 1);
    read.pop().unwrap()
}

fn raw(payload: &Payload) -> Box<RawValue> {
    RawValue::from_string(String::from_utf8(payload.bytes.to_vec()).unwrap()).unwrap()
}

/// The same command as this client writes it.
fn written(request: &Request) -> String {
    let id = request.id;
    let data;
    let command = match &request.command {
        protocol::Command::Auth { token } => Command::Auth { id, token },
        protocol::Command::Subscribe(subscribe) => Command::Subscribe {
            id,
            channel: &subscribe.channel,
            recover: subscribe.recover.as_ref().map(Place::from),
            members: subscribe.members,
            state: subscribe.state,
            token: subscribe.token.as_deref(),
        },
        protocol::Command::Unsubscribe { channel } => Command::Unsubscribe { id, channel },
        protocol::Command::Publish(publish) => {
            data = raw(&publish.data);
            let (event, key) = (publish.event.as_deref(), publish.key.as_deref());
            let (retain, volatile, echo) = (publish.retain.as_deref(), publish.volatile, publish.echo);
            Command::Publish { id, channel: &publish.channel, data: &data, event, key, retain, volatile, echo }
        }
        protocol::Command::Send(send) => {
            data = raw(&send.data);
            Command::Send { id, to: &send.to, data: &data, event: send.event.as_deref() }
        }
        protocol::Command::Presence { channel, count_only } => {
            Command::Presence { id, channel, count_only: *count_only }
        }
        protocol::Command::History(history) => Command::History {
            id,
            channel: &history.channel,
            limit: (history.limit != DEFAULT_HISTORY_LIMIT).then_some(history.limit),
            since: history.since.as_ref().map(Since::from),
            reverse: history.reverse,
        },
        protocol::Command::Ping => Command::Ping { id },
    };
    encode(&command).unwrap()
}

#[test]
fn every_command_is_written_as_its_golden_bytes() {
    for message in messages("command-") {
        // Spaces around `data` are not part of it; those within are.
        let bytes = message.replace("\"data\": {", "\"data\":{").replace("} }", "}}");
        assert_eq!(written(&read(&message)), bytes);
    }
}

/// What the gateway would write for what this client has understood.
fn rewritten(incoming: Incoming, message: &Value) -> String {
    let name = message["channel"].as_str().unwrap_or("none");
    let channel = || Channel::new(name).unwrap();
    let outgoing = match incoming {
        Incoming::Reply { id, reply } => Outgoing::Reply { id, reply: understood_reply(reply, channel()) },
        Incoming::Refused { id, refusal } => {
            assert_eq!(refusal.temporary, message["temporary"], "{message}");
            let retry_after_ms = refusal.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap());
            let known = protocol::Refusal::new(refusal.code.unwrap(), refusal.message);
            Outgoing::Refused { id, refusal: protocol::Refusal { retry_after_ms, ..known } }
        }
        Incoming::Push(push) => Outgoing::Push(understood_push(push, message)),
    };
    let mut texts = Texts::default();
    Encoding::Json.encode(&outgoing, &mut texts);
    assert_eq!(texts.0.len(), 1);
    texts.0.pop().unwrap()
}

fn understood_reply(reply: Reply, channel: Channel) -> protocol::Reply {
    let all = |publications: Vec<Publication>| publications.into_iter().map(publication).collect();
    match reply {
        Reply::Authed { user, expires_in } => protocol::Reply::Authed { user: user.into(), expires_in },
        Reply::Subscribed(reply) => protocol::Reply::Subscribed {
            channel,
            position: reply.position,
            recovered: reply.recovered,
            publications: all(reply.publications),
            state: all(reply.state),
            members: reply.members,
        },
        Reply::Unsubscribed => protocol::Reply::Unsubscribed { channel },
        Reply::Published { position } => protocol::Reply::Published { channel, position },
        Reply::Sent => protocol::Reply::Sent,
        Reply::Presence(members) => protocol::Reply::Presence { channel, members },
        Reply::History(history) => {
            protocol::Reply::History { channel, publications: all(history.publications), position: history.position }
        }
        Reply::Pong => protocol::Reply::Pong,
    }
}

fn understood_push(push: Push, message: &Value) -> protocol::Push {
    let of = |channel: String| Channel::new(&channel).unwrap();
    match push {
        Push::Welcome(welcome) => protocol::Push::Welcome(protocol::Welcome {
            client: welcome.client.into(),
            node: welcome.node.into(),
            // Of no use to a client.
            session: message["session"].as_str().unwrap().into(),
            ping_interval_ms: welcome.ping_interval_ms,
            max_message_bytes: welcome.max_message_bytes,
        }),
        Push::Publication { channel, publication: read } => {
            protocol::Push::Publication { channel: of(channel), publication: publication(read) }
        }
        Push::Join { channel, member } => protocol::Push::Join { channel: of(channel), member },
        Push::Leave { channel, member, cause } => {
            protocol::Push::Leave { channel: of(channel), member, cause: cause.unwrap() }
        }
        Push::Gap { channel, from, to, epoch } => protocol::Push::Gap { channel: of(channel), from, to, epoch },
        Push::Message(Message { from, event, data }) => {
            protocol::Push::Message { from, data: payload(data), event: event.map(Text::from), time_ms: 0 }
        }
        Push::Unsubscribed { channel, refusal } => protocol::Push::Unsubscribed {
            channel: of(channel),
            code: refusal.code.unwrap(),
            reason: refusal.message.into(),
        },
        Push::Expiring { in_ms } => protocol::Push::Expiring { in_ms },
        Push::Reconnect { after, reason } => protocol::Push::Reconnect {
            after_ms: u64::try_from(after.as_millis()).unwrap(),
            reason: *CloseCode::ALL.iter().find(|code| code.reason() == reason).unwrap(),
        },
    }
}

fn publication(read: Publication) -> protocol::Publication {
    let Publication { offset, time_ms, from, event, retain, data } = read;
    let (data, event, retain) = (payload(data), event.map(Text::from), retain.map(Text::from));
    protocol::Publication { offset, data, event, retain, from, time_ms, echo: true, stamp: 0 }
}

fn payload(data: Data) -> Payload {
    match data {
        Data::Json(text) => Payload::json(text),
        Data::Binary(bytes) => Payload::binary(bytes),
    }
}

/// The text messages of a dialect.
#[derive(Debug, Default)]
struct Texts(Vec<String>);

impl Messages for Texts {
    fn text(&mut self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        let mut buffer = Vec::new();
        write(&mut buffer);
        self.0.push(String::from_utf8(buffer).unwrap());
    }

    fn binary(&mut self, bytes: &[u8]) {
        panic!("{bytes:?} in a dialect of text");
    }

    fn binary_with(&mut self, _: &mut dyn FnMut(&mut Vec<u8>)) {
        panic!("bytes in a dialect of text");
    }

    fn close(&mut self, code: CloseCode) {
        panic!("{code:?} in a dialect that has words");
    }
}

#[test]
fn every_reply_refusal_and_push_is_understood_so_well_that_it_could_be_written_again() {
    for message in [messages("reply-"), messages("error"), messages("push-")].concat() {
        let incoming = decode(&message).unwrap().unwrap_or_else(|| panic!("{message} is not known"));
        assert_eq!(rewritten(incoming, &serde_json::from_str(&message).unwrap()), message);
    }
}

#[test]
fn what_is_new_on_the_wire_is_passed_over() {
    for message in ["{}", r#"{"type":"weather","sun":true}"#, r#"{"type":"weathered","id":7}"#] {
        assert!(decode(message).unwrap().is_none(), "{message}");
    }
    let more = decode(r#"{"type":"pong","id":7,"sun":true}"#).unwrap();
    assert!(matches!(more, Some(Incoming::Reply { id: 7, reply: Reply::Pong })));
    let refused = decode(r#"{"type":"error","id":7,"code":"too_late","message":"no","temporary":true}"#).unwrap();
    let Some(Incoming::Refused { refusal, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((refusal.code, refusal.name.as_str(), refusal.temporary), (None, "too_late", true));
}

#[test]
fn what_is_known_but_broken_is_told_because_it_may_have_been_a_publication() {
    let broken = [
        "",
        "hello",
        "{",
        r#"{"type":"publication","channel":"chat"}"#,
        r#"{"type":"publication","channel":"chat","offset":-1,"data":1}"#,
        r#"{"type":"publication","channel":"chat","encoding":"base64","data":"?"}"#,
        r#"{"type":"gap"}"#,
        r#"{"type":"welcome"}"#,
    ];
    for message in broken {
        assert!(decode(message).is_err(), "{message}");
    }
}

#[test]
fn no_wait_that_a_gateway_asks_for_is_longer_than_an_hour() {
    let read = decode(&format!(r#"{{"type":"reconnect","after_ms":{},"reason":"draining"}}"#, u64::MAX)).unwrap();
    let Some(Incoming::Push(Push::Reconnect { after, .. })) = read else { panic!("{read:?}") };
    assert_eq!(after.as_secs(), 3600);
}
