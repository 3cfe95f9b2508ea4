//! WebSocket frames as a client sees them: those of servers are read by their headers alone, its own are masked.

/// More is no message of a scenario: whoever announces it is not waited for.
const PAYLOAD_MAX: usize = 1024 * 1024;

/// A frame of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// Text or binary, or a piece of either.
    Data(&'a [u8]),
    /// To be answered.
    Ping(&'a [u8]),
    /// An answer.
    Pong,
    /// The end: its code and reason as they came.
    Close(&'a [u8]),
}

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) &'static str);

/// The first whole frame, and its length with the header; `None` if it has not come to its end.
pub(super) fn first(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Unreadable> {
    let [head, second, rest @ ..] = bytes else { return Ok(None) };
    if second & 0x80 != 0 {
        return Err(Unreadable("a server masks its frames"));
    }
    let (header, length) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (127, [0, 0, 0, 0, a, b, c, d, ..]) => (10, u32::from_be_bytes([*a, *b, *c, *d]) as usize),
        (127, rest) if rest.len() >= 8 => return Err(Unreadable("a frame of more than 4 GiB")),
        (126 | 127, _) => return Ok(None),
        (short, _) => (2, usize::from(short)),
    };
    if length > PAYLOAD_MAX {
        return Err(Unreadable("a frame of more than 1 MiB"));
    }
    let Some(payload) = bytes.get(header..header + length) else { return Ok(None) };
    let frame = match head & 0x0f {
        0..=2 => Frame::Data(payload),
        8 => Frame::Close(payload),
        9 => Frame::Ping(payload),
        10 => Frame::Pong,
        _ => return Err(Unreadable("a frame of an unknown kind")),
    };
    Ok(Some((frame, header + length)))
}

/// Text, as a client sends it.
pub(super) const TEXT: u8 = 1;

/// The answer to a ping.
pub(super) const PONG: u8 = 10;

/// Appends a frame. Its mask is zero, which spares the generator a pass and the server nothing.
pub(super) fn write(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    out.push(0x80 | kind);
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend([0; 4]);
    out.extend(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's frame.
    fn sent(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        write(&mut frame, kind, payload);
        let header = if payload.len() < 126 { 2 } else { 4 };
        frame[1] &= 0x7f;
        frame.drain(header..header + 4);
        frame
    }

    #[test]
    fn frames_are_taken_one_after_another() {
        let long = vec![b'l'; 300];
        let bytes = [sent(TEXT, b"short"), sent(2, &long), sent(9, b"p"), sent(10, b""), sent(8, b"\x03\xe8")].concat();
        let mut rest = &bytes[..];
        let mut frames = Vec::new();
        while let Ok(Some((frame, length))) = first(rest) {
            frames.push(frame);
            rest = &rest[length..];
        }
        let wanted =
            [Frame::Data(b"short"), Frame::Data(&long), Frame::Ping(b"p"), Frame::Pong, Frame::Close(b"\x03\xe8")];
        assert_eq!(frames, wanted);
        assert!(rest.is_empty());
    }

    #[test]
    fn a_frame_that_is_not_whole_is_waited_for() {
        let frame = sent(TEXT, &[b'x'; 200]);
        for end in 0..frame.len() {
            assert_eq!(first(&frame[..end]), Ok(None), "{end} bytes of it");
        }
    }

    #[test]
    fn what_no_server_sends_is_refused() {
        for bytes in [&[0x81, 0x80, 0, 0, 0, 0][..], &[0x81, 127, 0, 0, 0, 0, 1, 0, 0, 0], &[0x83, 0]] {
            assert!(first(bytes).is_err(), "{bytes:?}");
        }
    }
}
