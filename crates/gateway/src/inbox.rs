//! The bounded mailbox of a worker: the node writes, the worker reads all of it at the start of a turn.

use crate::shedding::Shed;
use crate::websocket::Reader;
use broker::Delivery;
use protocol::order::Order;
use protocol::{Channel, CloseCode, Position};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Numbers a worker's requests to be delivered a channel, so that the answer to an old one is not taken for the new.
pub type Ticket = u64;

/// How much may wait for a worker.
#[derive(Debug, Clone, Copy)]
pub struct InboxConfig {
    /// Deliveries and private messages.
    pub max_deliveries: usize,
    /// Bytes of their payloads.
    pub max_bytes: usize,
}

impl Default for InboxConfig {
    fn default() -> Self {
        Self { max_deliveries: 65_536, max_bytes: 64 << 20 }
    }
}

/// Something for a worker to do.
#[derive(Debug)]
pub enum Item {
    /// A channel this worker asked for is delivered from this position on.
    Opened {
        /// Which.
        channel: Channel,
        /// Whose asking this answers: an older one is void.
        ticket: Ticket,
        /// Where it begins; absent in channels without positions.
        position: Option<Position>,
        /// Whether the channel may have a state.
        has_state: bool,
    },
    /// Publications, gaps and membership changes of one channel.
    Delivery {
        /// What.
        delivery: Arc<Delivery>,
        /// When it reached this node.
        arrived: Instant,
    },
    /// An order from another node (or this one).
    Order(Box<Order>),
    /// A stream for a session that has polled until now.
    Handover(Box<Handover>),
    /// Something was revoked: look through the connections.
    Revoked,
    /// Choose those who are to go, and tell them.
    Shed {
        /// Why, and how long they stay away.
        shed: Arc<Shed>,
        /// How many.
        share: usize,
    },
    /// Close so many of those.
    Wave {
        /// Of which shedding.
        shed: Arc<Shed>,
        /// How many.
        count: usize,
    },
    /// There are no more waves.
    ShedEnds {
        /// Of which shedding.
        shed: Arc<Shed>,
        /// Whether every connection is closed that is still there.
        closes_rest: bool,
    },
    /// Close whatever is left with this code, then end.
    Stop(CloseCode),
}

/// A stream whose WebSocket belongs to a session of another worker.
#[derive(Debug)]
pub struct Handover {
    /// The session's connection.
    pub connection: u64,
    /// The stream.
    pub stream: std::net::TcpStream,
    /// What has half arrived on it.
    pub reader: Reader,
    /// What has arrived.
    pub messages: Vec<Said>,
}

/// A message that waits to be looked at.
#[derive(Debug)]
pub enum Said {
    /// Text.
    Text(String),
    /// Any bytes.
    Binary(Vec<u8>),
}

/// What was lost because a worker fell behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overflow {
    /// First and last lost offset, where they are known.
    pub range: Option<(u64, u64)>,
    /// Where the channel goes on.
    pub position: Option<Position>,
}

/// All that a worker takes in one turn. Overflows come after the items.
#[derive(Debug, Default)]
pub struct Mail {
    /// In the order they came.
    pub items: VecDeque<Item>,
    /// Channels of which something was lost, if any.
    pub overflows: HashMap<Channel, Overflow>,
}

/// The mailbox of one worker.
#[derive(Debug)]
pub struct Inbox {
    config: InboxConfig,
    queue: Mutex<Queue>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    mail: Mail,
    deliveries: usize,
    bytes: usize,
    /// There is something that must not wait for a tick.
    is_urgent: bool,
}

impl Queue {
    fn is_full(&self, config: &InboxConfig, bytes: usize) -> bool {
        self.deliveries >= config.max_deliveries || self.bytes + bytes > config.max_bytes
    }

    /// Waiting for a tick must not make it overflow.
    fn is_half_full(&self, config: &InboxConfig) -> bool {
        self.deliveries >= config.max_deliveries / 2 || self.bytes > config.max_bytes / 2
    }

    fn is_empty(&self) -> bool {
        self.mail.items.is_empty() && self.mail.overflows.is_empty()
    }
}

impl Inbox {
    /// An empty mailbox.
    pub fn new(config: InboxConfig) -> Self {
        Self { config, queue: Mutex::default(), arrived: Notify::new() }
    }

    /// Puts in what must not be lost: a few items a channel, and the answers to orders, which their senders bound.
    pub fn put(&self, item: Item) {
        let mut queue = self.lock();
        queue.mail.items.push_back(item);
        self.arrived(queue, true);
    }

    /// Puts in a delivery; false if the mailbox is full and the channel now has an overflow to be told.
    pub fn deliver(&self, channel: &Channel, delivery: &Arc<Delivery>) -> bool {
        let mut queue = self.lock();
        let bytes = payload_bytes(delivery);
        // Once something of a channel is lost, what follows must not overtake the news of it.
        let taken = !queue.is_full(&self.config, bytes) && !queue.mail.overflows.contains_key(channel);
        if taken {
            queue.deliveries += 1;
            queue.bytes += bytes;
            queue.mail.items.push_back(Item::Delivery { delivery: delivery.clone(), arrived: Instant::now() });
        } else if !matches!(&**delivery, Delivery::Membership { .. }) {
            // A membership is no publication: whoever wants the present members asks for them.
            let overflow = queue.mail.overflows.entry(channel.clone());
            let overflow = overflow.or_insert(Overflow { range: None, position: None });
            widen(overflow, delivery);
        }
        let is_urgent = !taken || queue.is_half_full(&self.config);
        self.arrived(queue, is_urgent);
        taken
    }

    /// Puts in an order from another connection, on whatever node; false if the mailbox is full. Its sender then gets no
    /// answer, and says so.
    pub fn order(&self, order: Order) -> bool {
        let bytes = match &order {
            Order::Message { message, .. } => message.data.bytes.len(),
            Order::Request { request, .. } => request.len(),
            Order::Answer { .. }
            | Order::Response { .. }
            | Order::Disconnect { .. }
            | Order::Revoked
            | Order::Prove { .. }
            | Order::Locate { .. }
            | Order::Located { .. } => 0,
        };
        let mut queue = self.lock();
        if queue.is_full(&self.config, bytes) {
            return false;
        }
        queue.deliveries += 1;
        queue.bytes += bytes;
        queue.mail.items.push_back(Item::Order(Box::new(order)));
        self.arrived(queue, true);
        true
    }

    /// Wakes the worker if that changes anything for it: not for each of many deliveries.
    fn arrived(&self, mut queue: MutexGuard<'_, Queue>, is_urgent: bool) {
        let is_first = queue.mail.items.len() <= 1;
        let wakes = is_first || (is_urgent && !queue.is_urgent);
        queue.is_urgent |= is_urgent;
        drop(queue);
        if wakes {
            self.arrived.notify_one();
        }
    }

    /// Waits until there is something, and takes all of it. Deliveries alone are not taken before `not_before`, so that
    /// those which come until then leave with them.
    pub async fn take(&self, not_before: Instant) -> Mail {
        loop {
            let is_empty = {
                let mut queue = self.lock();
                let is_due = queue.is_urgent || Instant::now() >= not_before;
                if !queue.is_empty() && is_due {
                    return std::mem::take(&mut *queue).mail;
                }
                queue.is_empty()
            };
            if is_empty {
                self.arrived.notified().await;
            } else {
                // Whether it was the time or something urgent is seen above.
                let _ = timeout_at(not_before, self.arrived.notified()).await;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn payload_bytes(delivery: &Delivery) -> usize {
    match delivery {
        Delivery::Publications { publications, .. } => publications.iter().map(|p| p.data.bytes.len()).sum(),
        _ => 0,
    }
}

fn widen(overflow: &mut Overflow, delivery: &Delivery) {
    let (range, position) = match delivery {
        Delivery::Publications { epoch, publications, .. } => {
            let offsets = || publications.iter().filter_map(|p| p.offset);
            let range = offsets().next().zip(offsets().last());
            let position = epoch.clone().zip(range).map(|(epoch, (_, offset))| Position { epoch, offset });
            (range, position)
        }
        Delivery::Gap { range, position, .. } => (*range, position.clone()),
        _ => (None, None),
    };
    let same_epoch = match (&overflow.position, &position) {
        (Some(before), Some(now)) => before.epoch == now.epoch,
        _ => true,
    };
    overflow.range = match (overflow.range, range) {
        (Some((first, _)), Some((_, last))) if same_epoch => Some((first, last)),
        (before, now) => now.or(before),
    };
    overflow.position = position.or(overflow.position.take());
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Payload, Publication};
    use std::time::Duration;

    fn publications(channel: &Channel, offsets: std::ops::RangeInclusive<u64>) -> Arc<Delivery> {
        let publications = offsets
            .map(|offset| Publication {
                offset: Some(offset),
                data: Payload::json("1"),
                event: None,
                retain: None,
                from: None,
                time_ms: 0,
                echo: true,
                stamp: 0,
            })
            .collect();
        Arc::new(Delivery::Publications { channel: channel.clone(), epoch: Some("e".into()), publications })
    }

    #[tokio::test]
    async fn what_does_not_fit_is_told_as_one_overflow_and_nothing_overtakes_it() {
        let inbox = Inbox::new(InboxConfig { max_deliveries: 1, max_bytes: 1000 });
        let (a, b) = (Channel::new("a").unwrap(), Channel::new("b").unwrap());
        assert!(inbox.deliver(&a, &publications(&a, 1..=2)));
        assert!(!inbox.deliver(&a, &publications(&a, 3..=3)));
        assert!(!inbox.deliver(&a, &publications(&a, 4..=6)));
        assert!(!inbox.deliver(&b, &publications(&b, 1..=1)));
        let mail = inbox.take(Instant::now()).await;
        assert_eq!(mail.items.len(), 1);
        let position = |offset| Some(Position { epoch: "e".into(), offset });
        assert_eq!(mail.overflows[&a], Overflow { range: Some((3, 6)), position: position(6) });
        assert_eq!(mail.overflows[&b], Overflow { range: Some((1, 1)), position: position(1) });
        assert!(inbox.deliver(&a, &publications(&a, 7..=7)), "an emptied mailbox takes deliveries again");
    }

    /// How long taking takes, and how much is taken.
    async fn taken(inbox: &Inbox, not_before: Instant) -> (Duration, usize) {
        let began = Instant::now();
        let items = inbox.take(not_before).await.items.len();
        (began.elapsed(), items)
    }

    const TICK: Duration = Duration::from_millis(10);

    #[tokio::test(start_paused = true)]
    async fn deliveries_wait_for_the_tick_and_leave_together_but_do_not_once_it_is_over() {
        let inbox = Inbox::new(InboxConfig::default());
        let a = Channel::new("a").unwrap();
        inbox.deliver(&a, &publications(&a, 1..=1));
        let more = async {
            tokio::time::sleep(TICK / 2).await;
            inbox.deliver(&a, &publications(&a, 2..=2));
        };
        let ((), took) = tokio::join!(more, taken(&inbox, Instant::now() + TICK));
        assert_eq!(took, (TICK, 2));
        let late = Instant::now() + TICK;
        tokio::time::sleep(2 * TICK).await;
        inbox.deliver(&a, &publications(&a, 3..=3));
        assert_eq!(taken(&inbox, late).await, (Duration::ZERO, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_delivery_ends_the_wait_and_keeps_its_place_among_them() {
        let inbox = Inbox::new(InboxConfig::default());
        let a = Channel::new("a").unwrap();
        inbox.deliver(&a, &publications(&a, 1..=1));
        let urgent = async {
            tokio::time::sleep(TICK / 2).await;
            inbox.put(Item::Revoked);
            inbox.deliver(&a, &publications(&a, 2..=2));
        };
        let began = Instant::now();
        let ((), mail) = tokio::join!(urgent, inbox.take(began + TICK));
        assert_eq!(began.elapsed(), TICK / 2);
        assert!(matches!(mail.items[0], Item::Delivery { .. }));
        assert!(matches!(mail.items[1], Item::Revoked), "{mail:?}");
        inbox.deliver(&a, &publications(&a, 3..=3));
        assert_eq!(taken(&inbox, Instant::now() + TICK).await, (TICK, 1), "what is taken is urgent no more");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_never_fills_the_mailbox() {
        let inbox = Inbox::new(InboxConfig { max_deliveries: 4, max_bytes: 1000 });
        let a = Channel::new("a").unwrap();
        let fill = async {
            for offset in 1..=2 {
                tokio::time::sleep(TICK / 10).await;
                assert!(inbox.deliver(&a, &publications(&a, offset..=offset)));
            }
        };
        let ((), took) = tokio::join!(fill, taken(&inbox, Instant::now() + TICK));
        assert_eq!(took, (TICK / 5, 2));
    }
}
