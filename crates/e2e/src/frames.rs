//! WebSocket frames as bytes (RFC 6455 section 5.2), right ones and wrong ones.

/// Opcodes.
pub const CONTINUATION: u8 = 0x0;
/// See above.
pub const TEXT: u8 = 0x1;
/// See above.
pub const BINARY: u8 = 0x2;
/// See above.
pub const CLOSE: u8 = 0x8;
/// See above.
pub const PING: u8 = 0x9;
/// See above.
pub const PONG: u8 = 0xA;

/// The bit of a message's last frame.
pub const FINAL: u8 = 0x80;

const MASKED: u8 = 0x80;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A whole, masked message or control frame.
pub fn whole(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(FINAL | opcode, payload)
}

/// A masked frame with this first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The header alone of a masked frame that says it is so long.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(MASKED | length as u8),
        126..65536 => {
            bytes.push(MASKED | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(MASKED | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}

/// A short frame without a mask, as only servers may send.
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).ok().filter(|length| *length < 126).expect("a short payload");
    [&[first, length], payload].concat()
}

/// A close with a code and a reason.
pub fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    whole(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// A frame that the gateway has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The first byte: [`FINAL`], reserved bits, opcode.
    pub first: u8,
    /// What it holds.
    pub payload: Vec<u8>,
}

/// Takes the first whole frame off the bytes. The gateway's frames are never masked.
pub fn take(bytes: &mut Vec<u8>) -> Option<Frame> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(second & MASKED, 0, "a server masks nothing");
    let (start, length) = match second {
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().expect("two bytes")) as usize),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().expect("eight bytes")) as usize),
        short => (2, short as usize),
    };
    let payload = bytes.get(start..start + length)?.to_vec();
    bytes.drain(..start + length);
    Some(Frame { first, payload })
}
