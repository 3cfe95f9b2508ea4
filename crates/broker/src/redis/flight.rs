//! One write to Redis: entries grouped into calls, one for each channel and retention, and what the answers mean.

use super::positions::Mark;
use super::queue::Entry;
use super::scripts;
use crate::{KEY_TTL, META_TTL, Outcome, PublishError, Retention, epoch::random_epoch};
use link::{KeySpace, RedisClock};
use protocol::envelope::encode_publications;
use protocol::{Channel, Epoch, Position};
use redis::{Cmd, ServerError, ServerErrorKind, Value};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Redis refuses this long before a publication's own deadline, so that the answer is back in time.
const MARGIN: Duration = Duration::from_millis(100);

/// A hundred years: Redis refuses a ttl that its clock cannot add up, in the middle of the script.
const TTL_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Entries of one channel and one retention: one call.
pub(super) struct Group {
    channel: Channel,
    retention: Option<Retention>,
    entries: Vec<Entry>,
}

/// What became of a group.
pub(super) enum Landing {
    /// The script ran, and its publishers have been answered; the newest publication of them, if any is new.
    Published(Option<(Channel, Mark)>),
    /// Its publishers have been answered; Redis was not asked to keep anything.
    Done,
    /// Redis does not know the script: nothing was done, and it may be sent again.
    NoScript(Group),
    /// Redis refused it, and its publishers have been told.
    Refused(Channel, ServerError),
}

/// Groups entries so that those of one channel keep their order.
pub(super) fn group(entries: Vec<Entry>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut latest: HashMap<Channel, usize> = HashMap::new();
    for entry in entries {
        let last = latest.get(&entry.channel).and_then(|index| groups.get_mut(*index));
        match last.filter(|group| group.retention == entry.retention) {
            Some(group) => group.entries.push(entry),
            None => {
                latest.insert(entry.channel.clone(), groups.len());
                let (channel, retention) = (entry.channel.clone(), entry.retention);
                groups.push(Group { channel, retention, entries: vec![entry] });
            }
        }
    }
    groups
}

impl Group {
    /// When the last of its publishers stops waiting.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.entries.iter().map(|entry| entry.deadline).max()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn answer(self, outcome: &Outcome) {
        self.entries.into_iter().for_each(|entry| entry.answer(outcome.clone()));
    }

    /// The command that publishes it.
    pub(super) fn command(&self, keys: &KeySpace, clock: RedisClock) -> Cmd {
        match self.retention {
            Some(retention) => self.script_call(retention, keys, clock),
            None => {
                let records: Vec<_> = self.entries.iter().map(|entry| entry.record.clone()).collect();
                let mut command = redis::cmd("PUBLISH");
                command.arg(keys.topic(&self.channel)).arg(&encode_publications(None, 0, &records)[..]);
                command
            }
        }
    }

    fn script_call(&self, retention: Retention, keys: &KeySpace, clock: RedisClock) -> Cmd {
        let channel = &self.channel;
        let mut names = vec![keys.meta(channel), keys.log(channel), keys.topic(channel), keys.state(channel)];
        let idempotency = self.entries.iter().filter_map(|entry| entry.key.as_ref());
        names.extend(idempotency.map(|key| keys.idempotency(channel, key)));
        let mut command = scripts::publish(&names);
        command.arg(random_epoch()).arg(retention.size);
        let (state, ttl, state_ttl) = (retention.state, retention.ttl.min(TTL_MAX), retention.state.ttl.min(TTL_MAX));
        command.arg(ms(ttl)).arg(ms(META_TTL.max(ttl).max(state_ttl))).arg(ms(KEY_TTL));
        command.arg(state.keys).arg(state.bytes).arg(ms(state_ttl));
        let now = Instant::now();
        for entry in &self.entries {
            let margin = MARGIN.min(entry.deadline.saturating_duration_since(now) / 4);
            command.arg(clock.at_least(entry.deadline).saturating_sub(ms(margin)));
            command.arg(if entry.key.is_some() { "1" } else { "0" }).arg(&entry.retains[..]).arg(&entry.record[..]);
        }
        command
    }

    /// Reads the answer to the command and tells the publishers.
    pub(super) fn land(self, answer: Value) -> Landing {
        match answer {
            Value::ServerError(error) => self.refused(error),
            Value::Int(_) if self.retention.is_none() => {
                self.answer(&Ok(None));
                Landing::Done
            }
            Value::Array(answers) => {
                let mut answers = answers.into_iter();
                let epoch = answers.next().and_then(text).map(Epoch::from);
                let mut newest = None;
                for entry in self.entries {
                    let outcome = match (&epoch, answers.next()) {
                        (Some(epoch), Some(answer)) => {
                            newest = new_mark(epoch, &answer, &entry).or(newest);
                            outcome(epoch, answer)
                        }
                        _ => Err(PublishError::UnknownOutcome),
                    };
                    entry.answer(outcome);
                }
                Landing::Published(newest.map(|mark| (self.channel, mark)))
            }
            _ => {
                self.answer(&Err(PublishError::UnknownOutcome));
                Landing::Done
            }
        }
    }

    fn refused(self, error: ServerError) -> Landing {
        let channel = self.channel.clone();
        match error.kind() {
            Some(ServerErrorKind::NoScript) => return Landing::NoScript(self),
            // The one error that may come after the first write, where a user may write the log but not publish.
            Some(ServerErrorKind::NoPerm) => self.answer(&Err(PublishError::UnknownOutcome)),
            _ => self.answer(&Err(PublishError::Unavailable)),
        }
        Landing::Refused(channel, error)
    }
}

/// Where a publication went that has not been there before.
fn new_mark(epoch: &Epoch, answer: &Value, entry: &Entry) -> Option<Mark> {
    let Value::Int(offset) = answer else { return None };
    let offset = u64::try_from(*offset).ok().filter(|offset| *offset > 0)?;
    Some(Mark { epoch: epoch.clone(), offset, stamp: Some(entry.stamp) })
}

fn outcome(epoch: &Epoch, answer: Value) -> Outcome {
    match answer {
        Value::Int(0) => Err(PublishError::Unavailable),
        Value::Int(-1) => Err(PublishError::StateFull),
        Value::Int(offset) => {
            let offset = u64::try_from(offset).map_err(|_| PublishError::UnknownOutcome)?;
            Ok(Some(Position { epoch: epoch.clone(), offset }))
        }
        first_position => {
            let known = text(first_position).and_then(|text| {
                let (epoch, offset) = text.split_once(' ')?;
                Some(Position { epoch: epoch.into(), offset: offset.parse().ok()? })
            });
            known.map(Some).ok_or(PublishError::UnknownOutcome)
        }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
