//! permessage-deflate on this worker: what leaves is packed, what comes is unpacked, and both are counted.

use super::Local;
use super::connection::Connection;
use crate::hub::fanout::Encoded;
use crate::metrics::Limit;
use crate::websocket::Unpack;
use crate::websocket::deflate::{Fault, Packed, Window};
use protocol::CloseCode;
use std::borrow::Cow;

/// A message that grows by less when it is unpacked costs no more than others of its size on the wire.
const GROWTH_FREE_BYTES: usize = 1024;

impl Local {
    /// A connection's own frames as it takes them.
    pub fn packed<'a>(&self, connection: &Connection, frames: &'a [u8]) -> Cow<'a, [u8]> {
        let packed = connection.deflate.and_then(|window| self.packer.borrow_mut().pack(window, frames));
        packed.map_or(Cow::Borrowed(frames), |packed| {
            self.count_packed(&packed);
            Cow::Owned(packed.frames)
        })
    }

    /// Deliveries as all those take them who have agreed upon this window.
    pub fn packed_for_all(&self, plain: &Encoded, window: Window) -> Encoded {
        let packed = self.packer.borrow_mut().pack(window, plain.frames.frames());
        packed.map_or_else(
            || plain.clone(),
            |packed| {
                self.count_packed(&packed);
                plain.packed(packed, &self.meter)
            },
        )
    }

    fn count_packed(&self, packed: &Packed) {
        let metrics = &self.node.metrics;
        metrics.deflated_messages.inc_by(packed.messages);
        metrics.deflated_bytes.with_label_values(&["before"]).inc_by(packed.bytes_before);
        metrics.deflated_bytes.with_label_values(&["after"]).inc_by(packed.bytes_after);
    }
}

/// Unpacks the messages of one connection.
pub struct Unpacking<'a> {
    /// Its worker.
    pub local: &'a Local,
    /// Whose they are.
    pub connection: &'a Connection,
}

impl Unpack for Unpacking<'_> {
    fn unpack(&self, packed: &[u8], max_bytes: usize) -> Result<Vec<u8>, CloseCode> {
        let metrics = &self.local.node.metrics;
        let message = self.local.inflater.borrow_mut().inflate(packed, max_bytes).map_err(|fault| match fault {
            Fault::TooBig => {
                metrics.limits.reached(Limit::Inflation);
                CloseCode::TooBig
            }
            Fault::Corrupt => CloseCode::InvalidText,
        })?;
        metrics.inflated_messages.inc();
        metrics.inflated_bytes.with_label_values(&["before"]).inc_by(packed.len() as u64);
        metrics.inflated_bytes.with_label_values(&["after"]).inc_by(message.len() as u64);
        self.charge(message.len().saturating_sub(packed.len()))?;
        Ok(message)
    }

    fn recycle(&self, message: Vec<u8>) {
        self.local.inflater.borrow_mut().recycle(message);
    }
}

impl Unpacking<'_> {
    /// A few bytes may become a whole message that has to be read like any other before it can be refused. So what grows
    /// comes no faster than commands may; whoever keeps to that rate never notices.
    fn charge(&self, growth_bytes: usize) -> Result<(), CloseCode> {
        if growth_bytes < GROWTH_FREE_BYTES {
            return Ok(());
        }
        let rate = &self.local.node.config.worker.rates.messages;
        let taken = self.connection.state.borrow_mut().buckets.inflation.take(rate, self.local.now_ms());
        taken.map_err(|_| {
            self.local.node.metrics.limits.reached(Limit::Inflation);
            CloseCode::RateLimited
        })
    }
}
