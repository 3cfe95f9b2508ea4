//! What orders between nodes promise, and what they leave for one another.

use crate::Fixture;
use crate::support::PATIENCE;
use broker::{Delivery, Note};
use bytes::Bytes;
use std::time::Duration;

pub(crate) async fn an_order_to_a_node_reaches_it_alone(fixture: &impl Fixture) {
    let nodes = [fixture.node("n1.a").await, fixture.node("n2.a").await, fixture.node("n1.b").await];
    for order in [&b"one"[..], b"", b"\0\0\0\0\0\0\0\0\0", b"\x01"] {
        let order = Bytes::from_static(order);
        assert_eq!(nodes[0].broker.direct("n2.a", order.clone()).await, Ok(true));
        assert_eq!(nodes[1].inbox.next().await, Delivery::Direct(order));
    }
    let to_itself = Bytes::from_static(b"to itself");
    assert_eq!(nodes[0].broker.direct("n1.a", to_itself.clone()).await, Ok(true));
    assert_eq!(nodes[0].inbox.next().await, Delivery::Direct(to_itself));
    nodes[0].broker.control(Bytes::from_static(b"end")).await.expect("sent");
    for node in &nodes {
        assert_eq!(node.inbox.next().await, Delivery::Control(Bytes::from_static(b"end")));
    }
}

pub(crate) async fn an_order_to_nobody_is_told(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    assert_eq!(node.broker.direct("n1.b", Bytes::from_static(b"x")).await, Ok(false));
    assert_eq!(node.broker.direct("n1", Bytes::from_static(b"x")).await, Ok(false));
}

pub(crate) async fn an_order_to_all_reaches_all(fixture: &impl Fixture) {
    let nodes = [fixture.node("n1.a").await, fixture.node("n2.a").await];
    let order = Bytes::from_static(b"\0order");
    nodes[0].broker.control(order.clone()).await.expect("sent");
    for node in &nodes {
        assert_eq!(node.inbox.next().await, Delivery::Control(order.clone()));
    }
}

const TTL: Duration = Duration::from_secs(60);

pub(crate) async fn a_note_is_found_by_every_node_while_it_stands(fixture: &impl Fixture) {
    let nodes = [fixture.node("n1.a").await, fixture.node("n2.a").await];
    assert_eq!(nodes[0].broker.note("a", Note::Read).await, Ok(None));
    for text in ["one", "two"] {
        let write = |ttl| Note::Write { text: text.to_owned(), ttl };
        assert_eq!(nodes[0].broker.note("a", write(TTL)).await, Ok(Some(text.to_owned())));
        assert_eq!(nodes[1].broker.note("a", Note::Read).await, Ok(Some(text.to_owned())));
    }
    assert_eq!(nodes[0].broker.note("b", Note::Read).await, Ok(None), "names do not mix");
    let short = Note::Write { text: "gone".to_owned(), ttl: Duration::from_millis(5) };
    nodes[0].broker.note("a", short).await.expect("written");
    // Nobody is told when it happens.
    let gone = async {
        while nodes[1].broker.note("a", Note::Read).await != Ok(None) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("its time ends");
}

pub(crate) async fn the_first_note_stands(fixture: &impl Fixture) {
    let nodes = [fixture.node("n1.a").await, fixture.node("n2.a").await];
    let first = |text: &str| Note::First { text: text.to_owned(), ttl: TTL };
    assert_eq!(nodes[0].broker.note("key", first("one")).await, Ok(Some("one".to_owned())));
    assert_eq!(nodes[1].broker.note("key", first("two")).await, Ok(Some("one".to_owned())));
    assert_eq!(nodes[1].broker.note("key", Note::Read).await, Ok(Some("one".to_owned())));
}
