//! What a client missed, in parts that fit its outbox: from the replay that its channel's subscribers share, or from the
//! log.

use super::wait_drained;
use crate::hub::past::{Errand, Recovery};
use crate::hub::replay::Chunk;
use crate::local::Local;
use crate::local::connection::Connection;
use broker::{Page, Range};
use protocol::{Channel, Position, Refusal};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Publications of one reading of the log.
const PAGE_MAX: u32 = 256;

/// How long a client may wait for readings, its own and those of others.
const RECOVER_TIMEOUT: Duration = Duration::from_secs(5);

/// The next part of what a client at `from` has missed, once nothing else waits for its socket.
pub(super) async fn next_chunk(
    local: &Local,
    connection: &Connection,
    channel: &Channel,
    from: &Position,
) -> Result<Chunk, Refusal> {
    wait_drained(local, connection).await?;
    // Half of the outbox: live deliveries of other channels go on beside it.
    let max_bytes = local.node.config.worker.outbox_bytes / 2;
    let deadline = Instant::now() + RECOVER_TIMEOUT;
    while Instant::now() < deadline {
        let recovery = local.hub.borrow_mut().recover(channel, from, max_bytes);
        match recovery {
            Recovery::Found(chunk) => return Ok(chunk),
            Recovery::Wait(done) => {
                timeout_at(deadline, done.notified()).await.map_err(|_| Refusal::unavailable())?;
            }
            Recovery::Read(errand, since) => read(local, channel, errand, since, deadline).await?,
            Recovery::Closed => break,
        }
    }
    Err(Refusal::unavailable())
}

/// Reads the log for all who wait. It is given up only with its reader: read anew, it would take no less.
async fn read(local: &Local, channel: &Channel, errand: Errand, since: u64, deadline: Instant) -> Result<(), Refusal> {
    let mut reading = Reading { local, channel, errand, page: None };
    local.node.metrics.recovery_reads.inc();
    let range = Range { since: Some(since), limit: PAGE_MAX, reverse: false };
    let read = timeout_at(deadline, local.node.broker.history(channel, range)).await;
    reading.page = read.ok().and_then(Result::ok).map(|page| {
        let is_last = page.reaches_top();
        (page, is_last)
    });
    if reading.page.is_some() { Ok(()) } else { Err(Refusal::unavailable()) }
}

/// Ends the reading whatever happens to its reader.
struct Reading<'a> {
    local: &'a Local,
    channel: &'a Channel,
    errand: Errand,
    page: Option<(Page, bool)>,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.local.hub.borrow_mut().install(self.channel, self.errand, self.page.take());
    }
}
