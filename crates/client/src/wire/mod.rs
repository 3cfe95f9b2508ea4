//! The client's side of the native wire: commands to text, and text to replies and pushes.

mod bodies;
mod decode;
mod encode;
#[cfg(test)]
mod golden;

pub(crate) use decode::{Incoming, Push, Reply, Subscribed, Welcome, decode};
pub(crate) use encode::{Command, Place, Since, encode};
