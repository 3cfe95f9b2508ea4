//! What the memory broker has beyond the contract.

use crate::support::{channel, kept};
use crate::{Fixture, Memory};
use broker::Delivery;
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
