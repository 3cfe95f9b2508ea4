//! What a track promises, by example and against a model of a Redis that fails in every way it can.

use super::*;
use protocol::Payload;

mod model;

fn publication(offset: u64, stamp: u64) -> Publication {
    let data = Payload::text(offset.to_string());
    Publication { offset: Some(offset), data, event: None, retain: None, from: None, time_ms: 0, echo: true, stamp }
}

fn publications(offsets: std::ops::RangeInclusive<u64>) -> Vec<Publication> {
    offsets.map(|offset| publication(offset, offset)).collect()
}

fn reading(epoch: &str, top: u64) -> Reading {
    Reading { epoch: epoch.into(), begin: 0, top, stamp: Some(top), has_state: false, log: None }
}

fn reading_with(epoch: &str, top: u64, offsets: std::ops::RangeInclusive<u64>) -> Reading {
    let log = Log { publications: publications(offsets), through: top };
    Reading { log: Some(log), ..reading(epoch, top) }
}

fn at(epoch: &str, offset: u64) -> Position {
    Position { epoch: epoch.into(), offset }
}

fn live_at(epoch: &str, offset: u64) -> Track {
    let mut track = Track::new(1);
    let ask = track.ask().expect("a new track asks");
    assert_eq!(ask, Ask { round: 1, log_from: None });
    let (step, verdict) = track.read(1, reading(epoch, offset));
    assert_eq!((step.out, verdict), (vec![Out::Opened(at(epoch, offset), false)], Verdict::Live));
    track
}

fn arrive(track: &mut Track, epoch: &str, offsets: std::ops::RangeInclusive<u64>) -> Vec<Out> {
    track.arrived(epoch.into(), publications(offsets), usize::MAX).out
}

fn delivered(epoch: &str, offsets: std::ops::RangeInclusive<u64>) -> Out {
    Out::Publications(epoch.into(), publications(offsets))
}

#[test]
fn what_arrives_before_the_opening_is_delivered_after_it_if_it_lies_beyond() {
    let mut track = Track::new(1);
    assert!(arrive(&mut track, "e", 4..=6).is_empty());
    track.ask();
    let (step, verdict) = track.read(1, reading("e", 5));
    assert_eq!(step.out, vec![Out::Opened(at("e", 5), false), delivered("e", 6..=6)]);
    assert_eq!((step.duplicates, verdict), (2, Verdict::Live));
}

#[test]
fn an_offset_that_comes_again_with_another_publication_is_no_repeat() {
    let mut track = live_at("e", 3);
    assert_eq!(arrive(&mut track, "e", 4..=5), vec![delivered("e", 4..=5)]);
    assert!(arrive(&mut track, "e", 2..=5).is_empty());
    assert!(!track.is_waiting(), "a repeat asks for nothing");
    let other: Vec<_> = (5..=6).map(|offset| publication(offset, offset + 100)).collect();
    assert_eq!(track.arrived("e".into(), other, usize::MAX).out, []);
    assert_eq!(track.ask(), Some(Ask { round: 1, log_from: Some(5) }));
    let log = Log { publications: vec![publication(5, 105), publication(6, 106)], through: 6 };
    let reading_ = Reading { stamp: Some(106), log: Some(log), ..reading("e", 6) };
    let (step, verdict) = track.read(1, reading_);
    assert_eq!((step.out, verdict), (vec![], Verdict::Rotate("e".into())));
}

#[test]
fn a_live_track_delivers_what_goes_on_and_drops_what_it_has() {
    let mut track = live_at("e", 3);
    assert_eq!(arrive(&mut track, "e", 4..=5), vec![delivered("e", 4..=5)]);
    assert_eq!(arrive(&mut track, "e", 4..=5), vec![]);
    assert_eq!(arrive(&mut track, "e", 5..=6), vec![delivered("e", 6..=6)]);
    assert!(!track.is_waiting());
}

#[test]
fn a_skipped_offset_is_read_from_the_log_and_what_came_meanwhile_follows() {
    let mut track = live_at("e", 3);
    assert!(arrive(&mut track, "e", 6..=6).is_empty());
    assert!(arrive(&mut track, "e", 7..=7).is_empty());
    assert_eq!(track.ask(), Some(Ask { round: 1, log_from: Some(3) }));
    assert!(arrive(&mut track, "e", 8..=8).is_empty());
    let (step, verdict) = track.read(1, reading_with("e", 7, 3..=7));
    assert_eq!(step.out, vec![delivered("e", 4..=7), delivered("e", 8..=8)]);
    assert_eq!(verdict, Verdict::Live);
}

#[test]
fn what_the_log_no_longer_holds_is_one_gap() {
    let mut track = live_at("e", 3);
    arrive(&mut track, "e", 9..=9);
    track.ask();
    let (step, _) = track.read(1, reading_with("e", 9, 7..=9));
    assert_eq!(step.out, vec![Out::Gap(Some((4, 6)), at("e", 6)), delivered("e", 7..=9)]);
}

#[test]
fn a_log_that_is_gone_is_one_gap_to_its_top() {
    let mut track = live_at("e", 3);
    track.lost(2);
    assert_eq!(track.read(2, reading("e", 9)).1, Verdict::ReadAgain);
    assert_eq!(track.ask(), Some(Ask { round: 2, log_from: Some(3) }));
    let log = Log { publications: vec![], through: 9 };
    let (step, verdict) = track.read(2, Reading { log: Some(log), ..reading("e", 9) });
    assert_eq!((step.out, verdict), (vec![Out::Gap(Some((4, 9)), at("e", 9))], Verdict::Live));
}

#[test]
fn a_long_log_is_read_in_parts() {
    let mut track = live_at("e", 0);
    track.lost(2);
    track.read(2, reading("e", 5));
    track.ask();
    let part = Log { publications: publications(1..=3), through: 3 };
    let (step, verdict) = track.read(2, Reading { log: Some(part), ..reading("e", 5) });
    assert_eq!((step.out, verdict), (vec![delivered("e", 1..=3)], Verdict::ReadAgain));
    assert_eq!(track.ask(), Some(Ask { round: 2, log_from: Some(3) }));
    let (step, verdict) = track.read(2, reading_with("e", 6, 3..=6));
    assert_eq!((step.out, verdict), (vec![delivered("e", 4..=6)], Verdict::Live));
}

#[test]
fn after_a_quiet_loss_of_the_connection_one_comparison_is_enough() {
    let mut track = live_at("e", 3);
    track.lost(2);
    assert_eq!(track.ask(), Some(Ask { round: 2, log_from: None }));
    assert_eq!(track.read(2, reading("e", 3)), (Step::default(), Verdict::Live));
}

#[test]
fn a_reading_from_before_the_connection_was_lost_is_ignored() {
    let mut track = live_at("e", 3);
    arrive(&mut track, "e", 5..=5);
    track.ask();
    track.lost(2);
    assert_eq!(track.read(1, reading_with("e", 5, 3..=5)), (Step::default(), Verdict::Stale));
    assert!(track.is_waiting());
}

#[test]
fn a_new_epoch_is_one_gap_without_range_and_then_all_it_holds() {
    let mut track = live_at("e", 3);
    track.lost(2);
    assert_eq!(track.read(2, reading("f", 2)), (Step::default(), Verdict::ReadAgain));
    assert_eq!(track.ask(), Some(Ask { round: 2, log_from: Some(0) }));
    let (step, verdict) = track.read(2, reading_with("f", 2, 1..=2));
    assert_eq!(step.out, vec![Out::Gap(None, at("f", 0)), delivered("f", 1..=2)]);
    assert_eq!(verdict, Verdict::Live);
}

#[test]
fn an_envelope_of_an_epoch_that_has_ended_is_dropped() {
    let mut track = live_at("f", 3);
    assert!(arrive(&mut track, "e", 9..=9).is_empty());
    track.ask();
    let (step, verdict) = track.read(1, reading("f", 3));
    assert_eq!((step.out, verdict), (vec![], Verdict::Live));
}

#[test]
fn an_envelope_of_a_later_epoch_than_the_readings_asks_for_another_reading() {
    let mut track = live_at("e", 3);
    arrive(&mut track, "e", 5..=5);
    track.ask();
    arrive(&mut track, "f", 6..=6);
    let (step, verdict) = track.read(1, reading_with("e", 5, 3..=5));
    assert_eq!((step.out, verdict), (vec![delivered("e", 4..=5)], Verdict::ReadAgain));
    track.ask();
    let (step, _) = track.read(1, Reading { begin: 5, ..reading("f", 6) });
    assert_eq!(step.out, vec![]);
    track.ask();
    let (step, verdict) = track.read(1, Reading { begin: 5, ..reading_with("f", 6, 5..=6) });
    assert_eq!(step.out, vec![Out::Gap(None, at("f", 5)), delivered("f", 6..=6)]);
    assert_eq!((step.duplicates, verdict), (1, Verdict::Live));
}

#[test]
fn a_log_that_went_back_in_time_ends_its_epoch() {
    let mut shorter = live_at("e", 9);
    shorter.lost(2);
    assert_eq!(shorter.read(2, reading("e", 7)).1, Verdict::Rotate("e".into()));
    let (step, verdict) = shorter.read(2, Reading { begin: 7, ..reading("f", 7) });
    assert_eq!((step.out, verdict), (vec![Out::Gap(None, at("f", 7))], Verdict::Live));

    let mut as_long = live_at("e", 9);
    as_long.lost(2);
    assert_eq!(as_long.read(2, Reading { stamp: Some(77), ..reading("e", 9) }).1, Verdict::Rotate("e".into()));

    let mut longer = live_at("e", 9);
    longer.lost(2);
    longer.read(2, reading("e", 10));
    longer.ask();
    let log = Log { publications: vec![publication(9, 77), publication(10, 10)], through: 10 };
    assert_eq!(longer.read(2, Reading { log: Some(log), ..reading("e", 10) }).1, Verdict::Rotate("e".into()));
}

#[test]
fn too_much_held_back_is_dropped_and_read() {
    let mut track = live_at("e", 3);
    arrive(&mut track, "e", 5..=5);
    track.ask();
    let step = track.arrived("e".into(), publications(6..=9), 100);
    assert!(step.overflowed);
    assert_eq!(track.held_bytes(), 0);
    let (step, verdict) = track.read(1, reading_with("e", 5, 3..=5));
    assert_eq!((step.out, verdict), (vec![delivered("e", 4..=5)], Verdict::ReadAgain));
    assert_eq!(track.ask(), Some(Ask { round: 1, log_from: Some(5) }));
    let (step, verdict) = track.read(1, reading_with("e", 9, 5..=9));
    assert_eq!((step.out, verdict), (vec![delivered("e", 6..=9)], Verdict::Live));
}

#[test]
fn something_unreadable_is_looked_up_at_once_and_while_waiting_once_more() {
    let mut track = live_at("e", 3);
    track.unreadable();
    assert_eq!(track.ask(), Some(Ask { round: 1, log_from: Some(3) }));
    track.unreadable();
    let (step, verdict) = track.read(1, reading_with("e", 4, 3..=4));
    assert_eq!((step.out, verdict), (vec![delivered("e", 4..=4)], Verdict::ReadAgain));
    track.ask();
    assert_eq!(track.read(1, reading("e", 4)), (Step::default(), Verdict::Live));
}
