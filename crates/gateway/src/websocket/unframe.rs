//! Frames that this side has written, taken apart again: for readers that are no WebSocket.

use std::iter;

/// One message of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerMessage<'a> {
    /// Text.
    Text(&'a [u8]),
    /// Any bytes.
    Binary(&'a [u8]),
    /// The end, with its code.
    Close(Option<u16>),
}

/// The messages of whole frames, one after another, without pings and pongs.
pub fn server_messages(mut frames: &[u8]) -> impl Iterator<Item = ServerMessage<'_>> {
    iter::from_fn(move || {
        loop {
            let (first, payload, rest) = split(frames)?;
            frames = rest;
            match first & 0xf {
                0x1 => return Some(ServerMessage::Text(payload)),
                0x2 => return Some(ServerMessage::Binary(payload)),
                0x8 => {
                    let code = payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
                    return Some(ServerMessage::Close(code));
                }
                _ => {}
            }
        }
    })
}

/// The kinds of frames that hold messages: text and bytes.
pub(super) const DATA: [u8; 2] = [0x1, 0x2];

/// The first frame's first byte and payload, and what follows it. Ours are unmasked and never fragmented.
pub(super) fn split(frames: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[first, length], rest) = frames.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        126 => rest.split_first_chunk::<2>().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?,
        127 => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            (usize::try_from(u64::from_be_bytes(*length)).ok()?, rest)
        }
        short => (usize::from(short), rest),
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    Some((first, payload, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::{Frames, close_frame, ping_frame};
    use protocol::dialect::Messages;

    #[test]
    fn what_is_framed_is_found_again_whatever_its_length() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let mut buffer = Vec::new();
            Frames::new(&mut buffer).text(&mut |buffer| buffer.extend(vec![b'x'; length]));
            ping_frame(&mut buffer);
            Frames::new(&mut buffer).binary(&vec![7; length]);
            close_frame(&mut buffer, Some(4200), "draining");
            let (text, binary) = (vec![b'x'; length], vec![7; length]);
            let expected =
                [ServerMessage::Text(&text), ServerMessage::Binary(&binary), ServerMessage::Close(Some(4200))];
            assert_eq!(server_messages(&buffer).collect::<Vec<_>>(), expected);
        }
    }
}
