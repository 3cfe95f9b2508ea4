//! Token buckets that all nodes share: what is asked meanwhile goes in one pipeline, one script call a bucket.

use crate::{KeySpace, Lane, Link};
use redis::{Pipeline, Script, ServerErrorKind, Value};
use std::sync::LazyLock;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// Questions that may wait for the one pipeline under way; more are not asked.
const WAITING_MAX: usize = 8192;

/// Questions of one pipeline.
const BATCH: usize = 512;

const TAKE: &str = include_str!("bucket.lua");

static TAKE_SHA: LazyLock<String> = LazyLock::new(|| Script::new(TAKE).get_hash().to_owned());

/// Why nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The bucket is empty: how long until there is one.
    #[error("empty for {0:?}")]
    Empty(Duration),
    /// Redis did not say in time; it may have been taken all the same.
    #[error("Redis did not say in time")]
    NoAnswer,
}

struct Question {
    key: String,
    refill_us: u64,
    burst: u64,
    answer: oneshot::Sender<Result<(), Denied>>,
}

/// Buckets in Redis. Dropping it ends its task and closes its connection.
pub struct Buckets {
    keys: KeySpace,
    questions: mpsc::Sender<Question>,
    task: AbortHandle,
}

impl Buckets {
    /// Starts connecting in the background.
    pub fn start(link: &Link) -> Self {
        let (questions, asked) = mpsc::channel(WAITING_MAX);
        let lane = Lane::start(link, "buckets", &[TAKE]);
        Self { keys: link.keys().clone(), questions, task: tokio::spawn(run(lane, asked)).abort_handle() }
    }

    /// Takes one of `whose` bucket for `what`, which holds `burst` and gains one each `refill`. Answered within 500 ms.
    ///
    /// # Errors
    /// When there is none, or nobody knows.
    pub async fn take(&self, what: &str, whose: &str, refill: Duration, burst: u64) -> Result<(), Denied> {
        let (answer, answered) = oneshot::channel();
        let refill_us = u64::try_from(refill.as_micros()).unwrap_or(u64::MAX).max(1);
        let question = Question { key: self.keys.limit(what, whose), refill_us, burst: burst.max(1), answer };
        self.questions.try_send(question).map_err(|_| Denied::NoAnswer)?;
        timeout(PATIENCE, answered).await.ok().and_then(Result::ok).unwrap_or(Err(Denied::NoAnswer))
    }
}

impl Drop for Buckets {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(lane: Lane, mut asked: mpsc::Receiver<Question>) {
    let mut batch = Vec::with_capacity(BATCH);
    while asked.recv_many(&mut batch, BATCH).await > 0 {
        // Whoever has given up pays for nothing that he did not get.
        batch.retain(|question| !question.answer.is_closed());
        let unknown = ask(&lane, std::mem::take(&mut batch)).await;
        if !unknown.is_empty() && lane.reload_scripts(Instant::now() + PATIENCE).await.is_ok() {
            ask(&lane, unknown).await;
        }
    }
}

/// Asks and answers; returns those for whom Redis did not know the script. Whoever gets no answer has it by its end.
async fn ask(lane: &Lane, questions: Vec<Question>) -> Vec<Question> {
    if questions.is_empty() {
        return questions;
    }
    let mut pipe = Pipeline::with_capacity(questions.len());
    for Question { key, refill_us, burst, .. } in &questions {
        pipe.cmd("EVALSHA").arg(&*TAKE_SHA).arg(1).arg(key).arg(*refill_us).arg(*burst);
    }
    let Ok(answers) = lane.query(&pipe, Instant::now() + PATIENCE).await else { return Vec::new() };
    let mut unknown = Vec::new();
    for (question, value) in questions.into_iter().zip(answers) {
        let answer = match value {
            Value::Int(0) => Ok(()),
            Value::Int(wait_ms) => Err(Denied::Empty(Duration::from_millis(wait_ms.unsigned_abs()))),
            Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript) => {
                unknown.push(question);
                continue;
            }
            _ => Err(Denied::NoAnswer),
        };
        // Whoever asked may have given up.
        let _ = question.answer.send(answer);
    }
    unknown
}
