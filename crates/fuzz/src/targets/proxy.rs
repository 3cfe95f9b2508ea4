//! The PROXY protocol in front of a stream: read as a socket gives it, never beyond its header, never for ever.

use crate::cost;
use gateway::http::fuzzing::{PROXY_HEADER_BYTES_MAX, proxy_header};

pub(super) const WORDS: &[&str] = &[
    "PROXY ",
    "TCP4 ",
    "TCP6 ",
    "UNKNOWN",
    "192.0.2.1 ",
    "::ffff:192.0.2.1 ",
    "65536 ",
    "+1",
    "\r\n",
    "\r\n\r\n\0\r\nQUIT\n",
    "\u{21}\u{11}\0\u{c}",
    "\u{20}\0\0\0",
];
pub(super) const GOLDEN: &[&str] = &[];

/// A line of version 1 is split into words; version 2 is looked at where it lies.
const MULTIPLE: u64 = 0;
const BASE_BYTES: u64 = 4_096;

/// Reads as many bytes as are asked for, until it is known what they are.
pub fn check(data: &[u8]) {
    let mut read = 0;
    loop {
        let (seen, rest) = data.split_at(read);
        match cost::within(seen.len(), MULTIPLE, BASE_BYTES, || proxy_header(seen)) {
            Ok(Err(more)) => {
                assert!(more > 0 && read + more <= PROXY_HEADER_BYTES_MAX, "{more} more bytes after {read}");
                if rest.len() < more {
                    return;
                }
                read += more;
            }
            Ok(Ok(address)) => {
                assert!(address.is_none_or(|address| address.ip() == address.ip().to_canonical()));
                // Nothing of what follows belongs to it.
                return assert!(read <= PROXY_HEADER_BYTES_MAX);
            }
            Err(()) => return,
        }
    }
}
