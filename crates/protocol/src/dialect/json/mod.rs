//! `gateway.v1.json`: the native words as JSON text, one object or an array of them a message.

mod decode;
mod encode;

pub use decode::{MAX_BATCH, MAX_DATA_DEPTH, decode};
pub use encode::{encode, encode_publication};
