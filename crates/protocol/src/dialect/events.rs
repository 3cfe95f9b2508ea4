//! `/sse`: the native objects as server-sent events (HTML Living Standard, section 9.2), and the ids by which whoever comes
//! back goes on where it left off.
//!
//! An object is encoded once for all streams, behind a line that says which place of which channel it moves; each
//! [`Stream`] makes an event of it, whose `id` are the places of all its channels. The line never leaves the gateway:
//!
//! ```text
//! =                          no place
//! @ OFFSET EPOCH CHANNEL     the channel's place; `-` for the epoch that it is in
//! + ID CHANNEL [OFFSET EPOCH]  the subscription stands, and goes on from here
//! ! ID CODE [RETRY_AFTER_MS]  it is refused
//! ~ AFTER_MS                 to come back so long after the close
//! :                          a sign of life
//! ```

use super::Messages;
use super::json::{self, encode_close};
use crate::{Channel, Epoch, ErrorCode, Outgoing, Position, Publication, Push, Reply};

/// The most channels of one stream: with each of its events go the places of all.
pub const MAX_CHANNELS: usize = 100;

/// The longest id that is read: [`MAX_CHANNELS`] places of at most 50 bytes each.
pub const MAX_ID_BYTES: usize = MAX_CHANNELS * 50;

/// Writes anything that goes to a client.
pub fn encode(outgoing: &Outgoing, out: &mut dyn Messages) {
    match outgoing {
        Outgoing::Reply { id, reply } => reply_to(*id, reply, outgoing, out),
        Outgoing::Refused { id, refusal } => {
            let id = id.unwrap_or_default();
            let wait = refusal.retry_after_ms.map(|ms| format!(" {ms}")).unwrap_or_default();
            event(&format!("! {id} {}{wait}", refusal.code.as_str()), out, &mut |buffer| {
                json::encode_answer(buffer, &Err(refusal.clone()));
            });
        }
        Outgoing::Push(Push::Publication { channel, publication }) => {
            encode_publication(channel, None, publication, out);
        }
        Outgoing::Push(Push::Gap { channel, to: Some(to), epoch, .. }) => {
            push(&place(channel, epoch.as_ref(), *to), outgoing, out);
        }
        Outgoing::Push(Push::Reconnect { after_ms, .. }) => push(&format!("~ {after_ms}"), outgoing, out),
        Outgoing::Push(_) => push("=", outgoing, out),
    }
}

/// Writes one publication of a live channel; its offset counts in `epoch`.
pub fn encode_publication(channel: &Channel, epoch: Option<&Epoch>, it: &Publication, out: &mut dyn Messages) {
    let line = it.offset.map_or_else(|| "=".to_owned(), |offset| place(channel, epoch, offset));
    event(&line, out, &mut |buffer| json::write_publication::<json::Json>(buffer, channel, it));
}

/// Writes a sign of life.
pub fn heartbeat(out: &mut dyn Messages) {
    out.text(&mut |buffer| buffer.push(b':'));
}

fn place(channel: &Channel, epoch: Option<&Epoch>, offset: u64) -> String {
    format!("@ {offset} {} {channel}", epoch.map_or("-", |epoch| epoch))
}

fn push(line: &str, outgoing: &Outgoing, out: &mut dyn Messages) {
    event(line, out, &mut |buffer| json::write::<json::Json>(buffer, outgoing));
}

/// Line ends within an object are between its tokens: payloads are JSON of others. An event's data is one line.
fn event(line: &str, out: &mut dyn Messages, write: &mut dyn FnMut(&mut Vec<u8>)) {
    out.text(&mut |buffer| {
        buffer.extend_from_slice(line.as_bytes());
        buffer.push(b'\n');
        let start = buffer.len();
        write(buffer);
        for byte in &mut buffer[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    });
}

/// What was missed comes as publications like all others, behind the word that the subscription stands.
fn reply_to(id: u64, reply: &Reply, outgoing: &Outgoing, out: &mut dyn Messages) {
    let Reply::Subscribed { channel, position, recovered, publications, .. } = reply else {
        return push("=", outgoing, out);
    };
    let first = publications.first().and_then(|publication| publication.offset);
    let from = first.map_or_else(|| position.as_ref().map_or(0, |p| p.offset), |first| first.saturating_sub(1));
    let place = position.as_ref().map(|p| format!(" {from} {}", p.epoch)).unwrap_or_default();
    event(&format!("+ {id} {channel}{place}"), out, &mut |buffer| {
        json::encode_standing(buffer, channel, position.as_ref(), *recovered);
    });
    for publication in publications {
        encode_publication(channel, position.as_ref().map(|p| &p.epoch), publication, out);
    }
}

/// What became of a subscription of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It stands.
    Stands,
    /// It is refused, and may be asked for again after so long, where that is known.
    Refused(ErrorCode, Option<u64>),
}

impl Answer {
    /// Why, if it is refused.
    pub fn refused(&self) -> Option<ErrorCode> {
        match self {
            Self::Stands => None,
            Self::Refused(code, _) => Some(*code),
        }
    }
}

/// What a stream is written with: its channels, and the places that its client has heard of.
#[derive(Debug, Clone)]
pub struct Stream {
    places: Vec<(Channel, Key, Option<Position>)>,
    has_moved: bool,
}

impl Stream {
    /// A stream of these channels, which goes on from what `id` says of them.
    pub fn new(channels: &[Channel], from: &[Known]) -> Self {
        let keyed: Vec<(Channel, Key)> = channels.iter().map(|channel| (channel.clone(), key(channel))).collect();
        let known = |key: Key| from.iter().find(|known| known.key == key).map(|known| known.position.clone());
        // Two channels with one key, of which there is one in millions: neither is known.
        let is_alone = |key: Key| keyed.iter().filter(|(_, other)| *other == key).count() == 1;
        let place = |(channel, key): &(Channel, Key)| (channel.clone(), *key, known(*key).filter(|_| is_alone(*key)));
        Self { places: keyed.iter().map(place).collect(), has_moved: false }
    }

    /// Its channels, and from where each is to go on.
    pub fn places(&self) -> impl Iterator<Item = (&Channel, Option<&Position>)> {
        self.places.iter().map(|(channel, _, position)| (channel, position.as_ref()))
    }

    /// Makes an event of what was encoded above; tells what it answers, if it does.
    pub fn write(&mut self, message: &[u8], out: &mut Vec<u8>) -> Option<Answer> {
        if message == b":" {
            out.extend_from_slice(b":\n\n");
            return None;
        }
        let at = message.iter().position(|byte| *byte == b'\n')?;
        let (line, json) = (std::str::from_utf8(&message[..at]).ok()?, &message[at + 1..]);
        let mut words = line.split(' ');
        let mut answer = None;
        match words.next()? {
            "@" => {
                let (offset, epoch, channel) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
                self.go_to(channel, Some(epoch).filter(|epoch| *epoch != "-"), offset);
            }
            "+" => {
                answer = Some(Answer::Stands);
                let channel = words.nth(1)?;
                self.begin(channel, words.next().and_then(|offset| offset.parse().ok()).zip(words.next()));
            }
            "!" => {
                let code = words.nth(1)?;
                let code = ErrorCode::ALL.iter().find(|known| known.as_str() == code)?;
                answer = Some(Answer::Refused(*code, words.next().and_then(|ms| ms.parse().ok())));
            }
            "~" => {
                let after_ms: u64 = words.next()?.parse().ok()?;
                retry(after_ms, out);
            }
            _ => {}
        }
        self.id(out);
        data(json, out);
        answer
    }

    /// Writes the end of a stream, which was closed with this code. Whoever is not to come back is refused by what its id
    /// says then; whoever is, waits so long.
    pub fn close(&mut self, code: u16, retry_ms: Option<u64>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: close\n");
        match retry_ms {
            Some(after_ms) => retry(after_ms, out),
            None => out.extend_from_slice(format!("id: {CLOSED}{code}\n").as_bytes()),
        }
        let mut json = Vec::new();
        encode_close(&mut json, code);
        data(&json, out);
    }

    fn begin(&mut self, channel: &str, from: Option<(u64, &str)>) {
        let Some((_, _, place)) = self.places.iter_mut().find(|(known, ..)| known.as_str() == channel) else { return };
        let position = from.map(|(offset, epoch)| Position { epoch: epoch.into(), offset });
        self.has_moved |= *place != position || position.is_some();
        *place = position;
    }

    fn go_to(&mut self, channel: &str, epoch: Option<&str>, offset: u64) {
        let Some((_, _, place)) = self.places.iter_mut().find(|(known, ..)| known.as_str() == channel) else { return };
        match (place.as_mut(), epoch) {
            (Some(position), epoch) if epoch.is_none_or(|epoch| *position.epoch == *epoch) => {
                self.has_moved |= position.offset < offset;
                position.offset = position.offset.max(offset);
            }
            (_, Some(epoch)) => {
                *place = Some(Position { epoch: epoch.into(), offset });
                self.has_moved = true;
            }
            // Nobody knows in which of its lives: as if it had none.
            (_, None) => {}
        }
    }

    /// The `id` line, if it is another one than before.
    fn id(&mut self, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.has_moved) {
            return;
        }
        let start = out.len();
        for (_, key, position) in &self.places {
            let Some(position) = position else { continue };
            out.extend_from_slice(if out.len() == start { b"id: " } else { b"," });
            key.write(out);
            out.extend_from_slice(format!(".{}.{}", position.offset, position.epoch).as_bytes());
        }
        if out.len() > start {
            out.push(b'\n');
        }
    }
}

/// How long a client waits until it comes back, from the end of its stream on.
pub fn retry(after_ms: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("retry: {after_ms}\n").as_bytes());
}

fn data(json: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(json);
    out.extend_from_slice(b"\n\n");
}

/// What an id begins with that leads nowhere.
const CLOSED: char = '!';

/// A channel in an id: 36 bits of its name, because a name may be long and the URL says it anyhow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(u64);

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Characters of a key, 6 bits each.
const KEY_DIGITS: u32 = 6;

/// FNV-1a, folded: ids are made and read by any node, of any version.
fn key(channel: &str) -> Key {
    let hash = channel
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    Key((hash ^ hash >> 36) & ((1 << (6 * KEY_DIGITS)) - 1))
}

impl Key {
    fn write(self, out: &mut Vec<u8>) {
        out.extend((0..KEY_DIGITS).rev().map(|digit| DIGITS[(self.0 >> (6 * digit)) as usize & 63]));
    }

    fn read(text: &str) -> Option<Self> {
        let digit = |byte| DIGITS.iter().position(|known| *known == byte).map(|digit| digit as u64);
        let number = text.bytes().try_fold(0, |number: u64, byte| Some(number << 6 | digit(byte)?));
        number.filter(|_| text.len() == KEY_DIGITS as usize).map(Self)
    }
}

/// A place that an id tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    key: Key,
    position: Position,
}

/// What an id says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// Where its client is in its channels.
    Places(Vec<Known>),
    /// That it was closed with this code, and is not to come back by itself.
    Closed(u16),
}

/// Reads an id; `None` for what no stream has ever been given.
pub fn read_id(text: &str) -> Option<Id> {
    if text.len() > MAX_ID_BYTES {
        return None;
    }
    if let Some(code) = text.strip_prefix(CLOSED) {
        return digits(code).map(Id::Closed);
    }
    let mut places = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let mut words = part.split('.');
        let (key, offset, epoch) = (Key::read(words.next()?)?, digits(words.next()?)?, words.next()?);
        let is_known = places.iter().any(|known: &Known| known.key == key);
        let is_epoch = !epoch.is_empty() && epoch.len() <= 20 && epoch.bytes().all(|b| b.is_ascii_alphanumeric());
        if is_known || !is_epoch || words.next().is_some() || places.len() == MAX_CHANNELS {
            return None;
        }
        places.push(Known { key, position: Position { epoch: epoch.into(), offset } });
    }
    Some(Id::Places(places))
}

/// Digits alone: Rust would also read a plus.
fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
