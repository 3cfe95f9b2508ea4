//! Who hears of a user that came or went: one node, the one whose write it was, in memory and in Redis alike.

#![allow(clippy::unwrap_used, reason = "a test may end where its expectation does")]

mod support;

use presence::{Change, Entry, Presence, Watch};
use protocol::Cause;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use support::road::Road;
use support::{Fixture, channel, entry, members, text, until, until_members};

macro_rules! both_keep {
    ($($promise:ident)*) => {
        mod in_memory {
            $(#[tokio::test(start_paused = true)]
            async fn $promise() {
                super::$promise(super::Fixture::in_memory()).await;
            })*
        }
        mod in_redis {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(super::Fixture::in_redis().await).await;
            })*
        }
    };
}

both_keep! {
    only_the_node_whose_write_it_was_hears_of_a_change
    who_is_first_and_who_is_last_is_told
    a_connection_that_becomes_another_user_is_one_who_went_and_one_who_came
    silence_and_size_are_for_subscribers_only
    the_members_of_a_dead_node_are_told_of_by_one_of_the_others
    a_node_that_stops_hears_of_its_last_ones
}

/// What one node has heard.
#[derive(Default)]
struct Heard {
    changes: Mutex<Vec<Change>>,
    in_doubt: AtomicU64,
}

impl Watch for Heard {
    fn changed(&self, change: Change) {
        self.changes.lock().unwrap().push(change);
    }

    fn in_doubt(&self, writes: u64) {
        self.in_doubt.fetch_add(writes, Ordering::SeqCst);
    }
}

impl Heard {
    fn by(node: &dyn Presence) -> Arc<Self> {
        let heard = Arc::new(Self::default());
        node.watch(heard.clone());
        heard
    }

    /// `+` for who came and `-` for who went, `!` for the first and the last.
    fn take(&self) -> Vec<String> {
        let changes = std::mem::take(&mut *self.changes.lock().unwrap());
        assert_eq!(self.in_doubt.load(Ordering::SeqCst), 0);
        let sign = |change: &Change| if change.left.is_none() { "+" } else { "-" };
        let edge = |change: &Change| if change.is_edge { "!" } else { "" };
        changes.iter().map(|c| format!("{}{}{} by {}", sign(c), c.user, edge(c), c.client)).collect()
    }

    fn len(&self) -> usize {
        self.changes.lock().unwrap().len()
    }
}

async fn only_the_node_whose_write_it_was_hears_of_a_change(f: Fixture) {
    let (one, two) = (f.node("n1.a"), f.node("n2.a"));
    let (at_one, at_two) = (Heard::by(&*one), Heard::by(&*two));
    let lobby = channel("lobby");
    let known = Entry { info: Some(text(r#"{"n":1}"#)), ..entry("c1", "alice") };
    one.join(&lobby, known).await.unwrap();
    two.join(&lobby, entry("c2", "alice")).await.unwrap();
    two.join(&lobby, entry("c2", "alice")).await.unwrap();
    one.leave(&lobby, &text("c1"), Cause::Left);
    until_members(&*one, &lobby, &Ok(members(&[("alice", 1)]))).await;
    two.leave(&lobby, &text("c2"), Cause::Left);
    until_members(&*two, &lobby, &Ok(members(&[]))).await;
    let first = at_one.changes.lock().unwrap()[0].clone();
    assert_eq!((first.channel, first.info, first.left), (lobby, Some(text(r#"{"n":1}"#)), None));
    assert_eq!(at_two.changes.lock().unwrap()[0].left, Some(Cause::Left));
    assert_eq!(at_one.take(), ["+alice! by c1"]);
    assert_eq!(at_two.take(), ["-alice! by c2"]);
}

async fn who_is_first_and_who_is_last_is_told(f: Fixture) {
    let node = f.node("n1.a");
    let heard = Heard::by(&*node);
    let lobby = channel("lobby");
    for (client, user) in [("c1", "alice"), ("c2", "bob")] {
        node.join(&lobby, entry(client, user)).await.unwrap();
    }
    node.leave(&lobby, &text("c1"), Cause::Left);
    node.leave(&lobby, &text("c2"), Cause::Left);
    until_members(&*node, &lobby, &Ok(members(&[]))).await;
    assert_eq!(heard.take(), ["+alice! by c1", "+bob by c2", "-alice by c1", "-bob! by c2"]);
}

async fn a_connection_that_becomes_another_user_is_one_who_went_and_one_who_came(f: Fixture) {
    let node = f.node("n1.a");
    let heard = Heard::by(&*node);
    node.join(&channel("lobby"), entry("c1", "alice")).await.unwrap();
    node.join(&channel("lobby"), entry("c1", "bob")).await.unwrap();
    assert_eq!(heard.take(), ["+alice! by c1", "-alice! by c1", "+bob! by c1"]);
}

async fn silence_and_size_are_for_subscribers_only(f: Fixture) {
    let node = f.node("n1.a");
    let heard = Heard::by(&*node);
    for n in 0..=f.config.members_max {
        node.join(&channel("large"), entry(&format!("c{n}"), &format!("u{n}"))).await.unwrap();
    }
    node.join(&channel("silent"), Entry { announce: false, ..entry("s", "zoe") }).await.unwrap();
    assert_eq!(heard.len() as u64, f.config.members_max + 2);
}

async fn the_members_of_a_dead_node_are_told_of_by_one_of_the_others(mut f: Fixture) {
    let others = [f.node("n1.a"), f.node("n2.a")];
    let heard = others.each_ref().map(|node| Heard::by(&**node));
    let dying = f.node("n3.a");
    f.until_the_dead_are_reaped().await;
    heard.iter().for_each(|heard| drop(heard.take()));
    for (client, user) in [("c1", "alice"), ("c2", "bob")] {
        dying.join(&channel("lobby"), entry(client, user)).await.unwrap();
    }
    others[0].join(&channel("lobby"), entry("c3", "alice")).await.unwrap();
    for user in ["alice", "bob"] {
        f.told.expect_join(user).await;
    }
    drop(dying);
    f.told.expect_leave("bob", Cause::NodeLost).await;
    f.until_the_dead_are_reaped().await;
    let all: Vec<_> = heard.iter().flat_map(|heard| heard.take()).filter(|told| !told.contains("canary")).collect();
    assert_eq!(all, ["-bob by c2"]);
}

async fn a_node_that_stops_hears_of_its_last_ones(f: Fixture) {
    let node = f.node("n1.a");
    let heard = Heard::by(&*node);
    node.join(&channel("lobby"), entry("c1", "alice")).await.unwrap();
    node.stop().await;
    assert_eq!(heard.take(), ["+alice! by c1", "-alice! by c1"]);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_in_doubt_and_counted() {
    let server = link::testing::RedisServer::start();
    let road = Road::to(server.port()).await;
    let (node, _) = support::node_at(&road.url(), "n1.a", &presence::PresenceConfig::default());
    let heard = Heard::by(&node);
    node.join(&channel("lobby"), entry("c1", "alice")).await.unwrap();
    drop(heard.take());
    let held = road.hold();
    node.leave(&channel("lobby"), &text("c1"), Cause::Left);
    held.until_holds("EVALSHA").await;
    road.close();
    held.cut();
    until("the node finds its connection broken", async || node.members(&channel("lobby"), false).await.is_err()).await;
    held.let_go().await;
    let mut redis = support::commands(&server).await;
    until("it is written", async || {
        let size: u64 = redis::cmd("HLEN").arg("gw:{lobby}:here").query_async(&mut redis).await.unwrap();
        size == 0
    })
    .await;
    road.open();
    until("it is counted", async || heard.in_doubt.load(Ordering::SeqCst) == 1).await;
    assert_eq!(heard.len(), 0, "no node knows");
}
