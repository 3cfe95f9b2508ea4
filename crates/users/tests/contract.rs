//! What revocations and sessions promise, kept by memory and by Redis alike.

#![allow(clippy::unwrap_used, reason = "a test may end where its expectation does")]

mod support;

use futures_util::future::join_all;
use std::time::Duration;
use support::{Fixture, before, in_an_hour, now_ms, token, user};
use tokio::time::{Instant, timeout};
use users::{Claim, LEEWAY_MS, Revocation, RevokeError, Rule};

macro_rules! both_keep {
    ($($promise:ident)*) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(super::Fixture::in_memory()).await;
            })*
        }
        mod in_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::$promise(super::Fixture::in_redis()).await;
            })*
        }
    };
}

both_keep! {
    what_one_node_revokes_all_know_within_a_second_and_those_that_start_later
    a_user_s_tokens_are_revoked_by_their_age
    news_are_told_once
    one_that_has_ended_is_forgotten
    at_the_bound_a_further_one_is_refused_and_a_wider_one_is_not
    the_list_shows_those_that_end_first_first
    with_a_limit_the_one_too_many_is_refused_on_whatever_node
    a_place_that_is_given_back_is_free
    claiming_again_is_no_second_session
    the_newest_takes_the_place_of_the_one_before
    of_many_that_claim_at_once_exactly_one_stays
    of_many_that_claim_at_once_as_many_stay_as_may
    users_do_not_count_for_one_another
    a_node_that_stops_holds_no_places
    a_node_that_dies_holds_its_places_no_longer_than_the_lease
    giving_back_what_was_never_claimed_does_nothing
}

async fn what_one_node_revokes_all_know_within_a_second_and_those_that_start_later(f: Fixture) {
    let (one, mut two) = (f.listener(100).await, f.listener(100).await);
    assert!(!two.refuses("ann", Some("t1"), Some(1)));
    one.revoke(token("t1")).await.unwrap();
    let taken_at = Instant::now();
    assert!(one.refuses("ann", Some("t1"), Some(1)), "where it was taken, at once");
    two.hears_news().await;
    assert!(taken_at.elapsed() < Duration::from_secs(1), "after {:?}", taken_at.elapsed());
    assert!(two.refuses("bob", Some("t1"), Some(1)), "an id is one token's, whoever's it is");
    assert!(!two.refuses("ann", Some("t2"), Some(1)));
    one.revoke(user("cid")).await.unwrap();
    drop((one, two));
    let three = f.listener(100).await;
    assert!(three.refuses("ann", Some("t1"), None) && three.refuses("cid", None, Some(u64::MAX)));
}

async fn a_user_s_tokens_are_revoked_by_their_age(f: Fixture) {
    let (one, mut two) = (f.listener(100).await, f.listener(100).await);
    one.revoke(before("ann", 500)).await.unwrap();
    two.hears_news().await;
    assert!(two.refuses("ann", Some("x"), Some(499)) && two.refuses("ann", None, None));
    assert!(!two.refuses("ann", None, Some(500)) && !two.refuses("bob", None, Some(1)));
    one.revoke(before("ann", 400)).await.unwrap();
    one.revoke(before("ann", 600)).await.unwrap();
    // The earlier moment may be news of its own.
    while !two.refuses("ann", None, Some(599)) {
        two.hears_news().await;
    }
    assert!(!two.refuses("ann", None, Some(600)), "the later moment counts");
}

async fn news_are_told_once(f: Fixture) {
    let (one, mut two) = (f.listener(100).await, f.listener(100).await);
    let until_ms = in_an_hour();
    one.revoke_until(token("t1"), until_ms).await.unwrap();
    two.hears_news().await;
    one.revoke_until(token("t1"), until_ms).await.unwrap();
    one.revoke_until(token("t1"), until_ms - 1).await.unwrap();
    one.revoke(token("t2")).await.unwrap();
    two.comes_to_refuse("ann", Some("t2")).await;
    two.hears_news().await;
    assert!(two.has_heard_nothing());
}

async fn one_that_has_ended_is_forgotten(f: Fixture) {
    let one = f.listener(1).await;
    one.revoke_until(token("old"), now_ms() - LEEWAY_MS).await.unwrap();
    assert!(!one.refuses("ann", Some("old"), None));
    one.revoke_until(token("new"), now_ms() - LEEWAY_MS + 60_000).await.unwrap();
    assert!(one.refuses("ann", Some("new"), None), "and has left its room to others");
    assert_eq!(one.revocations.list(9).1, 1);
}

async fn at_the_bound_a_further_one_is_refused_and_a_wider_one_is_not(f: Fixture) {
    let (one, mut two) = (f.listener(2).await, f.listener(2).await);
    one.revoke(token("t1")).await.unwrap();
    one.revoke(before("ann", 500)).await.unwrap();
    assert_eq!(one.revoke(token("t2")).await, Err(RevokeError::Full(2)));
    assert_eq!(two.revoke(user("ann")).await, Err(RevokeError::Full(2)));
    assert_eq!(one.metrics.revocations_full.get(), 1);
    one.revoke(before("ann", 600)).await.unwrap();
    two.hears_news().await;
    two.comes_to_refuse("x", Some("t1")).await;
    assert!(!two.refuses("x", Some("t2"), None) && one.refuses("ann", None, Some(599)), "none was forgotten");
}

async fn the_list_shows_those_that_end_first_first(f: Fixture) {
    let one = f.listener(100).await;
    let until_ms = in_an_hour();
    let all = [(before("cid", 5), until_ms), (token("t1"), until_ms + 1), (user("ann"), until_ms + 2)];
    for (target, until_ms) in all.clone().into_iter().rev() {
        one.revoke_until(target, until_ms).await.unwrap();
    }
    let all = all.map(|(target, until_ms)| Revocation { target, until_ms });
    assert_eq!(one.revocations.list(9), (all.to_vec(), 3));
    assert_eq!(one.revocations.list(1), (all[..1].to_vec(), 3));
    assert!(!one.revocations.is_empty());
}

async fn with_a_limit_the_one_too_many_is_refused_on_whatever_node(f: Fixture) {
    let (mut one, two) = (f.node("n1.a", Rule::Limit(2)), f.node("n2.a", Rule::Limit(2)));
    assert_eq!(one.claim("ann", 1).await, Claim::Granted { replaced: vec![] });
    assert_eq!(two.claim("ann", 2).await, Claim::Granted { replaced: vec![] });
    assert_eq!(two.claim("ann", 3).await, Claim::Refused { holders: vec![one.other(1), two.other(2)] });
    assert!(!one.is_granted("ann", 4).await);
    assert!(one.has_lost_nothing());
}

async fn a_place_that_is_given_back_is_free(f: Fixture) {
    let (one, two) = (f.node("n1.a", Rule::Limit(1)), f.node("n2.a", Rule::Limit(1)));
    assert!(one.is_granted("ann", 1).await);
    one.sessions.release(&"ann".into(), 1);
    two.comes_in("ann", 2).await;
    assert!(!one.is_granted("ann", 3).await);
}

async fn claiming_again_is_no_second_session(f: Fixture) {
    for rule in [Rule::Limit(1), Rule::Newest] {
        let mut one = f.node(&format!("n{rule:?}.a").replace(['(', ')'], ""), rule);
        for _ in 0..2 {
            assert_eq!(one.claim(&format!("{rule:?}"), 1).await, Claim::Granted { replaced: vec![] });
        }
        assert!(one.has_lost_nothing());
    }
}

async fn the_newest_takes_the_place_of_the_one_before(f: Fixture) {
    let (mut one, mut two) = (f.node("n1.a", Rule::Newest), f.node("n2.a", Rule::Newest));
    assert!(one.is_granted("ann", 1).await);
    assert_eq!(two.claim("ann", 7).await, Claim::Granted { replaced: vec![one.other(1)] });
    assert_eq!(one.loses().await, 1);
    assert_eq!(two.claim("ann", 8).await, Claim::Granted { replaced: vec![two.other(7)] });
    assert_eq!(two.loses().await, 7);
    assert_eq!(one.claim("ann", 2).await, Claim::Granted { replaced: vec![two.other(8)] });
    assert_eq!(two.loses().await, 8);
}

async fn of_many_that_claim_at_once_exactly_one_stays(f: Fixture) {
    let (mut one, mut two) = (f.node("n1.a", Rule::Newest), f.node("n2.a", Rule::Newest));
    let claims = join_all((0..20).map(|n| if n % 2 == 0 { &one } else { &two }.claim("ann", n))).await;
    assert!(claims.iter().all(|claim| matches!(claim, Claim::Granted { .. })), "{claims:?}");
    let mut stay: Vec<u64> = (0..20).collect();
    while stay.len() > 1 {
        let lost = tokio::select! { lost = one.loses() => lost, lost = two.loses() => lost };
        stay.retain(|connection| *connection != lost);
    }
    assert!(!f.node("n3.a", Rule::Limit(1)).is_granted("ann", 99).await, "one has stayed");
    assert!(one.has_lost_nothing() && two.has_lost_nothing());
}

async fn of_many_that_claim_at_once_as_many_stay_as_may(f: Fixture) {
    let (mut one, mut two) = (f.node("n1.a", Rule::Limit(3)), f.node("n2.a", Rule::Limit(3)));
    let claims = join_all((0..20).map(|n| if n % 2 == 0 { &one } else { &two }.claim("ann", n))).await;
    let granted = claims.iter().filter(|claim| matches!(claim, Claim::Granted { .. })).count();
    assert_eq!(granted, 3);
    assert!(one.has_lost_nothing() && two.has_lost_nothing());
}

async fn users_do_not_count_for_one_another(f: Fixture) {
    let mut one = f.node("n1.a", Rule::Newest);
    for (connection, user) in ["ann", "ann:b", "{ann}", "*", "%1"].into_iter().enumerate() {
        assert_eq!(one.claim(user, connection as u64).await, Claim::Granted { replaced: vec![] });
    }
    assert!(one.has_lost_nothing());
}

async fn a_node_that_stops_holds_no_places(f: Fixture) {
    let (one, two) = (f.node("n1.a", Rule::Limit(1)), f.node("n2.a", Rule::Limit(1)));
    assert!(one.is_granted("ann", 1).await);
    timeout(support::LEASE / 2, one.sessions.stop()).await.expect("it stops at once");
    assert!(two.is_granted("ann", 2).await);
}

async fn a_node_that_dies_holds_its_places_no_longer_than_the_lease(f: Fixture) {
    let (one, two) = (f.node("n1.a", Rule::Limit(1)), f.node("n2.a", Rule::Limit(1)));
    assert!(one.is_granted("ann", 1).await);
    drop(one);
    let died_at = Instant::now();
    two.comes_in("ann", 2).await;
    assert!(died_at.elapsed() < support::LEASE + Duration::from_secs(1), "after {:?}", died_at.elapsed());
}

async fn giving_back_what_was_never_claimed_does_nothing(f: Fixture) {
    let (one, two) = (f.node("n1.a", Rule::Limit(1)), f.node("n2.a", Rule::Limit(1)));
    assert!(one.is_granted("ann", 1).await);
    two.sessions.release(&"ann".into(), 1);
    two.sessions.release(&"ann".into(), 9);
    assert!(two.is_granted("bob", 2).await, "what was said before has been heard");
    assert!(!two.is_granted("ann", 3).await);
}
