//! What presence promises, kept by memory and by Redis alike.

#![allow(clippy::unwrap_used, reason = "a test may end where its expectation does")]

mod support;

use futures_util::future::join_all;
use presence::{Cursor, Entry, Living, Populated, Presence, Unavailable};
use protocol::envelope::Membership;
use protocol::{Cause, Member, Members};
use std::time::Duration;
use support::{Fixture, channel, counts, entry, members, text, until_members};
use tokio::time::Instant;

/// How long a client is told to stay away.
const AWAY: Duration = Duration::from_millis(700);

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
    a_confirmed_join_is_seen_by_all_nodes
    two_connections_of_a_user_are_one_user_who_joins_once
    only_the_last_connection_of_a_user_leaves_whichever_node_it_is_on
    a_lost_connection_is_shown_for_the_grace_and_leaves_then
    a_user_back_on_another_node_within_the_grace_makes_no_noise
    the_same_connection_back_within_the_grace_stays
    a_goodbye_cuts_the_grace_short
    a_channel_without_anybody_is_empty
    counts_need_no_list
    lists_are_in_the_order_of_users
    a_channel_above_the_maximum_counts_only_and_announces_nobody
    a_user_with_very_many_connections_is_counted_but_not_listed
    those_who_are_sent_away_are_shown_for_the_time_they_were_told_and_the_grace
    a_node_that_stops_takes_its_entries_along_at_once_and_leaves_their_time_to_those_who_part
    users_whose_node_died_leave_once_and_in_time_unless_they_are_elsewhere
    a_stopped_node_states_nothing_more
    a_node_sees_what_it_stated_before
    a_dropped_join_is_not_taken_back
    joins_that_ask_for_silence_are_silent
    joining_again_changes_nothing
    a_connection_may_become_another_user
    a_connection_that_another_node_took_over_is_not_removed_by_the_first
    leaves_of_unknown_connections_do_nothing
    what_the_token_says_travels_unchanged
    channels_with_members_are_told_by_the_beginning_of_their_names_each_once
    a_survey_in_parts_tells_all
    nodes_that_live_are_told_with_what_they_say_of_themselves
}

async fn a_confirmed_join_is_seen_by_all_nodes(mut f: Fixture) {
    let (one, two) = (f.node("n1.a"), f.node("n2.a"));
    let lobby = channel("chat:lobby");
    assert_eq!(one.join(&lobby, entry("c1", "alice")).await, Ok(()));
    for node in [&one, &two] {
        assert_eq!(node.members(&lobby, true).await, Ok(members(&[("alice", 1)])));
    }
    let (told_in, change) = f.told.next().await;
    assert_eq!(told_in, lobby);
    let member = Member { user: text("alice"), clients: 1, info: None };
    assert_eq!(change, Membership { member, client: text("c1"), left: None });
}

async fn two_connections_of_a_user_are_one_user_who_joins_once(mut f: Fixture) {
    let (one, two) = (f.node("n1.a"), f.node("n2.a"));
    let lobby = channel("lobby");
    one.join(&lobby, entry("c1", "alice")).await.unwrap();
    one.join(&lobby, entry("c2", "alice")).await.unwrap();
    two.join(&lobby, entry("c3", "alice")).await.unwrap();
    two.join(&lobby, entry("c4", "bob")).await.unwrap();
    assert_eq!(one.members(&lobby, true).await, Ok(members(&[("alice", 3), ("bob", 1)])));
    f.told.expect_join("alice").await;
    f.told.expect_join("bob").await;
}

async fn only_the_last_connection_of_a_user_leaves_whichever_node_it_is_on(mut f: Fixture) {
    let (one, two) = (f.node("n1.a"), f.node("n2.a"));
    let lobby = channel("lobby");
    one.join(&lobby, entry("c1", "alice")).await.unwrap();
    two.join(&lobby, entry("c2", "alice")).await.unwrap();
    one.leave(&lobby, &text("c1"), Cause::Left);
    assert_eq!(one.members(&lobby, true).await, Ok(members(&[("alice", 1)])));
    two.leave(&lobby, &text("c2"), Cause::Left);
    assert_eq!(two.members(&lobby, true).await, Ok(members(&[])));
    f.told.expect_join("alice").await;
    let (_, change) = f.told.next().await;
    let member = Member { user: text("alice"), clients: 0, info: None };
    assert_eq!(change, Membership { member, client: text("c2"), left: Some(Cause::Left) });
}

async fn a_lost_connection_is_shown_for_the_grace_and_leaves_then(mut f: Fixture) {
    let (one, two) = (f.node("n1.a"), f.node("n2.a"));
    let lobby = channel("lobby");
    one.join(&lobby, entry("c1", "alice")).await.unwrap();
    f.told.expect_join("alice").await;
    let lost_at = Instant::now();
    one.leave(&lobby, &text("c1"), Cause::Lost);
    assert_eq!(two.members(&lobby, true).await, Ok(members(&[("alice", 1)])));
    f.told.expect_leave("alice", Cause::Lost).await;
    assert!(lost_at.elapsed() >= f.config.grace, "after {:?}", lost_at.elapsed());
    assert_eq!(two.members(&lobby, true).await, Ok(members(&[])));
}

async fn a_user_back_on_another_node_within_the_grace_makes_no_noise(mut f: Fixture) {
    let (one, two) = (f.node("n1.a"), f.node("n2.a"));
    let lobby = channel("lobby");
    one.join(&lobby, entry("c1", "alice")).await.unwrap();
    one.leave(&lobby, &text("c1"), Cause::Lost);
    two.join(&lobby, entry("c2", "alice")).await.unwrap();
    assert_eq!(two.members(&lobby, false).await, Ok(counts(2, 1)));
    until_members(&*two, &lobby, &Ok(counts(1, 1))).await;
    two.join(&lobby, entry("c3", "zoe")).await.unwrap();
    f.told.expect_join("alice").await;
    f.told.expect_join("zoe").await;
}

async fn the_same_connection_back_within_the_grace_stays(mut f: Fixture) {
    let node = f.node("n1.a");
    let lobby = channel("lobby");
    node.join(&lobby, entry("c1", "alice")).await.unwrap();
    node.leave(&lobby, &text("c1"), Cause::Lost);
    node.join(&lobby, entry("c1", "alice")).await.unwrap();
    // Zoe's grace begins after Alice's and ends after it would have ended.
    node.join(&lobby, entry("c2", "zoe")).await.unwrap();
    node.leave(&lobby, &text("c2"), Cause::Lost);
    f.told.expect_join("alice").await;
    f.told.expect_join("zoe").await;
    f.told.expect_leave("zoe", Cause::Lost).await;
    assert_eq!(node.members(&lobby, true).await, Ok(members(&[("alice", 1)])));
}

async fn a_goodbye_cuts_the_grace_short(mut f: Fixture) {
    let node = f.node("n1.a");
    let lobby = channel("lobby");
    node.join(&lobby, entry("c1", "alice")).await.unwrap();
    node.leave(&lobby, &text("c1"), Cause::Lost);
    node.leave(&lobby, &text("c1"), Cause::Left);
    assert_eq!(node.members(&lobby, true).await, Ok(members(&[])));
    // What was left of the grace must not be the leave of the next time.
    node.join(&lobby, entry("c1", "alice")).await.unwrap();
    node.leave(&lobby, &text("c1"), Cause::Lost);
    let lost_at = Instant::now();
    f.told.expect_join("alice").await;
    f.told.expect_leave("alice", Cause::Left).await;
    f.told.expect_join("alice").await;
    f.told.expect_leave("alice", Cause::Lost).await;
    assert!(lost_at.elapsed() >= f.config.grace);
}

async fn a_channel_without_anybody_is_empty(f: Fixture) {
    let node = f.node("n1.a");
    assert_eq!(node.members(&channel("nobody"), false).await, Ok(counts(0, 0)));
    assert_eq!(node.members(&channel("nobody"), true).await, Ok(members(&[])));
}

async fn counts_need_no_list(f: Fixture) {
    let node = f.node("n1.a");
    let (lobby, other) = (channel("lobby"), channel("other"));
    for (client, user) in [("c1", "alice"), ("c2", "alice"), ("c3", "bob")] {
        node.join(&lobby, entry(client, user)).await.unwrap();
    }
    node.join(&other, entry("c1", "alice")).await.unwrap();
    assert_eq!(node.members(&lobby, false).await, Ok(counts(3, 2)));
    assert_eq!(node.members(&other, false).await, Ok(counts(1, 1)));
}

async fn lists_are_in_the_order_of_users(f: Fixture) {
    let node = f.node("n1.a");
    let lobby = channel("lobby");
    for (client, user) in [("c1", "zoe"), ("c2", "Bob"), ("c3", "älva")] {
        node.join(&lobby, entry(client, user)).await.unwrap();
    }
    assert_eq!(node.members(&lobby, true).await, Ok(members(&[("Bob", 1), ("zoe", 1), ("älva", 1)])));
}

async fn a_channel_above_the_maximum_counts_only_and_announces_nobody(mut f: Fixture) {
    let node = f.node("n1.a");
    let lobby = channel("lobby");
    for user in ["a", "b", "c", "d"] {
        node.join(&lobby, entry(user, user)).await.unwrap();
    }
    assert_eq!(node.members(&lobby, true).await, Ok(counts(4, 4)));
    // From four to three is as silent as from three to four was.
    node.leave(&lobby, &text("a"), Cause::Left);
    assert_eq!(node.members(&lobby, true).await, Ok(members(&[("b", 1), ("c", 1), ("d", 1)])));
    node.leave(&lobby, &text("b"), Cause::Left);
    for user in ["a", "b", "c"] {
        f.told.expect_join(user).await;
    }
    f.told.expect_leave("b", Cause::Left).await;
}

async fn a_user_with_very_many_connections_is_counted_but_not_listed(f: Fixture) {
    let node = f.node("n1.a");
    let lobby = channel("lobby");
    let joins = (0..31).map(|n| node.join(&lobby, entry(&format!("c{n}"), "alice")));
    assert!(join_all(joins).await.iter().all(Result::is_ok));
    assert_eq!(node.members(&lobby, true).await, Ok(counts(31, 1)));
    node.leave(&lobby, &text("c0"), Cause::Left);
    assert_eq!(node.members(&lobby, true).await, Ok(members(&[("alice", 30)])));
}

async fn those_who_are_sent_away_are_shown_for_the_time_they_were_told_and_the_grace(mut f: Fixture) {
    let (one, two) = (f.node("n1.a"), f.node("n2.a"));
    let lobby = channel("lobby");
    for (client, user) in [("c1", "alice"), ("c2", "bob"), ("c3", "carl")] {
        one.join(&lobby, entry(client, user)).await.unwrap();
        f.told.expect_join(user).await;
    }
    let began = Instant::now();
    one.send_away(&lobby, &text("c1"), AWAY);
    one.send_away(&lobby, &text("c2"), AWAY);
    one.leave(&lobby, &text("c3"), Cause::Lost);
    f.told.expect_leave("carl", Cause::Lost).await;
    // Later than whoever just lost a connection, and still in time.
    two.join(&lobby, entry("c4", "alice")).await.unwrap();
    f.told.expect_leave("bob", Cause::Lost).await;
    assert!(began.elapsed() >= f.config.grace + AWAY, "after {:?}", began.elapsed());
    assert_eq!(two.members(&lobby, true).await, Ok(members(&[("alice", 1)])));
}

async fn users_whose_node_died_leave_once_and_in_time_unless_they_are_elsewhere(mut f: Fixture) {
    let (dying, two, three) = (f.node("n1.a"), f.node("n2.a"), f.node("n3.a"));
    f.until_the_dead_are_reaped().await;
    let (lobby, other) = (channel("lobby"), channel("other"));
    for (client, user) in [("c1", "alice"), ("c2", "alice"), ("c3", "bob"), ("c4", "carl")] {
        dying.join(&lobby, entry(client, user)).await.unwrap();
    }
    dying.join(&other, entry("c1", "alice")).await.unwrap();
    dying.leave(&other, &text("c1"), Cause::Lost);
    two.join(&lobby, entry("c5", "bob")).await.unwrap();
    for user in ["alice", "bob", "carl", "alice"] {
        f.told.expect_join(user).await;
    }
    drop(dying);
    let died = Instant::now();
    three.join(&lobby, entry("c6", "carl")).await.unwrap();
    for _ in 0..2 {
        f.told.expect_leave("alice", Cause::NodeLost).await;
    }
    assert!(died.elapsed() <= f.config.lease + Duration::from_secs(2), "after {:?}", died.elapsed());
    assert!(died.elapsed() >= f.config.lease / 2, "a lease that holds is not the end: after {:?}", died.elapsed());
    until_members(&*two, &lobby, &Ok(counts(2, 2))).await;
    assert_eq!(two.members(&lobby, true).await, Ok(members(&[("bob", 1), ("carl", 1)])));
    assert_eq!(two.members(&other, false).await, Ok(counts(0, 0)));
    // Whatever else would have been told comes before this.
    f.until_the_dead_are_reaped().await;
}

async fn a_node_that_stops_takes_its_entries_along_at_once_and_leaves_their_time_to_those_who_part(mut f: Fixture) {
    let (one, two) = (f.node("n1.a"), f.node("n2.a"));
    let (lobby, other) = (channel("lobby"), channel("other"));
    one.join(&lobby, entry("c1", "alice")).await.unwrap();
    one.join(&lobby, entry("c2", "bob")).await.unwrap();
    two.join(&lobby, entry("c3", "bob")).await.unwrap();
    one.join(&other, entry("c1", "carl")).await.unwrap();
    let parted = Instant::now();
    one.leave(&other, &text("c1"), Cause::Lost);
    one.join(&other, entry("c4", "dave")).await.unwrap();
    one.send_away(&other, &text("c4"), AWAY);
    for user in ["alice", "bob", "carl", "dave"] {
        f.told.expect_join(user).await;
    }
    let stopping = one.stop();
    let watching = async {
        f.told.expect_leave("alice", Cause::Left).await;
        assert_eq!(two.members(&lobby, true).await, Ok(members(&[("bob", 1)])));
        assert_eq!(two.members(&other, true).await, Ok(members(&[("carl", 1), ("dave", 1)])));
        f.told.expect_leave("carl", Cause::Lost).await;
        assert!(parted.elapsed() >= f.config.grace);
        f.told.expect_leave("dave", Cause::Lost).await;
    };
    tokio::join!(stopping, watching);
    assert!(parted.elapsed() >= f.config.grace + AWAY);
    assert_eq!(two.members(&other, true).await, Ok(members(&[])));
}

async fn a_stopped_node_states_nothing_more(mut f: Fixture) {
    let (one, two) = (f.node("n1.a"), f.node("n2.a"));
    let lobby = channel("lobby");
    one.join(&lobby, entry("c1", "alice")).await.unwrap();
    one.stop().await;
    one.stop().await;
    assert_eq!(one.join(&lobby, entry("c2", "bob")).await, Err(Unavailable));
    one.leave(&lobby, &text("c1"), Cause::Left);
    assert_eq!(one.lease_age(), None);
    two.join(&lobby, entry("c3", "zoe")).await.unwrap();
    assert_eq!(one.members(&lobby, true).await, Ok(members(&[("zoe", 1)])));
    f.told.expect_join("alice").await;
    f.told.expect_leave("alice", Cause::Left).await;
    f.told.expect_join("zoe").await;
}

async fn a_node_sees_what_it_stated_before(f: Fixture) {
    let node = f.node("n1.a");
    let lobby = channel("lobby");
    let mut joins = Vec::new();
    for n in 0..2000 {
        joins.push(node.join(&lobby, entry(&format!("c{n}"), &format!("u{}", n % 7))));
    }
    assert_eq!(node.members(&lobby, false).await, Ok(counts(2000, 7)));
    assert!(join_all(joins).await.iter().all(Result::is_ok));
    for n in 0..1999 {
        node.leave(&lobby, &text(&format!("c{n}")), Cause::Left);
    }
    assert_eq!(node.members(&lobby, true).await, Ok(members(&[("u4", 1)])));
}

async fn a_dropped_join_is_not_taken_back(f: Fixture) {
    let (one, two) = (f.node("n1.a"), f.node("n2.a"));
    let lobby = channel("lobby");
    drop(one.join(&lobby, entry("c1", "alice")));
    until_members(&*two, &lobby, &Ok(members(&[("alice", 1)]))).await;
}

async fn joins_that_ask_for_silence_are_silent(mut f: Fixture) {
    let node = f.node("n1.a");
    let lobby = channel("lobby");
    node.join(&lobby, Entry { announce: false, ..entry("c1", "alice") }).await.unwrap();
    assert_eq!(node.members(&lobby, true).await, Ok(members(&[("alice", 1)])));
    node.leave(&lobby, &text("c1"), Cause::Left);
    node.join(&lobby, entry("c2", "zoe")).await.unwrap();
    f.told.expect_join("zoe").await;
}

async fn joining_again_changes_nothing(mut f: Fixture) {
    let node = f.node("n1.a");
    let lobby = channel("lobby");
    for _ in 0..3 {
        node.join(&lobby, entry("c1", "alice")).await.unwrap();
    }
    let more = [node.join(&lobby, entry("c1", "alice")), node.join(&lobby, entry("c1", "alice"))];
    assert_eq!(join_all(more).await, [Ok(()), Ok(())]);
    assert_eq!(node.members(&lobby, true).await, Ok(members(&[("alice", 1)])));
    node.leave(&lobby, &text("c1"), Cause::Left);
    assert_eq!(node.members(&lobby, true).await, Ok(members(&[])));
    f.told.expect_join("alice").await;
    f.told.expect_leave("alice", Cause::Left).await;
}

async fn a_connection_may_become_another_user(mut f: Fixture) {
    let node = f.node("n1.a");
    let lobby = channel("lobby");
    let info = Some(text(r#"{"as":"guest"}"#));
    node.join(&lobby, Entry { info: info.clone(), ..entry("c1", "guest") }).await.unwrap();
    node.join(&lobby, entry("c1", "alice")).await.unwrap();
    assert_eq!(node.members(&lobby, false).await, Ok(counts(1, 1)));
    assert_eq!(node.members(&lobby, true).await, Ok(members(&[("alice", 1)])));
    node.leave(&lobby, &text("c1"), Cause::Left);
    assert_eq!(node.members(&lobby, false).await, Ok(counts(0, 0)));
    f.told.expect_join("guest").await;
    let (_, change) = f.told.next().await;
    let member = Member { user: text("guest"), clients: 0, info };
    assert_eq!(change, Membership { member, client: text("c1"), left: Some(Cause::Left) });
    f.told.expect_join("alice").await;
    f.told.expect_leave("alice", Cause::Left).await;
}

async fn a_connection_that_another_node_took_over_is_not_removed_by_the_first(mut f: Fixture) {
    let (one, two) = (f.node("n1.a"), f.node("n2.a"));
    let lobby = channel("lobby");
    one.join(&lobby, entry("c1", "alice")).await.unwrap();
    one.leave(&lobby, &text("c1"), Cause::Lost);
    two.join(&lobby, entry("c1", "alice")).await.unwrap();
    // Another of the first node's connections is lost later, so its leave comes after the one that must not come.
    one.join(&lobby, entry("c2", "zoe")).await.unwrap();
    one.leave(&lobby, &text("c2"), Cause::Lost);
    f.told.expect_join("alice").await;
    f.told.expect_join("zoe").await;
    f.told.expect_leave("zoe", Cause::Lost).await;
    one.stop().await;
    assert_eq!(two.members(&lobby, true).await, Ok(members(&[("alice", 1)])));
}

async fn leaves_of_unknown_connections_do_nothing(mut f: Fixture) {
    let node = f.node("n1.a");
    let lobby = channel("lobby");
    node.leave(&lobby, &text("c1"), Cause::Left);
    node.leave(&lobby, &text("c1"), Cause::Lost);
    node.join(&lobby, entry("c1", "alice")).await.unwrap();
    node.leave(&channel("other"), &text("c1"), Cause::Left);
    assert_eq!(node.members(&lobby, true).await, Ok(members(&[("alice", 1)])));
    f.told.expect_join("alice").await;
}

async fn what_the_token_says_travels_unchanged(mut f: Fixture) {
    let (one, two) = (f.node("n1.a"), f.node("n2.a"));
    let lobby = channel("lobby");
    let info = text("{\"name\":\"Å \\\"quoted\\\" \\\\ / \u{7f} \u{1f600}\",\"n\":1e400,\"deep\":[[[[]]]]}");
    let alice = Entry { info: Some(info.clone()), ..entry("c/1\"", "al\\ice\u{1}\0") };
    one.join(&lobby, alice.clone()).await.unwrap();
    let member = Member { user: alice.user.clone(), clients: 1, info: Some(info) };
    let expected = Members { list: Some(vec![member.clone()]), clients: 1, users: 1 };
    assert_eq!(two.members(&lobby, true).await, Ok(expected));
    assert_eq!(f.told.next().await.1, Membership { member: member.clone(), client: alice.client.clone(), left: None });
    one.leave(&lobby, &alice.client, Cause::Left);
    let member = Member { clients: 0, ..member };
    assert_eq!(f.told.next().await.1, Membership { member, client: alice.client, left: Some(Cause::Left) });
}

/// All channels of a survey in parts of about this many, by name.
async fn surveyed(node: &dyn Presence, prefix: &str, limit: usize) -> Vec<(String, u64, u64)> {
    let (mut all, mut after) = (Vec::new(), None::<Cursor>);
    loop {
        let page = node.channels(prefix, after, limit).await.unwrap();
        all.extend(
            page.channels
                .into_iter()
                .map(|Populated { channel, clients, users }| (channel.to_string(), clients, users)),
        );
        // As a client brings it back.
        after = page.next.map(|next| next.to_string().parse().unwrap());
        if after.is_none() {
            all.sort();
            return all;
        }
    }
}

async fn channels_with_members_are_told_by_the_beginning_of_their_names_each_once(f: Fixture) {
    let (one, two) = (f.node("n1.a"), f.node("n2.a"));
    for (node, name, client, user) in [
        (&one, "chat:lobby", "c1", "alice"),
        (&one, "chat:lobby", "c2", "bob"),
        (&two, "chat:lobby", "c3", "alice"),
        (&two, "chat:[a-z]?", "c4", "zoe"),
        (&two, "news", "c5", "zoe"),
        (&one, "chat:left", "c6", "zoe"),
    ] {
        node.join(&channel(name), entry(client, user)).await.unwrap();
    }
    one.leave(&channel("chat:left"), &text("c6"), Cause::Left);
    one.members(&channel("chat:left"), false).await.unwrap();
    let chats = [("chat:[a-z]?".to_owned(), 1, 1), ("chat:lobby".to_owned(), 3, 2)];
    for node in [&one, &two] {
        assert_eq!(surveyed(&**node, "chat:", 100).await, chats);
        assert_eq!(surveyed(&**node, "", 100).await.len(), 3);
    }
    assert_eq!(surveyed(&*one, "chat:[a-z]?", 100).await, chats[..1], "no pattern");
    for nothing in ["chat:*", "*", "chat:?", "lobby"] {
        assert_eq!(surveyed(&*one, nothing, 100).await, [], "{nothing}");
    }
}

async fn a_survey_in_parts_tells_all(f: Fixture) {
    let (one, two) = (f.node("n1.a"), f.node("n2.a"));
    let join = |n: usize| {
        let node = if n.is_multiple_of(3) { &two } else { &one };
        node.join(&channel(&format!("room:{}", n % 700)), entry(&format!("c{n}"), "alice"))
    };
    assert!(join_all((0..1400).map(join)).await.iter().all(Result::is_ok));
    let all = surveyed(&*one, "room:", 50).await;
    assert_eq!(all.len(), 700);
    assert!(all.iter().all(|(_, clients, users)| (*clients, *users) == (2, 1)));
    let first = one.channels("room:", None, 50).await.unwrap();
    assert!((50..200).contains(&first.channels.len()) && first.next.is_some(), "{}", first.channels.len());
    // A node that has gone, and one that never was.
    for stale in ["7.n0.gone", "999.n1.a~2", "0.zz"] {
        one.channels("room:", Some(stale.parse().unwrap()), 50).await.unwrap();
    }
}

async fn nodes_that_live_are_told_with_what_they_say_of_themselves(f: Fixture) {
    let (one, two) = (f.node("n1.a"), f.node("n2.a"));
    one.describe("{\"connections\":1}".to_owned());
    two.describe("two".to_owned());
    let living = |node: &str, about: &str| Living { node: text(node), about: text(about) };
    let expected = [living("n1.a", "{\"connections\":1}"), living("n2.a", "two")];
    until_nodes(&*one, &expected).await;
    two.describe("changed".to_owned());
    until_nodes(&*one, &[expected[0].clone(), living("n2.a", "changed")]).await;
    two.stop().await;
    until_nodes(&*one, &expected[..1]).await;
}

async fn until_nodes(node: &dyn Presence, expected: &[Living]) {
    let asking = async {
        while node.nodes().await.unwrap() != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(support::PATIENCE, asking).await.expect("the nodes as they are");
}
