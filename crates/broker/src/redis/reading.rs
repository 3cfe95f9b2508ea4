//! Readings of a channel's meta and log, or state: the command, and its answer.

use super::positions::{Log, Mark, Reading};
use super::scripts;
use crate::epoch::random_epoch;
use bytes::{Buf, Bytes};
use link::KeySpace;
use protocol::envelope::decode_record;
use protocol::{Channel, Epoch, Publication};
use redis::{Cmd, Value};
use std::time::Duration;

/// What to read: a part of the log, or the state.
pub(super) enum Part {
    None,
    State,
    /// From the older bound to the newer one.
    Forward {
        count: u64,
        from: String,
    },
    /// From the newer bound to the older one.
    Reverse {
        count: u64,
        from: String,
    },
}

/// A channel's meta and what was asked for, as one moment.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) epoch: Epoch,
    pub(super) top: u64,
    stamp: Option<u64>,
    begin: u64,
    has_state: bool,
    /// Each with its offset; those that cannot be read are absent.
    entries: Vec<(u64, Option<Publication>)>,
}

/// The command that reads; a channel that nobody has published to is remembered for `unused_ttl` from then on.
pub(super) fn command(keys: &KeySpace, channel: &Channel, part: &Part, unused_ttl: Duration) -> Cmd {
    let mut command = scripts::read(&[keys.meta(channel), keys.log(channel), keys.state(channel)]);
    command.arg(random_epoch()).arg(unused_ttl.as_millis() as u64);
    match part {
        Part::None => command.arg(0).arg("").arg("").arg(""),
        Part::State => command.arg(0).arg("HGETALL").arg("").arg(""),
        Part::Forward { count, from } => command.arg(*count).arg("XRANGE").arg(from).arg("+"),
        Part::Reverse { count, from } => command.arg(*count).arg("XREVRANGE").arg(from).arg("-"),
    };
    command
}

/// The command that has a channel remembered that nobody has published to. One that somebody has is not shortened.
pub(super) fn renewal(keys: &KeySpace, channel: &Channel, unused_ttl: Duration) -> Cmd {
    let mut command = redis::cmd("PEXPIRE");
    command.arg(keys.meta(channel)).arg(unused_ttl.as_millis() as u64).arg("GT");
    command
}

/// The command that asks when, in Redis' own clock, the epoch before the present one ended; nothing, if none has.
pub(super) fn end_of_last_epoch(keys: &KeySpace, channel: &Channel) -> Cmd {
    let mut command = redis::cmd("HGET");
    command.arg(keys.meta(channel)).arg("t");
    command
}

/// The command that ends an epoch; its answer has no log.
pub(super) fn end_of_epoch(keys: &KeySpace, channel: &Channel, epoch: &Epoch) -> Cmd {
    let mut command = scripts::epoch(&[keys.meta(channel), keys.state(channel), keys.topic(channel)]);
    command.arg(epoch.as_str()).arg(random_epoch());
    command
}

impl Answer {
    /// Reads an answer; `None` if it is something else.
    pub(super) fn parse(value: Value) -> Option<Self> {
        let Value::Array(values) = value else { return None };
        let [epoch, top, stamp, begin, has_state, entries] = <[Value; 6]>::try_from(values).ok()?;
        let Value::Array(entries) = entries else { return None };
        let stamp = bytes(stamp).and_then(|stamp| Some(u64::from_be_bytes(stamp[..].try_into().ok()?)));
        Some(Self {
            epoch: Epoch::from_utf8(bytes(epoch)?).ok()?,
            top: number(top)?,
            stamp,
            begin: number(begin).unwrap_or(0),
            has_state: number(has_state)? > 0,
            entries: entries.into_iter().map(entry).collect::<Option<_>>()?,
        })
    }

    /// Where the channel stands.
    pub(super) fn mark(&self) -> Mark {
        Mark { epoch: self.epoch.clone(), offset: self.top, stamp: self.stamp }
    }

    /// How many of the entries no build here can read.
    pub(super) fn undecodable(&self) -> usize {
        self.entries.iter().filter(|(_, publication)| publication.is_none()).count()
    }

    /// The publications.
    pub(super) fn publications(self) -> Vec<Publication> {
        self.entries.into_iter().filter_map(|(_, publication)| publication).collect()
    }

    /// For a track; `asked` is how many entries of the log were asked for, if any.
    pub(super) fn reading(self, asked: Option<u64>) -> Reading {
        let (epoch, begin, top, stamp) = (self.epoch.clone(), self.begin, self.top, self.stamp);
        let has_state = self.has_state;
        let log = asked.map(|asked| {
            let is_part = self.entries.len() as u64 >= asked;
            let last = self.entries.last().map(|(offset, _)| *offset).filter(|_| is_part);
            Log { through: last.unwrap_or(top), publications: self.publications() }
        });
        Reading { epoch, begin, top, stamp, has_state, log }
    }
}

/// How many publications an answer of the reading script holds, for the crate `fuzz`; `None` if it is something else.
#[cfg(feature = "fuzzing")]
pub fn read_answer(value: Value) -> Option<usize> {
    Answer::parse(value).map(|answer| answer.reading(Some(1)).log.map_or(0, |log| log.publications.len()))
}

fn entry(value: Value) -> Option<(u64, Option<Publication>)> {
    if let Value::BulkString(_) = value {
        return entry_of_state(bytes(value)?);
    }
    let [id, fields] = array(value)?;
    let id = bytes(id)?;
    let offset = std::str::from_utf8(&id).ok()?.split('-').next()?.parse().ok()?;
    let publication = array(fields).and_then(|[_, record]| decode_record(&mut bytes(record)?, Some(offset)).ok());
    Some((offset, publication))
}

/// Offset, end of its time, record.
fn entry_of_state(mut value: Bytes) -> Option<(u64, Option<Publication>)> {
    let (offset, _ends) = (value.try_get_u64().ok()?, value.try_get_u64().ok()?);
    Some((offset, decode_record(&mut value, Some(offset)).ok()))
}

fn array(value: Value) -> Option<[Value; 2]> {
    match value {
        Value::Array(values) => values.try_into().ok(),
        _ => None,
    }
}

fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        _ => None,
    }
}

pub(super) fn number(value: Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(number).ok(),
        other => std::str::from_utf8(&bytes(other)?).ok()?.parse().ok(),
    }
}
