//! permessage-deflate on this worker: what leaves is compressed, what comes is inflated, and both are counted.

use super::Local;
use super::connection::Connection;
use crate::hub::fanout::Encoded;
use crate::metrics::Limit;
use crate::websocket::Inflate;
use crate::websocket::deflate::{Compressed, Fault, Window};
use protocol::CloseCode;
use std::borrow::Cow;

/// A message that grows by less when it is inflated costs no more than others of its size on the wire.
const GROWTH_FREE_BYTES: usize = 1024;

impl Local {
    /// A connection's own frames as it takes them.
    pub fn compressed<'a>(&self, connection: &Connection, frames: &'a [u8]) -> Cow<'a, [u8]> {
        let compressed = connection.deflate.and_then(|window| self.compressor.borrow_mut().compress(window, frames));
        compressed.map_or(Cow::Borrowed(frames), |compressed| {
            self.count_compressed(&compressed);
            Cow::Owned(compressed.frames)
        })
    }

    /// Deliveries as all those take them who have agreed upon this window.
    pub fn compressed_for_all(&self, plain: &Encoded, window: Window) -> Encoded {
        let compressed = self.compressor.borrow_mut().compress(window, plain.frames.frames());
        compressed.map_or_else(
            || plain.clone(),
            |compressed| {
                self.count_compressed(&compressed);
                plain.compressed(compressed, &self.meter)
            },
        )
    }

    fn count_compressed(&self, compressed: &Compressed) {
        let metrics = &self.node.metrics;
        metrics.deflated_messages.inc_by(compressed.messages);
        metrics.deflated_bytes.with_label_values(&["before"]).inc_by(compressed.bytes_before);
        metrics.deflated_bytes.with_label_values(&["after"]).inc_by(compressed.bytes_after);
    }
}

/// Inflates the messages of one connection.
pub struct Inflating<'a> {
    /// Its worker.
    pub local: &'a Local,
    /// Whose they are.
    pub connection: &'a Connection,
}

impl Inflate for Inflating<'_> {
    fn inflate(&self, compressed: &[u8], max_bytes: usize) -> Result<Vec<u8>, CloseCode> {
        let metrics = &self.local.node.metrics;
        let message = self.local.inflater.borrow_mut().inflate(compressed, max_bytes).map_err(|fault| match fault {
            Fault::TooBig => {
                metrics.limits.reached(Limit::Inflation);
                CloseCode::TooBig
            }
            Fault::Corrupt => CloseCode::InvalidText,
        })?;
        metrics.inflated_messages.inc();
        metrics.inflated_bytes.with_label_values(&["before"]).inc_by(compressed.len() as u64);
        metrics.inflated_bytes.with_label_values(&["after"]).inc_by(message.len() as u64);
        self.charge(message.len().saturating_sub(compressed.len()))?;
        Ok(message)
    }

    fn recycle(&self, message: Vec<u8>) {
        self.local.inflater.borrow_mut().recycle(message);
    }
}

impl Inflating<'_> {
    /// A few bytes may become a whole message that has to be read like any other before it can be refused. So what grows
    /// comes no faster than commands may; whoever keeps to that rate never notices.
    fn charge(&self, growth_bytes: usize) -> Result<(), CloseCode> {
        if growth_bytes < GROWTH_FREE_BYTES {
            return Ok(());
        }
        let rate = &self.local.node.config.worker.rates.messages;
        let taken = self.connection.state.borrow_mut().buckets.take_of_inflation(rate, self.local.now_ms());
        taken.map_err(|_| {
            self.local.node.metrics.limits.reached(Limit::Inflation);
            CloseCode::RateLimited
        })
    }
}
