//! Socket.IO protocol 5 over Engine.IO 4: packets, what they ask for, and what is said in them. See `SOCKETIO.md`.
//!
//! [`engine`] and [`packet`] are the two wires; [`Session`] is one connection's state machine: messages in, [`Act`]s out.
//! [`events`] turns what a client emits into commands, and [`encode`] replies and pushes into packets. Rooms are channels.

pub mod attachments;
pub mod encode;
pub mod engine;
pub mod events;
pub mod packet;
pub mod positions;
mod rules;
mod session;

pub use encode::{Ask, connect_error, connected, disconnected};
pub use packet::Violation;
pub use rules::{MAIN_NAMESPACE, MAX_NAMESPACES, Names, NamespaceError, Rules};
pub use session::{Act, Event, Session};
