//! What a client missed, in parts that fit its outbox: from the replay that its channel's subscribers share, or from the
//! log.

use super::COMMAND_TIMEOUT;
use crate::hub::Recovery;
use crate::hub::replay::Chunk;
use crate::local::Local;
use crate::local::connection::Connection;
use broker::{Page, Range};
use protocol::{Channel, Position, Refusal};
use tokio::time::timeout;

/// Publications of one reading of the log.
const PAGE_MAX: u32 = 1000;

/// Readings before a client that cannot catch up is answered `unavailable`.
const READS_MAX: usize = 4;

/// The next part of what a client at `from` has missed, once nothing else waits for its socket.
pub(super) async fn next_chunk(
    local: &Local,
    connection: &Connection,
    channel: &Channel,
    from: &Position,
) -> Result<Chunk, Refusal> {
    if let Some(drained) = local.drained(connection) {
        timeout(COMMAND_TIMEOUT, drained.notified()).await.map_err(|_| Refusal::unavailable())?;
    }
    // Half of the outbox: live deliveries of other channels go on beside it.
    let max_bytes = local.node.config.worker.outbox_bytes / 2;
    for _ in 0..READS_MAX {
        let recovery = local.hub.borrow_mut().recover(channel, from, max_bytes);
        match recovery {
            Recovery::Found(chunk) => return Ok(chunk),
            Recovery::Wait(done) => {
                timeout(COMMAND_TIMEOUT, done.notified()).await.map_err(|_| Refusal::unavailable())?;
            }
            Recovery::Read(since) => read(local, channel, since).await?,
            Recovery::Closed => break,
        }
    }
    Err(Refusal::unavailable())
}

/// Reads the log for all who wait.
async fn read(local: &Local, channel: &Channel, since: u64) -> Result<(), Refusal> {
    let mut reading = Reading { local, channel, page: None };
    local.node.metrics.recovery_reads.inc();
    let range = Range { since: Some(since), limit: PAGE_MAX, reverse: false };
    let read = timeout(COMMAND_TIMEOUT, local.node.broker.history(channel, range)).await;
    reading.page = read.ok().and_then(Result::ok);
    if reading.page.is_some() { Ok(()) } else { Err(Refusal::unavailable()) }
}

/// Ends the reading whatever happens to its reader.
struct Reading<'a> {
    local: &'a Local,
    channel: &'a Channel,
    page: Option<Page>,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.local.hub.borrow_mut().install(self.channel, self.page.take());
    }
}
