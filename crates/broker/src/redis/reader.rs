//! The reading task: where subscriptions begin, whether quiet channels missed anything, and what is missing.

use super::interest::Interest;
use super::positions::Ask;
use super::reading::{self, Answer, Part};
use crate::metrics::BrokerMetrics;
use link::{Backoff, KeySpace, Lane};
use protocol::Channel;
use redis::{Pipeline, ServerErrorKind, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How many channels' metas are read in one write.
const METAS: usize = 500;

/// How many channels' logs are read in one write, and how many entries of each.
const LOGS: usize = 16;
const ENTRIES: u64 = 128;

/// How long one write may wait for its answers.
const PATIENCE: Duration = Duration::from_secs(5);

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_CEILING: Duration = Duration::from_secs(1);

pub(super) struct Reader {
    pub(super) interest: Arc<Interest>,
    pub(super) lane: Lane,
    pub(super) keys: KeySpace,
    pub(super) metrics: BrokerMetrics,
}

/// A reading that failed; it is asked for again.
struct Failed(String);

impl Reader {
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING);
        let mut complained = false;
        loop {
            let asks = self.interest.take_asks(METAS).await;
            match self.serve(asks).await {
                Ok(()) => {
                    backoff.reset();
                    complained = false;
                }
                Err(Failed(error)) => {
                    // Once an outage, not once an attempt.
                    if !complained {
                        tracing::warn!(error, "channels cannot be read; trying on");
                        complained = true;
                    }
                    tokio::time::sleep(backoff.next_delay()).await;
                    if !self.lane.is_up() {
                        self.lane.next_connection(0).await;
                    }
                }
            }
        }
    }

    /// Reads for all of these; those that failed ask again.
    async fn serve(&self, asks: Vec<(Channel, Ask)>) -> Result<(), Failed> {
        let (metas, logs): (Vec<_>, Vec<_>) = asks.into_iter().partition(|(_, ask)| ask.log_from.is_none());
        let mut result = Ok(());
        for part in metas.chunks(METAS).chain(logs.chunks(LOGS)) {
            // After one failure the others are not tried: they would only wait as long.
            if result.is_ok() {
                result = self.read(part).await;
            } else {
                part.iter().for_each(|(channel, _)| self.interest.ask_again(channel));
            }
        }
        result
    }

    async fn read(&self, asks: &[(Channel, Ask)]) -> Result<(), Failed> {
        let mut pipe = Pipeline::with_capacity(asks.len());
        for (channel, ask) in asks {
            let part = ask.log_from.map_or(Part::None, |from| {
                self.metrics.repairs.inc();
                // One more, for the publication that has been delivered: its stamp tells whether the log is the same.
                Part::Forward { count: ENTRIES + 1, from: format!("{from}-0") }
            });
            pipe.add_command(reading::command(&self.keys, channel, &part));
        }
        let ended = self.bring(asks, &pipe).await?;
        if ended.is_empty() {
            return Ok(());
        }
        let mut pipe = Pipeline::with_capacity(ended.len());
        let mut asks = Vec::with_capacity(ended.len());
        for (channel, round, epoch) in ended {
            tracing::warn!(%channel, %epoch, "the log went back in time; its epoch ends");
            pipe.add_command(reading::end_of_epoch(&self.keys, &channel, &epoch));
            asks.push((channel, Ask { round, log_from: None }));
        }
        let left = self.bring(&asks, &pipe).await?;
        left.iter().for_each(|(channel, ..)| self.interest.ask_again(channel));
        Ok(())
    }

    /// Sends the commands and brings each answer to its track; returns the epochs that must end. Tracks without an
    /// answer ask again.
    async fn bring(
        &self,
        asks: &[(Channel, Ask)],
        pipe: &Pipeline,
    ) -> Result<Vec<(Channel, u64, protocol::Epoch)>, Failed> {
        let deadline = Instant::now() + PATIENCE;
        let answers = match self.lane.query(pipe, deadline).await {
            Ok(answers) => answers,
            Err(error) => {
                asks.iter().for_each(|(channel, _)| self.interest.ask_again(channel));
                return Err(Failed(error.to_string()));
            }
        };
        let mut ended = Vec::new();
        let mut failed = None;
        for ((channel, ask), value) in asks.iter().zip(answers) {
            match understand(value) {
                Ok(answer) => {
                    self.metrics.undecodable.inc_by(answer.undecodable() as u64);
                    let reading = answer.reading(ask.log_from.map(|_| ENTRIES + 1));
                    if let Some(epoch) = self.interest.read(channel, ask.round, reading) {
                        ended.push((channel.clone(), ask.round, epoch));
                    }
                }
                Err(refusal) => {
                    self.interest.ask_again(channel);
                    failed = Some(refusal);
                }
            }
        }
        match failed {
            None => Ok(ended),
            Some(refusal) => {
                ended.iter().for_each(|(channel, ..)| self.interest.ask_again(channel));
                Err(self.after(refusal, deadline).await)
            }
        }
    }

    async fn after(&self, refusal: Refusal, deadline: Instant) -> Failed {
        match refusal {
            Refusal::NoScript => {
                let reloaded = self.lane.reload_scripts(deadline).await;
                Failed(reloaded.err().map_or_else(|| "Redis had forgotten the scripts".to_owned(), |e| e.to_string()))
            }
            Refusal::Other(error) => Failed(error),
        }
    }
}

enum Refusal {
    NoScript,
    Other(String),
}

fn understand(value: Value) -> Result<Answer, Refusal> {
    match value {
        Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript) => Err(Refusal::NoScript),
        Value::ServerError(error) => {
            Err(Refusal::Other(format!("{} {}", error.code(), error.details().unwrap_or_default())))
        }
        value => Answer::parse(value).ok_or_else(|| Refusal::Other("an answer that is not one".to_owned())),
    }
}
