//! permessage-deflate (RFC 7692), without sockets: what is agreed upon, messages compressed once for many, messages inflated within
//! a bound.
//!
//! No message refers to an earlier one, in either direction (`no_context_takeover` of both sides): so one compressor and one
//! inflater serve all connections of a worker, and what is compressed for one may be sent to all.

mod compressor;
mod inflater;
mod offer;

pub use compressor::{Compressed, Compressor};
pub use inflater::{Fault, Inflater};
pub use offer::agreed;

/// What the operator says about compression.
#[derive(Debug, Clone, Copy)]
pub struct DeflateConfig {
    /// Whether it is agreed upon with those who offer it.
    pub is_enabled: bool,
    /// Smaller messages are sent as they are.
    pub threshold_bytes: usize,
    /// 1 is the fastest, 9 the smallest.
    pub level: u32,
}

/// How far back the compressed messages to a client refer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// 32 KiB: all that DEFLATE has.
    Whole,
    /// 512 bytes, for those who ask for anything less: two kinds of compressed messages are enough for a turn.
    Least,
}

impl Window {
    /// How many there are.
    pub const COUNT: usize = 2;

    /// A dense number, to index a table by.
    pub const fn index(self) -> usize {
        match self {
            Self::Whole => 0,
            Self::Least => 1,
        }
    }

    /// Its size as a power of two.
    const fn bits(self) -> u8 {
        match self {
            Self::Whole => 15,
            Self::Least => 9,
        }
    }
}

#[cfg(test)]
mod tests;
