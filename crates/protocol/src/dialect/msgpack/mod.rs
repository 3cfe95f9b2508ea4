//! `gateway.v1.msgpack`: the native words as MessagePack, the same objects as in JSON, in binary messages.
//!
//! A payload is bytes, or any other value: that travels as JSON text, so that every dialect can read it. What JSON has no
//! form for is refused where it comes in.

mod decode;
mod from_json;
mod notation;
mod reader;
mod to_json;
mod value;

pub use decode::decode;
pub use notation::{encode, encode_publication};
