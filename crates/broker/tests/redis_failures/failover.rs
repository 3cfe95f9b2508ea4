//! Another Redis becomes primary, as sentinels see to it.

use crate::support::{Node, channel, kept, redis_node, sentinel_node, text_of, until};
use crate::{Publisher, in_order};
use broker::Delivery;
use link::testing::{Failover, FakeSentinel, RedisServer, Says};
use protocol::{Channel, Position};
use std::collections::HashSet;

async fn two_nodes(failover: &Failover) -> [Node; 2] {
    [sentinel_node(&failover.url(), "n1.a").await, sentinel_node(&failover.url(), "n2.a").await]
}

/// How many nodes this server has as subscribers of a channel.
fn subscribers(server: &RedisServer, channel: &Channel) -> String {
    server.lines(&["PUBSUB", "NUMSUB", &format!("gw:{{{channel}}}")])[1].clone()
}

/// Publishes on two nodes through a failover with nothing behind; all that is acknowledged is delivered once.
async fn nothing_is_lost_or_doubled(mut failover: Failover, fail_over: impl Fn(&mut Failover)) {
    let nodes = two_nodes(&failover).await;
    let (busy, quiet) = (channel("busy"), channel("quiet"));
    for node in &nodes {
        node.open(&busy).await;
        node.open(&quiet).await;
    }
    let publishers = [0, 1].map(|at| Publisher::start(&nodes[at].broker, &busy, ["a", "b"][at]));
    publishers[0].goes_on(50).await;
    failover.hold_writes();
    fail_over(&mut failover);
    for publisher in &publishers {
        publisher.goes_on(20).await;
    }
    for node in &nodes {
        node.until_ready(true).await;
    }
    failover.let_writes_go();
    failover.until_followed();
    publishers[1].goes_on(20).await;
    let mut acknowledged = Vec::new();
    for publisher in publishers {
        acknowledged.extend(publisher.stop().await);
    }
    let expected = in_order(acknowledged);
    for node in &nodes {
        assert_eq!(node.inbox.texts(expected.len()).await, expected);
        assert_eq!(node.metric("redis_failovers_total"), 1);
    }
    assert_eq!(
        (subscribers(failover.primary(), &quiet), subscribers(failover.other(), &quiet)),
        (":2".into(), ":0".into())
    );
    redis_node(failover.primary(), "n9.a").await.say(&quiet, "from elsewhere").await;
    for node in &nodes {
        assert_eq!(node.inbox.texts(1).await, [(Some(1), "from elsewhere".to_owned())]);
        assert_eq!(node.inbox.so_far(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_to_a_replica_that_has_everything_loses_and_doubles_nothing() {
    nothing_is_lost_or_doubled(Failover::start(), |failover| failover.fail_over()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_dies_and_comes_back_as_a_replica_loses_and_doubles_nothing() {
    let fail_over = |failover: &mut Failover| {
        failover.kill_primary();
        failover.start_other_again();
    };
    nothing_is_lost_or_doubled(Failover::start(), fail_over).await;
}

async fn new_epoch_of(node: &Node, channel: &Channel, old: &Position) -> Position {
    match node.inbox.next().await {
        Delivery::Gap { channel: of, range: None, position: Some(position) } => {
            assert_eq!(of, *channel);
            assert_ne!(position.epoch, old.epoch);
            position
        }
        other => panic!("a gap should have been told, but: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lagged_behind_is_one_new_epoch_for_all_and_one_gap_for_each() {
    let mut failover = Failover::start();
    let nodes = two_nodes(&failover).await;
    let (behind, whole) = (channel("behind"), channel("whole"));
    let mut old = None;
    for node in &nodes {
        old = node.open(&behind).await;
        node.open(&whole).await;
    }
    for i in 1..=5 {
        nodes[0].say(&behind, &i.to_string()).await;
    }
    nodes[1].say(&whole, "1").await;
    failover.hold_writes();
    failover.let_writes_go();
    failover.cut_replication();
    for i in 6..=8 {
        nodes[1].say(&behind, &i.to_string()).await;
    }
    for node in &nodes {
        node.inbox.texts(9).await;
    }
    failover.kill_primary();
    let mut told = Vec::new();
    for node in &nodes {
        told.push(new_epoch_of(node, &behind, old.as_ref().expect("a position")).await);
        node.until_ready(true).await;
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0].offset, 5);
    let published = nodes[0].publish(kept(&behind, "another six")).await;
    assert_eq!(published, Ok(Some(Position { offset: 6, ..told[0].clone() })));
    assert_eq!(nodes[1].say(&whole, "2").await, 2);
    for node in &nodes {
        let mut texts = node.inbox.texts(2).await;
        texts.sort();
        assert_eq!(texts, [(Some(2), "2".to_owned()), (Some(6), "another six".to_owned())]);
        assert_eq!(node.inbox.so_far(), []);
    }
}

/// What a node was delivered, by epoch, and how often a gap was told.
fn by_epoch(node: &Node, first: &Position) -> (Vec<(Position, String)>, usize) {
    let (mut at, mut gaps, mut delivered) = (first.clone(), 0, Vec::new());
    for delivery in node.inbox.so_far() {
        match delivery {
            Delivery::Publications { epoch: Some(epoch), publications, .. } => {
                assert_eq!(epoch, at.epoch);
                for publication in publications {
                    at.offset += 1;
                    assert_eq!(publication.offset, Some(at.offset));
                    delivered.push((at.clone(), text_of(&publication)));
                }
            }
            Delivery::Gap { range: None, position: Some(position), .. } => {
                assert_ne!(position.epoch, at.epoch, "a gap that was told already");
                gaps += 1;
                at = position;
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
    (delivered, gaps)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_former_primary_took_until_it_was_left_is_delivered_or_covered_by_one_gap() {
    let failover = Failover::start();
    let nodes = two_nodes(&failover).await;
    let channel = channel("c");
    let mut first = None;
    for node in &nodes {
        first = node.open(&channel).await;
    }
    let first = first.expect("a position");
    let publishers = [0, 1].map(|at| Publisher::start(&nodes[at].broker, &channel, ["a", "b"][at]));
    publishers[0].goes_on(50).await;
    // Until the sentinels name the other one, which takes about a second, everything that is written here is lost.
    failover.fail_over();
    for publisher in &publishers {
        publisher.goes_on(100).await;
    }
    failover.until_followed();
    let mut acknowledged = Vec::new();
    for publisher in publishers {
        publisher.goes_on(20).await;
        acknowledged.extend(publisher.stop().await);
    }
    acknowledged.sort_by_key(|(position, _)| position.offset);
    let last = nodes[0].publish(kept(&channel, "last")).await.expect("published").expect("a position");
    for node in &nodes {
        until(|| node.inbox.holds(&last)).await;
        let (delivered, gaps) = by_epoch(node, &first);
        assert_eq!(gaps, 1);
        let of = |epoch: &protocol::Epoch, all: &[(Position, String)]| {
            all.iter().filter(|(p, _)| p.epoch == *epoch).map(|(p, t)| (p.offset, t.clone())).collect::<Vec<_>>()
        };
        // Before the gap nothing came twice. What was in doubt there may come again after it.
        let before: Vec<_> = of(&first.epoch, &delivered).into_iter().map(|(_, text)| text).collect();
        assert_eq!(before.iter().collect::<HashSet<_>>().len(), before.len());
        // What came after it is everything of the new epoch, once.
        let mut expected = of(&last.epoch, &acknowledged);
        expected.push((last.offset, "last".to_owned()));
        assert_eq!(of(&last.epoch, &delivered), expected);
    }
}

/// Two servers, the second of which is a replica that can be made primary, and a sentinel for each of two nodes.
struct Split {
    servers: [RedisServer; 2],
    sentinels: [FakeSentinel; 2],
    nodes: [Node; 2],
}

impl Split {
    async fn start() -> Self {
        let primary = RedisServer::start_with(&["--save", "", "--repl-diskless-sync-delay", "0"]);
        let replica = RedisServer::start();
        replica.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
        until(|| {
            replica.info("replication", "role") == "slave" && replica.info("replication", "master_link_status") == "up"
        })
        .await;
        let says = Says::Primary(primary.port(), 1);
        let sentinels = [FakeSentinel::start(says).await, FakeSentinel::start(says).await];
        let nodes = [
            sentinel_node(&sentinels[0].address(), "n1.a").await,
            sentinel_node(&sentinels[1].address(), "n2.a").await,
        ];
        Self { servers: [primary, replica], sentinels, nodes }
    }

    /// Makes the replica, which has everything, a primary of its own.
    async fn promote(&self) {
        let [primary, replica] = &self.servers;
        let offset = |server: &RedisServer, field: &str| server.info("replication", field).parse::<u64>().ok();
        until(|| {
            let written = offset(primary, "master_repl_offset");
            written.is_some() && written == offset(replica, "slave_repl_offset")
        })
        .await;
        assert_eq!(replica.command(&["REPLICAOF", "NO", "ONE"]), "+OK");
    }

    /// A node's sentinel names the new primary; returns when the node is there.
    async fn move_node(&self, at: usize) {
        self.sentinels[at].say(Says::Primary(self.servers[1].port(), 2));
        until(|| self.nodes[at].metric("broker_subscriber_reconnects_total") == 1).await;
        self.nodes[at].until_ready(true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_its_publisher_knew_of_is_told_to_the_subscribers_of_other_nodes() {
    let split = Split::start().await;
    let [publisher, subscriber] = &split.nodes;
    let (busy, quiet) = (channel("busy"), channel("quiet"));
    let old = subscriber.open(&busy).await.expect("a position");
    subscriber.open(&quiet).await;
    for i in 1..=5 {
        publisher.say(&busy, &i.to_string()).await;
    }
    publisher.say(&quiet, "1").await;
    subscriber.inbox.texts(6).await;
    split.promote().await;
    split.move_node(1).await;
    // The former primary still takes what this node publishes, and nobody hears it.
    assert_eq!(publisher.say(&busy, "6").await, 6);
    split.move_node(0).await;
    assert_eq!(new_epoch_of(subscriber, &busy, &old).await.offset, 5);
    publisher.say(&busy, "another six").await;
    publisher.say(&quiet, "2").await;
    let mut texts = subscriber.inbox.texts(2).await;
    texts.sort();
    assert_eq!(texts, [(Some(2), "2".to_owned()), (Some(6), "another six".to_owned())]);
    assert_eq!(subscriber.inbox.so_far(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_former_primary_takes_after_its_epoch_has_ended_elsewhere_is_told_as_well() {
    let split = Split::start().await;
    let [publisher, subscriber] = &split.nodes;
    let channel = channel("c");
    let old = subscriber.open(&channel).await.expect("a position");
    publisher.say(&channel, "1").await;
    split.promote().await;
    publisher.say(&channel, "2").await;
    subscriber.inbox.texts(2).await;
    split.move_node(1).await;
    let first = new_epoch_of(subscriber, &channel, &old).await;
    assert_eq!(first.offset, 1);
    // Nobody but its publisher knows of this one, and the epoch that it is in has ended already.
    assert_eq!(publisher.say(&channel, "3").await, 3);
    split.move_node(0).await;
    assert_eq!(new_epoch_of(subscriber, &channel, &first).await.offset, 1);
    publisher.say(&channel, "another two").await;
    assert_eq!(subscriber.inbox.texts(1).await, [(Some(2), "another two".to_owned())]);
    assert_eq!(subscriber.inbox.so_far(), []);
}
