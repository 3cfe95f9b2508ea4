//! Which channels this node wants, where each one stands, and the one place where deliveries are made.
//!
//! The state is what is wanted, not a queue of requests: the subscriber task makes the connection match it, and the
//! reader task reads for the tracks that wait. Deliveries are made under the lock, so those of a channel come one at a
//! time and in order, whichever task they come from.

mod asks;
mod standstill;
mod wanted;

use super::config::BrokerConfig;
use super::orders;
use super::positions::{Out, Step, Track};
use super::told::Told;
use crate::metrics::BrokerMetrics;
use crate::{Delivery, Sink};
use bytes::Bytes;
use link::KeySpace;
use protocol::envelope::{Envelope, EnvelopeError};
use protocol::{Channel, Publication};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Other nodes ask the sentinels every 500 ms, which may take as long to answer.
const SETTLING: Duration = Duration::from_secs(1);

/// How one channel without positions stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plain {
    New,
    Live,
    /// The connection was lost, and the subscribers have not been told.
    Lost,
}

#[derive(Debug)]
enum Stand {
    Plain(Plain),
    Positioned(Track),
}

#[derive(Debug)]
struct Subscription {
    channel: Channel,
    /// Redis has confirmed it on the present connection.
    is_confirmed: bool,
    stand: Stand,
}

#[derive(Default)]
struct State {
    /// Counts connections; what comes over earlier ones is ignored.
    connection: u64,
    /// Which primary it leads to.
    primary: u64,
    /// When it was last another one than before.
    moved_at: Option<Instant>,
    last_round: u64,
    subscriptions: HashMap<Channel, Subscription>,
    /// Channels for which the connection may not match what is wanted.
    changed: HashSet<Channel>,
    /// Channels that need a reading nobody has begun.
    asking: HashSet<Channel>,
    held_bytes: usize,
    /// The latest probe that was sent.
    last_probe: u64,
    /// The node stood still: until this probe comes back, what comes may be old.
    stale_until: Option<u64>,
}

/// Shared by the broker and its tasks.
pub(super) struct Interest {
    keys: KeySpace,
    node_topic: String,
    control_topic: String,
    sink: Arc<dyn Sink>,
    told: Arc<Told>,
    metrics: BrokerMetrics,
    held_max: usize,
    unused_ttl: Duration,
    state: Mutex<State>,
    changed: Notify,
    asked: Notify,
    heard: AtomicU64,
    /// The connection over which something unreadable came last.
    complained_on: AtomicU64,
    probes: watch::Sender<u64>,
    probe_now: Notify,
    began: Instant,
    /// When the node last did anything, in milliseconds since it began.
    beat_ms: AtomicU64,
}

impl Interest {
    pub(super) fn new(
        keys: &KeySpace,
        node: &str,
        sink: Arc<dyn Sink>,
        told: Arc<Told>,
        config: &BrokerConfig,
        metrics: &BrokerMetrics,
    ) -> Self {
        Self {
            node_topic: keys.node_topic(node),
            control_topic: keys.control_topic(),
            keys: keys.clone(),
            sink,
            told,
            metrics: metrics.clone(),
            held_max: config.held_bytes,
            unused_ttl: config.unused_ttl,
            state: Mutex::default(),
            changed: Notify::new(),
            asked: Notify::new(),
            heard: AtomicU64::new(0),
            complained_on: AtomicU64::new(0),
            probes: watch::Sender::new(0),
            probe_now: Notify::new(),
            began: Instant::now(),
            beat_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn node_topic(&self) -> &str {
        &self.node_topic
    }

    pub(super) fn control_topic(&self) -> &str {
        &self.control_topic
    }

    /// How many messages have been heard over all connections.
    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Which primary the present connection leads to, or the last one did. Only what is read there belongs to what comes
    /// over the connection: another Redis may have another past under the same offsets.
    pub(super) fn primary(&self) -> u64 {
        self.lock().primary
    }

    /// Until when no epoch is ended, if so: another Redis has just become primary, and other nodes may still be publishing
    /// to the one before. What that one takes is lost, and is better told together.
    pub(super) fn settles_at(&self) -> Option<Instant> {
        self.lock().moved_at.map(|at| at + SETTLING).filter(|until| *until > Instant::now())
    }

    /// Positions that this node has told somebody of.
    pub(super) fn told(&self) -> &Told {
        &self.told
    }

    /// How long a channel is remembered that nobody has published to.
    pub(super) fn unused_ttl(&self) -> Duration {
        self.unused_ttl
    }

    /// The channels that are subscribed to and nobody has published to.
    pub(super) fn unused(&self) -> Vec<Channel> {
        let state = self.lock();
        let is_unused = |s: &&Subscription| match &s.stand {
            Stand::Positioned(track) => track.mark().is_some_and(|mark| mark.offset == 0),
            Stand::Plain(_) => false,
        };
        state.subscriptions.values().filter(is_unused).map(|s| s.channel.clone()).collect()
    }

    /// Waits until the probe with this number, or a later one, has come back.
    pub(super) async fn probe_came_back(&self, number: u64) {
        let mut probes = self.probes.subscribe();
        if probes.wait_for(|latest| *latest >= number).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// A message came over a connection.
    pub(super) fn message(&self, connection: u64, topic: &str, payload: Bytes) {
        self.beat();
        self.heard.fetch_add(1, Ordering::Relaxed);
        if topic == self.node_topic {
            match orders::decode(payload) {
                Some(orders::ToNode::Probe(number)) => {
                    self.fresh_from(connection, number);
                    self.probes.send_replace(number);
                }
                // Its sender has long been told that nobody knows what became of it.
                Some(orders::ToNode::Direct(_)) if self.is_stale(connection) => self.drop_stale(1),
                Some(orders::ToNode::Direct(order)) => self.sink.deliver(Delivery::Direct(order)),
                None => self.metrics.undecodable.inc(),
            }
        } else if topic == self.control_topic {
            self.sink.deliver(Delivery::Control(payload));
        } else if let Some(channel) = self.keys.channel_of_topic(topic) {
            self.metrics.envelopes.inc();
            match Envelope::decode(payload) {
                Ok(envelope) => self.envelope(connection, channel, envelope),
                Err(error) => self.unreadable(connection, channel, error),
            }
        }
    }

    /// Perhaps a newer node wrote it. Its publications must not go missing in silence.
    fn unreadable(&self, connection: u64, channel: &str, error: EnvelopeError) {
        self.metrics.undecodable.inc();
        // Once a connection, not once an envelope.
        if self.complained_on.swap(connection, Ordering::Relaxed) != connection {
            tracing::warn!(channel, %error, "an envelope cannot be read");
        }
        let mut state = self.lock();
        let (is_present, is_stale) = (state.connection == connection, state.stale_until.is_some());
        let State { subscriptions, asking, .. } = &mut *state;
        let Some(subscription) = subscriptions.get_mut(channel).filter(|_| is_present) else { return };
        let channel = subscription.channel.clone();
        match &mut subscription.stand {
            Stand::Plain(Plain::New) => {}
            Stand::Plain(plain) => {
                *plain = Plain::Lost;
                if !is_stale {
                    self.make_live(&channel, plain);
                }
            }
            Stand::Positioned(track) => {
                track.unreadable();
                if subscription.is_confirmed {
                    self.ask(asking, channel);
                }
            }
        }
    }

    fn envelope(&self, connection: u64, channel: &str, envelope: Envelope) {
        let mut state = self.lock();
        if state.connection != connection {
            return;
        }
        let room = self.held_max.saturating_sub(state.held_bytes);
        let is_stale = state.stale_until.is_some();
        let State { subscriptions, asking, held_bytes, .. } = &mut *state;
        let Some(subscription) = subscriptions.get_mut(channel) else { return };
        let channel = subscription.channel.clone();
        match (&mut subscription.stand, envelope) {
            (Stand::Plain(Plain::New), _) => {}
            (Stand::Plain(Plain::Lost), Envelope::Publications { publications, .. })
            | (Stand::Positioned(_), Envelope::Publications { epoch: None, publications })
                if is_stale =>
            {
                self.drop_stale(publications.len());
            }
            (Stand::Plain(_), Envelope::Renewed) => {}
            // Who is there is a state: it counts, late as it is.
            (Stand::Plain(Plain::Lost), Envelope::Membership(change)) if is_stale => {
                self.sink.deliver(Delivery::Membership { channel, change });
            }
            (Stand::Positioned(track), Envelope::Renewed) => {
                track.unreadable();
                if subscription.is_confirmed {
                    self.ask(asking, channel);
                }
            }
            (Stand::Plain(plain), envelope) => {
                self.make_live(&channel, plain);
                without_positions(channel, envelope).into_iter().for_each(|delivery| self.sink.deliver(delivery));
            }
            (Stand::Positioned(track), Envelope::Publications { epoch: Some(epoch), publications }) => {
                *held_bytes -= track.held_bytes();
                let step = track.arrived(epoch, publications, room);
                *held_bytes += track.held_bytes();
                self.deliver(&channel, step);
                if track.is_waiting() && subscription.is_confirmed {
                    self.ask(asking, channel);
                }
            }
            (Stand::Positioned(track), envelope) if track.is_open() => {
                without_positions(channel, envelope).into_iter().for_each(|delivery| self.sink.deliver(delivery));
            }
            (Stand::Positioned(_), _) => {}
        }
    }

    /// Whether what comes over a connection may be old.
    fn is_stale(&self, connection: u64) -> bool {
        let state = self.lock();
        state.connection != connection || state.stale_until.is_some()
    }

    fn ask(&self, asking: &mut HashSet<Channel>, channel: Channel) {
        asking.insert(channel);
        self.asked.notify_one();
    }

    fn deliver(&self, channel: &Channel, step: Step) {
        self.metrics.duplicates.inc_by(step.duplicates);
        self.metrics.held_overflows.inc_by(u64::from(step.overflowed));
        for out in step.out {
            let channel = channel.clone();
            self.sink.deliver(match out {
                Out::Opened(position, has_state) => Delivery::Opened { channel, position: Some(position), has_state },
                Out::Publications(epoch, publications) => {
                    Delivery::Publications { channel, epoch: Some(epoch), publications }
                }
                Out::Gap(range, position) => {
                    self.metrics.gaps.inc();
                    Delivery::Gap { channel, range, position: Some(position) }
                }
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A sink that panicked has missed a delivery; the state itself is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_round(&mut self) -> u64 {
        self.last_round += 1;
        self.last_round
    }
}

/// Where there are no positions, there is no promise that offsets go on: none are shown.
fn without_positions(channel: Channel, envelope: Envelope) -> Option<Delivery> {
    Some(match envelope {
        Envelope::Membership(change) => Delivery::Membership { channel, change },
        Envelope::Renewed => return None,
        Envelope::Publications { publications, .. } => {
            let bare = |publication| Publication { offset: None, ..publication };
            let publications = publications.into_iter().map(bare).collect();
            Delivery::Publications { channel, epoch: None, publications }
        }
    })
}
