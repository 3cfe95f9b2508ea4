//! A node that stood still, as a stopped process or a paused machine does: what came meanwhile is not presented as new.

use crate::support::{Node, channel, kept, passing, redis_node};
use broker::Delivery;
use bytes::Bytes;
use link::testing::RedisServer;
use protocol::envelope::{Membership, encode_membership};
use protocol::{Channel, Member};
use std::time::{Duration, Instant};

/// Longer than a node may be silent before its subscriber connection is taken for lost.
const STANDSTILL: Duration = Duration::from_secs(6);

/// Keeps this thread, and with it the runtime of the node under test, from everything else while another node acts.
fn stand_still(server: &RedisServer, other: impl AsyncFnOnce(Node) + Send) {
    let began = Instant::now();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let acting = || runtime().block_on(async { other(redis_node(server, "n2.a").await).await });
    std::thread::scope(|scope| scope.spawn(acting).join().expect("the other node"));
    std::thread::sleep(STANDSTILL.saturating_sub(began.elapsed()));
}

fn joins(channel: &Channel, server: &RedisServer) {
    let member = Member { user: "alice".into(), clients: 1, info: None };
    let envelope = encode_membership(&Membership { member, client: "c1".into(), left: None });
    let envelope = String::from_utf8(envelope.to_vec()).expect("an envelope of ASCII");
    server.command(&["PUBLISH", &format!("gw:{{{channel}}}"), &envelope]);
}

/// Everything up to a delivery like this one.
async fn until_delivered(node: &Node, is_last: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
    let mut all = Vec::new();
    while !all.last().is_some_and(&is_last) {
        all.push(node.inbox.next().await);
    }
    all
}

fn texts_of(deliveries: &[Delivery], of: &Channel) -> Vec<(Option<u64>, String)> {
    let publications = deliveries.iter().filter_map(|delivery| match delivery {
        Delivery::Publications { channel, publications, .. } if channel == of => Some(publications),
        _ => None,
    });
    publications.flatten().map(|p| (p.offset, crate::support::text_of(p))).collect()
}

fn numbered(texts: &[&str]) -> Vec<(Option<u64>, String)> {
    (1..).zip(texts).map(|(offset, text)| (Some(offset), (*text).to_owned())).collect()
}

#[tokio::test]
async fn what_came_while_a_node_stood_still_is_repaired_or_a_gap_and_orders_are_dropped() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let (history, live) = (channel("history"), channel("live"));
    node.open(&history).await;
    node.broker.subscribe(&live, false);
    node.inbox.opened(&live).await;
    stand_still(&server, async |other| {
        for text in ["1", "2", "3"] {
            other.say(&history, text).await;
            other.publish(passing(&live, "stale")).await.expect("published");
            other.publish(passing(&history, "volatile")).await.expect("published");
        }
        other.broker.direct("n1.a", Bytes::from("stale")).await.expect("sent");
        other.broker.control(Bytes::from("for all")).await.expect("sent");
        joins(&live, &server);
    });
    let gap = Delivery::Gap { channel: live.clone(), range: None, position: None };
    let delivered = until_delivered(&node, |delivery| *delivery == gap).await;
    assert_eq!(texts_of(&delivered, &history), numbered(&["1", "2", "3"]));
    assert_eq!(texts_of(&delivered, &live), []);
    // What is a state, and not a message, counts though it is late.
    assert!(delivered.iter().any(|delivery| matches!(delivery, Delivery::Membership { .. })), "{delivered:?}");
    assert!(delivered.contains(&Delivery::Control(Bytes::from("for all"))), "{delivered:?}");
    assert!(!delivered.iter().any(|delivery| matches!(delivery, Delivery::Direct(_))), "{delivered:?}");
    assert_eq!(node.metric("broker_standstills_total"), 1);
    assert_eq!(node.metric("broker_stale_messages_total"), 7);

    // From here on all is as ever.
    node.broker.direct("n1.a", Bytes::from("fresh")).await.expect("sent");
    node.publish(passing(&live, "fresh")).await.expect("published");
    node.publish(kept(&history, "4")).await.expect("published");
    let fresh = until_delivered(&node, |delivery| texts_of(std::slice::from_ref(delivery), &history).len() == 1).await;
    assert_eq!(texts_of(&fresh, &live), [(None, "fresh".to_owned())]);
    assert!(fresh.contains(&Delivery::Direct(Bytes::from("fresh"))), "{fresh:?}");
    assert_eq!(fresh.len(), 3, "{fresh:?}");
}

#[tokio::test]
async fn a_channel_that_is_opened_right_after_a_standstill_begins_after_it() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let (left, live) = (channel("left"), channel("live"));
    node.broker.subscribe(&left, false);
    node.inbox.opened(&left).await;
    stand_still(&server, async |other| {
        other.publish(passing(&left, "stale")).await.expect("published");
    });
    // Before the node has had a chance to notice anything.
    node.broker.unsubscribe(&left);
    node.broker.subscribe(&left, false);
    node.broker.subscribe(&live, false);
    let opened = |channel: &Channel| Delivery::Opened { channel: channel.clone(), position: None, has_state: false };
    let mut delivered = [node.inbox.next().await, node.inbox.next().await];
    delivered.sort_by_key(|delivery| *delivery == opened(&live));
    assert_eq!(delivered, [opened(&left), opened(&live)]);
    node.publish(passing(&left, "fresh")).await.expect("published");
    node.publish(passing(&live, "fresh")).await.expect("published");
    assert_eq!(node.inbox.texts(2).await, [(None, "fresh".to_owned()), (None, "fresh".to_owned())]);
}
