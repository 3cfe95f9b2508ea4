//! A gateway with faults: it drops and repeats publications at random, and no reader is left in the dark.

use super::{Bench, Outcome, all};
use crate::event::{Event, Publication};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio::sync::mpsc;

/// A gateway and the one channel it has.
struct Faulty {
    bench: Bench,
    events: mpsc::Receiver<Event>,
    random: fastrand::Rng,
    newest: u64,
    /// Offsets of the client's own publications with `echo: false`.
    own: BTreeSet<u64>,
    /// Those that are not answered yet.
    unanswered: Vec<(Value, u64)>,
    outcomes: Vec<Outcome>,
}

impl Faulty {
    fn new(seed: u64) -> Self {
        let mut bench = Bench::online();
        let events = bench.subscribe("chat");
        bench.answer_subscribe(&json!({"epoch": "e1", "offset": 0}));
        let random = fastrand::Rng::with_seed(seed);
        Self { bench, events, random, newest: 0, own: BTreeSet::new(), unanswered: vec![], outcomes: vec![] }
    }

    fn step(&mut self) {
        match self.random.u32(..20) {
            0..9 => {
                self.newest += 1;
                self.bench.hear_publication(self.newest);
            }
            9 => self.newest += 1,
            10 => self.repeat_one(),
            11 => self.tell_a_gap(),
            12..15 => self.publish_silently(),
            15..19 => self.answer_one(),
            _ => self.reconnect(),
        }
    }

    fn repeat_one(&mut self) {
        let offset = self.random.u64(..=self.newest);
        if offset > 0 && !self.own.contains(&offset) {
            self.bench.hear_publication(offset);
        }
    }

    fn tell_a_gap(&mut self) {
        let from = self.newest + 1;
        self.newest += self.random.u64(1..4);
        self.bench.hear(&json!({"type": "gap", "channel": "chat", "from": from, "to": self.newest}));
    }

    fn publish_silently(&mut self) {
        self.outcomes.push(self.bench.publish_silently());
        if let Some(frame) = self.bench.frames().pop() {
            self.newest += 1;
            self.own.insert(self.newest);
            self.unanswered.push((frame["id"].clone(), self.newest));
        }
    }

    fn answer_one(&mut self) {
        if !self.unanswered.is_empty() {
            let (id, offset) = self.unanswered.remove(self.random.usize(..self.unanswered.len()));
            self.bench.hear_published(&id, offset);
        }
    }

    fn answer_all(&mut self) {
        while !self.unanswered.is_empty() {
            self.answer_one();
        }
    }

    fn reconnect(&mut self) {
        self.answer_all();
        self.bench.reconnect();
        let asked = self.bench.one_frame();
        let from = asked["recover"]["offset"].as_u64().unwrap();
        let missed: Value = (from + 1..=self.newest).map(|o| json!({"offset": o, "time": 1, "data": o})).collect();
        let position = json!({"epoch": "e1", "offset": self.newest, "recovered": true, "publications": missed});
        let mut reply = json!({"type": "subscribed", "id": asked["id"], "channel": "chat"});
        reply.as_object_mut().unwrap().extend(position.as_object().unwrap().clone());
        self.bench.hear(&reply);
    }

    /// What the reader was given, and what it was told to be lost.
    fn read(&mut self) -> (Vec<u64>, BTreeSet<u64>) {
        let (mut given, mut told) = (Vec::new(), BTreeSet::new());
        while !self.bench.session.may_read() || !self.events.is_empty() {
            for event in all(&mut self.events) {
                match event {
                    Event::Publication(Publication { offset, .. }) => given.extend(offset),
                    Event::Gap(gap) => told.extend(gap.range.map(|(from, to)| from..=to).into_iter().flatten()),
                    _ => {}
                }
            }
            if !self.bench.session.may_read() {
                self.bench.deliver();
            }
        }
        (given, told)
    }
}

#[test]
fn every_publication_is_given_once_and_in_order_or_told_to_be_lost() {
    for seed in 0..500 {
        let mut gateway = Faulty::new(seed);
        for _ in 0..200 {
            gateway.step();
        }
        gateway.answer_all();
        // What shows that the last ones before it are missing.
        gateway.newest += 1;
        gateway.bench.hear_publication(gateway.newest);
        let (given, told) = gateway.read();
        assert!(given.is_sorted_by(|earlier, later| earlier < later), "seed {seed}: {given:?}");
        assert!(given.iter().all(|offset| !gateway.own.contains(offset)), "seed {seed}: its own comes back");
        let known: BTreeSet<u64> = given.into_iter().chain(told).chain(gateway.own.iter().copied()).collect();
        let unknown: Vec<u64> = (1..=gateway.newest).filter(|offset| !known.contains(offset)).collect();
        assert!(unknown.is_empty(), "seed {seed}: nobody said anything of {unknown:?}");
    }
}

#[test]
fn whatever_numbers_a_gateway_says_it_is_taken() {
    let mut bench = Bench::online();
    let _events = bench.subscribed_at(u64::MAX - 1);
    for offset in [0, 1, u64::MAX - 1, u64::MAX, u64::MAX, 5] {
        bench.hear_publication(offset);
        bench.hear(&json!({"type": "gap", "channel": "chat", "from": offset, "to": 0}));
        bench.hear(&json!({"type": "gap", "channel": "chat", "from": 0, "to": offset, "epoch": "e1"}));
        bench.hear_published(&json!(offset), offset);
        bench.hear(
            &json!({"type": "gap", "channel": "chat", "from": offset, "to": offset, "epoch": offset.to_string()}),
        );
        bench.hear(&json!({"type": "reconnect", "after_ms": offset, "reason": ""}));
        bench.hear(&json!({"type": "expiring", "in_ms": offset}));
        let outcome = bench.publish_silently();
        let id = bench.one_frame()["id"].clone();
        bench.hear_published(&id, offset);
        drop(outcome);
        let outcome = bench.publish();
        let id = bench.one_frame()["id"].clone();
        bench.hear(&json!({"type": "error", "id": id, "code": "unavailable", "temporary": true,
            "retry_after_ms": u64::MAX}));
        drop(outcome);
        bench.pass_to_deadline().unwrap();
        bench.reconnect();
        let id = bench.one_frame()["id"].clone();
        let publications = json!([{"offset": u64::MAX, "data": 0}, {"offset": 0, "data": 0}]);
        bench.hear(&json!({"type": "subscribed", "id": id, "channel": "chat", "epoch": "e1", "offset": offset,
            "recovered": true, "publications": publications}));
    }
}
