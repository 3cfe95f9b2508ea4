//! What subscribing promises.

use crate::Fixture;
use crate::support::{channel, kept, passing};
use broker::{Delivery, Range};

pub(crate) async fn the_opening_comes_first_and_tells_where_the_subscription_begins(fixture: &impl Fixture) {
    let nodes = [fixture.node("n1.a").await, fixture.node("n2.a").await];
    let channel = channel("c");
    for text in ["1", "2", "3"] {
        nodes[0].say(&channel, text).await;
    }
    let position = nodes[1].open(&channel).await.expect("a position");
    assert_eq!(position.offset, 3);
    nodes[0].say(&channel, "4").await;
    assert_eq!(nodes[1].inbox.texts(1).await, [(Some(4), "4".to_owned())]);

    // Whatever is published around the opening: what it tells and what follows fit together.
    let (publisher, crowded) = (nodes[0].broker.clone(), channel.clone());
    let publishing = tokio::spawn(async move {
        for i in 0..300 {
            publisher.publish(vec![kept(&crowded, &i.to_string())]).await[0].clone().expect("published");
        }
    });
    let late = fixture.node("n3.a").await;
    let begin = late.open(&channel).await.expect("a position").offset;
    publishing.await.expect("publishing");
    let after = late.broker.history(&channel, Range { since: Some(begin), limit: 1000, reverse: false });
    let after = after.await.expect("a page").publications;
    let offsets: Vec<_> = late.inbox.texts(after.len()).await.into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, after.iter().map(|p| p.offset).collect::<Vec<_>>());
}

pub(crate) async fn a_channel_without_positions_opens_without_one(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let channel = channel("c");
    node.broker.subscribe(&channel, false);
    assert_eq!(node.inbox.next().await, Delivery::Opened { channel, position: None, has_state: false });
}

pub(crate) async fn channels_do_not_mix(fixture: &impl Fixture) {
    let nodes = [fixture.node("n1.a").await, fixture.node("n2.a").await];
    // One name begins like the other, and one looks like a key of the other.
    let names = ["a", "ab", "a:log"];
    for (node, name) in nodes.iter().zip(names) {
        node.open(&channel(name)).await;
    }
    let batch = names.iter().flat_map(|name| (0..3).map(move |i| kept(&channel(name), &format!("{name} {i}"))));
    nodes[0].broker.publish(batch.collect()).await;
    for (node, name) in nodes.iter().zip(names) {
        let expected: Vec<_> = (0..3).map(|i| (Some(i + 1), format!("{name} {i}"))).collect();
        assert_eq!(node.inbox.texts(3).await, expected);
        nodes[0].say(&channel(name), "end").await;
        assert_eq!(node.inbox.texts(1).await, [(Some(4), "end".to_owned())]);
    }
}

pub(crate) async fn after_unsubscribing_nothing_comes_and_subscribing_anew_begins_at_the_top(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let channel = channel("c");
    let epoch = node.open(&channel).await.expect("a position").epoch;
    node.say(&channel, "1").await;
    assert_eq!(node.inbox.texts(1).await, [(Some(1), "1".to_owned())]);
    node.broker.unsubscribe(&channel);
    node.say(&channel, "2").await;
    let again = node.open(&channel).await.expect("a position");
    assert_eq!((again.offset, again.epoch), (2, epoch));
    node.say(&channel, "3").await;
    assert_eq!(node.inbox.texts(1).await, [(Some(3), "3".to_owned())]);
}

pub(crate) async fn changing_ones_mind_quickly_ends_as_wanted(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let (wanted, unwanted) = (channel("wanted"), channel("unwanted"));
    for i in 0..50 {
        for channel in [&wanted, &unwanted] {
            node.broker.subscribe(channel, true);
            node.broker.unsubscribe(channel);
        }
        if i % 10 == 0 {
            node.say(&wanted, "meanwhile").await;
        }
    }
    node.inbox.so_far();
    let begin = node.open(&wanted).await.expect("a position").offset;
    assert_eq!(begin, 5);
    node.broker.publish(vec![kept(&unwanted, "unwanted"), kept(&wanted, "wanted")]).await;
    assert_eq!(node.inbox.texts(1).await, [(Some(6), "wanted".to_owned())]);
    assert_eq!(node.inbox.so_far(), []);
}

pub(crate) async fn where_no_positions_are_wanted_none_are_shown(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let channel = channel("c");
    node.broker.subscribe(&channel, false);
    assert_eq!(node.inbox.opened(&channel).await, None);
    node.broker.publish(vec![kept(&channel, "kept"), passing(&channel, "passing")]).await;
    let expected = ["kept", "passing"].map(|text| (None, text.to_owned()));
    assert_eq!(node.inbox.texts(2).await, expected);
}
