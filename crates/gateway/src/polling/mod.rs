//! What all sessions share whose clients poll, whatever they speak: their names, one poll at a time, and requests that come
//! to another worker or node than theirs.

pub mod calls;
mod hold;
mod name;

pub use hold::{abandon, hold, idle, lose, release};
pub use name::{is_same, parse_sid, secret, sid};

use protocol::forward::Secret;

/// A native session whose client polls.
#[derive(Debug)]
pub struct Polled {
    /// Proves that a request is for it.
    pub secret: Secret,
    /// A message is being taken.
    pub is_posting: bool,
    /// The last poll that was answered with something.
    pub answered: Option<u64>,
}

impl Polled {
    /// A session that has said nothing.
    pub fn new(secret: Secret) -> Self {
        Self { secret, is_posting: false, answered: None }
    }
}
