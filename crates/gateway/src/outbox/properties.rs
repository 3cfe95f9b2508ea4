//! Whatever is pushed, flushed and let go of in whatever order: frames stay whole and in order, and every publication is
//! either delivered or covered by a gap that is told in its place.

use super::tests::{flush_taking, frame, texts, turn};
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::HashMap;

/// The channels: name, policy, and whether they have positions.
const CHANNELS: [(&str, Slow, bool); 5] = [
    ("close", Slow::Close, true),
    ("oldest", Slow::DropOldest, true),
    ("latest", Slow::Latest, true),
    ("latest-without-positions", Slow::Latest, false),
    ("oldest-without-positions", Slow::DropOldest, false),
];

#[derive(Debug, Clone)]
enum Step {
    /// A turn of one channel: a key for each publication, and whether it is volatile.
    Turn {
        channel: usize,
        publications: Vec<(Option<u8>, bool)>,
        padding: usize,
    },
    /// A reply, a ping, a push of the connection's own.
    Own {
        length: usize,
    },
    /// The kernel takes so much.
    Flush {
        takes: usize,
    },
    Conflate,
    Shed {
        limit: usize,
    },
    ShedAll,
}

fn any_step() -> impl Strategy<Value = Step> {
    let publication = (proptest::option::of(0u8..3), prop::bool::weighted(0.1));
    prop_oneof![
        6 => (0..CHANNELS.len(), vec(publication, 1..6), prop_oneof![Just(0), 0usize..300])
            .prop_map(|(channel, publications, padding)| Step::Turn { channel, publications, padding }),
        2 => (0usize..200).prop_map(|length| Step::Own { length }),
        3 => (0usize..800).prop_map(|takes| Step::Flush { takes }),
        2 => Just(Step::Conflate),
        2 => (200usize..4000).prop_map(|limit| Step::Shed { limit }),
        1 => Just(Step::ShedAll),
    ]
}

/// What was pushed, in order, and what came out.
#[derive(Default)]
struct World {
    outbox: Outbox,
    meter: Meter,
    out: Vec<u8>,
    /// The newest offset of each channel.
    tops: [u64; CHANNELS.len()],
    /// How many own frames were pushed, and how many before each publication with an offset.
    own: u64,
    own_before: HashMap<(usize, u64), u64>,
    /// Of channels without positions: all that were pushed.
    unpositioned: [u64; CHANNELS.len()],
    dropped: Dropped,
}

impl World {
    fn step(&mut self, step: Step) {
        match step {
            Step::Turn { channel, publications, padding } => self.push_turn(channel, &publications, padding),
            Step::Own { length } => {
                let text = format!("own {} {}", self.own, "y".repeat(length));
                self.outbox.push_own(&frame(text.as_bytes()), usize::MAX).expect("room");
                self.own += 1;
            }
            Step::Flush { takes } => drop(flush_taking(&mut self.outbox, takes, &mut self.out)),
            Step::Conflate => {
                let was_behind = self.outbox.is_behind();
                self.dropped += self.outbox.conflate();
                if was_behind {
                    self.assert_only_the_newest_wait();
                }
            }
            Step::Shed { limit } if self.outbox.is_behind() => {
                let (dropped, fits) = self.outbox.shed(limit);
                self.dropped += dropped;
                assert_eq!(fits.is_ok(), self.outbox.bytes() <= limit);
            }
            Step::Shed { .. } => {}
            Step::ShedAll => self.dropped += self.outbox.shed_all(),
        }
        self.assert_counts();
    }

    fn push_turn(&mut self, channel: usize, publications: &[(Option<u8>, bool)], padding: usize) {
        let (name, slow, is_positioned) = CHANNELS[channel];
        let keys: Vec<_> = publications.iter().map(|(key, _)| key.map(|key| format!("key{key}"))).collect();
        let mut made = Vec::new();
        for (key, (_, is_volatile)) in keys.iter().zip(publications) {
            let offset = (is_positioned && !is_volatile).then(|| {
                self.tops[channel] += 1;
                self.own_before.insert((channel, self.tops[channel]), self.own);
                self.tops[channel]
            });
            self.unpositioned[channel] += u64::from(!is_positioned);
            made.push((offset, key.as_deref()));
        }
        let turn = turn(name, slow, is_positioned, &made, padding, &self.meter);
        self.outbox.push_shared(&turn, turn.whole(), usize::MAX).expect("room");
    }

    /// What is counted is what is there.
    fn assert_counts(&self) {
        let lengths: usize = self.outbox.chunks.iter().map(|chunk| chunk.as_slice().len()).sum();
        let overhead = self.outbox.chunks.len() * CHUNK_OVERHEAD_BYTES;
        assert_eq!(self.outbox.bytes(), lengths + overhead - self.outbox.written);
        let shared = self.outbox.chunks.iter().filter(|chunk| chunk.is_shared()).map(|chunk| chunk.as_slice().len());
        let begun = self.outbox.chunks.first().filter(|chunk| chunk.is_shared()).map_or(0, |_| self.outbox.written);
        if let Some(behind) = &self.outbox.behind {
            assert_eq!(behind.shared, shared.sum::<usize>() - begun);
        }
        assert!(self.outbox.chunks.iter().all(|chunk| !chunk.as_slice().is_empty()));
    }

    fn assert_only_the_newest_wait(&self) {
        let mut waiting = Vec::new();
        for (index, chunk) in self.outbox.chunks.iter().enumerate() {
            let Chunk::Shared(shared, part) = chunk else { continue };
            let Some(marks) = shared.marks().filter(|marks| marks.slow == Slow::Latest) else { continue };
            let begun = part.start + if index == 0 { self.outbox.written } else { 0 };
            for mark in marks.list[marks.within(part)].iter().filter(|mark| mark.start >= begun) {
                waiting.push((marks.channel.clone(), mark.retain.clone(), mark.offset.is_some()));
            }
        }
        let count = waiting.len();
        waiting.sort();
        waiting.dedup();
        assert_eq!(waiting.len(), count, "one of each");
    }

    /// Everything has left: was it whole, in order, and is nothing lost in silence?
    fn assert_told(mut self) {
        flush_taking(&mut self.outbox, usize::MAX, &mut self.out);
        assert!(self.outbox.is_empty() && self.outbox.bytes() == 0);
        assert_eq!(self.meter.bytes(), 0, "no buffer is kept");
        let (mut own, mut reached) = (0, [0; CHANNELS.len()]);
        let (mut came, mut gaps) = ([0; CHANNELS.len()], [0; CHANNELS.len()]);
        for text in texts(&self.out) {
            if text.starts_with("own ") {
                assert!(text.starts_with(&format!("own {own} ")), "{text}");
                own += 1;
                continue;
            }
            let it: Value = serde_json::from_str(&text).expect("a frame of a channel");
            let channel = CHANNELS.iter().position(|(name, ..)| it["channel"] == *name).expect("a channel");
            let range = match (it["type"] == "gap", it["offset"].as_u64(), it["from"].as_u64(), it["to"].as_u64()) {
                (false, Some(offset), ..) => offset..=offset,
                (true, _, Some(from), Some(to)) => from..=to,
                (true, ..) => {
                    gaps[channel] += 1;
                    continue;
                }
                (false, ..) => {
                    came[channel] += 1;
                    continue;
                }
            };
            assert_eq!(*range.start(), reached[channel] + 1, "nothing is skipped or repeated: {text}");
            for offset in range.clone() {
                assert_eq!(self.own_before[&(channel, offset)], own, "it stays between what it came between: {text}");
            }
            reached[channel] = *range.end();
        }
        assert_eq!((own, reached), (self.own, self.tops));
        for (channel, (_, slow, is_positioned)) in CHANNELS.iter().enumerate() {
            let lost = self.unpositioned[channel] - if *is_positioned { 0 } else { came[channel] };
            assert!(lost == 0 || gaps[channel] > 0, "{lost} of {} are missing and no gap says so", CHANNELS[channel].0);
            assert!(*slow != Slow::Close || (gaps[channel] == 0), "nothing of that may go");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_stay_whole_and_in_order_and_what_goes_is_covered_by_gaps(steps in vec(any_step(), 0..60)) {
        let mut world = World::default();
        steps.into_iter().for_each(|step| world.step(step));
        world.assert_told();
    }

    #[test]
    fn the_last_word_is_whole_whatever_was_let_go_of_before(steps in vec(any_step(), 0..40)) {
        let mut world = World::default();
        steps.into_iter().for_each(|step| world.step(step));
        world.outbox.replace_by(&frame(b"close"));
        flush_taking(&mut world.outbox, usize::MAX, &mut world.out);
        prop_assert_eq!(texts(&world.out).pop(), Some("close".to_owned()));
        prop_assert_eq!((world.outbox.bytes(), world.meter.bytes()), (0, 0));
    }
}
