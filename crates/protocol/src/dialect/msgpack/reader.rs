//! MessagePack taken apart, one token after another: nothing is copied, and no length is believed before it is there.

use rmp::Marker;

/// One value, or the head of a container whose items follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'a> {
    Nil,
    Bool(bool),
    /// A whole number from 0 on.
    Unsigned(u64),
    /// A whole number below 0.
    Negative(i64),
    Float(f64),
    /// Text; whether it is UTF-8 is for its reader to check.
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    Array(u32),
    Map(u32),
    /// A type that some application knows.
    Extension,
}

/// Why bytes are no MessagePack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    /// It goes on beyond the message.
    #[error("not MessagePack: it ends too early")]
    Truncated,
    /// The one byte that begins nothing.
    #[error("not MessagePack: no value begins with the byte 0xc1")]
    Reserved,
    /// Something follows.
    #[error("not MessagePack: something follows on its end")]
    More,
}

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value as it is written, with everything in it. Costs neither memory nor stack, however deep it is nested.
    pub(super) fn value(&mut self) -> Result<&'a [u8], Broken> {
        let before = self.rest;
        let mut pending = 1u64;
        while pending > 0 {
            pending -= 1;
            match self.token()? {
                Token::Array(items) => pending += u64::from(items),
                Token::Map(fields) => pending += 2 * u64::from(fields),
                _ => {}
            }
            // Each takes a byte at the least.
            if pending > self.rest.len() as u64 {
                return Err(Broken::Truncated);
            }
        }
        Ok(&before[..before.len() - self.rest.len()])
    }

    /// The next token.
    pub(super) fn token(&mut self) -> Result<Token<'a>, Broken> {
        let [marker] = self.array()?;
        Ok(match Marker::from_u8(marker) {
            Marker::Null => Token::Nil,
            Marker::True => Token::Bool(true),
            Marker::False => Token::Bool(false),
            Marker::FixPos(number) => Token::Unsigned(number.into()),
            Marker::U8 | Marker::U16 | Marker::U32 | Marker::U64 => Token::Unsigned(self.unsigned(marker - 0xcc)?),
            Marker::FixNeg(number) => Token::Negative(number.into()),
            Marker::I8 => signed(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => signed(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => signed(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => signed(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Token::Float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Token::Float(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(length) => Token::Text(self.take(length.into())?),
            Marker::Str8 | Marker::Str16 | Marker::Str32 => Token::Text(self.run(marker - 0xd9)?),
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => Token::Bytes(self.run(marker - 0xc4)?),
            Marker::FixArray(items) => Token::Array(items.into()),
            Marker::Array16 => Token::Array(u16::from_be_bytes(self.array()?).into()),
            Marker::Array32 => Token::Array(u32::from_be_bytes(self.array()?)),
            Marker::FixMap(fields) => Token::Map(fields.into()),
            Marker::Map16 => Token::Map(u16::from_be_bytes(self.array()?).into()),
            Marker::Map32 => Token::Map(u32::from_be_bytes(self.array()?)),
            // Its type, and 1 to 16 bytes.
            Marker::FixExt1 | Marker::FixExt2 | Marker::FixExt4 | Marker::FixExt8 | Marker::FixExt16 => {
                self.extension(1 << (marker - 0xd4))?
            }
            Marker::Ext8 | Marker::Ext16 | Marker::Ext32 => {
                let length = self.unsigned(marker - 0xc7)?;
                self.extension(length)?
            }
            Marker::Reserved => return Err(Broken::Reserved),
        })
    }

    fn extension(&mut self, length: u64) -> Result<Token<'a>, Broken> {
        self.take(length + 1)?;
        Ok(Token::Extension)
    }

    /// As many bytes as the number of 1, 2 or 4 bytes before them says.
    fn run(&mut self, log2: u8) -> Result<&'a [u8], Broken> {
        let length = self.unsigned(log2)?;
        self.take(length)
    }

    /// A number of 1, 2, 4 or 8 bytes.
    fn unsigned(&mut self, log2: u8) -> Result<u64, Broken> {
        let bytes = self.take(1 << log2)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (first, rest) = self.rest.split_first_chunk().ok_or(Broken::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Broken> {
        let length = usize::try_from(length).map_err(|_| Broken::Truncated)?;
        let (first, rest) = self.rest.split_at_checked(length).ok_or(Broken::Truncated)?;
        self.rest = rest;
        Ok(first)
    }
}

/// Some encoders write numbers from 0 on as signed ones.
fn signed<'a>(number: i64) -> Token<'a> {
    u64::try_from(number).map_or(Token::Negative(number), Token::Unsigned)
}
