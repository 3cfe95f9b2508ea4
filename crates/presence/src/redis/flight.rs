//! What is written to Redis at once, in one pipeline.

use super::scripts::Scripts;
use super::turns::{Place, Turn};
use crate::Entry;
use link::KeySpace;
use protocol::{Cause, Channel};
use redis::{Pipeline, Value};
use std::sync::Arc;

/// One entry to be written or removed.
pub(super) struct Op {
    pub(super) turn: Turn,
    pub(super) place: Place,
    pub(super) entry: Arc<Entry>,
    /// Whether it is written, or else removed.
    pub(super) joins: bool,
    pub(super) quiet: bool,
    /// It was sent before, and not answered.
    pub(super) in_doubt: bool,
    /// Why it is removed.
    pub(super) cause: Cause,
}

/// A pipeline's worth of writes.
#[derive(Default)]
pub(super) struct Flight {
    /// Channels that go onto the node's index, before any op: what is written must be found if the node dies.
    pub(super) index: Vec<Channel>,
    pub(super) ops: Vec<Op>,
    /// Channels that are taken off the index.
    pub(super) unindex: Vec<Channel>,
}

impl Flight {
    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.unindex.is_empty()
    }

    pub(super) fn pipeline(&self, scripts: &Scripts, keys: &KeySpace, tenure: &str) -> Pipeline {
        let mut pipe = Pipeline::with_capacity(self.ops.len() + 2);
        if !self.index.is_empty() {
            pipe.add_command(scripts.index(&self.index, tenure));
        }
        for Op { place, entry, joins, quiet, cause, .. } in &self.ops {
            pipe.add_command(if *joins {
                scripts.join(&place.channel, entry, *quiet, tenure)
            } else {
                scripts.leave(&place.channel, &place.client, entry.announce, *cause)
            });
        }
        if !self.unindex.is_empty() {
            let channels: Vec<&str> = self.unindex.iter().map(Channel::as_str).collect();
            pipe.cmd("SREM").arg(keys.node_here(tenure)).arg(channels);
        }
        pipe
    }

    /// The answers to the ops, of those to [`Flight::pipeline`].
    pub(super) fn answers_of_ops<'a>(&self, answers: &'a [Value]) -> &'a [Value] {
        answers.get(usize::from(!self.index.is_empty())..).unwrap_or_default()
    }

    /// For each op whether Redis refused it, from the answers to [`Flight::pipeline`]. An entry whose channel could not
    /// be indexed counts as refused, though it may have been written.
    pub(super) fn refused(&self, answers: &[Value]) -> Vec<bool> {
        let is_error =
            |answer: Option<&Value>| !matches!(answer, Some(value) if !matches!(value, Value::ServerError(_)));
        let before = usize::from(!self.index.is_empty());
        let index_refused = before == 1 && is_error(answers.first());
        let refused = |(at, op): (usize, &Op)| {
            is_error(answers.get(before + at)) || (index_refused && self.index.contains(&op.place.channel))
        };
        self.ops.iter().enumerate().map(refused).collect()
    }
}
