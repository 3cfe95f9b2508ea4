//! What the samples of replies, pushes and envelopes have in common.

use protocol::{Channel, Member, Members, Origin, Payload, Position, Publication};

pub(crate) fn chat() -> Channel {
    Channel::new("chat").unwrap()
}

pub(crate) fn place(offset: u64) -> Position {
    Position { epoch: "k3Zq".into(), offset }
}

/// A connection that nobody has vouched for.
pub(crate) fn anonymous() -> Origin {
    Origin { client: "n1.a.7".into(), user: None, info: None }
}

pub(crate) fn ann() -> Origin {
    Origin { client: "n2.c.9".into(), user: Some("ann".into()), info: Some("{\"name\":\"Ann\"}".into()) }
}

/// What all publications have, and nothing else.
pub(crate) fn bare(data: Payload) -> Publication {
    Publication {
        offset: None,
        data,
        event: None,
        retain: None,
        from: None,
        time_ms: 1_763_700_000_000,
        echo: true,
        stamp: 7,
    }
}

pub(crate) fn hello() -> Publication {
    Publication { offset: Some(1), from: Some(anonymous()), ..bare(Payload::json("\"hello\"")) }
}

/// Everything a publication may have.
pub(crate) fn full() -> Publication {
    let data = Payload::json("{\"text\":\"hello\"}");
    Publication { offset: Some(42), from: Some(ann()), event: Some("message".into()), ..bare(data) }
}

/// One that its channel's state keeps.
pub(crate) fn retained(offset: u64, key: &str, data: &'static str) -> Publication {
    let data = Payload::json(data);
    Publication { offset: Some(offset), from: Some(anonymous()), retain: Some(key.into()), ..bare(data) }
}

/// Text with everything that JSON has to escape, and something of each length in UTF-8.
pub(crate) fn text() -> Payload {
    Payload::text("tab\tquote\"backslash\\bell\u{7}line\nline\r end: é € 🦀 \u{2028}\u{7f}")
}

pub(crate) fn binary() -> Payload {
    Payload::binary(&[0x00, 0xff, 0xfb, 0xef, 0x0a][..])
}

/// A member with all it may have, and one with as little as it may have.
pub(crate) fn member(user: &str, clients: u64, info: Option<&str>) -> Member {
    Member { user: user.into(), clients, info: info.map(Into::into) }
}

pub(crate) fn listed() -> Members {
    let list = vec![member("ann", 2, Some("{\"name\":\"Ann\"}")), member("n1.a.7", 1, None)];
    Members { list: Some(list), clients: 3, users: 2 }
}

pub(crate) fn counted() -> Members {
    Members { list: None, clients: 4711, users: 4000 }
}
