//! What may be set about Socket.IO: namespaces, what events are called, the default room.

use super::settings::Settings;
use crate::engine::EngineConfig;
use protocol::dialect::socketio::{Names, Rules};
use std::sync::Arc;

pub(super) fn read(s: &mut Settings) -> EngineConfig {
    let is_enabled = s.flag("socketio.enabled", "true", "serve Socket.IO clients on /socket.io/");
    let namespaces: Vec<String> = s.list("socketio.namespaces", "namespaces beside /, such as /admin");
    let room =
        "the room that every socket is in, and that messages without a room are for; none: there is no such room";
    let default_room = s.get("socketio.default_room", "general", room, room_name).flatten();
    let recovers =
        s.flag("socketio.recovery", "true", "clients that come back get what they missed (adds `offset` to events)");
    let upgrade_timeout = s.positive_duration(
        "socketio.upgrade_timeout",
        "10s",
        "by when a client that polls must have upgraded, once it begins",
    );
    let names = read_names(s);
    let mut rules = Rules::new(&namespaces, names, default_room).unwrap_or_else(|error| {
        s.fault(format!("socketio.namespaces: {error}"));
        Rules::default()
    });
    rules.recovers = recovers;
    EngineConfig { is_enabled, rules: Arc::new(rules), upgrade_timeout }
}

fn read_names(s: &mut Settings) -> Names {
    let mut names = |key, default: &str, doc| s.get(key, default, doc, split).unwrap_or_default();
    Names {
        join: names("socketio.events.join", "join-room, join room", "events that enter a room"),
        leave: names("socketio.events.leave", "leave-room, leave room", "events that leave it"),
        room_message: names(
            "socketio.events.room_message",
            "room-message",
            "events {room, message}, delivered as {from, message, room, timestamp}",
        ),
        chat_message: names(
            "socketio.events.chat_message",
            "chat message",
            "events {room, text}, delivered as {sender, text, room, timestamp}; bare in the default room",
        ),
        private_message: names(
            "socketio.events.private_message",
            "private-message, private message",
            "events {to, message} for one socket, delivered as {from, message, timestamp}",
        ),
        relayed: names(
            "socketio.events.relayed",
            "typing, stop-typing, stop typing",
            "events passed on to the others in the room, and kept nowhere",
        ),
    }
}

/// Names may hold spaces, so only commas separate them.
fn split(text: &str) -> Result<Vec<String>, String> {
    Ok(text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

fn room_name(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    Rules::default().channel(0, text).map(|_| Some(text.to_owned()))
}
