//! What scripts answer of users that came and went: who it was that this node's write made the difference for.

use super::flight::{Flight, Op};
use crate::{Change, Watch};
use protocol::{Cause, Channel};
use redis::{FromRedisValue, Value};

/// One change as lua/member.lua forms it.
type Row = (u8, u8, String, String, String);

/// The changes in a script's answer; `None` for an answer that is none.
pub(super) fn read(channel: &Channel, cause: Cause, answer: &Value) -> Option<Vec<Change>> {
    let Value::Array(rows) = answer else { return None };
    let change = |row: &Value| {
        let (left, is_edge, client, user, info) = Row::from_redis_value(row.clone()).ok()?;
        Some(Change {
            channel: channel.clone(),
            client: client.into(),
            user: user.into(),
            info: Some(info).filter(|info| !info.is_empty()).map(Into::into),
            left: (left == 1).then_some(cause),
            is_edge: is_edge == 1,
        })
    };
    rows.iter().map(change).collect()
}

/// Tells what a flight has changed. Who was told of before Redis lost its memory is not told of again; an entry that was
/// sent once before, without an answer, may have changed something then.
pub(super) fn tell(watcher: &dyn Watch, flight: &Flight, answers: &[Value]) {
    for (op, answer) in flight.ops.iter().zip(flight.answers_of_ops(answers)) {
        let Op { place, joins, quiet, cause, in_doubt, .. } = op;
        if *quiet || matches!(answer, Value::ServerError(_)) {
            continue;
        }
        let cause = if *joins { Cause::Left } else { *cause };
        let changes = read(&place.channel, cause, answer);
        if changes.is_none() || (*in_doubt && !(*joins && changes.as_ref().is_some_and(|changes| !changes.is_empty())))
        {
            watcher.in_doubt(1);
        }
        changes.into_iter().flatten().for_each(|change| watcher.changed(change));
    }
}
