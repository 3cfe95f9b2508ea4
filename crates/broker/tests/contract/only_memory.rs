//! What the memory broker has beyond the contract.

use crate::support::{channel, kept};
use crate::{Fixture, Memory};
use broker::{Delivery, UNUSED_TTL};
use protocol::Member;
use protocol::envelope::Membership;

#[tokio::test]
async fn an_announcement_reaches_the_nodes_that_subscribe() {
    let memory = Memory::new();
    let nodes = [memory.node("n1.a").await, memory.node("n2.a").await];
    let channel = channel("c");
    nodes[0].open(&channel).await;
    let member = Member { user: "ann".into(), clients: 1, info: None };
    let change = Membership { member, client: "n2.a.1".into(), left: None };
    memory.0.announce(&channel, &change);
    assert_eq!(nodes[0].inbox.so_far(), [Delivery::Membership { channel, change }]);
    assert_eq!(nodes[1].inbox.so_far(), []);
}

#[tokio::test]
async fn a_node_that_is_dropped_is_no_more() {
    let memory = Memory::new();
    let nodes = [memory.node("n1.a").await, memory.node("n2.a").await];
    let channel = channel("c");
    nodes[1].open(&channel).await;
    let [stays, leaves] = nodes;
    drop(leaves.broker);
    stays.publish(kept(&channel, "1")).await.expect("published");
    assert_eq!(leaves.inbox.so_far(), []);
    assert_eq!(stays.broker.direct("n2.a", bytes::Bytes::new()).await, Ok(false));
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_nobody_publishes_to_is_kept_while_somebody_is_subscribed_and_for_a_while_after() {
    let memory = Memory::new();
    let node = memory.node("n1.a").await;
    let (quiet, other) = (channel("quiet"), channel("other"));
    let begun = node.open(&quiet).await.expect("a position");
    for _ in 0..10 {
        tokio::time::advance(UNUSED_TTL / 2).await;
        node.say(&other, "time passes").await;
    }
    node.broker.unsubscribe(&quiet);
    tokio::time::advance(UNUSED_TTL / 2).await;
    node.say(&other, "time passes").await;
    assert_eq!(node.open(&quiet).await, Some(begun));
}

#[tokio::test(start_paused = true)]
async fn whoever_reads_names_that_he_makes_up_leaves_only_the_latest_behind() {
    let memory = Memory::new();
    let node = memory.node("n1.a").await;
    let all = broker::Range { since: None, limit: 1, reverse: false };
    let epoch =
        async |name: u32| node.broker.history(&channel(&name.to_string()), all).await.expect("a page").top.epoch;
    let first = epoch(0).await;
    for name in 1..2000 {
        epoch(name).await;
        tokio::time::advance(UNUSED_TTL / 1000).await;
    }
    assert_ne!(epoch(0).await, first);
}
