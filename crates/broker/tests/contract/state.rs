//! What retaining promises.

use crate::Fixture;
use crate::support::{Node, RETENTION, STATE, channel, kept, keyed, offset, removed, retained, text_of};
use broker::{Delivery, Outcome, Publish, PublishError, Range, Retention, StateLimits};
use protocol::{Channel, Origin, Payload, Position, Publication};
use tokio::time::Instant;

/// The state in short, as another reader than its writer sees it.
async fn state(node: &Node, channel: &Channel) -> Vec<(u64, String, String)> {
    let page = node.broker.state(channel).await.expect("a state");
    let short =
        |p: &Publication| (p.offset.expect("an offset"), p.retain.clone().expect("a key").to_string(), text_of(p));
    page.publications.iter().map(short).collect()
}

fn entry(offset: u64, key: &str, text: &str) -> (u64, String, String) {
    (offset, key.to_owned(), text.to_owned())
}

async fn retain(node: &Node, channel: &Channel, key: &str, text: &str) -> Outcome {
    node.publish(retained(channel, key, text)).await
}

pub(crate) async fn the_newest_publication_of_each_key_is_kept_as_it_was_published(fixture: &impl Fixture) {
    let nodes = [fixture.node("n1.a").await, fixture.node("n2.a").await];
    let channel = channel("c");
    assert_eq!(state(&nodes[1], &channel).await, []);
    retain(&nodes[0], &channel, "a", "1").await.expect("published");
    retain(&nodes[1], &channel, "b", "2").await.expect("published");
    nodes[0].say(&channel, "3").await;
    let from = Origin { client: "n1.a.7".into(), user: Some("ann".into()), info: Some("{\"a\":1}".into()) };
    let Publish { publication, .. } = retained(&channel, "a", "");
    let binary: Vec<u8> = (0..=255).collect();
    let published =
        Publication { data: Payload::binary(binary), event: Some("moved".into()), from: Some(from), ..publication };
    let publish = Publish { publication: published.clone(), ..retained(&channel, "a", "") };
    let position = nodes[0].publish(publish).await.expect("published").expect("a position");
    for node in &nodes {
        let page = node.broker.state(&channel).await.expect("a state");
        assert_eq!(page.top, position);
        assert_eq!(page.publications.iter().map(|p| p.offset).collect::<Vec<_>>(), [Some(2), Some(4)]);
        assert_eq!(page.publications[1], Publication { offset: Some(4), ..published.clone() });
    }
}

pub(crate) async fn a_retained_publication_is_delivered_and_in_the_log_like_any_other(fixture: &impl Fixture) {
    let nodes = [fixture.node("n1.a").await, fixture.node("n2.a").await];
    let channel = channel("c");
    let begin = nodes[1].open(&channel).await.expect("a position");
    let batch = vec![retained(&channel, "räksmörgås", "1"), kept(&channel, "2"), removed(&channel, "räksmörgås")];
    let published: Vec<_> =
        (1..).zip(&batch).map(|(n, p)| Publication { offset: Some(n), ..p.publication.clone() }).collect();
    nodes[0].broker.publish(batch).await.iter().for_each(|outcome| assert!(outcome.is_ok()));
    let mut delivered = Vec::new();
    while delivered.len() < 3 {
        match nodes[1].inbox.next().await {
            Delivery::Publications { epoch, publications, .. } if epoch == Some(begin.epoch.clone()) => {
                delivered.extend(publications);
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert_eq!(delivered, published);
    let all = Range { since: None, limit: 10, reverse: false };
    assert_eq!(nodes[1].broker.history(&channel, all).await.expect("a page").publications, published);
}

pub(crate) async fn null_takes_a_key_out(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let channel = channel("c");
    for key in ["a", "b"] {
        retain(&node, &channel, key, "x").await.expect("published");
    }
    assert_eq!(offset(&node.publish(removed(&channel, "a")).await), 3);
    assert_eq!(state(&node, &channel).await, [entry(2, "b", "x")]);
    assert_eq!(offset(&node.publish(removed(&channel, "never there")).await), 4);
    assert_eq!(offset(&node.publish(removed(&channel, "b")).await), 5);
    assert_eq!(state(&node, &channel).await, []);
    // A text that reads null is not the JSON value.
    retain(&node, &channel, "a", "null").await.expect("published");
    assert_eq!(state(&node, &channel).await, [entry(6, "a", "null")]);
}

pub(crate) async fn one_batch_changes_the_state_in_its_order(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let channel = channel("c");
    retain(&node, &channel, "old", "0").await.expect("published");
    let batch = vec![
        retained(&channel, "a", "1"),
        retained(&channel, "b", "2"),
        removed(&channel, "a"),
        retained(&channel, "a", "3"),
        removed(&channel, "b"),
        removed(&channel, "old"),
        retained(&channel, "c", "4"),
        kept(&channel, "5"),
    ];
    let offsets: Vec<_> = node.broker.publish(batch).await.iter().map(offset).collect();
    assert_eq!(offsets, (2..=9).collect::<Vec<_>>());
    assert_eq!(state(&node, &channel).await, [entry(5, "a", "3"), entry(8, "c", "4")]);
}

pub(crate) async fn one_key_too_many_is_refused_and_never_delivered(fixture: &impl Fixture) {
    let nodes = [fixture.node("n1.a").await, fixture.node("n2.a").await];
    let channel = channel("c");
    nodes[1].open(&channel).await;
    let mut batch: Vec<_> = (1..=STATE.keys).map(|n| retained(&channel, &n.to_string(), "x")).collect();
    batch.push(retained(&channel, "one too many", "x"));
    batch.push(retained(&channel, "1", "again"));
    let outcomes = nodes[0].broker.publish(batch).await;
    let keys = STATE.keys as usize;
    assert_eq!(outcomes[..keys].iter().map(offset).collect::<Vec<_>>(), (1..=keys as u64).collect::<Vec<_>>());
    assert_eq!(outcomes[keys], Err(PublishError::StateFull));
    assert_eq!(offset(&outcomes[keys + 1]), keys as u64 + 1, "a key that is there may be published");
    assert_eq!(retain(&nodes[1], &channel, "still too many", "x").await, Err(PublishError::StateFull));
    assert_eq!(offset(&nodes[1].publish(removed(&channel, "2")).await), 7);
    assert_eq!(offset(&retain(&nodes[1], &channel, "in its place", "x").await), 8);
    let delivered = nodes[1].inbox.texts(8).await;
    let expected = ["x", "x", "x", "x", "x", "again", "null", "x"].map(str::to_owned);
    assert_eq!(delivered, (1..).map(Some).zip(expected).collect::<Vec<_>>());
    let keys: Vec<_> = state(&nodes[0], &channel).await.into_iter().map(|(_, key, _)| key).collect();
    assert_eq!(keys, ["3", "4", "5", "1", "in its place"]);
}

pub(crate) async fn bytes_too_many_are_refused_and_room_that_is_made_can_be_used(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let channel = channel("c");
    let large = "x".repeat(800);
    for key in ["a", "b"] {
        retain(&node, &channel, key, &large).await.expect("published");
    }
    assert_eq!(retain(&node, &channel, "c", &large).await, Err(PublishError::StateFull));
    assert_eq!(retain(&node, &channel, "a", &large.repeat(2)).await, Err(PublishError::StateFull));
    retain(&node, &channel, "a", &large).await.expect("it takes no more than before");
    retain(&node, &channel, "b", "small").await.expect("it takes less than before");
    retain(&node, &channel, "c", &large).await.expect("there is room");
    assert_eq!(retain(&node, &channel, "d", &large).await, Err(PublishError::StateFull));
    let keys: Vec<_> = state(&node, &channel).await.into_iter().map(|(offset, key, _)| (offset, key)).collect();
    assert_eq!(keys, [(3, "a".to_owned()), (4, "b".to_owned()), (5, "c".to_owned())]);
}

pub(crate) async fn a_key_ends_with_its_time_and_makes_room_and_publishing_it_begins_its_time_anew(
    fixture: &impl Fixture,
) {
    let node = fixture.node("n1.a").await;
    let channel = channel("c");
    let retention = Some(Retention { state: StateLimits { keys: 3, ..STATE }, ..RETENTION });
    let retain = async |key: &str| node.publish(Publish { retention, ..retained(&channel, key, "x") }).await;
    for key in ["a", "b", "c"] {
        retain(key).await.expect("published");
    }
    fixture.age_state(&channel, STATE.ttl * 2 / 3).await;
    assert_eq!(retain("d").await, Err(PublishError::StateFull));
    retain("b").await.expect("published");
    fixture.age_state(&channel, STATE.ttl * 2 / 3).await;
    assert_eq!(state(&node, &channel).await, [entry(4, "b", "x")]);
    assert_eq!(retain("d").await.map(|_| ()), Ok(()));
    assert_eq!(retain("e").await.map(|_| ()), Ok(()));
    assert_eq!(retain("f").await, Err(PublishError::StateFull));
    let expected = [entry(4, "b", "x"), entry(5, "d", "x"), entry(6, "e", "x")];
    assert_eq!(state(&node, &channel).await, expected);
}

pub(crate) async fn the_state_outlives_the_log(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let channel = channel("c");
    let first = retain(&node, &channel, "a", "1").await.expect("published").expect("a position");
    fixture.expire_log(&channel).await;
    let page = node.broker.state(&channel).await.expect("a state");
    assert_eq!((page.publications.len(), page.top), (1, first.clone()));
    assert_eq!(node.publish(kept(&channel, "2")).await, Ok(Some(Position { offset: 2, ..first })));
}

pub(crate) async fn what_is_not_published_changes_no_state(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let channel = channel("c");
    let once = Publish { key: Some("once".to_owned()), ..retained(&channel, "a", "1") };
    node.publish(once.clone()).await.expect("published");
    retain(&node, &channel, "a", "2").await.expect("published");
    assert_eq!(offset(&node.publish(once).await), 1, "a repeat");
    let repeat = Publish { key: Some("once".to_owned()), ..removed(&channel, "a") };
    assert_eq!(offset(&node.publish(repeat).await), 1, "a repeat, whatever it says");
    let late = Publish { deadline: Instant::now(), ..retained(&channel, "a", "late") };
    assert_eq!(node.publish(late).await, Err(PublishError::Unavailable));
    assert_eq!(state(&node, &channel).await, [entry(2, "a", "2")]);
    assert_eq!(offset(&node.publish(keyed(&channel, "3", "twice")).await), 3);
}

pub(crate) async fn the_opening_tells_whether_there_is_a_state(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let (with, without, emptied) = (channel("with"), channel("without"), channel("emptied"));
    retain(&node, &with, "a", "1").await.expect("published");
    node.say(&without, "1").await;
    retain(&node, &emptied, "a", "1").await.expect("published");
    node.publish(removed(&emptied, "a")).await.expect("published");
    for (channel, expected) in [(with, true), (without, false), (emptied, false)] {
        node.broker.subscribe(&channel, true);
        match node.inbox.next().await {
            Delivery::Opened { has_state, .. } => assert_eq!(has_state, expected, "{channel}"),
            other => panic!("unexpected: {other:?}"),
        }
    }
}
