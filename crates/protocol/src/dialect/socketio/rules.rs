//! What a gateway's operator says about Socket.IO: namespaces, names of events, and which channel a room is.

use crate::Channel;
use std::fmt::Write;

/// The namespace that is always there.
pub const MAIN_NAMESPACE: &str = "/";

/// The most namespaces: a connection notes those that it has entered as bits.
pub const MAX_NAMESPACES: usize = 64;

/// The longest name of a namespace, in bytes: it is part of its rooms' channel names.
const MAX_NAMESPACE_BYTES: usize = 64;

/// The names by which events are known; the first of each list is the one that the gateway itself says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Enters a room.
    pub join: Vec<String>,
    /// Leaves it.
    pub leave: Vec<String>,
    /// Is said in a room: `{room, message}`, delivered as `{from, message, room, timestamp}`.
    pub room_message: Vec<String>,
    /// The same in the words of chats: `{room, text}`, delivered as `{sender, text, room, timestamp}`.
    pub chat_message: Vec<String>,
    /// To one socket: `{to, message}`, delivered as `{from, message, timestamp}`.
    pub private_message: Vec<String>,
    /// Passed on to the others in the room as it is, and kept nowhere.
    pub relayed: Vec<String>,
}

impl Default for Names {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            join: names(&["join-room", "join room"]),
            leave: names(&["leave-room", "leave room"]),
            room_message: names(&["room-message"]),
            chat_message: names(&["chat message"]),
            private_message: names(&["private-message", "private message"]),
            relayed: names(&["typing", "stop-typing", "stop typing"]),
        }
    }
}

/// Everything of the dialect that its operator may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    namespaces: Vec<Box<str>>,
    /// How events are called.
    pub names: Names,
    /// The room that every socket is in, if there is one: what is said without a room is said there.
    pub default_room: Option<String>,
    /// Whether positions are told beside events, so that a connection's state can be recovered.
    pub recovers: bool,
}

/// Why a namespace cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceError {
    /// It cannot be told apart from others in a packet or a channel's name.
    #[error("`{0}`: a namespace begins with `/` and has letters, digits, `-`, `_`, `.` and `/`, 64 bytes at the most")]
    Name(String),
    /// Over [`MAX_NAMESPACES`].
    #[error("at most {MAX_NAMESPACES} namespaces")]
    TooMany,
}

impl Default for Rules {
    fn default() -> Self {
        let namespaces = vec![MAIN_NAMESPACE.into()];
        Self { namespaces, names: Names::default(), default_room: Some("general".to_owned()), recovers: true }
    }
}

impl Rules {
    /// Rules with these namespaces beside `/`.
    ///
    /// # Errors
    /// When one of them cannot be one.
    pub fn new(namespaces: &[String], names: Names, default_room: Option<String>) -> Result<Self, NamespaceError> {
        let mut all: Vec<Box<str>> = vec![MAIN_NAMESPACE.into()];
        for name in namespaces {
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
            if !name.starts_with('/') || name.len() > MAX_NAMESPACE_BYTES || !name.bytes().all(is_plain) {
                return Err(NamespaceError::Name(name.clone()));
            }
            if !all.iter().any(|known| **known == **name) {
                all.push(name.as_str().into());
            }
        }
        if all.len() > MAX_NAMESPACES {
            return Err(NamespaceError::TooMany);
        }
        Ok(Self { namespaces: all, names, default_room, recovers: true })
    }

    /// The number of a namespace, if there is such.
    pub fn namespace(&self, name: &str) -> Option<u8> {
        let name = if name.is_empty() { MAIN_NAMESPACE } else { name };
        let found = self.namespaces.iter().position(|known| **known == *name)?;
        u8::try_from(found).ok()
    }

    /// The name of a namespace.
    pub fn name_of(&self, namespace: u8) -> &str {
        self.namespaces.get(usize::from(namespace)).map_or(MAIN_NAMESPACE, |name| name)
    }

    /// The channel of a room: its name, with what channel names may not hold percent-encoded, behind its namespace.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn channel(&self, namespace: u8, room: &str) -> Result<Channel, String> {
        let mut name = String::with_capacity(room.len() + 8);
        if namespace > 0 {
            name.push_str(self.name_of(namespace));
            name.push(':');
        }
        encode_room(room, namespace == 0, &mut name);
        if room.is_empty() {
            return Err("a room has a name".to_owned());
        }
        Channel::new(&name).map_err(|error| error.to_string())
    }

    /// The namespace and the room of a channel.
    pub fn room(&self, channel: &str) -> (u8, String) {
        if channel.starts_with('/')
            && let Some((namespace, room)) = channel.split_once(':')
            && let Some(number) = self.namespace(namespace).filter(|number| *number > 0)
        {
            return (number, decode_room(room));
        }
        (0, decode_room(channel))
    }

    /// Whether this is the room that every socket is in.
    pub fn is_default(&self, room: &str) -> bool {
        self.default_room.as_deref() == Some(room)
    }
}

/// Names in `/` may not begin like those of another namespace, nor any name like what is reserved.
fn encode_room(room: &str, is_main: bool, into: &mut String) {
    for (index, c) in room.char_indices() {
        let is_first = index == 0 && is_main;
        let reserved = is_first && matches!(c, '/' | '@' | '$');
        if reserved || c == '%' || c.is_control() || c.is_whitespace() || matches!(c, ',' | '{' | '}' | '*') {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                // Writing to a string cannot fail.
                let _ = write!(into, "%{byte:02X}");
            }
        } else {
            into.push(c);
        }
    }
}

/// What is not an encoding stays as it is: channels are named by others too.
fn decode_room(name: &str) -> String {
    if !name.contains('%') {
        return name.to_owned();
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|two| byte == b'%' && two.iter().all(u8::is_ascii_hexdigit));
        match digits.and_then(|two| std::str::from_utf8(two).ok()).and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_channels_and_back_again_whatever_they_are_called() {
        let rules = Rules::new(&["/admin".to_owned()], Names::default(), None).unwrap();
        for room in ["lobby", "General Chat", "100%", "/admin:x", "a,b{c}*", "@all", "räksmörgås", "%2F", "1"] {
            for namespace in [0, 1] {
                let channel = rules.channel(namespace, room).unwrap();
                assert_eq!(rules.room(&channel), (namespace, room.to_owned()), "{channel}");
            }
        }
        assert_eq!(&*rules.channel(0, "General Chat").unwrap(), "General%20Chat");
        assert_eq!(&*rules.channel(1, "lobby").unwrap(), "/admin:lobby");
        assert_ne!(rules.channel(0, "/admin:lobby"), rules.channel(1, "lobby"), "no way into another namespace");
        assert!(rules.channel(0, "").is_err() && rules.channel(0, &"x".repeat(256)).is_err());
    }

    #[test]
    fn channels_that_others_have_named_are_rooms_too() {
        let rules = Rules::default();
        assert_eq!(rules.room("/nowhere:x"), (0, "/nowhere:x".to_owned()));
        assert_eq!(rules.room("50%"), (0, "50%".to_owned()));
        assert_eq!(rules.room("%ff"), (0, "%ff".to_owned()), "not UTF-8");
    }

    #[test]
    fn a_namespace_has_a_name_that_fits_packets_and_channels() {
        let new = |names: &[&str]| {
            Rules::new(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>(), Names::default(), None)
        };
        let rules = new(&["/admin", "/", "/admin", "/a/b-c_d.e"]).unwrap();
        assert_eq!((rules.namespace("/"), rules.namespace(""), rules.namespace("/admin")), (Some(0), Some(0), Some(1)));
        assert_eq!(rules.namespace("/nope"), None);
        for wrong in ["admin", "/a:b", "/a,b", "/a b", ""] {
            assert!(matches!(new(&[wrong]), Err(NamespaceError::Name(_))), "{wrong}");
        }
        let many: Vec<String> = (0..MAX_NAMESPACES).map(|n| format!("/{n}")).collect();
        assert_eq!(Rules::new(&many, Names::default(), None), Err(NamespaceError::TooMany));
    }
}
