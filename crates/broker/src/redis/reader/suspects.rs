//! Looks whether Redis still has what this node has told somebody of, and ends the epochs of channels where it has not.

use super::super::interest::Interest;
use super::super::told::{Memo, Present};
use super::{Failed, PATIENCE, Reader, Refusal, understand};
use crate::redis::reading::{self, Part};
use protocol::{Channel, Epoch};
use redis::{Pipeline, Value};
use tokio::time::{Instant, sleep_until};

/// How many channels are looked at in one write, with one publication of each: at 64 KiB, 4 MiB.
const SUSPECTS: usize = 64;

/// Waits until there is something to look at, and nodes have had the time to leave a former primary.
pub(super) async fn to_be_questioned(interest: &Interest) {
    interest.told().suspicion().await;
    while let Some(until) = interest.settles_at() {
        sleep_until(until).await;
    }
}

impl Reader {
    pub(super) async fn question(&mut self) -> Result<(), Failed> {
        let suspects = self.interest.told().take(SUSPECTS);
        let questioned = self.look_at(&suspects).await;
        if questioned.is_err() {
            self.interest.told().put_back(suspects);
        }
        questioned
    }

    /// Those that Redis refuses are put back; it does not hold up others, nor what subscribers wait for.
    async fn look_at(&mut self, suspects: &[(Channel, Memo)]) -> Result<(), Failed> {
        let primary = self.interest.primary();
        let clock = self.lane.clock().ok_or_else(|| Failed("Redis cannot be reached".to_owned()))?;
        let mut pipe = Pipeline::with_capacity(2 * suspects.len());
        for (channel, memo) in suspects {
            let part = Part::Forward { count: 1, from: format!("{}-0", memo.mark.offset) };
            pipe.add_command(reading::command(&self.keys, channel, &part, self.interest.unused_ttl()));
            pipe.add_command(reading::end_of_last_epoch(&self.keys, channel));
        }
        let mut answers = self.ask(primary, &pipe).await?.into_iter();
        let now = Present { primary, clock };
        let (mut ended, mut refused, mut is_script_known) = (Vec::new(), Vec::new(), true);
        for suspect in suspects {
            let (Some(log), Some(end)) = (answers.next(), answers.next()) else { break };
            match understand(log) {
                Ok(answer) => {
                    let reading = answer.reading(Some(1));
                    if suspect.1.is_lost(&reading, reading::number(end), &now) {
                        ended.push((suspect, reading.epoch));
                    }
                }
                Err(Refusal::NoScript) => {
                    is_script_known = false;
                    refused.push(suspect.clone());
                }
                Err(Refusal::Other(error)) => {
                    self.complain(&error);
                    refused.push(suspect.clone());
                }
            }
        }
        if !is_script_known {
            let reloaded = self.lane.reload_scripts(Instant::now() + PATIENCE).await;
            reloaded.map_err(|error| Failed(error.to_string()))?;
        }
        refused.extend(self.end(primary, &ended).await?);
        self.interest.told().put_back(refused);
        Ok(())
    }

    /// Ends these epochs; returns those that Redis refused to end.
    async fn end(&mut self, primary: u64, ended: &[(&(Channel, Memo), Epoch)]) -> Result<Vec<(Channel, Memo)>, Failed> {
        if ended.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = Pipeline::with_capacity(ended.len());
        for ((channel, _), epoch) in ended {
            tracing::warn!(%channel, %epoch, "publications that were acknowledged are gone; their epoch ends");
            pipe.add_command(reading::end_of_epoch(&self.keys, channel, epoch));
        }
        let answers = self.ask(primary, &pipe).await?;
        let is_refused = |answer: &Value| matches!(answer, Value::ServerError(_));
        let refused = ended.iter().zip(answers).filter(|(_, answer)| is_refused(answer));
        let refused: Vec<_> = refused.map(|((suspect, _), _)| (*suspect).clone()).collect();
        if !refused.is_empty() {
            self.complain("an epoch cannot be ended");
        }
        Ok(refused)
    }

    async fn ask(&self, primary: u64, pipe: &Pipeline) -> Result<Vec<Value>, Failed> {
        let answers = self.lane.query_at(primary, pipe, Instant::now() + PATIENCE).await;
        answers.map_err(|error| Failed(error.to_string()))
    }
}
