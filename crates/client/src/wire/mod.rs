//! The client's side of the native wire: commands to text, and text to replies and pushes.

mod bodies;
mod decode;
mod encode;
#[cfg(test)]
mod golden;

pub(crate) use decode::{Incoming, Push, Reply, Subscribed, Welcome, decode};
/// Reads a message of the gateway, for the crate `fuzz`; whether it is of a type that this client knows.
///
/// # Errors
/// What is broken.
#[cfg(feature = "fuzzing")]
pub fn read_message(text: &str) -> Result<bool, String> {
    decode(text).map(|incoming| incoming.is_some()).map_err(|error| error.to_string())
}

pub(crate) use encode::{Command, Place, Since, encode};
