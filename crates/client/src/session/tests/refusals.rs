//! Subscriptions that are refused or ended by the gateway.

use super::{Bench, TIMEOUT, short};
use serde_json::{Value, json};
use std::time::Duration;

fn channels(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["channel"].as_str().unwrap()).collect()
}

#[test]
fn a_refusal_that_does_not_pass_ends_the_subscription() {
    let mut bench = Bench::online();
    let mut events = bench.subscribe("chat");
    let id = bench.one_frame()["id"].clone();
    bench.hear_refusal(&id, "permission_denied", false);
    assert_eq!(short(&mut events), ["unsubscribed permission_denied"]);
    assert!(events.is_closed(), "nothing follows");
    bench.reconnect();
    assert_eq!(bench.frames(), Vec::<Value>::new());
}

#[test]
fn a_refusal_that_passes_is_asked_again_and_others_do_not_wait_for_it() {
    let mut bench = Bench::online();
    let mut events = bench.subscribe("chat");
    let id = bench.one_frame()["id"].clone();
    bench.hear_refusal(&id, "unavailable", true);
    let _others = bench.subscribe("news");
    assert_eq!(bench.one_frame()["channel"], "news");
    bench.pass_to_deadline().unwrap();
    bench.answer_subscribe(&json!({"epoch": "e1", "offset": 0}));
    assert_eq!(short(&mut events), ["subscribed"]);
}

#[test]
fn an_end_for_now_is_asked_again_from_the_last_position() {
    let mut bench = Bench::online();
    let mut events = bench.subscribed_at(4);
    bench.hear_publication(5);
    bench.hear(&json!({"type": "unsubscribed", "channel": "chat", "code": "unavailable", "reason": "for now"}));
    bench.hear_publication(7);
    bench.pass_to_deadline().unwrap();
    let missed = json!([{"offset": 6, "time": 1, "data": 0}, {"offset": 7, "time": 1, "data": 0}]);
    let answer = json!({"epoch": "e1", "offset": 7, "recovered": true, "publications": missed});
    assert_eq!(bench.answer_subscribe(&answer)["recover"], json!({"epoch": "e1", "offset": 5}));
    assert_eq!(short(&mut events), ["5", "recovered", "6", "7"], "what comes in between is recovered");
}

#[test]
fn an_end_for_good_ends_the_stream() {
    let mut bench = Bench::online();
    let mut events = bench.subscribed_at(4);
    bench.hear(&json!({"type": "unsubscribed", "channel": "chat", "code": "permission_denied", "reason": "no more"}));
    assert_eq!(short(&mut events), ["unsubscribed permission_denied"]);
    assert!(events.is_closed());
}

#[test]
fn a_client_with_many_subscriptions_asks_for_a_few_at_a_time() {
    let mut bench = Bench::offline();
    let _streams: Vec<_> = (0..40).map(|number| bench.subscribe(&format!("c{number}"))).collect();
    bench.connect();
    let asked = bench.frames();
    let first: Vec<String> = (0..32).map(|number| format!("c{number}")).collect();
    assert_eq!(channels(&asked), first, "in the order they were made");
    bench.hear(&json!({"type": "subscribed", "id": asked[0]["id"], "channel": "c0", "publications": []}));
    assert_eq!(bench.one_frame()["channel"], "c32");
}

#[test]
fn a_gateway_that_finds_them_too_fast_is_given_its_time() {
    let mut bench = Bench::offline();
    let _streams: Vec<_> = (0..34).map(|number| bench.subscribe(&format!("c{number}"))).collect();
    bench.connect();
    let asked = bench.frames();
    let refusal = |frame: &Value| {
        let (id, code) = (&frame["id"], "rate_limited");
        json!({"type": "error", "id": id, "code": code, "message": "", "temporary": true, "retry_after_ms": 20_000})
    };
    bench.hear(&refusal(&asked[0]));
    bench.hear(&json!({"type": "subscribed", "id": asked[1]["id"], "channel": "c1", "publications": []}));
    assert_eq!(bench.frames(), Vec::<Value>::new());
    for frame in &asked[2..] {
        bench.hear(&json!({"type": "subscribed", "id": frame["id"], "publications": []}));
    }
    bench.pass(Duration::from_secs(19)).unwrap();
    assert_eq!(bench.frames(), Vec::<Value>::new());
    bench.pass(Duration::from_secs(2)).unwrap();
    assert_eq!(channels(&bench.frames()), ["c32", "c33", "c0"]);
}

#[test]
fn one_answer_in_time_gives_the_others_their_time_anew() {
    let mut bench = Bench::online();
    let _streams = [bench.subscribe("a"), bench.subscribe("b")];
    let asked = bench.frames();
    bench.pass(TIMEOUT - Duration::from_secs(1)).unwrap();
    bench.hear(&json!({"type": "subscribed", "id": asked[0]["id"], "channel": "a", "publications": []}));
    assert_eq!(bench.pass(TIMEOUT - Duration::from_secs(1)), Ok(()));
    assert!(bench.pass(Duration::from_secs(1)).is_err());
}

/// How long the session waits before it asks again.
fn wait(bench: &Bench) -> Duration {
    bench.session.deadline().expect("it asks again").duration_since(bench.now)
}

#[test]
fn waits_between_attempts_grow_and_are_short_again_after_a_success() {
    for code in ["unavailable", "rate_limited"] {
        let mut bench = Bench::online();
        let _events = bench.subscribe("chat");
        let mut longest = Duration::ZERO;
        for _ in 0..8 {
            let id = bench.one_frame()["id"].clone();
            bench.hear_refusal(&id, code, true);
            longest = longest.max(wait(&bench));
            bench.pass_to_deadline().unwrap();
        }
        assert!(longest > Duration::from_secs(5), "{code}: {longest:?}");
        bench.answer_subscribe(&json!({"epoch": "e1", "offset": 0}));
        bench.reconnect();
        let id = bench.one_frame()["id"].clone();
        bench.hear_refusal(&id, code, true);
        assert!(wait(&bench) <= Duration::from_millis(500), "{code}: {:?}", wait(&bench));
    }
}
