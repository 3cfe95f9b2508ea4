//! The reading task: where subscriptions begin, whether quiet channels missed anything, and what is missing.

mod suspects;

use super::interest::Interest;
use super::positions::Ask;
use super::reading::{self, Answer, Part};
use crate::metrics::BrokerMetrics;
use link::{Backoff, KeySpace, Lane};
use protocol::{Channel, Epoch};
use redis::{Pipeline, ServerErrorKind, Value};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// How many channels' metas are read in one write.
const METAS: usize = 500;

/// How many channels' logs are read in one write, and how many entries of each: with payloads of 64 KiB, 32 MiB.
const LOGS: usize = 8;
const ENTRIES: u64 = 64;

/// How long one write may wait for its answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often within its time a channel is renewed that nobody has published to.
const RENEWALS: u32 = 4;

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_CEILING: Duration = Duration::from_secs(1);

pub(super) struct Reader {
    interest: Arc<Interest>,
    lane: Lane,
    keys: KeySpace,
    metrics: BrokerMetrics,
    /// Channels that Redis refused to read, or whose epoch may not end yet. They are set aside for a while, so that others
    /// need not wait for them.
    refused: HashSet<Channel>,
    refused_until: Instant,
    /// When those channels are renewed that nobody has published to.
    renew_at: Instant,
    has_complained: bool,
}

/// Nothing can be read now; what was to be read is asked for again.
struct Failed(String);

impl Reader {
    pub(super) fn new(interest: Arc<Interest>, lane: Lane, keys: &KeySpace, metrics: &BrokerMetrics) -> Self {
        Self {
            renew_at: Instant::now() + interest.unused_ttl() / RENEWALS,
            interest,
            lane,
            keys: keys.clone(),
            metrics: metrics.clone(),
            refused: HashSet::new(),
            refused_until: Instant::now(),
            has_complained: false,
        }
    }

    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING);
        loop {
            let served = tokio::select! {
                () = sleep_until(self.refused_until), if !self.refused.is_empty() => {
                    self.refused.drain().for_each(|channel| self.interest.ask_again(&channel));
                    continue;
                }
                asks = self.interest.take_asks(METAS) => self.serve(asks).await,
                () = sleep_until(self.renew_at) => self.renew().await,
                () = suspects::to_be_questioned(&self.interest) => self.question().await,
            };
            match served {
                Ok(()) => {
                    backoff.reset();
                    self.has_complained &= !self.refused.is_empty() || self.interest.told().has_resting();
                }
                Err(Failed(error)) => {
                    self.complain(&error);
                    sleep(backoff.next_delay()).await;
                    if !self.lane.is_up() {
                        self.lane.next_connection(0).await;
                    }
                }
            }
        }
    }

    /// Once an outage, not once an attempt.
    fn complain(&mut self, error: &str) {
        if !std::mem::replace(&mut self.has_complained, true) {
            tracing::warn!(error, "channels cannot be read; trying on");
        }
    }

    /// Has those channels remembered that this node's subscribers hold positions in and nobody has published to.
    async fn renew(&mut self) -> Result<(), Failed> {
        let unused_ttl = self.interest.unused_ttl();
        for part in self.interest.unused().chunks(METAS) {
            let mut pipe = Pipeline::with_capacity(part.len());
            for channel in part {
                pipe.add_command(reading::renewal(&self.keys, channel, unused_ttl));
            }
            let renewed = self.lane.query_at(self.interest.primary(), &pipe, Instant::now() + PATIENCE).await;
            renewed.map_err(|error| Failed(error.to_string()))?;
        }
        self.renew_at = Instant::now() + unused_ttl / RENEWALS;
        Ok(())
    }

    /// Reads for all of these; those that failed ask again.
    async fn serve(&mut self, asks: Vec<(Channel, Ask)>) -> Result<(), Failed> {
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

    async fn read(&mut self, asks: &[(Channel, Ask)]) -> Result<(), Failed> {
        let mut pipe = Pipeline::with_capacity(asks.len());
        for (channel, ask) in asks {
            let part = ask.log_from.map_or(Part::None, |from| {
                self.metrics.repairs.inc();
                // One more, for the publication that has been delivered: its stamp tells whether the log is the same.
                Part::Forward { count: ENTRIES + 1, from: format!("{from}-0") }
            });
            pipe.add_command(reading::command(&self.keys, channel, &part, self.interest.unused_ttl()));
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

    /// Sends the commands and brings each answer to its track; returns the epochs that must end.
    async fn bring(&mut self, asks: &[(Channel, Ask)], pipe: &Pipeline) -> Result<Vec<(Channel, u64, Epoch)>, Failed> {
        let deadline = Instant::now() + PATIENCE;
        let answers = match self.lane.query_at(self.interest.primary(), pipe, deadline).await {
            Ok(answers) => answers,
            Err(error) => {
                asks.iter().for_each(|(channel, _)| self.interest.ask_again(channel));
                return Err(Failed(error.to_string()));
            }
        };
        let mut ended = Vec::new();
        let mut is_script_known = true;
        for ((channel, ask), value) in asks.iter().zip(answers) {
            match understand(value) {
                Ok(answer) => {
                    self.metrics.undecodable.inc_by(answer.undecodable() as u64);
                    let reading = answer.reading(ask.log_from.map(|_| ENTRIES + 1));
                    match (self.interest.read(channel, ask.round, reading), self.interest.settles_at()) {
                        (Some(epoch), None) => ended.push((channel.clone(), ask.round, epoch)),
                        (Some(_), Some(until)) => self.set_aside(channel, until),
                        (None, _) => {}
                    }
                }
                Err(Refusal::NoScript) => {
                    is_script_known = false;
                    self.interest.ask_again(channel);
                }
                Err(Refusal::Other(error)) => {
                    self.complain(&error);
                    self.set_aside(channel, Instant::now() + RETRY_CEILING);
                }
            }
        }
        if !is_script_known {
            self.lane.reload_scripts(deadline).await.map_err(|error| Failed(error.to_string()))?;
        }
        Ok(ended)
    }

    fn set_aside(&mut self, channel: &Channel, until: Instant) {
        if self.refused.is_empty() {
            self.refused_until = until;
        }
        self.refused.insert(channel.clone());
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
