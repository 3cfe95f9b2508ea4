//! The words that clients, gateways and nodes exchange, and their bytes: no sockets, clocks, tasks or Redis.
//!
//! A *dialect* turns the bytes of one client into [`Command`]s and turns [`Outgoing`] replies and pushes into
//! frames for it. The [`envelope`] module is the form in which nodes hand publications to one another.

pub mod channel;
pub mod close;
pub mod command;
pub mod dialect;
pub mod envelope;
pub mod error;
pub mod forward;
pub mod order;
pub mod outgoing;
pub mod payload;
pub mod publication;
pub mod text;
pub mod whereabouts;

pub use channel::{Channel, ChannelError};
pub use close::{CloseCode, Reconnect};
pub use command::{Command, History, Publish, Request, Send, Since, Subscribe};
pub use error::{ErrorCode, Refusal};
pub use order::Order;
pub use outgoing::{Cause, Members, Outgoing, Push, Reply, Welcome};
pub use payload::{Content, Payload};
pub use publication::{Epoch, Member, Origin, Position, Publication};
pub use text::Text;

/// The version of the native wire, sent in every `welcome`.
pub const WIRE_VERSION: u32 = 1;
