//! Where a user is connected: asked of all nodes at once, and what they answer gathered within a bound.

use crate::node::Node;
use futures_util::future::join_all;
use protocol::Text;
use protocol::order::Order;
use protocol::whereabouts::{Connected, Part};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// By when nodes have answered. It is a millisecond where all are well; whoever takes longer than this stands still or has
/// lost Redis, and the answer that says so is worth more than waiting for it.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The most that is kept of all answers together.
const KEPT_MAX_BYTES: usize = 1 << 20;

/// Where a user is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// Connections, those that came first before the others; not all of them where there are too many.
    pub connections: Vec<Found>,
    /// How many the nodes have that answered.
    pub count: u64,
    /// Nodes that live, as far as is known, and did not answer: what they have is not among these.
    pub unanswered: Vec<Text>,
}

/// A connection of the user.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Its node.
    pub node: Text,
    /// What the node tells of it.
    pub connection: Connected,
}

impl Node {
    /// Asks all nodes that live for the connections of a user; tells of so many at the most.
    ///
    /// # Errors
    /// When it is not known which nodes there are.
    pub async fn locate(&self, user: &Text, limit: u16) -> Result<Whereabouts, presence::Unavailable> {
        let mut nodes: Vec<Text> = self.presence.nodes().await?.into_iter().map(|living| living.node).collect();
        if !nodes.iter().any(|node| **node == *self.name) {
            nodes.push(self.name.as_str().into());
        }
        let gathering = self.router.gatherings().begin(&nodes, usize::from(limit));
        let asking = join_all(nodes.iter().map(|node| async {
            let (ticket, answer_to) = (gathering.ticket, self.name.as_str().into());
            let order = Order::Locate { ticket, limit, answer_to, user: user.clone() };
            if !self.order(node, order).await {
                gathering.give_up(node);
            }
        }));
        let all = async {
            asking.await;
            gathering.done.notified().await;
        };
        // Late or not: whoever is missing then is named.
        let _ = timeout(ANSWER_TIMEOUT, all).await;
        let found = gathering.take();
        self.metrics.locate_unanswered.inc_by(found.unanswered.len() as u64);
        Ok(found)
    }
}

/// The questions of this node that are under way. Each is bounded, and there are as many as the server API answers at once.
#[derive(Debug, Default)]
pub struct Gatherings {
    under_way: Mutex<HashMap<u64, Gathering>>,
    next: AtomicU64,
}

/// One question.
#[derive(Debug)]
struct Gathering {
    /// Nodes that have not answered, and the parts of their answers that have come, as bits.
    missing: HashMap<Text, u64>,
    limit: usize,
    left_bytes: usize,
    gathered: Whereabouts,
    done: Arc<Notify>,
}

/// A question whose answers are waited for.
struct Waiting<'a> {
    of: &'a Gatherings,
    ticket: u64,
    done: Arc<Notify>,
}

impl Gatherings {
    fn begin(&self, nodes: &[Text], limit: usize) -> Waiting<'_> {
        let (ticket, done) = (self.next.fetch_add(1, Ordering::Relaxed), Arc::<Notify>::default());
        let missing = nodes.iter().map(|node| (node.clone(), 0)).collect();
        let (gathered, left_bytes) = (Whereabouts::default(), KEPT_MAX_BYTES);
        let gathering = Gathering { missing, limit, left_bytes, gathered, done: done.clone() };
        self.lock().insert(ticket, gathering);
        Waiting { of: self, ticket, done }
    }

    /// Takes what a worker of some node has answered.
    pub fn take(&self, ticket: u64, part: Part) {
        // Whoever asked may have given up.
        if let Some(gathering) = self.lock().get_mut(&ticket) {
            gathering.take(part);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Gathering>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathering {
    fn take(&mut self, part: Part) {
        let Some(come) = self.missing.get_mut(&part.node) else { return };
        let bit = 1u64.checked_shl(u32::from(part.part)).unwrap_or(0);
        if bit == 0 || *come & bit != 0 {
            return;
        }
        *come |= bit;
        if come.count_ones() >= u32::from(part.parts) {
            self.missing.remove(&part.node);
        }
        self.gathered.count += u64::from(part.count);
        for connection in part.connections {
            let bytes = connection.held_bytes();
            if self.gathered.connections.len() >= self.limit || bytes > self.left_bytes {
                break;
            }
            self.left_bytes -= bytes;
            self.gathered.connections.push(Found { node: part.node.clone(), connection });
        }
        self.tell();
    }

    fn tell(&self) {
        if self.missing.is_empty() {
            self.done.notify_one();
        }
    }
}

impl Waiting<'_> {
    /// A node that cannot be asked does not answer.
    fn give_up(&self, node: &Text) {
        if let Some(gathering) = self.of.lock().get_mut(&self.ticket)
            && gathering.missing.remove(node).is_some()
        {
            gathering.gathered.unanswered.push(node.clone());
            gathering.tell();
        }
    }

    fn take(self) -> Whereabouts {
        let Some(gathering) = self.of.lock().remove(&self.ticket) else { return Whereabouts::default() };
        let mut found = gathering.gathered;
        found.unanswered.extend(gathering.missing.into_keys());
        found.unanswered.sort_unstable();
        found.connections.sort_unstable_by_key(|found| (found.connection.since_ms, found.connection.number));
        found
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.of.lock().remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected(number: u64, channel_bytes: usize) -> Connected {
        Connected {
            number,
            since_ms: 100 - number,
            seen_as: None,
            dialect: "json".into(),
            transport: "websocket".into(),
            subscriptions: 1,
            channels: vec!["x".repeat(channel_bytes).into()],
        }
    }

    fn part(node: &str, (part, parts): (u8, u8), connections: Vec<Connected>) -> Part {
        let count = u32::try_from(connections.len()).unwrap();
        Part { node: node.into(), parts, part, count, connections }
    }

    fn is_done(waiting: &Waiting<'_>) -> bool {
        waiting.of.lock()[&waiting.ticket].missing.is_empty()
    }

    #[test]
    fn a_node_has_answered_when_each_of_its_workers_has() {
        let gatherings = Gatherings::default();
        let waiting = gatherings.begin(&["n1.a".into(), "n2.b".into()], 10);
        let answer = |part| gatherings.take(waiting.ticket, part);
        answer(part("n1.a", (0, 2), vec![connected(1, 1)]));
        answer(part("n1.a", (0, 2), vec![connected(2, 1)]));
        answer(part("n9.z", (0, 1), vec![connected(3, 1)]));
        assert!(!is_done(&waiting), "a part that comes twice is one, and nobody else was asked");
        answer(part("n1.a", (1, 2), vec![connected(4, 1)]));
        waiting.give_up(&"n2.b".into());
        assert!(is_done(&waiting));
        let found = waiting.take();
        let numbers: Vec<_> = found.connections.iter().map(|found| found.connection.number).collect();
        assert_eq!((numbers, found.count, found.unanswered), (vec![4, 1], 2, vec!["n2.b".into()]));
        assert!(gatherings.lock().is_empty(), "nothing of it is left");
    }

    #[test]
    fn what_half_of_a_node_tells_counts_and_the_node_is_named_all_the_same() {
        let gatherings = Gatherings::default();
        let waiting = gatherings.begin(&["n1.a".into()], 10);
        gatherings.take(waiting.ticket, part("n1.a", (1, 2), vec![connected(1, 1)]));
        let found = waiting.take();
        assert_eq!((found.connections.len(), found.unanswered), (1, vec!["n1.a".into()]));
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_bytes_and_the_rest_is_counted() {
        for (limit, channel_bytes, kept) in [(3, 1, 3..4), (1000, 200_000, 5..6)] {
            let gatherings = Gatherings::default();
            let waiting = gatherings.begin(&["n1.a".into()], limit);
            for at in 0..4 {
                let connections = (0..4).map(|n| connected(at * 4 + n, channel_bytes)).collect();
                gatherings.take(waiting.ticket, part("n1.a", (u8::try_from(at).unwrap(), 4), connections));
            }
            let found = waiting.take();
            assert!(kept.contains(&found.connections.len()), "{}", found.connections.len());
            assert_eq!((found.count, found.unanswered.len()), (16, 0));
        }
    }
}
