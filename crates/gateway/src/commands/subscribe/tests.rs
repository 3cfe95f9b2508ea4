//! How log and live become one sequence.

use super::*;
use protocol::Payload;

fn publication(offset: u64) -> Publication {
    let data = Payload::json(offset.to_string());
    Publication { offset: Some(offset), data, event: None, from: None, time_ms: 0, echo: true, stamp: offset }
}

fn at(epoch: &str, offset: u64) -> Position {
    Position { epoch: epoch.into(), offset }
}

fn page(offsets: std::ops::Range<u64>, top: Position) -> Page {
    Page { publications: offsets.map(publication).collect(), top }
}

fn live(offsets: std::ops::Range<u64>) -> Arc<Delivery> {
    let channel = Channel::new("c").unwrap();
    let publications = offsets.map(publication).collect();
    Arc::new(Delivery::Publications { channel, epoch: Some("e".into()), publications })
}

fn merged(from: &Position, page: Page, held: &[Arc<Delivery>]) -> (bool, Vec<u64>, Option<Position>) {
    let mut ready = Ready::default();
    merge(from, page, held, &mut ready);
    (ready.recovered, ready.missed.iter().filter_map(|p| p.offset).collect(), ready.position)
}

#[test]
fn what_is_in_both_comes_once() {
    let outcome = merged(&at("e", 2), page(3..6, at("e", 5)), &[live(4..6), live(6..8)]);
    assert_eq!(outcome, (true, vec![3, 4, 5, 6, 7], Some(at("e", 7))));
}

#[test]
fn a_client_that_missed_nothing_has_recovered() {
    assert_eq!(merged(&at("e", 5), page(0..0, at("e", 5)), &[]), (true, vec![], Some(at("e", 5))));
}

#[test]
fn what_the_log_no_longer_holds_is_not_recovered() {
    let outcome = merged(&at("e", 2), page(4..6, at("e", 5)), &[]);
    assert_eq!(outcome, (false, vec![4, 5], Some(at("e", 5))), "offset 3 is lost, and that is told");
    assert!(!merged(&at("e", 2), page(0..0, at("e", 5)), &[]).0, "the log is gone, the count is not");
    assert!(!merged(&at("e", 9), page(0..0, at("e", 5)), &[]).0, "the log went back");
}

#[test]
fn another_epoch_is_not_recovered_but_brings_what_it_holds() {
    let made_up = merged(&at("old", u64::MAX), page(1..3, at("e", 2)), &[]);
    assert!(!made_up.0, "whatever offset a client makes up");
    let outcome = merged(&at("old", 2), page(1..3, at("e", 2)), &[live(3..4)]);
    assert_eq!(outcome, (false, vec![1, 2, 3], Some(at("e", 3))));
}

#[test]
fn a_gap_that_passes_during_the_reading_is_not_hidden() {
    let channel = Channel::new("c").unwrap();
    let gap = Delivery::Gap { channel, range: Some((6, 7)), position: Some(at("e", 7)) };
    let outcome = merged(&at("e", 4), page(5..6, at("e", 5)), &[Arc::new(gap), live(8..9)]);
    assert_eq!(outcome, (false, vec![5, 8], Some(at("e", 8))));
}
