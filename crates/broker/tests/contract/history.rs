//! What reading a log promises.

use crate::Fixture;
use crate::support::{RETENTION, channel, kept, text_of};
use broker::{Publish, Range, Retention};
use std::time::Duration;

const ALL: Range = Range { since: None, limit: 10_000, reverse: false };

pub(crate) async fn a_page_is_read_in_both_directions_from_anywhere(fixture: &impl Fixture) {
    let nodes = [fixture.node("n1.a").await, fixture.node("n2.a").await];
    let channel = channel("c");
    for i in 1..=9 {
        nodes[0].say(&channel, &i.to_string()).await;
    }
    let page = async |since, limit, reverse| {
        let page = nodes[1].broker.history(&channel, Range { since, limit, reverse }).await.expect("a page");
        assert_eq!(page.top.offset, 9);
        let check = |p: &protocol::Publication| assert_eq!(p.offset.map(|o| o.to_string()), Some(text_of(p)));
        page.publications.iter().for_each(check);
        page.publications.iter().map(text_of).collect::<String>()
    };
    assert_eq!(page(None, 100, false).await, "123456789");
    assert_eq!(page(None, 3, false).await, "123");
    assert_eq!(page(Some(4), 3, false).await, "567");
    assert_eq!(page(Some(9), 3, false).await, "");
    assert_eq!(page(Some(0), 2, false).await, "12");
    assert_eq!(page(None, 100, true).await, "987654321");
    assert_eq!(page(None, 3, true).await, "987");
    assert_eq!(page(Some(4), 2, true).await, "32");
    assert_eq!(page(Some(1), 2, true).await, "");
    assert_eq!(page(Some(0), 2, true).await, "", "nothing is before the first");
    assert_eq!(page(Some(u64::MAX), 2, false).await, "");
    assert_eq!(page(Some(u64::MAX), 2, true).await, "98");
    assert_eq!(page(None, 0, false).await, "");
    assert_eq!(page(None, 0, true).await, "");
}

pub(crate) async fn a_channel_nobody_published_to_has_one_epoch_for_all(fixture: &impl Fixture) {
    let nodes = [fixture.node("n1.a").await, fixture.node("n2.a").await, fixture.node("n3.a").await];
    let channel = channel("c");
    let page = nodes[0].broker.history(&channel, ALL).await.expect("a page");
    assert_eq!((page.publications.len(), page.top.offset), (0, 0));
    assert_eq!(nodes[1].open(&channel).await, Some(page.top.clone()));
    let published = nodes[2].publish(kept(&channel, "1")).await.expect("published").expect("a position");
    assert_eq!((published.epoch, published.offset), (page.top.epoch, 1));
}

pub(crate) async fn a_channel_that_was_only_read_is_soon_forgotten(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let (read, state, used) = (channel("read"), channel("state"), channel("used"));
    let before = node.broker.history(&read, ALL).await.expect("a page").top;
    node.broker.state(&state).await.expect("a state");
    assert_eq!(node.broker.history(&read, ALL).await.expect("a page").top, before);
    node.say(&used, "1").await;
    let kept = node.broker.history(&used, ALL).await.expect("a page").top;
    fixture.expire_unused(&read).await;
    assert_ne!(node.broker.history(&read, ALL).await.expect("a page").top.epoch, before.epoch);
    assert_eq!(node.broker.history(&used, ALL).await.expect("a page").top, kept, "one that is used stays");
}

pub(crate) async fn at_least_as_many_are_kept_as_asked_for_and_not_many_more(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let channel = channel("c");
    let retention = Some(Retention { size: 50, ttl: Duration::from_secs(600), ..RETENTION });
    let batch = (1..=1000).map(|i| Publish { retention, ..kept(&channel, &i.to_string()) }).collect();
    node.broker.publish(batch).await.into_iter().for_each(|outcome| drop(outcome.expect("published")));
    let page = node.broker.history(&channel, ALL).await.expect("a page");
    assert_eq!(page.top.offset, 1000);
    let offsets: Vec<_> = page.publications.iter().map(|p| p.offset.expect("an offset")).collect();
    assert!((50..300).contains(&offsets.len()), "{} are kept", offsets.len());
    assert_eq!(offsets, (1001 - offsets.len() as u64..=1000).collect::<Vec<_>>());
}

pub(crate) async fn a_log_ends_with_its_time_and_the_offsets_go_on(fixture: &impl Fixture) {
    let node = fixture.node("n1.a").await;
    let channel = channel("c");
    node.say(&channel, "1").await;
    node.say(&channel, "2").await;
    let before = node.broker.history(&channel, ALL).await.expect("a page");
    fixture.expire_log(&channel).await;
    let after = node.broker.history(&channel, ALL).await.expect("a page");
    assert_eq!((after.publications.len(), after.top), (0, before.top));
    assert_eq!(node.say(&channel, "3").await, 3);
    let page = node.broker.history(&channel, ALL).await.expect("a page");
    assert_eq!(page.publications.iter().map(text_of).collect::<Vec<_>>(), ["3"]);
}
