//! One connection's state: which namespaces it has entered, and the attachments it still owes.

use super::engine::{self, Packet as EnginePacket};
use super::packet::{self, Kind, Violation};
use super::rules::Rules;
use crate::dialect::Incoming;
use bytes::Bytes;

/// What a client emits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// Where.
    pub namespace: u8,
    /// The number of the answer it asks for.
    pub ack: Option<u64>,
    /// The array: the name and the arguments.
    pub data: &'a str,
    /// The binary parts, in their order.
    pub attachments: &'a [Bytes],
}

/// What a message of a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act<'a> {
    /// To be answered with a pong of the same data.
    Ping(&'a str),
    /// It lives.
    Pong,
    /// Into a namespace; `auth` is a JSON object, or empty.
    Connect {
        /// Which.
        namespace: u8,
        /// What it shows.
        auth: &'a str,
    },
    /// Into a namespace that is not there.
    ConnectNowhere {
        /// As the client called it.
        name: &'a str,
    },
    /// Out of a namespace that it had entered.
    Disconnect {
        /// Which.
        namespace: u8,
    },
    /// An event, whole.
    Event(Event<'a>),
    /// The answer to an event of the gateway's.
    Acked {
        /// Where.
        namespace: u8,
        /// Which.
        ack: u64,
        /// The array of arguments.
        data: &'a str,
    },
    /// The end of the session.
    Close,
}

/// A packet whose attachments have not all come.
#[derive(Debug)]
struct Partial {
    namespace: u8,
    kind: Kind,
    ack: Option<u64>,
    data: String,
    expected: usize,
    attachments: Vec<Bytes>,
}

/// One connection.
#[derive(Debug, Default)]
pub struct Session {
    /// The namespaces that it has entered or is entering, as bits.
    entered: u64,
    partial: Option<Box<Partial>>,
}

impl Session {
    /// What it holds of packets that are not whole, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |p| p.data.len() + p.attachments.iter().map(Bytes::len).sum::<usize>())
    }

    /// Whether it is in a namespace.
    pub fn is_in(&self, namespace: u8) -> bool {
        self.entered & bit(namespace) != 0
    }

    /// The namespaces that it is in.
    pub fn namespaces(&self) -> impl Iterator<Item = u8> + use<> {
        let entered = self.entered;
        (0..64).filter(move |number| entered & bit(*number) != 0)
    }

    /// It is in a namespace: of a session that goes on here.
    pub fn enter(&mut self, namespace: u8) {
        self.entered |= bit(namespace);
    }

    /// It is in a namespace no more: it was not let in, or has been put out.
    pub fn leave(&mut self, namespace: u8) {
        self.entered &= !bit(namespace);
    }

    /// Takes one message.
    ///
    /// # Errors
    /// When no client of the protocol would have sent it: nothing further counts.
    pub fn receive(
        &mut self,
        rules: &Rules,
        message: Incoming<'_>,
        max_bytes: usize,
        each: &mut dyn FnMut(Act<'_>),
    ) -> Result<(), Violation> {
        match message {
            Incoming::Binary(bytes) => self.attachment(Bytes::copy_from_slice(bytes), max_bytes, each),
            Incoming::Text(text) => self.take(rules, engine::packet(text)?, max_bytes, each),
        }
    }

    /// Takes one packet of a payload.
    ///
    /// # Errors
    /// As [`Session::receive`].
    pub fn take(
        &mut self,
        rules: &Rules,
        packet: EnginePacket<'_>,
        max_bytes: usize,
        each: &mut dyn FnMut(Act<'_>),
    ) -> Result<(), Violation> {
        match packet {
            EnginePacket::Close => each(Act::Close),
            EnginePacket::Ping(data) => each(Act::Ping(data)),
            EnginePacket::Pong => each(Act::Pong),
            EnginePacket::Noop => {}
            EnginePacket::Binary(bytes) => return self.attachment(bytes, max_bytes, each),
            EnginePacket::Message(text) => return self.message(rules, text, each),
        }
        Ok(())
    }

    fn message(&mut self, rules: &Rules, text: &str, each: &mut dyn FnMut(Act<'_>)) -> Result<(), Violation> {
        if self.partial.is_some() {
            return Err(Violation("text where an attachment is awaited"));
        }
        let packet = packet::packet(text)?;
        let Some(namespace) = rules.namespace(packet.namespace) else {
            if packet.kind != Kind::Connect {
                return Err(Violation("not in this namespace"));
            }
            each(Act::ConnectNowhere { name: packet.namespace });
            return Ok(());
        };
        match (packet.kind, self.is_in(namespace)) {
            (Kind::Connect, false) => {
                check_auth(packet.data)?;
                self.entered |= bit(namespace);
                each(Act::Connect { namespace, auth: packet.data });
            }
            (Kind::Connect, true) => return Err(Violation("already in this namespace")),
            (_, false) => return Err(Violation("not in this namespace")),
            (Kind::Disconnect, true) => {
                self.leave(namespace);
                each(Act::Disconnect { namespace });
            }
            (Kind::Event | Kind::Ack, true) => {
                if packet.kind == Kind::Event {
                    packet::event(packet.data)?;
                } else {
                    packet::array(packet.data)?;
                }
                let (kind, ack, expected) = (packet.kind, packet.ack, packet.attachments);
                if expected == 0 {
                    return whole(kind, namespace, ack, packet.data, &[], each);
                }
                let data = packet.data.to_owned();
                let attachments = Vec::with_capacity(expected);
                self.partial = Some(Box::new(Partial { namespace, kind, ack, data, expected, attachments }));
            }
        }
        Ok(())
    }

    fn attachment(&mut self, bytes: Bytes, max_bytes: usize, each: &mut dyn FnMut(Act<'_>)) -> Result<(), Violation> {
        let Some(partial) = &mut self.partial else { return Err(Violation("an attachment that belongs to nothing")) };
        partial.attachments.push(bytes);
        if partial.data.len() + partial.attachments.iter().map(Bytes::len).sum::<usize>() > max_bytes {
            return Err(Violation("a packet with its attachments is larger than a message may be"));
        }
        if partial.attachments.len() < partial.expected {
            return Ok(());
        }
        let Some(partial) = self.partial.take() else { return Ok(()) };
        whole(partial.kind, partial.namespace, partial.ack, &partial.data, &partial.attachments, each)
    }
}

fn whole(
    kind: Kind,
    namespace: u8,
    ack: Option<u64>,
    data: &str,
    attachments: &[Bytes],
    each: &mut dyn FnMut(Act<'_>),
) -> Result<(), Violation> {
    match (kind, ack) {
        (Kind::Ack, Some(ack)) => each(Act::Acked { namespace, ack, data }),
        (Kind::Ack, None) => return Err(Violation("an ack without its number")),
        _ => each(Act::Event(Event { namespace, ack, data, attachments })),
    }
    Ok(())
}

/// What a client shows with CONNECT: nothing, or an object.
fn check_auth(data: &str) -> Result<(), Violation> {
    if data.is_empty() {
        return Ok(());
    }
    let is_object = data.starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(data).is_ok();
    is_object.then_some(()).ok_or(Violation("CONNECT bears an object"))
}

const fn bit(namespace: u8) -> u64 {
    1 << (namespace & 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(messages: &[Incoming<'_>]) -> (Vec<String>, Result<(), Violation>) {
        let rules = Rules::new(&["/admin".to_owned()], super::super::Names::default(), None).unwrap();
        let mut session = Session::default();
        let mut acts = Vec::new();
        for message in messages {
            let taken = session.receive(&rules, *message, 1000, &mut |act| acts.push(format!("{act:?}")));
            if taken.is_err() {
                return (acts, taken);
            }
        }
        (acts, Ok(()))
    }

    fn texts(texts: &[&str]) -> (Vec<String>, Result<(), Violation>) {
        run(&texts.iter().map(|text| Incoming::Text(text)).collect::<Vec<_>>())
    }

    #[test]
    fn a_namespace_is_entered_before_anything_is_said_in_it() {
        assert!(texts(&["42[\"a\"]"]).1.is_err());
        assert!(texts(&["40", "42/admin,[\"a\"]"]).1.is_err());
        assert!(texts(&["40", "40"]).1.is_err(), "and once");
        assert!(texts(&["40", "41", "42[\"a\"]"]).1.is_err(), "and not after it was left");
        let (acts, done) = texts(&["40/nope,", "40/admin,{\"t\":1}", "42/admin,3[\"a\"]", "41/admin,", "40/admin,"]);
        assert_eq!((acts.len(), done), (5, Ok(())));
        assert!(acts[0].contains("ConnectNowhere") && acts[1].contains("{\\\"t\\\":1}"), "{acts:?}");
        assert!(texts(&["40[]"]).1.is_err() && texts(&["40{\"a\""]).1.is_err() && texts(&["40null"]).1.is_err());
    }

    #[test]
    fn an_event_comes_with_its_last_attachment() {
        let message = "451-[\"a\",{\"_placeholder\":true,\"num\":0}]";
        let whole = [Incoming::Text("40"), Incoming::Text(message), Incoming::Binary(b"x")];
        let (acts, done) = run(&whole);
        assert_eq!((acts.len(), done), (2, Ok(())));
        assert!(acts[1].contains("attachments: [b\"x\"]"), "{acts:?}");
        assert!(run(&[Incoming::Text("40"), Incoming::Binary(b"x")]).1.is_err());
        assert!(run(&[whole[0], whole[1], Incoming::Text("42[\"b\"]")]).1.is_err());
        assert!(run(&[whole[0], whole[1], Incoming::Text("2")]).1.is_ok(), "heartbeats go on in between");
        assert!(run(&[whole[0], whole[1], Incoming::Binary(&[0; 1000])]).1.is_err(), "all parts count together");
        assert!(run(&[whole[0], Incoming::Text("450-[\"a\"]")]).0[1].contains("Event"), "none are awaited");
    }

    #[test]
    fn what_is_no_event_or_ack_ends_the_session() {
        for wrong in ["42{}", "42", "42[]", "42abc[\"a\"]", "42[\"connect\"]", "43[1]", "430{}", "44{}", "4"] {
            assert!(texts(&["40", wrong]).1.is_err(), "{wrong}");
        }
        assert!(texts(&["40", "437[1]"]).0[1].contains("Acked"));
    }
}
