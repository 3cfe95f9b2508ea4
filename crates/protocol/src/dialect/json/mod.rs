//! `gateway.v1.json`: the native words as JSON text, one object or an array of them a message.

mod decode;
mod encode;
mod fields;
mod notation;
mod plain;
mod readable;

pub use decode::{DEFAULT_HISTORY_LIMIT, MAX_BATCH, command_of, decode};
pub use encode::{encode, encode_publication, write_error_fields, write_member, write_ok_reply, write_string};
pub use fields::MAX_NAME_BYTES;

pub use plain::{Messages, Publications, decode_publications, encode_answer, encode_answers, encode_messages};
pub use plain::{encode_array, encode_close, encode_opened, encode_standing};

pub(super) use decode::{OnlyId, malformed, request};
pub(super) use encode::{Notation, Object, write, write_publication};
pub(super) use fields::{Fields, Place, Written, number};
pub(super) use notation::Json;
pub use readable::{MAX_DATA_DEPTH, check_readable};
