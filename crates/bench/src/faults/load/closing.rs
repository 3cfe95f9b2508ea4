//! The end of a run: one last publication for each channel, so that subscribers can tell that they have seen everything,
//! and the channels' logs as they are then.

use super::wire::{Answer, Wire};
use crate::Fault;
use crate::faults::ledger::{Attempt, Cargo, ChannelId, Log, Outcome, Stamp};
use client::{Channel, Client, Config, HistoryOptions};
use protocol::{Position, Since};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The number of the publisher of last publications.
pub(crate) const CLOSING_PUBLISHER: u32 = u32::MAX - 1;

/// How long the last publication of a channel is repeated for.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(20);

/// Publishes once more in each channel; returns every attempt, the last one of each channel acknowledged.
pub(crate) async fn publish_last(channels: &[ChannelId], url: &str) -> Result<Vec<Attempt>, Fault> {
    let deadline = Instant::now() + CLOSING_TIMEOUT;
    let mut wire = Wire::open(url).await.ok_or("no node takes the last publications")?;
    let (mut attempts, mut sequence) = (Vec::new(), 0);
    for channel in channels {
        loop {
            sequence += 1;
            let attempt = attempt(&mut wire, *channel, sequence, deadline).await?;
            let is_done = matches!(attempt.outcome, Outcome::Acknowledged(_));
            attempts.push(attempt);
            if is_done {
                break;
            }
        }
    }
    Ok(attempts)
}

async fn attempt(wire: &mut Wire, channel: ChannelId, sequence: u64, deadline: Instant) -> Result<Attempt, Fault> {
    let stamp = Stamp { publisher: CLOSING_PUBLISHER, sequence };
    let sent_at = Instant::now();
    // Sent outside of the time that latencies are measured in.
    wire.publish(channel, &Cargo { stamp, sent_us: 0, ballast: String::new() }, None).await?;
    let answered = timeout_at(deadline, async {
        loop {
            match wire.answer().await {
                Some((id, answer)) if id == sequence => return Some(answer),
                Some(_) => {}
                None => return None,
            }
        }
    });
    let outcome = match answered.await {
        Ok(Some(Answer::Published(position))) => Outcome::Acknowledged(position),
        Ok(Some(Answer::Refused(code))) if code == "unknown_outcome" => Outcome::Unknown,
        Ok(Some(Answer::Refused(code))) => Outcome::Refused(code),
        Ok(None) | Err(_) => return Err(format!("the last publication in {} is not answered", channel.name()).into()),
    };
    let known_at = Instant::now();
    Ok(Attempt { stamp, channel, node: 0, connection: 0, is_keyed: false, sent_at, known_at, outcome })
}

/// The logs of the channels that keep history, from their beginning to their end.
pub(crate) async fn read_logs(channels: &[ChannelId], url: &str) -> Result<BTreeMap<ChannelId, Log>, Fault> {
    let client = Client::connect(Config::new([url]))?;
    client.connected().await?;
    let mut logs = BTreeMap::new();
    for channel in channels.iter().filter(|channel| channel.is_kept) {
        logs.insert(*channel, read_log(&client, *channel).await?);
    }
    Ok(logs)
}

async fn read_log(client: &Client, channel: ChannelId) -> Result<Log, Fault> {
    let name = Channel::new(&channel.name())?;
    let newest = client.history(&name, HistoryOptions { limit: Some(1), since: None, reverse: true }).await?;
    let Some(Position { epoch, .. }) = newest.position else { return Ok(Log::default()) };
    let mut log = Log { epoch: Some(epoch.clone()), entries: Vec::new() };
    loop {
        let offset = log.entries.last().map_or(0, |(offset, _)| *offset);
        let since = Some(Since { epoch: Some(epoch.clone()), offset });
        let page = client.history(&name, HistoryOptions { limit: Some(1000), since, reverse: false }).await?;
        if page.publications.is_empty() {
            return Ok(log);
        }
        for publication in page.publications {
            let offset = publication.offset.ok_or("a log has an entry without offset")?;
            log.entries.push((offset, publication.data.parse()?));
        }
    }
}
