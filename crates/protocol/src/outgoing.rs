//! What the gateway says: replies to commands, and pushes that nobody asked for.

use crate::{Channel, CloseCode, ErrorCode, Member, Origin, Payload, Position, Publication, Refusal, Text};

/// Anything that goes to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// The answer to a command that carried an id.
    Reply {
        /// The id of the command.
        id: u64,
        /// The answer.
        reply: Reply,
    },
    /// A command was refused.
    Refused {
        /// The id of the command, where it had one that could be read.
        id: Option<u64>,
        /// Why.
        refusal: Refusal,
    },
    /// Something the client did not ask for.
    Push(Push),
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To `auth`.
    Authed {
        /// Who the token says this is.
        user: Text,
        /// How long the token still holds, in seconds as in OAuth (RFC 6749 section 5.1).
        expires_in: Option<u64>,
    },
    /// To `subscribe`.
    Subscribed {
        /// Which.
        channel: Channel,
        /// Where the live publications go on from; absent in channels without history.
        position: Option<Position>,
        /// Whether `publications` bridge the whole way from the position the client named.
        recovered: bool,
        /// What the client missed, oldest first.
        publications: Vec<Publication>,
        /// The channel's state: the newest publication of each key, oldest first. Never older than `position`; for those
        /// who recover it may be newer than that.
        state: Vec<Publication>,
        /// Who is there, if asked for.
        members: Option<Members>,
    },
    /// To `unsubscribe`.
    Unsubscribed {
        /// Which.
        channel: Channel,
    },
    /// To `publish`: the broker has it, not that all have received it.
    Published {
        /// Which.
        channel: Channel,
        /// Its place; absent in channels without history and for volatile ones.
        position: Option<Position>,
    },
    /// To `send`: the connection's node has it in that connection's outbox.
    Sent,
    /// To `presence`.
    Presence {
        /// Which.
        channel: Channel,
        /// Who.
        members: Members,
    },
    /// To `history`.
    History {
        /// Which.
        channel: Channel,
        /// In the order asked for.
        publications: Vec<Publication>,
        /// The channel's newest position.
        position: Option<Position>,
    },
    /// To `ping`.
    Pong,
}

/// Who is in a channel, or how many.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    /// One entry a user; absent when only counts were asked for or the channel is too large to list.
    pub list: Option<Vec<Member>>,
    /// Connections.
    pub clients: u64,
    /// Users.
    pub users: u64,
}

/// Why a member left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// It said so.
    Left = 0,
    /// Its connection ended without a word.
    Lost = 1,
    /// The node that held its connection is gone.
    NodeLost = 2,
}

impl Cause {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Lost => "lost",
            Self::NodeLost => "node_lost",
        }
    }

    /// The cause with this number in an envelope.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Left),
            1 => Some(Self::Lost),
            2 => Some(Self::NodeLost),
            _ => None,
        }
    }
}

/// The first push of every connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The connection's id, which others may `send` to.
    pub client: Text,
    /// The node's id.
    pub node: Text,
    /// A random name of this session.
    pub session: Text,
    /// How often the gateway pings.
    pub ping_interval_ms: u64,
    /// Larger messages close the connection with 1009.
    pub max_message_bytes: u64,
}

/// Something the client did not ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push {
    /// Always first.
    Welcome(Welcome),
    /// A publication in a channel the client subscribes to.
    Publication {
        /// Which.
        channel: Channel,
        /// What.
        publication: Publication,
    },
    /// A user came.
    Join {
        /// Where.
        channel: Channel,
        /// Who.
        member: Member,
    },
    /// A user went.
    Leave {
        /// Where.
        channel: Channel,
        /// Who.
        member: Member,
        /// Why.
        cause: Cause,
    },
    /// Publications that can no longer be delivered.
    Gap {
        /// Where.
        channel: Channel,
        /// The first lost offset, where known.
        from: Option<u64>,
        /// The last one, where known: what follows goes on after it.
        to: Option<u64>,
        /// The present epoch.
        epoch: Option<Text>,
    },
    /// A private message.
    Message {
        /// Who sent it.
        from: Origin,
        /// What.
        data: Payload,
        /// The application's name for what happened.
        event: Option<Text>,
        /// When its sender's node took it, in Unix milliseconds.
        time_ms: u64,
    },
    /// The gateway ended a subscription.
    Unsubscribed {
        /// Which.
        channel: Channel,
        /// Why, for programs.
        code: ErrorCode,
        /// Why, for people.
        reason: Text,
    },
    /// The token is about to end.
    Expiring {
        /// In how long.
        in_ms: u64,
    },
    /// The connection will be closed soon: come back then.
    Reconnect {
        /// How long after the close.
        after_ms: u64,
        /// The code the close will bear.
        reason: CloseCode,
    },
}
