//! What clients emit, as commands: events of the house, and the native commands under their own names.

use super::attachments::fill;
use super::encode::Ask;
use super::packet;
use super::rules::Rules;
use super::session::Event;
use crate::dialect::json::{MAX_NAME_BYTES, check_readable, command_of};
use crate::{Channel, Command, ErrorCode, Payload, Publish, Refusal, Request, Send, Subscribe};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The native commands that may be emitted, with one object that holds their fields.
const NATIVE: [&str; 8] = ["auth", "subscribe", "unsubscribe", "publish", "send", "presence", "history", "ping"];

/// A refused event, and what is answered with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The id to answer with.
    pub id: u64,
    /// Why.
    pub refusal: Refusal,
}

/// What an event asks for.
///
/// # Errors
/// When it is none that the gateway knows, or lacks what it needs.
pub fn request(rules: &Rules, event: &Event<'_>) -> Result<Request, Refused> {
    let ask = Ask { namespace: event.namespace, ack: event.ack, is_idempotent: false };
    let refused = |message: String| Refused { id: ask.id(), refusal: Refusal::bad_request(message) };
    // Looked at when it came; what follows has no other way to fail.
    let said = packet::event(event.data).map_err(|violation| refused(violation.to_string()))?;
    let words = Words { rules, event, name: &said.name, arguments: &said.rest };
    let names = &rules.names;
    let is = |list: &[String]| list.iter().any(|name| **name == *said.name);
    let (command, is_idempotent) = if is(&names.join) {
        (words.join(), true)
    } else if is(&names.leave) {
        (words.room().map(|channel| Command::Unsubscribe { channel }), true)
    } else if is(&names.room_message) {
        (words.said("message"), false)
    } else if is(&names.chat_message) {
        (words.said("text"), false)
    } else if is(&names.private_message) {
        (words.private(), false)
    } else if is(&names.relayed) {
        (words.relayed(), false)
    } else if NATIVE.contains(&&*said.name) {
        (words.native(), false)
    } else {
        let message = "the gateway knows no such event, and there is nobody behind it to ask";
        return Err(Refused { id: ask.id(), refusal: Refusal::new(ErrorCode::BadRequest, message) });
    };
    let id = Some(Ask { is_idempotent, ..ask }.id());
    command.map(|command| Request { id, command }).map_err(refused)
}

/// An event's name and arguments.
struct Words<'a> {
    rules: &'a Rules,
    event: &'a Event<'a>,
    name: &'a str,
    arguments: &'a [&'a RawValue],
}

/// The fields of the house's events; each stays as it was written.
#[derive(Default, Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    room: Option<&'a RawValue>,
    #[serde(borrow)]
    channel: Option<&'a RawValue>,
    #[serde(borrow)]
    to: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    message: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    text: Option<&'a RawValue>,
}

/// `"message": null` is something said.
fn even_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Words<'a> {
    fn argument(&self, number: usize) -> Option<&'a RawValue> {
        self.arguments.get(number).copied()
    }

    /// The first argument's fields, if it is an object.
    fn fields(&self) -> Result<Option<Fields<'a>>, String> {
        let Some(first) = self.argument(0).filter(|first| first.get().starts_with('{')) else { return Ok(None) };
        serde_json::from_str(first.get()).map(Some).map_err(|error| error.to_string())
    }

    /// The room that is named: the first argument, or its `room`.
    fn room(&self) -> Result<Channel, String> {
        let named = match self.fields()? {
            Some(fields) => fields.room.or(fields.channel),
            None => self.argument(0),
        };
        let room = named.map(|name| text(name, "room")).transpose()?;
        let room = room.or_else(|| self.rules.default_room.clone());
        let room = room.ok_or_else(|| format!("`{}` needs a room", self.name))?;
        self.rules.channel(self.event.namespace, &room)
    }

    fn join(&self) -> Result<Command, String> {
        let channel = self.room()?;
        Ok(Command::Subscribe(Subscribe { channel, recover: None, members: false, state: false, token: None }))
    }

    fn payload(&self, value: &RawValue) -> Result<Payload, String> {
        check_readable(value.get()).map_err(|wrong| format!("what is said {wrong}"))?;
        fill(value.get(), self.event.attachments).map_err(|violation| violation.to_string())
    }

    /// `{room, message}`, `(room, message)`, or the message alone, for the default room.
    fn said(&self, field: &str) -> Result<Command, String> {
        let needs = || format!("`{}` needs what is said: {{room, {field}}}", self.name);
        let default_room = || {
            let room = self.rules.default_room.as_deref().ok_or_else(|| format!("`{}` needs a room", self.name))?;
            self.rules.channel(self.event.namespace, room)
        };
        let fields = self.fields()?.map(|f| (f.room.is_some() || f.channel.is_some(), f.message.or(f.text)));
        let (channel, said) = match (fields, self.arguments) {
            (Some((true, said)), _) => (self.room()?, said.ok_or_else(needs)?),
            (Some((false, Some(said))), _) => (default_room()?, said),
            (None, [_, said, ..]) => (self.room()?, *said),
            (_, [said, ..]) => (default_room()?, *said),
            (_, []) => return Err(needs()),
        };
        Ok(Command::Publish(self.publish(channel, self.payload(said)?)?))
    }

    /// `{to, message}`, or `(to, message)`.
    fn private(&self) -> Result<Command, String> {
        let needs = || format!("`{}` needs {{to, message}}", self.name);
        let (to, said) = match self.fields()? {
            Some(fields) => (fields.to.ok_or_else(needs)?, fields.message.or(fields.text).ok_or_else(needs)?),
            None => (self.argument(0).ok_or_else(needs)?, self.argument(1).ok_or_else(needs)?),
        };
        let (to, data) = (text(to, "to")?, self.payload(said)?);
        Ok(Command::Send(Send { to, data, event: Some(self.event_name()?) }))
    }

    /// The first argument as it is, to the others in its room.
    fn relayed(&self) -> Result<Command, String> {
        let channel = self.room()?;
        let data = self.argument(0).map_or_else(|| Ok(Payload::json("null")), |first| self.payload(first))?;
        Ok(Command::Publish(Publish { volatile: true, echo: false, ..self.publish(channel, data)? }))
    }

    fn publish(&self, channel: Channel, data: Payload) -> Result<Publish, String> {
        let event = Some(self.event_name()?);
        Ok(Publish { channel, data, event, key: None, retain: None, volatile: false, echo: true })
    }

    fn event_name(&self) -> Result<String, String> {
        if self.name.is_empty() || self.name.len() > MAX_NAME_BYTES {
            return Err(format!("the name of an event is 1 to {MAX_NAME_BYTES} bytes long"));
        }
        Ok(self.name.to_owned())
    }

    /// A native command: its fields are those of the first argument, its channel one of this namespace.
    fn native(&self) -> Result<Command, String> {
        let fields = self.argument(0).map_or("{}", |first| first.get());
        if !fields.starts_with('{') {
            return Err(format!("`{}` takes one object with its fields", self.name));
        }
        let mut command = command_of(self.name, fields)?;
        match &mut command {
            Command::Publish(Publish { data, .. }) | Command::Send(Send { data, .. }) => self.attach(data)?,
            _ => {}
        }
        match &mut command {
            Command::Subscribe(Subscribe { channel, .. })
            | Command::Publish(Publish { channel, .. })
            | Command::Unsubscribe { channel }
            | Command::Presence { channel, .. } => self.within(channel)?,
            Command::History(history) => self.within(&mut history.channel)?,
            Command::Auth { .. } | Command::Send(_) | Command::Ping => {}
        }
        Ok(command)
    }

    fn attach(&self, data: &mut Payload) -> Result<(), String> {
        let filled = std::str::from_utf8(&data.bytes).map(|json| fill(json, self.event.attachments));
        if let Ok(filled) = filled {
            *data = filled.map_err(|violation| violation.to_string())?;
        }
        Ok(())
    }

    /// Native names are channels' names; in other namespaces than the main one they are its rooms.
    fn within(&self, channel: &mut Channel) -> Result<(), String> {
        if self.event.namespace > 0 {
            *channel = self.rules.channel(self.event.namespace, channel)?;
        }
        Ok(())
    }
}

/// A name; numbers are names too, as rooms often are.
fn text(value: &RawValue, what: &str) -> Result<String, String> {
    let written = value.get();
    if written.starts_with('"') {
        return serde_json::from_str(written).map_err(|error| format!("`{what}` is not a string: {error}"));
    }
    let is_number = !written.is_empty() && written.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| written.to_owned()).ok_or_else(|| format!("`{what}` is a string"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn ask(data: &str) -> Result<Command, String> {
        let event = Event { namespace: 0, ack: Some(1), data, attachments: &[Bytes::from_static(b"xy")] };
        request(&Rules::default(), &event).map(|r| r.command).map_err(|r| r.refusal.message.into_owned())
    }

    fn room_of(data: &str) -> String {
        match ask(data).unwrap() {
            Command::Subscribe(subscribe) => subscribe.channel.to_string(),
            Command::Publish(publish) => publish.channel.to_string(),
            Command::Unsubscribe { channel } => channel.to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn said(data: &str) -> (String, String) {
        match ask(data).unwrap() {
            Command::Publish(publish) => {
                (publish.channel.to_string(), String::from_utf8_lossy(&publish.data.bytes).into_owned())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rooms_are_named_as_people_name_them() {
        for data in [
            r#"["join-room","lobby"]"#,
            r#"["join room",{"room":"lobby","username":"ann"}]"#,
            r#"["join-room","lobby","ann"]"#,
            r#"["leave-room","lobby"]"#,
            r#"["room-message",{"room":"lobby","message":"hi"}]"#,
            r#"["room-message","lobby","hi"]"#,
            r#"["typing",{"room":"lobby","isTyping":true}]"#,
        ] {
            assert_eq!(room_of(data), "lobby", "{data}");
        }
        assert_eq!(room_of(r#"["join-room",42]"#), "42");
        assert_eq!(room_of(r#"["join-room","General Chat"]"#), "General%20Chat");
        assert!(ask(r#"["join-room",true]"#).is_err() && ask(r#"["join-room",""]"#).is_err());
    }

    #[test]
    fn what_is_said_without_a_room_is_said_in_the_default_one() {
        assert_eq!(said(r#"["chat message","hi"]"#), ("general".into(), "\"hi\"".into()));
        assert_eq!(said(r#"["chat message",{"text":"hi"}]"#), ("general".into(), "\"hi\"".into()));
        assert_eq!(said(r#"["chat message",{"room":"a","text":"hi"}]"#), ("a".into(), "\"hi\"".into()));
        assert_eq!(said(r#"["room-message",{"room":"a","message":null}]"#), ("a".into(), "null".into()));
        assert_eq!(
            said(r#"["room-message",{"room":"a","message":{"_placeholder":true,"num":0}}]"#),
            ("a".into(), "xy".into())
        );
        assert!(ask(r#"["chat message"]"#).is_err() && ask(r#"["room-message",{"room":"a"}]"#).is_err());
    }

    #[test]
    fn native_commands_take_one_object() {
        assert!(
            matches!(ask(r#"["publish",{"channel":"a","data":1,"event":"x"}]"#), Ok(Command::Publish(p)) if p.event.as_deref() == Some("x"))
        );
        assert!(matches!(ask(r#"["history",{"channel":"a"}]"#), Ok(Command::History(_))));
        assert!(matches!(ask(r#"["ping"]"#), Ok(Command::Ping)));
        assert!(ask(r#"["publish","a"]"#).is_err() && ask(r#"["subscribe",{}]"#).is_err());
    }

    #[test]
    fn a_private_message_is_for_one_socket() {
        for data in [r#"["private-message",{"to":"n1.a.7","message":"hi"}]"#, r#"["private-message","n1.a.7","hi"]"#] {
            let Ok(Command::Send(send)) = ask(data) else { panic!("{data}") };
            assert_eq!((&*send.to, send.event.as_deref()), ("n1.a.7", Some("private-message")));
        }
        assert!(ask(r#"["private-message",{"to":"a"}]"#).is_err() && ask(r#"["private-message",1]"#).is_err());
    }

    #[test]
    fn events_of_an_application_are_refused_in_words() {
        assert!(ask(r#"["buy","shares"]"#).unwrap_err().contains("knows no such event"));
    }
}
