//! What the store forgets, and when.

use super::*;
use crate::{KEY_TTL, META_TTL, Retention, StateLimits};
use protocol::Payload;
use std::time::Duration;

fn channel(name: &str) -> Channel {
    Channel::new(name).expect("a channel")
}

fn publish(channel: &Channel, key: Option<String>, now: Instant) -> Publish {
    let data = Payload::text("x");
    let publication =
        Publication { offset: None, data, event: None, retain: None, from: None, time_ms: 0, echo: true, stamp: 0 };
    let state = StateLimits { keys: 100, bytes: 10_000, ttl: Duration::from_secs(30) };
    let retention = Some(Retention { size: 10, ttl: Duration::from_secs(60), state });
    Publish { channel: channel.clone(), publication, retention, key, deadline: now + Duration::from_secs(2) }
}

#[test]
fn idle_channels_are_forgotten_part_by_part() {
    let mut store = Store::default();
    let start = Instant::now();
    for n in 0..50 {
        let channel = channel(&format!("c{n}"));
        for k in 0..20 {
            store.publish(publish(&channel, Some(k.to_string()), start), start).expect("published");
        }
    }
    assert_eq!(store.kept(), (50, 500, 1000));
    let another = channel("another");
    let mut pass = |later: Duration| {
        for _ in 0..50 {
            store.publish(publish(&another, None, start + later), start + later).expect("published");
        }
        store.kept()
    };
    assert_eq!(pass(Duration::from_secs(61)), (51, 10, 1000));
    assert_eq!(pass(KEY_TTL + Duration::from_secs(1)), (51, 10, 0));
    assert_eq!(pass(META_TTL + Duration::from_secs(1)), (1, 10, 0));
}

#[test]
fn keys_of_one_channel_are_forgotten_a_bounded_part_at_a_time() {
    let mut store = Store::default();
    let start = Instant::now();
    let channel = channel("c");
    for k in 0..1000 {
        store.publish(publish(&channel, Some(k.to_string()), start), start).expect("published");
    }
    let later = start + KEY_TTL;
    store.publish(publish(&channel, None, later), later).expect("published");
    let (_, _, left) = store.kept();
    assert!((1..1000).contains(&left), "{left} keys are left");
    for _ in 0..20 {
        store.publish(publish(&channel, None, later), later).expect("published");
    }
    assert_eq!(store.kept(), (1, 10, 0));
}

#[test]
fn a_key_that_has_expired_but_is_still_stored_counts_no_more_and_can_be_used_again() {
    let mut store = Store::default();
    let start = Instant::now();
    let channel = channel("c");
    let mut last = None;
    for k in 0..1000 {
        last = store.publish(publish(&channel, Some(k.to_string()), start), start).expect("published");
    }
    let later = start + KEY_TTL;
    let again = store.publish(publish(&channel, Some("999".to_owned()), later), later).expect("published");
    assert_ne!(again, last);
    for _ in 0..20 {
        store.publish(publish(&channel, None, later), later).expect("published");
    }
    let repeated = store.publish(publish(&channel, Some("999".to_owned()), later), later).expect("published");
    assert_eq!(repeated, again);
}

#[test]
fn a_state_that_nobody_publishes_to_is_forgotten() {
    let mut store = Store::default();
    let start = Instant::now();
    let (idle, busy) = (channel("idle"), channel("busy"));
    for n in 0..50 {
        let Publish { publication, .. } = publish(&idle, None, start);
        let publication = Publication { retain: Some(n.to_string().into()), ..publication };
        store.publish(Publish { publication, ..publish(&idle, None, start) }, start).expect("published");
    }
    let retained = |store: &Store| store.kept.values().map(|kept| kept.log.retained()).sum::<usize>();
    assert_eq!(retained(&store), 50);
    let later = start + Duration::from_secs(31);
    store.publish(publish(&busy, None, later), later).expect("published");
    assert_eq!(retained(&store), 0);
}
