//! What becomes of publications and questions.

use super::{Bench, Outcome, TIMEOUT, short};
use crate::session::Outbound;
use crate::{Closed, PublishError, RequestError};
use serde_json::{Value, json};
use std::time::Duration;

fn ids(frames: &[Value]) -> Vec<u64> {
    frames.iter().map(|frame| frame["id"].as_u64().unwrap()).collect()
}

fn offset(mut outcome: Outcome) -> u64 {
    outcome.try_recv().expect("an answer").expect("published").position.expect("a position").offset
}

fn error(mut outcome: Outcome) -> PublishError {
    outcome.try_recv().expect("an answer").expect_err("an error")
}

fn waits(outcome: &mut Outcome) -> bool {
    matches!(outcome.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Empty))
}

#[test]
fn publications_wait_for_a_connection_and_go_out_in_order() {
    let mut bench = Bench::offline();
    let (first, second) = (bench.publish(), bench.publish());
    bench.connect();
    let frames = bench.frames();
    assert_eq!(ids(&frames), [1, 2]);
    bench.hear_published(&frames[1]["id"], 6);
    bench.hear_published(&frames[0]["id"], 5);
    assert_eq!((offset(first), offset(second)), (5, 6));
}

#[test]
fn one_that_was_never_sent_has_not_been_published_when_its_time_is_over() {
    let mut bench = Bench::offline();
    let outcome = bench.publish();
    bench.pass_to_deadline().unwrap();
    assert!(matches!(error(outcome), PublishError::TimedOut));
    bench.connect();
    assert_eq!(bench.frames(), Vec::<Value>::new());
}

#[test]
fn one_that_was_sent_has_an_unknown_outcome_when_its_time_is_over() {
    let mut bench = Bench::online();
    let outcome = bench.publish();
    bench.pass_to_deadline().unwrap();
    assert!(matches!(error(outcome), PublishError::UnknownOutcome(_)));
}

#[test]
fn what_broke_before_its_answer_is_repeated_only_with_a_key() {
    let mut bench = Bench::online();
    let (plain, keyed) = (bench.publish(), bench.publish_with_key());
    let sent = bench.frames();
    bench.reconnect();
    assert!(matches!(error(plain), PublishError::UnknownOutcome(_)));
    let repeated = bench.one_frame();
    assert_eq!(repeated, sent[1], "the same command, key and all");
    bench.hear_published(&repeated["id"], 5);
    assert_eq!(offset(keyed), 5);
}

#[test]
fn a_repeat_that_is_refused_leaves_the_outcome_unknown() {
    let mut bench = Bench::online();
    let outcome = bench.publish_with_key();
    bench.reconnect();
    let id = bench.frames().pop().unwrap()["id"].clone();
    bench.hear_refusal(&id, "permission_denied", false);
    assert!(matches!(error(outcome), PublishError::UnknownOutcome(_)));
}

#[test]
fn no_repeat_is_made_when_the_key_may_have_been_forgotten() {
    let mut bench = Bench::online();
    let deadline = bench.now + Duration::from_secs(3600);
    let outcome = bench.publish_as(|outbound| Outbound { has_key: true, deadline, ..outbound });
    bench.frames();
    bench.session.disconnect();
    bench.pass(Duration::from_secs(241)).unwrap();
    bench.connect();
    assert_eq!(bench.frames(), Vec::<Value>::new());
    assert!(matches!(error(outcome), PublishError::UnknownOutcome(_)));
}

#[test]
fn a_refusal_that_passes_is_repeated_in_order_and_one_that_does_not_is_told() {
    let mut bench = Bench::online();
    let (mut first, second) = (bench.publish(), bench.publish());
    let sent = bench.frames();
    bench.hear_refusal(&sent[0]["id"], "unavailable", true);
    bench.hear_refusal(&sent[1]["id"], "permission_denied", false);
    assert!(matches!(error(second), PublishError::Refused(refusal) if refusal.name == "permission_denied"));
    let third = bench.publish();
    assert_eq!(bench.frames(), Vec::<Value>::new(), "until then nothing overtakes it");
    assert!(waits(&mut first));
    bench.pass_to_deadline().unwrap();
    assert_eq!(ids(&bench.frames()), [1, 3]);
    drop((first, third));
}

#[test]
fn a_refusal_that_names_its_time_is_repeated_then() {
    let mut bench = Bench::online();
    let _outcome = bench.publish();
    let id = bench.one_frame()["id"].clone();
    let refusal = json!({"type": "error", "id": id, "code": "rate_limited", "temporary": true, "retry_after_ms": 250});
    bench.hear(&refusal);
    bench.pass(Duration::from_millis(249)).unwrap();
    assert_eq!(bench.frames(), Vec::<Value>::new());
    bench.pass(Duration::from_millis(1)).unwrap();
    assert_eq!(bench.one_frame()["id"], id);
}

#[test]
fn volatile_ones_neither_wait_nor_are_repeated() {
    let volatile = |outbound| Outbound { is_volatile: true, ..outbound };
    let mut bench = Bench::offline();
    assert!(matches!(error(bench.publish_as(volatile)), PublishError::Offline));
    bench.connect();
    let (refused, lost) = (bench.publish_as(volatile), bench.publish_as(volatile));
    let sent = bench.frames();
    bench.hear_refusal(&sent[0]["id"], "rate_limited", true);
    assert!(matches!(error(refused), PublishError::Refused(_)));
    bench.reconnect();
    assert!(matches!(error(lost), PublishError::UnknownOutcome(_)));
    assert_eq!(bench.frames(), Vec::<Value>::new());
}

#[test]
fn the_queue_has_a_bound_in_messages_and_in_bytes() {
    let mut bench = Bench::offline();
    let kept: Vec<_> = (0..100).map(|_| bench.publish()).collect();
    assert!(matches!(error(bench.publish()), PublishError::QueueFull));
    drop(kept);

    let mut bench = Bench::offline();
    let _kept = bench.publish_as(|outbound| Outbound { text: "x".repeat(9_990), ..outbound });
    assert!(matches!(error(bench.publish()), PublishError::QueueFull));
}

#[test]
fn on_one_connection_so_many_are_unanswered_and_the_others_wait_their_turn() {
    let mut bench = Bench::online();
    let _outcomes: Vec<_> = (0..70).map(|_| bench.publish()).collect();
    let sent = bench.frames();
    assert_eq!(sent.len(), 64);
    bench.hear_published(&sent[0]["id"], 1);
    assert_eq!(ids(&bench.frames()), [65]);
}

#[test]
fn one_that_is_too_large_is_refused_here_at_once_or_when_there_is_a_connection() {
    let large = |outbound| Outbound { text: "x".repeat(1001), ..outbound };
    let mut bench = Bench::offline();
    let outcome = bench.publish_as(large);
    bench.connect();
    assert!(matches!(error(outcome), PublishError::TooLarge { bytes: 1001, max: 1000 }));
    assert!(matches!(error(bench.publish_as(large)), PublishError::TooLarge { .. }));
    assert_eq!(bench.frames(), Vec::<Value>::new());
}

#[test]
fn one_that_nobody_waits_for_any_more_is_not_sent() {
    let mut bench = Bench::offline();
    drop(bench.publish());
    bench.connect();
    assert_eq!(bench.frames(), Vec::<Value>::new());
}

#[test]
fn a_closed_client_gives_everything_up() {
    let mut bench = Bench::online();
    let (sent, mut asked) = (bench.publish(), bench.ask());
    bench.session.disconnect();
    assert!(matches!(asked.try_recv(), Ok(Err(RequestError::ConnectionLost))));
    let waiting = bench.publish();
    assert!(bench.session.close().is_empty());
    assert!(matches!(error(sent), PublishError::UnknownOutcome(_)));
    assert!(matches!(error(waiting), PublishError::Closed(Closed)));
}

#[test]
fn a_question_is_answered_or_told_why_not() {
    let mut bench = Bench::offline();
    assert!(matches!(bench.ask().try_recv(), Ok(Err(RequestError::Offline))));
    bench.connect();
    let (mut answered, mut late) = (bench.ask(), bench.ask());
    let sent = bench.frames();
    bench.hear(&json!({"type": "pong", "id": sent[0]["id"]}));
    assert!(matches!(answered.try_recv(), Ok(Ok(_))));
    bench.pass(TIMEOUT).unwrap();
    assert!(matches!(late.try_recv(), Ok(Err(RequestError::TimedOut))));
    bench.hear(&json!({"type": "pong", "id": sent[1]["id"]}));
}

#[test]
fn so_many_questions_wait_for_their_answer_and_no_more() {
    let mut bench = Bench::online();
    let _waiting: Vec<_> = (0..256).map(|_| bench.ask()).collect();
    assert!(matches!(bench.ask().try_recv(), Ok(Err(RequestError::QueueFull))));
    let first = bench.frames()[0]["id"].clone();
    bench.hear(&json!({"type": "pong", "id": first}));
    let mut another = bench.ask();
    assert!(another.try_recv().is_err(), "there is room for it");
}

#[test]
fn ones_own_silent_publications_leave_no_gap_whichever_comes_first() {
    let mut bench = Bench::online();
    let mut events = bench.subscribed_at(4);
    let _outcomes = [bench.publish_silently(), bench.publish_silently()];
    let sent = bench.frames();
    bench.hear_published(&sent[0]["id"], 5);
    bench.hear_publication(6);
    bench.hear_publication(8);
    bench.hear_published(&sent[1]["id"], 7);
    bench.hear_publication(9);
    assert_eq!(short(&mut events), ["6", "8", "9"]);
}

#[test]
fn a_hole_that_was_not_left_by_a_silent_publication_is_told_once_that_is_known() {
    let mut bench = Bench::online();
    let mut events = bench.subscribed_at(4);
    let _outcome = bench.publish_silently();
    let id = bench.one_frame()["id"].clone();
    bench.hear_publication(6);
    assert_eq!(short(&mut events), ["6"]);
    bench.hear_refusal(&id, "permission_denied", false);
    assert_eq!(short(&mut events), ["gap 5-5 Jump"]);
}

#[test]
fn a_silent_publication_that_was_not_sent_explains_no_hole() {
    let mut bench = Bench::online();
    let mut events = bench.subscribed_at(4);
    let _refused = bench.publish();
    let id = bench.one_frame()["id"].clone();
    bench.hear_refusal(&id, "unavailable", true);
    let _waiting = bench.publish_silently();
    bench.hear_publication(6);
    assert_eq!(short(&mut events), ["gap 5-5 Jump", "6"]);
}

#[test]
fn a_recovery_does_not_bring_ones_own_silent_publications() {
    let mut bench = Bench::online();
    let mut events = bench.subscribed_at(4);
    let _outcome = bench.publish_silently();
    let id = bench.one_frame()["id"].clone();
    bench.hear_published(&id, 6);
    bench.reconnect();
    let missed: Value = (5..=7).map(|offset| json!({"offset": offset, "time": 1, "data": 0})).collect();
    bench.answer_subscribe(&json!({"epoch": "e1", "offset": 7, "recovered": true, "publications": missed}));
    assert_eq!(short(&mut events), ["recovered", "5", "7"]);
}
