//! A client that subscribes and never reads: what is sent to it fills the sockets' buffers, then its outbox.

use super::wire::Wire;
use crate::Fault;
use crate::faults::ledger::ChannelId;

/// An open connection that nobody reads from.
pub(crate) struct Deaf {
    _wire: Wire,
}

impl Deaf {
    /// Connects and subscribes.
    pub(crate) async fn start(url: &str, channel: ChannelId) -> Result<Self, Fault> {
        let mut wire = Wire::open(url).await.ok_or("a client that is not to read cannot connect")?;
        wire.subscribe(channel).await?;
        Ok(Self { _wire: wire })
    }
}
