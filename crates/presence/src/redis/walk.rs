//! A walk through everything that a dead node left behind, a few entries at a time: pure, the reaper does what it says.

use super::changes;
use super::scripts::Scripts;
use super::shared::Failure;
use super::tenure::owner_of;
use crate::Change;
use link::KeySpace;
use protocol::{Cause, Channel};
use redis::{FromRedisValue, Pipeline, Value};
use std::collections::VecDeque;
use std::time::Duration;

/// How many channels are worked at in one turn. A call costs Redis about 20 µs, so this is about 1.5 ms.
const CHANNELS: usize = 64;

/// How many entries, over all of them, are looked at in one turn: at 7 µs for an entry that is removed and told, 2 ms. Redis
/// does nothing else meanwhile, so 100,000 entries are 400 such turns, with everybody else's commands in between.
const ENTRIES: usize = 256;

/// What a tenure left behind, and how far its removal is.
pub(super) struct Walk {
    tenure: String,
    /// Where the reading of the index goes on; `None` when it is done.
    index: Option<u64>,
    /// Channels to be reaped, and where the reading of each goes on.
    channels: VecDeque<(Channel, u64)>,
    /// Names that can be taken off the index.
    done: Vec<Vec<u8>>,
    changes: Vec<Change>,
    tally: Tally,
}

/// What became of it so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Entries that were removed.
    pub(super) entries: u64,
    /// Users whose last connection was among them.
    pub(super) users: u64,
    /// Channels that Redis refused to work at.
    pub(super) refused: u64,
}

/// What was asked in one turn.
pub(super) struct Turn {
    pub(super) pipe: Pipeline,
    is_unindexing: bool,
    is_reading_index: bool,
    calls: Vec<(Channel, u64)>,
}

impl Turn {
    /// How many channels it removes from.
    pub(super) fn removes_from(&self) -> usize {
        self.calls.len()
    }
}

/// How to go on after a turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// There is more to do.
    Turn,
    /// Nothing is left, or only what Redis refused to work at.
    End,
    /// The node lives: what is left is its own again.
    OwnerBack,
    /// Another one may have taken the work over.
    Superseded,
}

impl Walk {
    pub(super) fn new(tenure: &str) -> Self {
        let (channels, done, changes) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { tenure: tenure.to_owned(), index: Some(0), channels, done, changes, tally: Tally::default() }
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// Who went since this was asked last.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// The next turn. The first one removes nothing: only after it is known that the node's lease was still gone when it
    /// was marked as reaped, so that a node that comes back sees the mark.
    pub(super) fn turn(&mut self, scripts: &Scripts, keys: &KeySpace, hold: Duration) -> Turn {
        let mut pipe = Pipeline::new();
        pipe.exists(keys.lease(owner_of(&self.tenure)));
        pipe.cmd("PEXPIRE").arg(keys.reap(&self.tenure)).arg(super::scripts::millis(hold));
        let index_key = keys.node_here(&self.tenure);
        let is_unindexing = !self.done.is_empty();
        if is_unindexing {
            pipe.cmd("SREM").arg(&index_key).arg(std::mem::take(&mut self.done));
        }
        let is_reading_index = self.channels.len() < CHANNELS && self.index.is_some();
        if let Some(cursor) = self.index.filter(|_| is_reading_index) {
            pipe.cmd("SSCAN").arg(&index_key).arg(cursor).arg("COUNT").arg(CHANNELS);
        }
        let calls: Vec<_> = self.channels.drain(..self.channels.len().min(CHANNELS)).collect();
        let count = ENTRIES / calls.len().max(1);
        for (channel, cursor) in &calls {
            pipe.add_command(scripts.reap(channel, &self.tenure, *cursor, count));
        }
        Turn { pipe, is_unindexing, is_reading_index, calls }
    }

    /// Takes the answers to a turn.
    pub(super) fn take(&mut self, turn: Turn, answers: Vec<Value>) -> Result<Next, Failure> {
        let mut answers = answers.into_iter();
        let mut number = || answers.next().and_then(|answer| i64::from_redis_value(answer).ok());
        let (lives, is_held) = (number(), number());
        if turn.is_unindexing {
            number().ok_or_else(unreadable)?;
        }
        if turn.is_reading_index {
            let page: Option<(u64, Vec<Vec<u8>>)> =
                answers.next().and_then(|a| FromRedisValue::from_redis_value(a).ok());
            let (cursor, names) = page.ok_or_else(unreadable)?;
            self.index = Some(cursor).filter(|cursor| *cursor != 0);
            names.into_iter().for_each(|name| self.begin(name));
        }
        for ((channel, _), answer) in turn.calls.into_iter().zip(answers.by_ref()) {
            self.called(channel, answer);
        }
        Ok(match (lives, is_held) {
            (Some(0), Some(1)) if self.is_over() => Next::End,
            (Some(0), Some(1)) => Next::Turn,
            (Some(0), _) => Next::Superseded,
            _ => Next::OwnerBack,
        })
    }

    fn begin(&mut self, name: Vec<u8>) {
        match std::str::from_utf8(&name).ok().and_then(|name| Channel::new(name).ok()) {
            Some(channel) => self.channels.push_back((channel, 0)),
            None => self.done.push(name),
        }
    }

    fn called(&mut self, channel: Channel, answer: Value) {
        match <(u64, u64, Value)>::from_redis_value(answer) {
            Ok((cursor, removed, changes)) => {
                let changes = changes::read(&channel, Cause::NodeLost, &changes).unwrap_or_default();
                self.tally.entries += removed;
                self.tally.users += changes.len() as u64;
                self.changes.extend(changes);
                if cursor == 0 {
                    self.done.push(channel.as_str().into());
                } else {
                    self.channels.push_back((channel, cursor));
                }
            }
            // It stays on the index, for another time.
            Err(_) => self.tally.refused += 1,
        }
    }

    fn is_over(&self) -> bool {
        self.index.is_none() && self.channels.is_empty() && self.done.is_empty()
    }
}

fn unreadable() -> Failure {
    Failure::Refused("the index of a dead node cannot be read".to_owned())
}

#[cfg(test)]
mod tests;
