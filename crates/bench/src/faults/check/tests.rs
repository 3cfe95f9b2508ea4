use super::*;
use crate::faults::ledger::Observation;
use std::time::Duration;
use tokio::time::Instant;

const KEPT: ChannelId = ChannelId { number: 0, is_kept: true };
const LIVE: ChannelId = ChannelId { number: 0, is_kept: false };

fn at(epoch: &str, offset: u64) -> Option<Position> {
    Some(Position { epoch: epoch.into(), offset })
}

fn stamp(sequence: u64) -> Stamp {
    Stamp { publisher: 1, sequence }
}

/// What happened, in the words of a test: `publish` what publisher 1 sent, `see` what one subscriber saw.
struct Story {
    channel: ChannelId,
    began_at: Instant,
    records: Records,
}

impl Story {
    fn of(channel: ChannelId) -> Self {
        let witness = Witness { subscriber: 0, channel, observations: Vec::new() };
        let mut story = Self {
            channel,
            began_at: Instant::now(),
            records: Records { witnesses: vec![witness], ..Records::default() },
        };
        story.see(Seen::Subscribed { position: if channel.is_kept { at("e", 0) } else { None } });
        story
    }

    fn publish(&mut self, sequence: u64, outcome: Outcome) {
        let sent_at = self.began_at + Duration::from_millis(sequence);
        let (node, connection, is_keyed, known_at) = (0, 1, false, sent_at);
        let (stamp, channel) = (stamp(sequence), self.channel);
        self.records.attempts.push(Attempt { stamp, channel, node, connection, is_keyed, sent_at, known_at, outcome });
    }

    /// Publications 1 to `count`, all acknowledged; with history at the same offsets, and in the log.
    fn publish_all(&mut self, count: u64) {
        for sequence in 1..=count {
            let position = if self.channel.is_kept { at("e", sequence) } else { None };
            self.publish(sequence, Outcome::Acknowledged(position));
        }
        let entries = (1..=count).map(|sequence| (sequence, stamp(sequence))).collect();
        self.records.logs.insert(self.channel, Log { epoch: Some("e".into()), entries });
    }

    fn see(&mut self, seen: Seen) {
        self.records.witnesses[0].observations.push(Observation { at: self.began_at, node: None, seen, latency: None });
    }

    fn see_publication(&mut self, sequence: u64, position: Option<Position>) {
        self.see(Seen::Publication { stamp: stamp(sequence), position });
    }

    fn see_all(&mut self, sequences: impl IntoIterator<Item = u64>) {
        for sequence in sequences {
            let position = if self.channel.is_kept { at("e", sequence) } else { None };
            self.see_publication(sequence, position);
        }
    }

    /// lost, doubled, disordered, phantom, unkept
    fn counts(&self, keeps_data: bool) -> [u64; 5] {
        let counts = check(&self.records, keeps_data);
        assert_eq!(counts.are_zero(), counts.examples.is_empty(), "what is counted is shown");
        [counts.lost, counts.doubled, counts.disordered, counts.phantom, counts.unkept]
    }
}

#[test]
fn nothing_is_found_where_everybody_saw_everything_once_and_in_order() {
    for channel in [KEPT, LIVE] {
        let mut story = Story::of(channel);
        story.publish_all(5);
        story.see_all(1..=5);
        assert_eq!(story.counts(true), [0; 5]);
    }
}

#[test]
fn a_hole_is_lost_unless_a_gap_names_all_of_it() {
    for (told, lost) in [(None, 2), (Some((2, 2)), 1), (Some((2, 3)), 0), (Some((5, 9)), 2)] {
        let mut story = Story::of(KEPT);
        story.publish_all(5);
        story.see_all(1..=1);
        if told.is_some() {
            story.see(Seen::Gap { range: told });
        }
        story.see_all(4..=5);
        assert_eq!(story.counts(true), [lost, 0, 0, 0, 0], "{told:?}");
    }
}

#[test]
fn a_hole_that_nobody_is_known_to_have_published_is_lost_too() {
    let mut story = Story::of(KEPT);
    story.publish_all(1);
    story.see_all(1..=1);
    story.publish(2, Outcome::Unknown);
    story.publish(3, Outcome::Unknown);
    story.see_publication(3, at("e", 3));
    assert_eq!(story.counts(false), [1, 0, 0, 0, 0]);
}

#[test]
fn what_was_acknowledged_and_never_came_is_lost_at_the_end_too() {
    for channel in [KEPT, LIVE] {
        let mut story = Story::of(channel);
        story.publish_all(5);
        story.see_all(1..=3);
        assert_eq!(story.counts(true), [2, 0, 0, 0, 0]);
        story.see(Seen::Gap { range: None });
        assert_eq!(story.counts(true), [0; 5]);
    }
}

#[test]
fn a_new_epoch_is_told() {
    for (is_told, lost) in [(true, 0), (false, 1)] {
        let mut story = Story::of(KEPT);
        story.publish(1, Outcome::Acknowledged(at("e", 1)));
        story.publish(2, Outcome::Acknowledged(at("f", 1)));
        story.see_publication(1, at("e", 1));
        if is_told {
            story.see(Seen::Gap { range: None });
        }
        story.see_publication(2, at("f", 1));
        assert_eq!(story.counts(false), [lost, 0, 0, 0, 0]);
    }
}

#[test]
fn a_repeat_is_doubled_whatever_its_offset() {
    let mut story = Story::of(KEPT);
    story.publish_all(2);
    story.see_all(1..=2);
    story.see_publication(2, at("e", 3));
    assert_eq!(story.counts(true)[1], 1);
    let mut story = Story::of(LIVE);
    story.publish_all(2);
    story.see_all([1, 2, 2]);
    assert_eq!(story.counts(true), [0, 1, 0, 0, 0]);
}

#[test]
fn an_order_that_is_not_that_of_offsets_or_of_a_connection_is_found() {
    let mut story = Story::of(KEPT);
    story.publish_all(3);
    story.see(Seen::Gap { range: Some((1, 3)) });
    story.see_all([3, 2]);
    assert_eq!(story.counts(true)[2], 1);
    let mut story = Story::of(LIVE);
    story.publish_all(3);
    story.see_all([1, 3, 2]);
    assert_eq!(story.counts(true), [0, 0, 1, 0, 0]);
    let mut story = Story::of(KEPT);
    story.publish(1, Outcome::Acknowledged(at("e", 2)));
    story.publish(2, Outcome::Acknowledged(at("e", 1)));
    assert_eq!(story.counts(true)[2], 1, "a connection's own order");
}

#[test]
fn one_position_is_one_publication() {
    let mut story = Story::of(KEPT);
    story.publish_all(2);
    story.see_publication(2, at("e", 1));
    assert!(story.counts(true)[2] > 0);
}

#[test]
fn what_was_never_published_or_was_refused_is_a_phantom() {
    for channel in [KEPT, LIVE] {
        let position = |offset| if channel.is_kept { at("e", offset) } else { None };
        let mut story = Story::of(channel);
        story.publish(1, Outcome::Refused("unavailable".to_owned()));
        story.see_publication(1, position(1));
        story.see_publication(9, position(2));
        assert_eq!(story.counts(false), [0, 0, 0, 2, 0]);
    }
}

#[test]
fn what_is_in_doubt_may_come_or_not() {
    for sequences in [vec![1, 2, 3], vec![1, 3]] {
        let mut story = Story::of(LIVE);
        story.publish_all(1);
        story.publish(2, Outcome::Unknown);
        story.publish(3, Outcome::Acknowledged(None));
        story.see_all(sequences);
        assert_eq!(story.counts(true), [0; 5]);
    }
}

#[test]
fn what_was_acknowledged_and_is_in_no_log_is_unkept_if_redis_keeps_its_data() {
    let mut story = Story::of(KEPT);
    story.publish_all(3);
    story.see_all(1..=3);
    story.records.logs.insert(KEPT, Log { epoch: Some("e".into()), entries: vec![(1, stamp(1)), (3, stamp(2))] });
    assert_eq!(story.counts(true), [0, 0, 0, 0, 2]);
    assert_eq!(story.counts(false), [0; 5]);
    story.records.logs.insert(KEPT, Log { epoch: Some("f".into()), entries: vec![] });
    assert_eq!(story.counts(true), [0, 0, 0, 0, 3]);
}

#[test]
fn a_subscription_that_begins_anew_tells_of_a_hole_in_a_channel_without_history() {
    let mut story = Story::of(LIVE);
    story.publish_all(4);
    story.see_all(1..=2);
    story.see(Seen::Subscribed { position: None });
    story.see_all(4..=4);
    assert_eq!(story.counts(true), [0; 5]);
}

#[test]
fn a_subscriber_that_never_came_in_has_lost_something() {
    for channel in [KEPT, LIVE] {
        let mut story = Story::of(channel);
        story.records.witnesses[0].observations.clear();
        assert_eq!(story.counts(true), [1, 0, 0, 0, 0]);
    }
}
