//! Bytes from a client to whole messages, within limits and the rules of RFC 6455.

use protocol::CloseCode;
use protocol::dialect::Incoming;
use std::io::Cursor;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode as FrameCloseCode, Control, Data, OpCode};

/// RFC 6455 section 5.5.
const MAX_CONTROL_BYTES: u64 = 125;

/// What the pieces of a fragmented message must hold on average: below it, framing costs more than the content.
const MIN_FRAGMENT_BYTES: usize = 64;

/// Fragments that any message may have, however small its limit.
const FRAGMENTS_FLOOR: usize = 128;

/// How large things may grow.
#[derive(Debug, Clone, Copy)]
pub struct ReaderLimits {
    /// The largest message, all fragments together.
    pub max_message_bytes: usize,
}

impl ReaderLimits {
    /// The largest message as it comes: compressing makes what cannot be compressed a little larger (RFC 1951 section 3.2.4: five
    /// bytes a block; zlib's are at least 16 KiB, others' perhaps shorter).
    fn max_arriving_bytes(&self, is_compressed: bool) -> usize {
        let growth = if is_compressed { self.max_message_bytes / 32 + 64 } else { 0 };
        self.max_message_bytes.saturating_add(growth)
    }

    fn max_fragments(&self) -> usize {
        (self.max_message_bytes / MIN_FRAGMENT_BYTES).max(FRAGMENTS_FLOOR)
    }
}

/// Makes of compressed messages (RFC 7692) what they were.
pub trait Inflate {
    /// The message, which must not become larger than `max_bytes`.
    ///
    /// # Errors
    /// The code to close with.
    fn inflate(&self, compressed: &[u8], max_bytes: usize) -> Result<Vec<u8>, CloseCode>;

    /// Takes back what it gave.
    fn recycle(&self, message: Vec<u8>);
}

/// Where a reader's messages go.
struct Sink<'a> {
    limits: &'a ReaderLimits,
    inflate: Option<&'a dyn Inflate>,
    each: &'a mut dyn FnMut(Event<'_>),
}

/// What a client's frames amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message.
    Message(Incoming<'a>),
    /// A ping, to be answered with the same bytes.
    Ping(&'a [u8]),
    /// A pong: the client lives.
    Pong,
    /// The client says goodbye, perhaps with a code. Nothing it sends after this counts.
    Close(Option<u16>),
}

/// Reassembles messages. Holds memory only while a frame or a message is incomplete.
#[derive(Debug, Default)]
pub struct Reader {
    partial: Option<Box<Partial>>,
}

#[derive(Debug, Default)]
struct Partial {
    /// The bytes of a frame that has not wholly arrived.
    frame: Vec<u8>,
    /// The unmasked fragments of a message that is not finished.
    message: Option<Message>,
    /// Counts what has been finished since, so that the next unfinished thing is known as another one.
    serial: u32,
}

#[derive(Debug)]
struct Message {
    is_text: bool,
    is_compressed: bool,
    fragments: usize,
    bytes: Vec<u8>,
}

impl Reader {
    /// Whether a frame or message is incomplete: only then it holds memory.
    #[cfg(test)]
    fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// What is unfinished, if anything is: the same number as long as it is the same message, or the same frame where no
    /// message has begun. Control frames within a message do not make it another one.
    pub fn unfinished(&self) -> Option<u32> {
        self.partial.as_ref().map(|partial| partial.serial)
    }

    /// What it holds of an incomplete frame or message, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            partial.frame.capacity() + partial.message.as_ref().map_or(0, |message| message.bytes.capacity())
        })
    }

    /// Takes what was read and hands on whatever it completes. `input` is unmasked in place. Without `inflate` no message may
    /// be compressed.
    ///
    /// # Errors
    /// The code to close with: nothing after the violation is looked at.
    pub fn feed(
        &mut self,
        input: &mut [u8],
        limits: &ReaderLimits,
        inflate: Option<&dyn Inflate>,
        each: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), CloseCode> {
        let mut sink = Sink { limits, inflate, each };
        let mut held = match &mut self.partial {
            Some(partial) if !partial.frame.is_empty() => {
                partial.frame.extend_from_slice(input);
                std::mem::take(&mut partial.frame)
            }
            _ => {
                let used = self.frames(input, &mut sink)?;
                return self.keep(&input[used..]);
            }
        };
        let used = self.frames(&mut held, &mut sink)?;
        if used == 0 {
            // Still the same frame: its buffer goes back instead of being copied, or a large frame would cost the square.
            self.partial.get_or_insert_default().frame = held;
            return Ok(());
        }
        self.keep(&held[used..])
    }

    fn keep(&mut self, rest: &[u8]) -> Result<(), CloseCode> {
        if !rest.is_empty() {
            self.partial.get_or_insert_default().frame.extend_from_slice(rest);
        } else if self.partial.as_ref().is_some_and(|p| p.message.is_none()) {
            self.partial = None;
        }
        Ok(())
    }

    /// Handles every whole frame at the start of `input`; returns how many bytes they took.
    fn frames(&mut self, input: &mut [u8], sink: &mut Sink<'_>) -> Result<usize, CloseCode> {
        let mut used = 0;
        loop {
            let mut cursor = Cursor::new(&input[used..]);
            let parsed = FrameHeader::parse(&mut cursor).map_err(|_| CloseCode::ProtocolError)?;
            let Some((header, length)) = parsed else { return Ok(used) };
            let start = used + usize::try_from(cursor.position()).unwrap_or(0);
            let length = self.admit(&header, length, sink)?;
            if input.len() - start < length {
                return Ok(used);
            }
            let payload = &mut input[start..start + length];
            unmask(payload, header.mask.ok_or(CloseCode::ProtocolError)?);
            used = start + length;
            let has_ended = self.frame(&header, payload, sink)?;
            if let Some(partial) = self.partial.as_mut().filter(|partial| partial.message.is_none()) {
                partial.serial = partial.serial.wrapping_add(1);
            }
            if has_ended {
                return Ok(input.len());
            }
        }
    }

    /// Everything that can be said of a frame from its header alone, before any of its payload is kept.
    fn admit(&self, header: &FrameHeader, length: u64, sink: &Sink<'_>) -> Result<usize, CloseCode> {
        // RFC 7692 section 6: a compressed message is known by its first frame.
        let may_be_compressed =
            sink.inflate.is_some() && matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary));
        if header.rsv1 && !may_be_compressed || header.rsv2 || header.rsv3 || header.mask.is_none() {
            return Err(CloseCode::ProtocolError);
        }
        let message = self.partial.as_ref().and_then(|p| p.message.as_ref());
        match header.opcode {
            OpCode::Control(Control::Close | Control::Ping | Control::Pong) => {
                if length > MAX_CONTROL_BYTES || !header.is_final {
                    return Err(CloseCode::ProtocolError);
                }
            }
            // Section 5.4: fragments of different messages are never interleaved.
            OpCode::Data(Data::Text | Data::Binary) if message.is_none() => {}
            OpCode::Data(Data::Continue) if message.is_some() => {}
            _ => return Err(CloseCode::ProtocolError),
        }
        let before = message.map_or(0, |m| m.bytes.len());
        let length = usize::try_from(length).map_err(|_| CloseCode::TooBig)?;
        let max = sink.limits.max_arriving_bytes(message.map_or(header.rsv1, |m| m.is_compressed));
        if length > max.saturating_sub(before) && length > MAX_CONTROL_BYTES as usize {
            return Err(CloseCode::TooBig);
        }
        Ok(length)
    }

    /// Handles one whole frame; true after a close, when nothing more counts.
    fn frame(&mut self, header: &FrameHeader, payload: &[u8], sink: &mut Sink<'_>) -> Result<bool, CloseCode> {
        match header.opcode {
            OpCode::Control(Control::Ping) => (sink.each)(Event::Ping(payload)),
            OpCode::Control(Control::Pong) => (sink.each)(Event::Pong),
            OpCode::Control(_) => {
                (sink.each)(Event::Close(close_code(payload)?));
                return Ok(true);
            }
            OpCode::Data(kind) if header.is_final && kind != Data::Continue => {
                sink.message(kind == Data::Text, header.rsv1, payload)?;
            }
            OpCode::Data(kind) => self.fragment(kind, header, payload, sink)?,
        }
        Ok(false)
    }

    fn fragment(
        &mut self,
        kind: Data,
        header: &FrameHeader,
        payload: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), CloseCode> {
        let partial = self.partial.get_or_insert_default();
        let is_text = kind == Data::Text;
        let begin = || Message { is_text, is_compressed: header.rsv1, fragments: 0, bytes: Vec::new() };
        let message = partial.message.get_or_insert_with(begin);
        message.fragments += 1;
        let max_bytes = sink.limits.max_arriving_bytes(message.is_compressed);
        if message.fragments > sink.limits.max_fragments() || message.bytes.len() + payload.len() > max_bytes {
            return Err(CloseCode::TooBig);
        }
        message.bytes.extend_from_slice(payload);
        if header.is_final
            && let Some(message) = partial.message.take()
        {
            sink.message(message.is_text, message.is_compressed, &message.bytes)?;
        }
        Ok(())
    }
}

impl Sink<'_> {
    /// Hands on a whole message, inflated.
    fn message(&mut self, is_text: bool, is_compressed: bool, payload: &[u8]) -> Result<(), CloseCode> {
        let Some(inflate) = self.inflate.filter(|_| is_compressed) else {
            (self.each)(Event::Message(whole(is_text, payload)?));
            return Ok(());
        };
        let message = inflate.inflate(payload, self.limits.max_message_bytes)?;
        (self.each)(Event::Message(whole(is_text, &message)?));
        inflate.recycle(message);
        Ok(())
    }
}

fn whole(is_text: bool, payload: &[u8]) -> Result<Incoming<'_>, CloseCode> {
    if !is_text {
        return Ok(Incoming::Binary(payload));
    }
    std::str::from_utf8(payload).map(Incoming::Text).map_err(|_| CloseCode::InvalidText)
}

/// Section 7.1.6: no payload, or two bytes of code and a reason in UTF-8.
fn close_code(payload: &[u8]) -> Result<Option<u16>, CloseCode> {
    match payload {
        [] => Ok(None),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !FrameCloseCode::from(code).is_allowed() {
                return Err(CloseCode::ProtocolError);
            }
            std::str::from_utf8(reason).map_err(|_| CloseCode::InvalidText)?;
            Ok(Some(code))
        }
        [_] => Err(CloseCode::ProtocolError),
    }
}

/// Section 5.3, eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(word) ^ wide).to_ne_bytes());
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests;
