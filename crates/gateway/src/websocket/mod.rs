//! RFC 6455 framing for the server's side, without sockets: bytes in, messages out, and the reverse.
//!
//! tungstenite parses and checks frame headers; reassembly, limits and masking are done here, because its own
//! connection keeps and zero-fills a read buffer for every socket, which an idle connection must not cost.

pub mod deflate;
mod pack;
mod read;
mod unframe;
mod write;

pub use pack::Packing;
pub use read::{Event, Inflate, Reader, ReaderLimits};
pub use unframe::{ServerMessage, server_messages};
pub use write::{Frames, close_frame, ping_frame, pong_frame};
