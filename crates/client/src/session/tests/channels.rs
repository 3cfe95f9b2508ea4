//! What a subscriber sees of a channel, across connections.

use super::{Bench, TIMEOUT, channel, position, short};
use crate::event::Event;
use crate::session::Wanted;
use serde_json::{Value, json};
use std::time::Duration;

fn publications(offsets: &[u64]) -> Value {
    offsets.iter().map(|offset| json!({"offset": offset, "time": 1, "data": 0})).collect()
}

#[test]
fn a_subscription_is_asked_for_with_the_position_of_the_last_publication_handed_on() {
    let mut bench = Bench::online();
    let mut events = bench.subscribed_at(4);
    bench.hear_publication(5);
    bench.reconnect();
    let fields = json!({"epoch": "e1", "offset": 7, "recovered": true, "publications": publications(&[6, 7])});
    let asked = bench.answer_subscribe(&fields);
    assert_eq!(asked["recover"], json!({"epoch": "e1", "offset": 5}));
    bench.hear_publication(8);
    assert_eq!(short(&mut events), ["5", "recovered", "6", "7", "8"]);
    assert_eq!(bench.stats().gaps, 0);
}

#[test]
fn what_comes_twice_is_dropped_and_counted() {
    let mut bench = Bench::online();
    let mut events = bench.subscribed_at(4);
    for offset in [5, 5, 4, 6] {
        bench.hear_publication(offset);
    }
    assert_eq!(short(&mut events), ["5", "6"]);
    assert_eq!(bench.stats().duplicates, 2);
}

#[test]
fn a_jump_of_offsets_is_told_as_a_gap_and_counted() {
    let mut bench = Bench::online();
    let mut events = bench.subscribed_at(4);
    bench.hear_publication(5);
    bench.hear_publication(9);
    assert_eq!(short(&mut events), ["5", "gap 6-8 Jump", "9"]);
    assert_eq!((bench.stats().jumps, bench.stats().gaps), (1, 1));
}

#[test]
fn a_hole_at_the_end_of_what_claims_to_be_recovered_is_a_jump_too() {
    let mut bench = Bench::online();
    let mut events = bench.subscribed_at(4);
    bench.reconnect();
    let fields = json!({"epoch": "e1", "offset": 7, "recovered": true, "publications": publications(&[5])});
    bench.answer_subscribe(&fields);
    assert_eq!(short(&mut events), ["recovered", "5", "gap 6-7 Jump"]);
}

#[test]
fn what_could_not_be_recovered_is_one_gap_whatever_holes_there_are() {
    let mut bench = Bench::online();
    let mut events = bench.subscribed_at(4);
    bench.reconnect();
    let fields = json!({"epoch": "e1", "offset": 12, "recovered": false, "publications": publications(&[8, 10])});
    bench.answer_subscribe(&fields);
    bench.hear_publication(13);
    assert_eq!(short(&mut events), ["subscribed", "gap 5-12 NotRecovered", "8", "10", "13"]);
}

#[test]
fn another_epoch_is_one_gap_and_all_that_is_left_of_it_is_brought() {
    let mut bench = Bench::online();
    let mut events = bench.subscribed_at(4);
    bench.reconnect();
    let fields = json!({"epoch": "e2", "offset": 2, "recovered": false, "publications": publications(&[1, 2])});
    bench.answer_subscribe(&fields);
    bench.hear_publication(3);
    assert_eq!(short(&mut events), ["subscribed", "gap ? NotRecovered", "1", "2", "3"]);
    bench.reconnect();
    assert_eq!(bench.one_frame()["recover"], json!({"epoch": "e2", "offset": 3}));
}

#[test]
fn a_history_that_went_back_is_a_gap_even_if_it_claims_to_be_recovered() {
    let mut bench = Bench::online();
    let mut events = bench.subscribed_at(9);
    bench.reconnect();
    bench.answer_subscribe(&json!({"epoch": "e1", "offset": 3, "recovered": true}));
    bench.hear_publication(4);
    assert_eq!(short(&mut events), ["subscribed", "gap ? NotRecovered", "4"]);
}

#[test]
fn a_gap_with_offsets_goes_on_after_them() {
    let mut bench = Bench::online();
    let mut events = bench.subscribed_at(4);
    bench.hear(&json!({"type": "gap", "channel": "chat", "from": 5, "to": 7, "epoch": "e1"}));
    bench.hear_publication(8);
    assert_eq!(short(&mut events), ["gap 5-7 Told", "8"]);
}

#[test]
fn what_a_gap_does_not_cover_is_told_beside_it() {
    let mut bench = Bench::online();
    let mut events = bench.subscribed_at(4);
    bench.hear(&json!({"type": "gap", "channel": "chat", "from": 7, "to": 9}));
    assert_eq!(short(&mut events), ["gap 5-6 Jump", "gap 7-9 Told"]);
}

#[test]
fn a_gap_without_offsets_goes_on_with_whatever_comes_next() {
    let mut bench = Bench::online();
    let mut events = bench.subscribed_at(4);
    bench.hear(&json!({"type": "gap", "channel": "chat"}));
    bench.hear_publication(90);
    bench.hear_publication(91);
    assert_eq!(short(&mut events), ["gap ? Told", "90", "91"]);
}

#[test]
fn after_a_gap_into_another_epoch_offsets_count_in_that() {
    let mut bench = Bench::online();
    let mut events = bench.subscribed_at(40);
    bench.hear(&json!({"type": "gap", "channel": "chat", "epoch": "e2"}));
    bench.hear_publication(3);
    assert_eq!(short(&mut events), ["gap ? Told", "3"]);
    bench.reconnect();
    assert_eq!(bench.one_frame()["recover"], json!({"epoch": "e2", "offset": 3}));
}

#[test]
fn until_it_is_answered_pushes_belong_to_an_earlier_subscription() {
    let mut bench = Bench::online();
    let mut events = bench.subscribe("chat");
    bench.hear_publication(3);
    bench.answer_subscribe(&json!({"epoch": "e1", "offset": 3}));
    bench.hear_publication(4);
    assert_eq!(short(&mut events), ["subscribed", "4"]);
}

#[test]
fn a_position_of_an_earlier_client_is_gone_on_from() {
    let mut bench = Bench::online();
    let (_, mut events) = bench.subscribe_with("chat", Some(position("e1", 4)), 10);
    let fields = json!({"epoch": "e1", "offset": 5, "recovered": true, "publications": publications(&[5])});
    let asked = bench.answer_subscribe(&fields);
    assert_eq!(asked["recover"], json!({"epoch": "e1", "offset": 4}));
    let Ok(Event::Subscribed { position: from, .. }) = events.try_recv() else { panic!("no answer") };
    assert_eq!(from, Some(position("e1", 4)), "the events that follow go on from there");
    assert_eq!(short(&mut events), ["5"]);
}

#[test]
fn a_channel_without_history_has_no_positions_and_no_gaps() {
    let mut bench = Bench::online();
    let mut events = bench.subscribe("chat");
    bench.answer_subscribe(&json!({"recovered": false}));
    bench.hear(&json!({"type": "publication", "channel": "chat", "time": 1, "data": 0}));
    bench.reconnect();
    let asked = bench.answer_subscribe(&json!({"recovered": false}));
    assert_eq!(asked.get("recover"), None);
    assert_eq!(short(&mut events), ["subscribed", "live", "subscribed"]);
}

#[test]
fn leaving_is_told_once_and_makes_room_for_another_subscription() {
    let mut bench = Bench::online();
    let (serial, _events) = bench.subscribe_with("chat", None, 10);
    bench.answer_subscribe(&json!({"epoch": "e1", "offset": 0}));
    bench.session.leave(&channel("chat"), serial, bench.now);
    bench.session.leave(&channel("chat"), serial, bench.now);
    assert_eq!(bench.one_frame(), json!({"type": "unsubscribe", "channel": "chat"}));
    let mut events = bench.subscribe("chat");
    bench.session.leave(&channel("chat"), serial, bench.now);
    bench.hear_publication(1);
    bench.answer_subscribe(&json!({"epoch": "e1", "offset": 1}));
    assert_eq!(short(&mut events), ["subscribed"], "the earlier one's serial number ends only that one");
}

#[test]
fn what_the_application_does_not_read_stops_the_reading_and_is_kept_in_order() {
    let mut bench = Bench::online();
    let (_, mut events) = bench.subscribe_with("chat", None, 2);
    bench.answer_subscribe(&json!({"epoch": "e1", "offset": 0}));
    bench.hear_publication(1);
    assert!(bench.session.may_read());
    bench.hear_publication(2);
    bench.hear_publication(3);
    assert!(!bench.session.may_read());
    assert_eq!(short(&mut events), ["subscribed", "1"]);
    bench.hear_publication(4);
    assert!(events.try_recv().is_err(), "nothing overtakes what waits");
    bench.deliver();
    assert_eq!(short(&mut events), ["2", "3"]);
    bench.deliver();
    assert!(bench.session.may_read());
    assert_eq!(short(&mut events), ["4"]);
}

#[test]
fn a_gateway_that_answers_no_subscription_in_time_is_at_fault() {
    let mut bench = Bench::online();
    let _events = bench.subscribe("chat");
    assert_eq!(bench.pass(TIMEOUT - Duration::from_millis(1)), Ok(()));
    assert!(bench.pass_to_deadline().is_err());
}

#[test]
fn a_gateway_that_is_not_read_is_not_at_fault() {
    let mut bench = Bench::online();
    let (_, mut unread) = bench.subscribe_with("chat", None, 1);
    bench.answer_subscribe(&json!({"epoch": "e1", "offset": 0}));
    bench.hear_publication(1);
    let _events = bench.subscribe("news");
    assert_eq!(bench.pass(10 * TIMEOUT), Ok(()));
    unread.try_recv().unwrap();
    bench.deliver();
    assert_eq!(bench.pass(TIMEOUT - Duration::from_millis(1)), Ok(()), "its time begins anew");
    assert!(bench.pass_to_deadline().is_err());
}

#[test]
fn the_state_comes_with_the_subscription_to_whoever_asks_for_it_and_again_after_a_reconnect() {
    let mut bench = Bench::online();
    let (stream, mut events) = tokio::sync::mpsc::channel(10);
    let serial = bench.ids.next();
    let token = Some(crate::SubscriptionToken::new("t0k"));
    let wanted = Wanted { serial, channel: channel("chat"), members: false, state: true, recover: None, token, stream };
    bench.session.subscribe(wanted, bench.now).unwrap();
    let state = |offset: u64| json!([{"offset": offset, "time": 1, "retain": "a", "data": offset}]);
    let asked = bench.answer_subscribe(&json!({"epoch": "e1", "offset": 4, "state": state(2)}));
    assert_eq!(asked.get("state"), None, "the gateway sends it if nothing is said");
    assert_eq!(asked["token"], "t0k");
    bench.hear(&json!({"type": "publication", "channel": "chat", "offset": 5, "time": 1, "retain": "a", "data": 5}));
    bench.reconnect();
    bench.answer_subscribe(
        &json!({"epoch": "e1", "offset": 6, "recovered": true, "publications": publications(&[6]), "state": state(5)}),
    );
    let mut retained = crate::Retained::default();
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        retained.follow(&event);
        seen.push(retained.get("a").and_then(|publication| publication.offset));
    }
    assert_eq!(seen, [Some(2), Some(5), Some(5), Some(5)]);
    let _plain = bench.subscribe("news");
    assert_eq!(bench.one_frame()["state"], false);
}
