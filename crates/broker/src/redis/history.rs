//! Reading a channel's log for those who ask for history, and its state for those who subscribe.

use super::interest::Interest;
use super::reading::{self, Answer, Part};
use super::scripts;
use crate::metrics::BrokerMetrics;
use crate::{Page, Range, Unavailable};
use link::Link;
use protocol::{Channel, Position};
use redis::aio::ConnectionLike;
use redis::{RedisResult, ServerErrorKind, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a reading may take, waiting for a connection included.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads a page of the log.
pub(super) async fn read(
    link: Link,
    interest: Arc<Interest>,
    channel: Channel,
    range: Range,
    metrics: BrokerMetrics,
) -> Result<Page, Unavailable> {
    let answer = answer(&link, &interest, &channel, &part(range), &metrics).await?;
    let top = Position { epoch: answer.epoch.clone(), offset: answer.top };
    Ok(Page { publications: answer.publications(), top })
}

/// Reads the state, by offset.
pub(super) async fn read_state(
    link: Link,
    interest: Arc<Interest>,
    channel: Channel,
    metrics: BrokerMetrics,
) -> Result<Page, Unavailable> {
    let answer = answer(&link, &interest, &channel, &Part::State, &metrics).await?;
    let top = Position { epoch: answer.epoch.clone(), offset: answer.top };
    let mut publications = answer.publications();
    publications.sort_unstable_by_key(|publication| publication.offset);
    Ok(Page { publications, top })
}

async fn answer(
    link: &Link,
    interest: &Interest,
    channel: &Channel,
    part: &Part,
    metrics: &BrokerMetrics,
) -> Result<Answer, Unavailable> {
    let answer = match timeout(PATIENCE, ask(link, interest, channel, part)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::debug!(%channel, error, "log and state cannot be read");
            return Err(Unavailable);
        }
        Err(_) => return Err(Unavailable),
    };
    metrics.undecodable.inc_by(answer.undecodable() as u64);
    Ok(answer)
}

fn part(range: Range) -> Part {
    let count = u64::from(range.limit);
    let from = |all: &str| range.since.map_or(all.to_owned(), |since| format!("({since}-0"));
    match range.reverse {
        // Redis takes no bound below the first id there can be.
        true if range.since == Some(0) => Part::Reverse { count: 0, from: "+".to_owned() },
        false => Part::Forward { count, from: from("-") },
        true => Part::Reverse { count, from: from("+") },
    }
}

async fn ask(link: &Link, interest: &Interest, channel: &Channel, part: &Part) -> Result<Answer, String> {
    let mut connection = link.pool().get().await.map_err(|e| e.to_string())?;
    if connection.primary() != interest.primary() {
        return Err("the subscriber connection leads to another Redis".to_owned());
    }
    let command = reading::command(link.keys(), channel, part, interest.unused_ttl());
    let mut answer = connection.req_packed_command(&command).await;
    if has_no_script(&answer) {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(scripts::READ);
        connection.req_packed_command(&load).await.map_err(|e| e.to_string())?;
        answer = connection.req_packed_command(&command).await;
    }
    let answer = match answer.map_err(|e| e.to_string())? {
        Value::ServerError(error) => Err(error.code().to_owned()),
        answer => Answer::parse(answer).ok_or_else(|| "an answer that is not one".to_owned()),
    }?;
    interest.told().note(channel, answer.mark(), connection.primary());
    Ok(answer)
}

fn has_no_script(answer: &RedisResult<Value>) -> bool {
    let kind = match answer {
        Ok(Value::ServerError(error)) => error.kind(),
        Ok(_) => None,
        Err(error) => return error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript),
    };
    kind == Some(ServerErrorKind::NoScript)
}
