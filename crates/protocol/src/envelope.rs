//! The form in which nodes hand publications and membership changes to one another, versioned by its first byte.
//!
//! ```text
//! envelope    = version(1) kind(1) body
//! kind 1 body = epoch_len(1) epoch first_offset(8) record*      publications; epoch_len 0: a channel without positions
//! kind 2 body = change(1) cause(1) client user info             membership
//! kind 3 body =                                                 renewed
//! record      = length(4) flags(1) content(1) stamp(8) time_ms(8) [event] [client] [user] [info] [retain] data
//! text        = length(2) bytes                                 event, client, user, info, retain
//! ```
//! Integers are big-endian. A record carries its own length, so the publishing script joins records that it never
//! parses, and the log holds the same bytes that travel. The publications of one envelope have consecutive offsets.
//!
//! A flag that a reader does not know makes it refuse the record, since the flag stands for bytes. `retain` came later
//! than the others: an older reader refuses the records that have one, tells its subscribers a gap for exactly those, and
//! reads all others as ever.
//!
//! Decoding shares the received buffer: no payload is copied.

use crate::{Cause, Content, Epoch, Member, Origin, Payload, Publication, Text};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The version this build writes. A reader refuses others, so a rolling upgrade adds a version to readers first.
pub const ENVELOPE_VERSION: u8 = 1;

const KIND_PUBLICATIONS: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;
const KIND_RENEWED: u8 = 3;

const NO_ECHO: u8 = 1;
const HAS_EVENT: u8 = 2;
const HAS_FROM: u8 = 4;
const HAS_USER: u8 = 8;
const HAS_INFO: u8 = 16;
const HAS_RETAIN: u8 = 32;
const KNOWN_FLAGS: u8 = NO_ECHO | HAS_EVENT | HAS_FROM | HAS_USER | HAS_INFO | HAS_RETAIN;

/// What travels on a channel's topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Envelope {
    /// One or more publications with consecutive offsets.
    Publications {
        /// The life of the log the offsets count in; absent in channels without positions.
        epoch: Option<Epoch>,
        /// In order.
        publications: Vec<Publication>,
    },
    /// A user came or went.
    Membership(Membership),
    /// The log went back in time and its epoch has ended: whoever follows it compares. The script that ends an epoch
    /// says so. Readers that do not know the word compare as well, as they do after anything that they cannot read.
    Renewed,
}

/// A user came to a channel or left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Who; `clients` is 1 for a join and 0 for a leave.
    pub member: Member,
    /// The connection that made the difference.
    pub client: Text,
    /// Why the user went; absent for a join.
    pub left: Option<Cause>,
}

/// Why bytes were not an envelope. Never shown to clients: the bytes came from another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Ends in the middle.
    #[error("the envelope ends early")]
    Short,
    /// Written by a newer node.
    #[error("envelope version {0} is not known here")]
    Version(u8),
    /// A byte that says nothing known.
    #[error("the envelope holds an unknown {0}")]
    Unknown(&'static str),
    /// Text that is not UTF-8.
    #[error("the envelope holds text that is not UTF-8")]
    Text,
}

impl Envelope {
    /// Reads an envelope.
    pub fn decode(mut bytes: Bytes) -> Result<Self, EnvelopeError> {
        match byte(&mut bytes)? {
            ENVELOPE_VERSION => {}
            other => return Err(EnvelopeError::Version(other)),
        }
        match byte(&mut bytes)? {
            KIND_PUBLICATIONS => decode_publications(bytes),
            KIND_MEMBERSHIP => decode_membership(bytes),
            KIND_RENEWED if bytes.is_empty() => Ok(Self::Renewed),
            KIND_RENEWED => Err(EnvelopeError::Unknown("rest")),
            _ => Err(EnvelopeError::Unknown("kind")),
        }
    }
}

fn decode_publications(mut bytes: Bytes) -> Result<Envelope, EnvelopeError> {
    let epoch_len = usize::from(byte(&mut bytes)?);
    let epoch = text(take(&mut bytes, epoch_len)?)?;
    let first = u64_be(&mut bytes)?;
    let positioned = epoch_len > 0;
    let mut publications = Vec::new();
    while bytes.has_remaining() {
        let offset = first.checked_add(publications.len() as u64).ok_or(EnvelopeError::Unknown("offset"))?;
        publications.push(decode_record(&mut bytes, positioned.then_some(offset))?);
    }
    if publications.is_empty() {
        return Err(EnvelopeError::Short);
    }
    Ok(Envelope::Publications { epoch: positioned.then_some(epoch), publications })
}

/// Reads one record, as the log holds it. `offset` is its place, which the record itself does not bear.
pub fn decode_record(bytes: &mut Bytes, offset: Option<u64>) -> Result<Publication, EnvelopeError> {
    let length = u32_be(bytes)? as usize;
    let mut record = take(bytes, length)?;
    let flags = byte(&mut record)?;
    let of_nobody = flags & HAS_FROM == 0 && flags & (HAS_USER | HAS_INFO) != 0;
    if flags & !KNOWN_FLAGS != 0 || of_nobody {
        // A flag stands for bytes: passed over, they would be read as part of the payload.
        return Err(EnvelopeError::Unknown("flag"));
    }
    let content = Content::from_byte(byte(&mut record)?).ok_or(EnvelopeError::Unknown("content type"))?;
    let stamp = u64_be(&mut record)?;
    let time_ms = u64_be(&mut record)?;
    let event = optional_text(&mut record, flags & HAS_EVENT != 0)?;
    let from = if flags & HAS_FROM != 0 {
        Some(Origin {
            client: short_text(&mut record)?,
            user: optional_text(&mut record, flags & HAS_USER != 0)?,
            info: optional_text(&mut record, flags & HAS_INFO != 0)?,
        })
    } else {
        None
    };
    let retain = optional_text(&mut record, flags & HAS_RETAIN != 0)?;
    if content != Content::Binary && std::str::from_utf8(&record).is_err() {
        return Err(EnvelopeError::Text);
    }
    let data = Payload { content, bytes: record };
    Ok(Publication { offset, data, event, retain, from, time_ms, echo: flags & NO_ECHO == 0, stamp })
}

/// Writes one record. Texts over 65,535 bytes are cut off at the limit that dialects keep far below; `info` is left out
/// then, since half a JSON value would spoil every message it is part of.
pub fn encode_record(publication: &Publication) -> Bytes {
    let from = publication.from.as_ref();
    let user = from.and_then(|f| f.user.as_ref());
    let info = from.and_then(|f| whole(f.info.as_ref()));
    let mut flags = 0;
    for (set, flag) in [
        (!publication.echo, NO_ECHO),
        (publication.event.is_some(), HAS_EVENT),
        (from.is_some(), HAS_FROM),
        (user.is_some(), HAS_USER),
        (info.is_some(), HAS_INFO),
        (publication.retain.is_some(), HAS_RETAIN),
    ] {
        flags |= if set { flag } else { 0 };
    }
    let mut out = BytesMut::with_capacity(publication.data.bytes.len() + 128);
    out.put_u32(0);
    out.put_u8(flags);
    out.put_u8(publication.data.content as u8);
    out.put_u64(publication.stamp);
    out.put_u64(publication.time_ms);
    let texts = [publication.event.as_ref(), from.map(|f| &f.client), user, info, publication.retain.as_ref()];
    for text in texts.into_iter().flatten() {
        put_text(&mut out, text);
    }
    out.put_slice(&publication.data.bytes);
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&length.to_be_bytes());
    out.freeze()
}

/// Joins records, at least one, into an envelope: what the publishing script does in Lua, for brokers that have no script.
/// An epoch is 1 to 255 bytes long; a longer one cannot be told, so the publications go without positions.
pub fn encode_publications(epoch: Option<&Epoch>, first_offset: u64, records: &[Bytes]) -> Bytes {
    let (epoch_len, epoch) =
        epoch.and_then(|epoch| Some((u8::try_from(epoch.len()).ok()?, epoch.as_str()))).unwrap_or_default();
    let total: usize = records.iter().map(Bytes::len).sum();
    let mut out = BytesMut::with_capacity(total + epoch.len() + 11);
    out.put_u8(ENVELOPE_VERSION);
    out.put_u8(KIND_PUBLICATIONS);
    out.put_u8(epoch_len);
    out.put_slice(epoch.as_bytes());
    out.put_u64(first_offset);
    for record in records {
        out.put_slice(record);
    }
    out.freeze()
}

/// Writes a membership change; its texts are limited as in [`encode_record`].
pub fn encode_membership(change: &Membership) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    out.put_u8(ENVELOPE_VERSION);
    out.put_u8(KIND_MEMBERSHIP);
    out.put_u8(u8::from(change.left.is_some()));
    out.put_u8(change.left.map_or(0, |cause| cause as u8));
    put_text(&mut out, &change.client);
    put_text(&mut out, &change.member.user);
    if let Some(info) = whole(change.member.info.as_ref()) {
        put_text(&mut out, info);
    }
    out.freeze()
}

fn decode_membership(mut bytes: Bytes) -> Result<Envelope, EnvelopeError> {
    let left = match (byte(&mut bytes)?, byte(&mut bytes)?) {
        (0, 0) => None,
        (1, cause) => Some(Cause::from_byte(cause).ok_or(EnvelopeError::Unknown("cause"))?),
        _ => return Err(EnvelopeError::Unknown("change")),
    };
    let client = short_text(&mut bytes)?;
    let user = short_text(&mut bytes)?;
    let has_info = bytes.has_remaining();
    let info = optional_text(&mut bytes, has_info)?;
    if bytes.has_remaining() {
        return Err(EnvelopeError::Unknown("rest"));
    }
    let member = Member { user, clients: u64::from(left.is_none()), info };
    Ok(Envelope::Membership(Membership { member, client, left }))
}

/// Writes the word that an epoch has ended: what the script that ends it says in Lua.
pub fn encode_renewed() -> Bytes {
    Bytes::from_static(&[ENVELOPE_VERSION, KIND_RENEWED])
}

/// A text that [`put_text`] would not cut.
fn whole(text: Option<&Text>) -> Option<&Text> {
    text.filter(|text| text.len() <= usize::from(u16::MAX))
}

pub(crate) fn put_text(out: &mut BytesMut, text: &Text) {
    let text = text.as_str();
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.put_u16(u16::try_from(end).unwrap_or(0));
    out.put_slice(&text.as_bytes()[..end]);
}

pub(crate) fn take(bytes: &mut Bytes, length: usize) -> Result<Bytes, EnvelopeError> {
    if bytes.len() < length { Err(EnvelopeError::Short) } else { Ok(bytes.split_to(length)) }
}

pub(crate) fn byte(bytes: &mut Bytes) -> Result<u8, EnvelopeError> {
    take(bytes, 1).map(|b| b[0])
}

pub(crate) fn u32_be(bytes: &mut Bytes) -> Result<u32, EnvelopeError> {
    take(bytes, 4).map(|mut b| b.get_u32())
}

pub(crate) fn u64_be(bytes: &mut Bytes) -> Result<u64, EnvelopeError> {
    take(bytes, 8).map(|mut b| b.get_u64())
}

fn text(bytes: Bytes) -> Result<Text, EnvelopeError> {
    Text::from_utf8(bytes).map_err(|_| EnvelopeError::Text)
}

pub(crate) fn short_text(bytes: &mut Bytes) -> Result<Text, EnvelopeError> {
    let length = usize::from(take(bytes, 2)?.get_u16());
    text(take(bytes, length)?)
}

pub(crate) fn optional_text(bytes: &mut Bytes, present: bool) -> Result<Option<Text>, EnvelopeError> {
    present.then(|| short_text(bytes)).transpose()
}
