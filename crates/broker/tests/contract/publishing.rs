//! What publishing promises.

use crate::Fixture;
use crate::support::{channel, kept, keyed, offset, passing, publication};
use broker::{Delivery, Publish, PublishError};
use protocol::{Origin, Payload, Position, Publication};
use tokio::time::Instant;

pub(crate) async fn all_nodes_are_delivered_one_order_whoever_publishes(fixture: &impl Fixture) {
    const EACH: usize = 200;
    let channel = channel("c");
    let nodes = [fixture.node("n1.a").await, fixture.node("n2.a").await, fixture.node("n3.a").await];
    for node in &nodes {
        assert_eq!(node.open(&channel).await.expect("a position").offset, 0);
    }
    let publishers = nodes.iter().enumerate().map(|(n, node)| {
        let (broker, channel) = (node.broker.clone(), channel.clone());
        tokio::spawn(async move {
            let mut offsets = Vec::new();
            for i in 0..EACH {
                let outcomes = broker.publish(vec![kept(&channel, &format!("{n}-{i}"))]).await;
                offsets.push(offset(&outcomes[0]));
            }
            offsets
        })
    });
    let publishers: Vec<_> = publishers.collect();
    let mut acknowledged = Vec::new();
    for publisher in publishers {
        let offsets = publisher.await.expect("a publisher");
        assert!(offsets.is_sorted(), "a publisher's own order is the channel's");
        acknowledged.extend(offsets);
    }
    acknowledged.sort_unstable();
    assert_eq!(acknowledged, (1..=3 * EACH as u64).collect::<Vec<_>>());
    let first = nodes[0].inbox.texts(3 * EACH).await;
    assert_eq!(first.iter().map(|(offset, _)| offset.expect("an offset")).collect::<Vec<_>>(), acknowledged);
    for node in &nodes[1..] {
        assert_eq!(node.inbox.texts(3 * EACH).await, first);
    }
}

pub(crate) async fn outcomes_come_in_the_order_of_the_batch(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let (a, b) = (channel("a"), channel("b"));
    let batch = vec![kept(&a, "1"), passing(&b, "2"), kept(&b, "3"), kept(&a, "4"), passing(&a, "5"), kept(&a, "6")];
    let outcomes = node.broker.publish(batch).await;
    let offsets: Vec<_> = outcomes.into_iter().map(|o| o.expect("published").map(|p| p.offset)).collect();
    assert_eq!(offsets, [Some(1), None, Some(1), Some(2), None, Some(3)]);
}

pub(crate) async fn successive_calls_keep_their_order_whichever_is_awaited_first(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let channel = channel("c");
    node.open(&channel).await;
    let calls: Vec<_> = (0..50).map(|i| node.broker.publish(vec![kept(&channel, &i.to_string())])).collect();
    for call in calls.into_iter().rev() {
        call.await[0].clone().expect("published");
    }
    let expected: Vec<_> = (0..50).map(|i| (Some(i + 1), i.to_string())).collect();
    assert_eq!(node.inbox.texts(50).await, expected);
}

pub(crate) async fn a_publication_arrives_as_it_was_published(fixture: &impl Fixture) {
    let nodes = [fixture.node("n1.a").await, fixture.node("n2.a").await];
    let channel = channel("räksmörgås:1");
    let from = Origin { client: "n1.a.7".into(), user: Some("ann".into()), info: Some("{\"a\":1}".into()) };
    let binary: Vec<u8> = (0..=255u8).cycle().take(300_000).collect();
    let published = Publication {
        data: Payload::binary(binary),
        event: Some("drawn".into()),
        from: Some(from),
        echo: false,
        ..publication("")
    };
    let second = nodes[1].open(&channel).await.expect("a position");
    let publish = Publish { publication: published.clone(), ..kept(&channel, "") };
    assert_eq!(nodes[0].publish(publish).await, Ok(Some(Position { offset: 1, ..second.clone() })));
    let expected = Publication { offset: Some(1), ..published };
    let delivery =
        Delivery::Publications { channel: channel.clone(), epoch: Some(second.epoch), publications: vec![expected] };
    assert_eq!(nodes[1].inbox.next().await, delivery);
}

pub(crate) async fn what_is_not_kept_is_delivered_without_a_position(fixture: &impl Fixture) {
    let nodes = [fixture.node("n1.a").await, fixture.node("n2.a").await];
    let channel = channel("c");
    for node in &nodes {
        node.broker.subscribe(&channel, false);
        assert_eq!(node.inbox.opened(&channel).await, None);
    }
    let batch = (0..20).map(|i| passing(&channel, &i.to_string())).collect();
    assert_eq!(nodes[0].broker.publish(batch).await, vec![Ok(None); 20]);
    let expected: Vec<_> = (0..20).map(|i| (None, i.to_string())).collect();
    for node in &nodes {
        assert_eq!(node.inbox.texts(20).await, expected);
    }
}

pub(crate) async fn what_is_not_kept_passes_through_a_channel_with_positions(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let channel = channel("c");
    node.open(&channel).await;
    let batch = vec![kept(&channel, "1"), passing(&channel, "typing"), kept(&channel, "2")];
    node.broker.publish(batch).await;
    let expected = [(Some(1), "1"), (None, "typing"), (Some(2), "2")].map(|(o, t)| (o, t.to_owned()));
    assert_eq!(node.inbox.texts(3).await, expected);
}

pub(crate) async fn a_key_counts_once_on_whichever_node_and_gives_the_first_position(fixture: &impl Fixture) {
    let nodes = [fixture.node("n1.a").await, fixture.node("n2.a").await];
    let channel = channel("c");
    nodes[0].open(&channel).await;
    let first = nodes[0].publish(keyed(&channel, "once", "k")).await;
    assert_eq!(offset(&first), 1);
    nodes[0].say(&channel, "between").await;
    assert_eq!(nodes[1].publish(keyed(&channel, "twice", "k")).await, first);
    nodes[0].say(&channel, "after").await;
    let expected = [(1, "once"), (2, "between"), (3, "after")].map(|(o, t)| (Some(o), t.to_owned()));
    assert_eq!(nodes[0].inbox.texts(3).await, expected);
}

pub(crate) async fn a_key_counts_once_within_one_batch(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let channel = channel("c");
    node.open(&channel).await;
    let batch = vec![
        keyed(&channel, "1", "k"),
        keyed(&channel, "repeated", "k"),
        keyed(&channel, "2", "l"),
        keyed(&channel, "repeated", "k"),
        kept(&channel, "3"),
    ];
    let offsets: Vec<_> = node.broker.publish(batch).await.iter().map(offset).collect();
    assert_eq!(offsets, [1, 1, 2, 1, 3]);
    let expected = [(1, "1"), (2, "2"), (3, "3")].map(|(o, t)| (Some(o), t.to_owned()));
    assert_eq!(node.inbox.texts(3).await, expected);
}

pub(crate) async fn a_key_counts_anew_after_its_time(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let channel = channel("c");
    let first = node.publish(keyed(&channel, "1", "k")).await;
    fixture.expire_key(&channel, "k").await;
    let again = node.publish(keyed(&channel, "2", "k")).await;
    assert_eq!((offset(&first), offset(&again)), (1, 2));
}

pub(crate) async fn a_key_belongs_to_its_channel(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let (a, b) = (channel("a"), channel("b"));
    let batch = vec![keyed(&a, "1", "k"), keyed(&b, "2", "k"), kept(&a, "3")];
    let outcomes = node.broker.publish(batch).await;
    assert_eq!(outcomes.iter().map(offset).collect::<Vec<_>>(), [1, 1, 2]);
    assert_ne!(outcomes[0], outcomes[1], "each channel has an epoch of its own");
}

pub(crate) async fn what_comes_too_late_is_refused_and_never_delivered(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let channel = channel("c");
    node.open(&channel).await;
    let late = Publish { deadline: Instant::now(), ..kept(&channel, "late") };
    assert_eq!(node.publish(late).await, Err(PublishError::Unavailable));
    node.say(&channel, "in time").await;
    assert_eq!(node.inbox.texts(1).await, [(Some(1), "in time".to_owned())]);
}

pub(crate) async fn an_empty_batch_has_no_outcomes(fixture: &impl Fixture) {
    assert_eq!(fixture.node("n1.a").await.broker.publish(Vec::new()).await, []);
}
