//! `gateway.v1.json`: the native words as JSON text, one object or an array of them a message.

mod decode;
mod encode;
mod fields;
mod readable;

pub use decode::{DEFAULT_HISTORY_LIMIT, MAX_BATCH, command_of, decode};
pub use encode::{encode, encode_publication, write_error_fields, write_members, write_ok_reply, write_string};
pub use fields::MAX_NAME_BYTES;
pub use readable::{MAX_DATA_DEPTH, check_readable};
