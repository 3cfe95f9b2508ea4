//! The hub as a worker uses it, with plain names for subscribers.

use super::past::{Recovery, Repaired};
use super::*;
use broker::{Delivery, Page};
use protocol::{Payload, Publication};

fn channel() -> Channel {
    Channel::new("c").unwrap()
}

fn at(offset: u64) -> Option<Position> {
    Some(Position { epoch: "e".into(), offset })
}

fn publication(offset: u64) -> Publication {
    let data = Payload::json("1");
    Publication { offset: Some(offset), data, event: None, from: None, time_ms: 0, echo: true, stamp: 0 }
}

fn live(epoch: &str, offsets: std::ops::Range<u64>) -> Arc<Delivery> {
    let publications = offsets.map(publication).collect();
    Arc::new(Delivery::Publications { channel: channel(), epoch: Some(epoch.into()), publications })
}

fn gap(to: Option<Position>) -> Arc<Delivery> {
    Arc::new(Delivery::Gap { channel: channel(), range: None, position: to })
}

fn open_at(offset: u64) -> Hub<&'static str> {
    let mut hub = Hub::default();
    let ticket = hub.enter(&channel(), &Arc::new(Namespace::default())).unwrap();
    hub.open(&channel(), ticket, at(offset));
    hub
}

#[test]
fn the_answer_to_an_old_request_opens_nothing() {
    let mut hub = Hub::<u32>::default();
    let namespace = Arc::new(Namespace::default());
    let first = hub.enter(&channel(), &namespace).expect("the first asks");
    assert_eq!(hub.enter(&channel(), &namespace), None, "the second need not");
    assert!(!hub.exit(&channel()));
    assert!(hub.exit(&channel()), "the last leaves the channel");
    let second = hub.enter(&channel(), &namespace).expect("a new request");
    hub.open(&channel(), first, at(5));
    assert!(hub.entry(&channel()).is_none());
    hub.open(&channel(), second, at(6));
    assert_eq!(hub.entry(&channel()).and_then(|e| e.position.clone()), at(6));
}

#[test]
fn whoever_takes_a_leavers_place_is_told_and_stays_ahead() {
    let mut hub = open_at(5);
    let entry = hub.entry(&channel()).unwrap();
    assert_eq!(entry.attach("a", None), 0);
    assert_eq!(entry.attach("b", at(4).as_ref()), 1);
    assert_eq!(entry.attach("c", at(9).as_ref()), 2);
    assert_eq!(hub.detach(&channel(), 0), Some("c"));
    let entry = hub.entry(&channel()).unwrap();
    assert_eq!(entry.subscribers().collect::<Vec<_>>(), [(&"c", at(9).as_ref()), (&"b", None)]);
    entry.position = at(9);
    entry.caught_up();
    assert_eq!(entry.subscribers().collect::<Vec<_>>(), [(&"c", None), (&"b", None)]);
    assert_eq!(hub.detach(&channel(), 1), None);
    assert_eq!(hub.detach(&channel(), 7), None);
}

#[test]
fn what_a_repair_has_brought_does_not_come_again() {
    let mut hub = open_at(5);
    let entry = hub.entry(&channel()).unwrap();
    assert_eq!(entry.fresh(live("e", 3..6)), None);
    assert_eq!(entry.fresh(live("e", 4..8)), Some(live("e", 6..8)));
    assert_eq!(entry.fresh(live("e", 6..8)), Some(live("e", 6..8)));
    assert_eq!(entry.fresh(live("other", 6..8)), None, "a new epoch begins with a gap");
    assert_eq!(entry.fresh(gap(at(5))), None);
    assert_eq!(entry.fresh(gap(at(6))), Some(gap(at(6))));
    assert_eq!(entry.fresh(gap(None)), Some(gap(None)), "a gap without a position always counts");
}

#[test]
fn a_repair_holds_what_comes_and_ends_once() {
    let mut hub = open_at(5);
    let (errand, from) = hub.begin_repair(&channel()).expect("a position");
    assert_eq!(Some(from), at(5));
    assert!(hub.waits_for_repair(&channel(), &live("e", 9..10)));
    assert!(hub.is_repairing(&channel(), errand));
    assert_eq!(hub.end_repair(&channel(), errand), Repaired::Held(vec![live("e", 9..10)]));
    assert_eq!(hub.end_repair(&channel(), errand), Repaired::Void);
    assert!(!hub.waits_for_repair(&channel(), &live("e", 10..11)));
}

#[test]
fn a_repair_of_a_channel_that_was_left_touches_nothing_of_its_successor() {
    let mut hub = open_at(5);
    let (old, _) = hub.begin_repair(&channel()).expect("a position");
    assert!(hub.exit(&channel()));
    let ticket = hub.enter(&channel(), &Arc::new(Namespace::default())).unwrap();
    hub.open(&channel(), ticket, at(8));
    let (new, _) = hub.begin_repair(&channel()).expect("a position");
    hub.waits_for_repair(&channel(), &live("e", 12..13));
    assert!(!hub.is_repairing(&channel(), old));
    assert_eq!(hub.end_repair(&channel(), old), Repaired::Void);
    assert_eq!(hub.end_repair(&channel(), new), Repaired::Held(vec![live("e", 12..13)]));
}

#[test]
fn a_repair_that_lost_something_itself_is_spoiled() {
    let mut hub = open_at(5);
    let (errand, _) = hub.begin_repair(&channel()).expect("a position");
    assert!(hub.spoil_repair(&channel()));
    assert_eq!(hub.end_repair(&channel(), errand), Repaired::Spoiled);
    assert!(!hub.spoil_repair(&channel()));
}

#[test]
fn those_who_recover_share_one_reading_and_what_is_published_meanwhile() {
    let mut hub = open_at(5);
    let from = at(2).unwrap();
    let Recovery::Read(errand, since) = hub.recover(&channel(), &from, usize::MAX) else { panic!("the first reads") };
    assert_eq!(since, 0);
    assert!(matches!(hub.recover(&channel(), &from, usize::MAX), Recovery::Wait(_)), "the others wait");
    hub.entry(&channel()).unwrap().pass(&live("e", 6..7));
    let page = Page { publications: (1..6).map(publication).collect(), top: at(5).unwrap() };
    hub.install(&channel(), errand, Some((page, true)));
    let Recovery::Found(chunk) = hub.recover(&channel(), &from, usize::MAX) else { panic!("all are served") };
    assert_eq!(chunk.publications.iter().filter_map(|p| p.offset).collect::<Vec<_>>(), [3, 4, 5, 6]);
    assert!(chunk.is_contiguous && chunk.reaches_live);
}

#[test]
fn a_reading_for_a_channel_that_was_left_is_void() {
    let mut hub = open_at(5);
    let from = at(2).unwrap();
    let Recovery::Read(old, _) = hub.recover(&channel(), &from, usize::MAX) else { panic!("a reading") };
    assert!(hub.exit(&channel()));
    let ticket = hub.enter(&channel(), &Arc::new(Namespace::default())).unwrap();
    hub.open(&channel(), ticket, at(9));
    let Recovery::Read(..) = hub.recover(&channel(), &from, usize::MAX) else { panic!("a reading of its own") };
    let page = Page { publications: (1..6).map(publication).collect(), top: at(5).unwrap() };
    hub.install(&channel(), old, Some((page, true)));
    assert!(matches!(hub.recover(&channel(), &from, usize::MAX), Recovery::Wait(_)), "it is still under way");
}

#[test]
fn a_subscriber_ahead_in_an_ended_epoch_is_ahead_no_more() {
    let mut hub = open_at(5);
    let entry = hub.entry(&channel()).unwrap();
    entry.attach("a", at(9).as_ref());
    entry.pass(&gap(Some(Position { epoch: "new".into(), offset: 1 })));
    assert_eq!(entry.subscribers().next(), Some((&"a", at(9).as_ref())), "until the turn's fan-out has used it");
    entry.caught_up();
    assert_eq!(entry.subscribers().next(), Some((&"a", None)));
}
