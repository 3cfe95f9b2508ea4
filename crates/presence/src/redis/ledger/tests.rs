//! The ledger against a Redis that answers, refuses, or breaks off before or after it has done what was sent.

use super::Ledger;
use crate::Entry;
use crate::redis::flight::Flight;
use protocol::{Cause, Channel, Text};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What the scripts do, as far as the ledger can tell.
#[derive(Default)]
struct Store {
    here: BTreeMap<(Channel, Text), Text>,
    index: BTreeSet<Channel>,
}

impl Store {
    fn take(&mut self, flight: &Flight, is_refused: impl Fn(usize) -> bool, is_index_refused: bool) {
        if !is_index_refused {
            self.index.extend(flight.index.iter().cloned());
        }
        for (_, op) in flight.ops.iter().enumerate().filter(|(at, _)| !is_refused(*at)) {
            let place = (op.place.channel.clone(), op.place.client.clone());
            assert!(!op.joins || self.index.contains(&place.0), "{place:?} is written but not indexed");
            if op.joins {
                self.here.insert(place, op.entry.user.clone())
            } else {
                self.here.remove(&place)
            };
        }
        for channel in &flight.unindex {
            self.index.remove(channel);
        }
        let lost = self.here.keys().find(|(channel, _)| !self.index.contains(channel));
        assert_eq!(lost, None, "a reaper would not find this one");
    }
}

fn ledger() -> Ledger {
    Ledger::new(Duration::ZERO)
}

fn channel(n: usize) -> Channel {
    Channel::new(&format!("c{n}")).unwrap()
}

fn entry(client: &str, user: &str) -> Entry {
    Entry { client: client.into(), user: user.into(), info: None, announce: true }
}

fn fly(ledger: &mut Ledger, store: &mut Store) {
    let flight = ledger.take(512);
    store.take(&flight, |_| false, false);
    ledger.landed(&flight, &vec![false; flight.ops.len()]);
    ledger.answer_written();
}

#[test]
fn whatever_breaks_redis_holds_in_the_end_what_was_stated_last() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut ledger, mut store) = (ledger(), Store::default());
        let mut stated = BTreeMap::new();
        for _ in 0..300 {
            let (channel, client) = (channel(random.usize(0..8)), Text::from(format!("k{}", random.usize(0..3))));
            match random.u8(0..10) {
                0..=1 => {
                    let entry = entry(&client, ["alice", "bob"][random.usize(0..2)]);
                    stated.insert((channel.clone(), client), entry.user.clone());
                    ledger.join(&channel, entry);
                }
                2..=4 => {
                    stated.remove(&(channel.clone(), client.clone()));
                    ledger.leave(&channel, &client, Cause::Left);
                }
                5 => ledger.retry_refused(),
                6 if random.u8(0..4) == 0 => {
                    store = Store::default();
                    ledger.write_again(random.bool(), None);
                }
                _ => fly_into_trouble(&mut ledger, &mut store, &mut random, &mut stated),
            }
        }
        ledger.retry_refused();
        for _ in 0..3 {
            fly(&mut ledger, &mut store);
        }
        assert_eq!(store.here, stated, "seed {seed}");
        let channels: BTreeSet<Channel> = stated.keys().map(|(channel, _)| channel.clone()).collect();
        assert!(store.index.is_superset(&channels), "seed {seed}");
        assert_eq!(
            (ledger.entries(), ledger.dirty(), ledger.rooms.len()),
            (stated.len(), 0, channels.len()),
            "seed {seed}"
        );
        assert!(ledger.emptied.is_empty() && ledger.clients.values().all(|heres| !heres.is_empty()));
    }
}

/// One flight, during which a connection may change its mind.
fn fly_into_trouble(
    ledger: &mut Ledger,
    store: &mut Store,
    random: &mut fastrand::Rng,
    stated: &mut BTreeMap<(Channel, Text), Text>,
) {
    let flight = ledger.take(random.usize(1..4));
    if let Some(op) = flight.ops.first().filter(|_| random.bool()) {
        let (channel, client) = (&op.place.channel, &op.place.client);
        if op.joins {
            stated.remove(&(channel.clone(), client.clone()));
            ledger.leave(channel, client, Cause::Left);
        }
        if random.bool() {
            stated.insert((channel.clone(), client.clone()), Text::from("carl"));
            ledger.join(channel, entry(client, "carl"));
        }
    }
    let indexed_now = |at: usize| flight.index.contains(&flight.ops[at].place.channel);
    let refused = |is_refused: &mut dyn FnMut(usize) -> bool| (0..flight.ops.len()).map(is_refused).collect::<Vec<_>>();
    match random.u8(0..5) {
        0 => return lose(ledger, &flight),
        1 => {
            store.take(&flight, |_| false, false);
            return lose(ledger, &flight);
        }
        2 => {
            let refused = refused(&mut |_| random.bool());
            store.take(&flight, |at| refused[at], false);
            ledger.landed(&flight, &refused);
        }
        3 => {
            let refused = refused(&mut |at| indexed_now(at));
            store.take(&flight, |at| refused[at], true);
            ledger.landed(&flight, &refused);
        }
        _ => {
            store.take(&flight, |_| false, false);
            ledger.landed(&flight, &vec![false; flight.ops.len()]);
        }
    }
    ledger.answer_written();
}

/// No answer came.
fn lose(ledger: &mut Ledger, flight: &Flight) {
    ledger.lost(flight, true);
    ledger.refuse_waiting();
}

#[test]
fn who_comes_and_goes_unseen_leaves_nothing_behind() {
    let (mut ledger, mut store) = (ledger(), Store::default());
    ledger.join(&channel(0), entry("stays", "alice"));
    fly(&mut ledger, &mut store);
    ledger.leave(&channel(0), &"stays".into(), Cause::Left);
    // Redis is away: nothing is taken.
    for n in 0..1000 {
        ledger.join(&channel(n % 3), entry(&format!("k{n}"), "bob"));
        ledger.leave(&channel(n % 3), &format!("k{n}").into(), Cause::Left);
    }
    assert_eq!((ledger.entries(), ledger.dirty(), ledger.rooms.len()), (1, 1, 1));
    fly(&mut ledger, &mut store);
    fly(&mut ledger, &mut store);
    assert_eq!((ledger.entries(), ledger.rooms.len(), store.here.len(), store.index.len()), (0, 0, 0, 0));
}

#[test]
fn what_is_new_is_written_before_what_is_made_sure_of() {
    let (mut ledger, mut store) = (ledger(), Store::default());
    for n in 0..100 {
        ledger.join(&channel(0), entry(&format!("k{n}"), "alice"));
    }
    fly(&mut ledger, &mut store);
    ledger.write_again(true, None);
    ledger.join(&channel(0), entry("new", "bob"));
    let flight = ledger.take(2);
    assert_eq!(&*flight.ops[0].place.client, "new");
    assert!(!flight.ops[0].quiet && flight.ops[1].quiet);
}

#[tokio::test]
async fn each_one_who_waits_is_answered_when_its_own_entry_is() {
    let mut ledger = ledger();
    let first = ledger.join(&channel(0), entry("k1", "alice")).unwrap();
    let second = ledger.join(&channel(0), entry("k2", "bob")).unwrap();
    let (first, second) = (ledger.wait_until(first), ledger.wait_until(second));
    let all = ledger.all_so_far(false).unwrap();
    let mut all = ledger.wait_until(all);
    let flight = ledger.take(1);
    ledger.landed(&flight, &[false]);
    ledger.answer_written();
    assert_eq!(first.await, Ok(Ok(())));
    assert!(all.try_recv().is_err());
    let flight = ledger.take(1);
    ledger.landed(&flight, &[true]);
    ledger.answer_written();
    assert_eq!(second.await, Ok(Err(crate::Unavailable)));
    // Refused entries are not waited for: they hold up nobody.
    assert_eq!(all.await, Ok(Ok(())));
}

#[tokio::test]
async fn who_waits_for_all_waits_for_what_must_be_written_again() {
    let (mut ledger, mut store) = (ledger(), Store::default());
    ledger.join(&channel(0), entry("k1", "alice"));
    fly(&mut ledger, &mut store);
    assert_eq!(ledger.all_so_far(false), None);
    let all = ledger.all_so_far(true).unwrap();
    let mut all = ledger.wait_until(all);
    ledger.write_again(true, None);
    ledger.answer_written();
    assert!(all.try_recv().is_err());
    fly(&mut ledger, &mut store);
    assert_eq!(all.await, Ok(Ok(())));
}

#[tokio::test]
async fn a_join_stated_again_is_answered_for_what_becomes_of_it() {
    let mut ledger = ledger();
    ledger.join(&channel(0), entry("k1", "alice"));
    let flight = ledger.take(512);
    let again = ledger.join(&channel(0), entry("k1", "alice")).unwrap();
    let mut again = ledger.wait_until(again);
    ledger.landed(&flight, &[false]);
    ledger.answer_written();
    assert!(again.try_recv().is_err());
    let flight = ledger.take(512);
    ledger.landed(&flight, &[true]);
    ledger.answer_written();
    assert_eq!(again.await, Ok(Err(crate::Unavailable)));
    // Refused, it has no hurry; stated again, it has.
    assert_eq!(ledger.take(512).ops.len(), 0);
    ledger.join(&channel(0), entry("k1", "alice")).unwrap();
    let flight = ledger.take(512);
    ledger.landed(&flight, &[false]);
    assert_eq!(ledger.join(&channel(0), entry("k1", "alice")), None);
}
