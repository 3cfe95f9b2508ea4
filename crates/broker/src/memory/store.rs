//! All channels and nodes of one process.

use super::log::ChannelLog;
use crate::{Delivery, Note, Outcome, Page, Publish, PublishError, Range, Sink};
use bytes::Bytes;
use protocol::envelope::Membership;
use protocol::{Channel, Position, Publication};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio::time::Instant;

/// How many channels one publication or reading looks through for what has expired.
const SWEPT_AT_ONCE: usize = 4;

pub(super) type NodeId = u64;

struct Node {
    name: String,
    sink: Arc<dyn Sink>,
    /// Whether with positions.
    channels: HashMap<Channel, bool>,
}

struct Kept {
    log: ChannelLog,
    sweep_at: Instant,
}

#[derive(Default)]
pub(super) struct Store {
    last_node: NodeId,
    nodes: HashMap<NodeId, Node>,
    subscribers: HashMap<Channel, Vec<NodeId>>,
    kept: HashMap<Channel, Kept>,
    /// When each kept channel is next looked at.
    sweeps: BTreeSet<(Instant, Channel)>,
    notes: HashMap<String, (String, Instant)>,
}

impl Store {
    pub(super) fn attach(&mut self, name: &str, sink: Arc<dyn Sink>) -> NodeId {
        self.last_node += 1;
        self.nodes.insert(self.last_node, Node { name: name.to_owned(), sink, channels: HashMap::new() });
        self.last_node
    }

    pub(super) fn detach(&mut self, id: NodeId) {
        let Some(node) = self.nodes.remove(&id) else { return };
        for channel in node.channels.keys() {
            self.forget_subscriber(id, channel);
        }
    }

    pub(super) fn note(&mut self, name: &str, note: Note, now: Instant) -> Option<String> {
        if !matches!(note, Note::Read) {
            self.notes.retain(|_, (_, ends)| *ends > now);
        }
        let standing = self.notes.get(name).filter(|(_, ends)| *ends > now).map(|(text, _)| text.clone());
        let (text, ttl) = match note {
            Note::Read => return standing,
            Note::Write { text, ttl } => (text, ttl),
            Note::First { text, ttl } => (standing.unwrap_or(text), ttl),
        };
        self.notes.insert(name.to_owned(), (text.clone(), now + ttl));
        Some(text)
    }

    pub(super) fn subscribe(&mut self, id: NodeId, channel: &Channel, positioned: bool, now: Instant) {
        let log = positioned.then(|| self.log(channel, now));
        let (position, has_state) = log.map_or((None, false), |log| (Some(log.top()), log.has_state()));
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.channels.insert(channel.clone(), positioned).is_none() {
            self.subscribers.entry(channel.clone()).or_default().push(id);
            node.sink.deliver(Delivery::Opened { channel: channel.clone(), position, has_state });
        }
    }

    pub(super) fn unsubscribe(&mut self, id: NodeId, channel: &Channel) {
        if self.nodes.get_mut(&id).is_some_and(|node| node.channels.remove(channel).is_some()) {
            self.forget_subscriber(id, channel);
        }
    }

    fn forget_subscriber(&mut self, id: NodeId, channel: &Channel) {
        if let Some(subscribers) = self.subscribers.get_mut(channel) {
            subscribers.retain(|subscriber| *subscriber != id);
            if subscribers.is_empty() {
                self.subscribers.remove(channel);
                // Until now it was kept whatever its time, and its subscribers may come back with their positions.
                let now = Instant::now();
                let ends = |kept: &&mut Kept| kept.log.is_unused() || kept.log.is_over(now);
                if let Some(kept) = self.kept.get_mut(channel).filter(ends) {
                    kept.log.live_on(now);
                }
            }
        }
    }

    pub(super) fn publish(&mut self, publish: Publish, now: Instant) -> Outcome {
        self.sweep(now);
        let Publish { channel, mut publication, retention, key, deadline } = publish;
        if deadline <= now {
            return Err(PublishError::Unavailable);
        }
        let Some(retention) = retention else {
            self.fan_out(&channel, &publication, None);
            return Ok(None);
        };
        let log = self.log(&channel, now);
        if let Some(position) = key.as_deref().and_then(|key| log.position_of(key, now)) {
            return Ok(Some(position.clone()));
        }
        let position = log.append(&mut publication, retention, now)?;
        if let Some(key) = key {
            log.remember(key, position.clone(), now);
        }
        self.schedule(&channel, now);
        self.fan_out(&channel, &publication, Some(&position));
        Ok(Some(position))
    }

    fn fan_out(&self, channel: &Channel, publication: &Publication, position: Option<&Position>) {
        self.tell(channel, |positioned| {
            // Without positions there is no promise that offsets go on, so none are shown.
            let position = position.filter(|_| positioned);
            let publication = Publication { offset: position.map(|p| p.offset), ..publication.clone() };
            let epoch = position.map(|p| p.epoch.clone());
            Delivery::Publications { channel: channel.clone(), epoch, publications: vec![publication] }
        });
    }

    pub(super) fn announce(&self, channel: &Channel, change: &Membership) {
        self.tell(channel, |_| Delivery::Membership { channel: channel.clone(), change: change.clone() });
    }

    fn tell(&self, channel: &Channel, delivery: impl Fn(bool) -> Delivery) {
        for id in self.subscribers.get(channel).into_iter().flatten() {
            if let Some(node) = self.nodes.get(id) {
                node.sink.deliver(delivery(node.channels.get(channel).copied().unwrap_or(false)));
            }
        }
    }

    pub(super) fn history(&mut self, channel: &Channel, range: Range, now: Instant) -> Page {
        self.log(channel, now).page(range)
    }

    pub(super) fn state(&mut self, channel: &Channel, now: Instant) -> Page {
        self.log(channel, now).state(now)
    }

    pub(super) fn direct(&self, name: &str, order: &Bytes) -> bool {
        let addressed: Vec<_> = self.nodes.values().filter(|node| node.name == name).collect();
        addressed.iter().for_each(|node| node.sink.deliver(Delivery::Direct(order.clone())));
        !addressed.is_empty()
    }

    pub(super) fn control(&self, order: &Bytes) {
        self.nodes.values().for_each(|node| node.sink.deliver(Delivery::Control(order.clone())));
    }

    /// The channel's log without what has expired; a new one if there is none.
    fn log(&mut self, channel: &Channel, now: Instant) -> &mut ChannelLog {
        self.sweep(now);
        let is_over = self.kept.get(channel).filter(|kept| kept.log.is_over(now)).map(|kept| kept.sweep_at);
        if let Some(sweep_at) = is_over.filter(|_| !self.subscribers.contains_key(channel)) {
            self.sweeps.remove(&(sweep_at, channel.clone()));
            self.kept.remove(channel);
        }
        let sweeps = &mut self.sweeps;
        let kept = self.kept.entry(channel.clone()).or_insert_with(|| {
            let mut log = ChannelLog::new(now);
            let sweep_at = log.sweep(now);
            sweeps.insert((sweep_at, channel.clone()));
            Kept { log, sweep_at }
        });
        kept.log.sweep(now);
        if kept.log.is_unused() {
            kept.log.live_on(now);
        }
        &mut kept.log
    }

    /// Looks at a channel earlier than planned, if something in it expires earlier.
    fn schedule(&mut self, channel: &Channel, now: Instant) {
        let Some(kept) = self.kept.get_mut(channel) else { return };
        let at = kept.log.sweep(now);
        if at < kept.sweep_at {
            self.sweeps.remove(&(kept.sweep_at, channel.clone()));
            self.sweeps.insert((at, channel.clone()));
            kept.sweep_at = at;
        }
    }

    fn sweep(&mut self, now: Instant) {
        for _ in 0..SWEPT_AT_ONCE {
            if self.sweeps.first().is_none_or(|(at, _)| *at > now) {
                return;
            }
            let Some((_, channel)) = self.sweeps.pop_first() else { return };
            let Some(kept) = self.kept.get_mut(&channel) else { continue };
            if kept.log.is_over(now) {
                if !self.subscribers.contains_key(&channel) {
                    self.kept.remove(&channel);
                    continue;
                }
                // Subscribers hold positions in it.
                kept.log.live_on(now);
            }
            kept.sweep_at = kept.log.sweep(now);
            self.sweeps.insert((kept.sweep_at, channel));
        }
    }

    /// How many channels, publications and idempotency keys are kept.
    #[cfg(test)]
    fn kept(&self) -> (usize, usize, usize) {
        let logs = || self.kept.values().map(|kept| &kept.log);
        (self.kept.len(), logs().map(ChannelLog::publications).sum(), logs().map(ChannelLog::keys).sum())
    }
}

#[cfg(test)]
mod tests;
