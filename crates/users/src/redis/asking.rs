//! Questions to Redis over a lane, and why they were not answered.

use super::FLIGHT_DEADLINE;
use link::{Lane, LaneError};
use redis::{Pipeline, ServerErrorKind, Value};
use tokio::time::Instant;

/// Why Redis did not do something.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Unanswered(#[from] LaneError),
    #[error("Redis had forgotten the scripts")]
    NoScript,
    #[error("Redis refused: {0}")]
    Refused(String),
    #[error("Redis answered with something else than was asked for")]
    Unreadable,
}

/// Sends a pipeline; an answer for each command, and none of them an error. Scripts that Redis has forgotten are loaded for
/// the next attempt.
pub(super) async fn ask(lane: &Lane, pipe: &Pipeline) -> Result<Vec<Value>, Failure> {
    let answers = ask_each(lane, pipe).await?;
    match answers.iter().find_map(refusal) {
        Some(refusal) => Err(Failure::Refused(refusal)),
        None => Ok(answers),
    }
}

/// The same, and each command may have been refused for itself.
pub(super) async fn ask_each(lane: &Lane, pipe: &Pipeline) -> Result<Vec<Value>, Failure> {
    let deadline = Instant::now() + FLIGHT_DEADLINE;
    let answers = lane.query(pipe, deadline).await?;
    let is_forgotten =
        |answer: &Value| matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript));
    if answers.iter().any(is_forgotten) {
        lane.reload_scripts(deadline).await?;
        return Err(Failure::NoScript);
    }
    Ok(answers)
}

/// What Redis says against a command.
pub(super) fn refusal(answer: &Value) -> Option<String> {
    match answer {
        Value::ServerError(error) => Some(error.to_string()),
        _ => None,
    }
}

/// Whether a key holds something else than what this project keeps there: trying again changes nothing.
pub(super) fn is_foreign(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.code() == "WRONGTYPE")
}

/// Logs the first failure of a row.
#[derive(Default)]
pub(super) struct Complaints {
    has_complained: bool,
}

impl Complaints {
    pub(super) fn over(&mut self) {
        self.has_complained = false;
    }

    pub(super) fn about(&mut self, what: &str, failure: &Failure) {
        // The lane itself tells of a connection that is lost, and forgotten scripts are there again.
        let is_told = matches!(failure, Failure::Unanswered(LaneError::Down) | Failure::NoScript);
        if !is_told && !std::mem::replace(&mut self.has_complained, true) {
            tracing::warn!(%failure, "{what}; trying on");
        }
    }
}
