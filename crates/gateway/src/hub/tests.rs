//! The hub as a worker uses it, with plain names for subscribers.

use super::past::{Recovery, Repaired};
use super::state::{STATE_TTL, StateAt};
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
    Publication { offset: Some(offset), data, event: None, retain: None, from: None, time_ms: 0, echo: true, stamp: 0 }
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
    hub.open(&channel(), ticket, at(offset), false);
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
    hub.open(&channel(), first, at(5), false);
    assert!(hub.entry(&channel()).is_none());
    hub.open(&channel(), second, at(6), false);
    assert_eq!(hub.entry(&channel()).and_then(|e| e.position.clone()), at(6));
}

#[test]
fn a_channel_is_handed_something_again_if_that_is_within_the_window() {
    let mut hub = open_at(5);
    let entry = hub.entry(&channel()).unwrap();
    assert!(!entry.hand(1_000, 50), "for the first time");
    assert!(entry.hand(1_049, 50));
    assert!(!entry.hand(1_099, 50));
    assert!(!entry.hand(u32::MAX - 10, 50));
    assert!(entry.hand(20, 50), "the clock has wrapped");
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
    hub.open(&channel(), ticket, at(8), false);
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
fn a_long_past_is_read_in_pages_that_the_others_find() {
    let mut hub = open_at(9);
    let page =
        |offsets: std::ops::Range<u64>| Page { publications: offsets.map(publication).collect(), top: at(9).unwrap() };
    let mut from = at(0).unwrap();
    for (offsets, is_last) in [(1..5, false), (5..9, false), (9..10, true)] {
        let Recovery::Read(errand, since) = hub.recover(&channel(), &from, usize::MAX) else { panic!("it reads on") };
        assert_eq!(since, from.offset);
        hub.install(&channel(), errand, Some((page(offsets), is_last)));
        let Recovery::Found(chunk) = hub.recover(&channel(), &from, usize::MAX) else { panic!("it is served") };
        from = chunk.position;
    }
    let Recovery::Found(chunk) = hub.recover(&channel(), &at(0).unwrap(), usize::MAX) else { panic!("nobody reads") };
    assert_eq!((chunk.publications.len(), chunk.reaches_live), (9, true));
}

#[test]
fn what_is_kept_for_those_who_recover_is_bounded_over_all_channels() {
    let mut hub = Hub::<u32>::default();
    let namespace = Arc::new(Namespace::default());
    let large = Publication { data: Payload::json(vec![b'1'; 10 << 20]), ..publication(1) };
    let name = |number: usize| Channel::new(&format!("c{number}")).unwrap();
    for number in 0..10 {
        let ticket = hub.enter(&name(number), &namespace).unwrap();
        hub.open(&name(number), ticket, at(1), false);
        let Recovery::Read(errand, _) = hub.recover(&name(number), &at(0).unwrap(), 1) else { panic!("a reading") };
        let page = Page { publications: vec![large.clone()], top: at(1).unwrap() };
        hub.install(&name(number), errand, Some((page, true)));
    }
    let mut serves = |number| matches!(hub.recover(&name(number), &at(0).unwrap(), 1), Recovery::Found(_));
    assert!(serves(9), "the newest stays");
    assert!(!serves(0), "the oldest is given up");
    assert!((0..10).filter(|number| serves(*number)).count() <= past::REPLAYS_MAX_BYTES / (10 << 20));
}

#[test]
fn a_reading_for_a_channel_that_was_left_is_void() {
    let mut hub = open_at(5);
    let from = at(2).unwrap();
    let Recovery::Read(old, _) = hub.recover(&channel(), &from, usize::MAX) else { panic!("a reading") };
    assert!(hub.exit(&channel()));
    let ticket = hub.enter(&channel(), &Arc::new(Namespace::default())).unwrap();
    hub.open(&channel(), ticket, at(9), false);
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

fn retained(offset: u64, key: &str, data: &'static str) -> Publication {
    Publication { retain: Some(key.into()), data: Payload::json(data), ..publication(offset) }
}

fn live_of(publications: &[Publication]) -> Arc<Delivery> {
    let publications = publications.to_vec();
    Arc::new(Delivery::Publications { channel: channel(), epoch: Some("e".into()), publications })
}

fn with_state_at(offset: u64) -> Hub<&'static str> {
    let mut hub = Hub::default();
    let ticket = hub.enter(&channel(), &Arc::new(Namespace::default())).unwrap();
    hub.open(&channel(), ticket, at(offset), true);
    hub
}

fn page(publications: &[Publication], top: u64) -> Option<Page> {
    Some(Page { publications: publications.to_vec(), top: at(top).unwrap() })
}

fn pass(hub: &mut Hub<&'static str>, delivery: &Arc<Delivery>) {
    hub.entry(&channel()).unwrap().pass(delivery);
}

/// Key, data and offset of everything in the state, and how old it is.
fn state(hub: &mut Hub<&'static str>) -> (Vec<(String, u64)>, u64) {
    let StateAt::Here(state) = hub.state(&channel()) else { panic!("not at hand") };
    let short = |p: &Publication| (p.retain.clone().unwrap().to_string(), p.offset.unwrap());
    (state.page.publications.iter().map(short).collect(), state.page.top.offset)
}

#[test]
fn a_channel_without_a_state_is_never_read_until_something_is_retained() {
    let mut hub = open_at(5);
    pass(&mut hub, &live("e", 6..8));
    assert!(matches!(hub.state(&channel()), StateAt::None));
    pass(&mut hub, &live_of(&[retained(8, "a", "1")]));
    assert!(matches!(hub.state(&channel()), StateAt::Unread));
    let mut hub = open_at(5);
    pass(&mut hub, &gap(at(9)));
    assert!(matches!(hub.state(&channel()), StateAt::Unread), "nobody knows what was in it");
}

#[test]
fn one_reading_of_the_state_serves_all_and_live_deliveries_keep_it_up_to_date() {
    let mut hub = with_state_at(5);
    let errand = hub.begin_state(&channel()).unwrap();
    let StateAt::Wait(_) = hub.state(&channel()) else { panic!("somebody reads") };
    // 6 is in what is read, 7 and 8 are not.
    pass(&mut hub, &live_of(&[retained(6, "a", "1"), retained(7, "b", "1")]));
    pass(&mut hub, &live_of(&[retained(8, "old", "null")]));
    hub.install_state(&channel(), errand, page(&[retained(2, "old", "1"), retained(6, "a", "1")], 6));
    assert_eq!(state(&mut hub), (vec![("a".into(), 6), ("b".into(), 7)], 8));
    pass(&mut hub, &live_of(&[retained(9, "a", "2"), publication(10)]));
    assert_eq!(state(&mut hub), (vec![("b".into(), 7), ("a".into(), 9)], 10));
    pass(&mut hub, &live_of(&[retained(11, "a", "null"), retained(12, "b", "null")]));
    assert!(matches!(hub.state(&channel()), StateAt::None), "nothing is left of it");
}

#[test]
fn a_state_that_is_read_ahead_of_the_live_deliveries_takes_each_of_them_once() {
    let mut hub = with_state_at(5);
    let errand = hub.begin_state(&channel()).unwrap();
    hub.install_state(&channel(), errand, page(&[retained(8, "a", "2")], 9));
    assert_eq!(state(&mut hub), (vec![("a".into(), 8)], 9));
    pass(&mut hub, &live_of(&[retained(6, "gone", "1"), retained(7, "gone", "null"), retained(8, "a", "2")]));
    assert_eq!(state(&mut hub), (vec![("a".into(), 8)], 9), "what had been taken out does not come back");
    pass(&mut hub, &live_of(&[publication(9), retained(10, "b", "1")]));
    assert_eq!(state(&mut hub), (vec![("a".into(), 8), ("b".into(), 10)], 10));
}

#[test]
fn a_reading_that_is_older_than_what_is_live_or_fails_or_has_a_hole_is_of_no_use() {
    let mut hub = with_state_at(5);
    let begun = |hub: &mut Hub<_>| hub.begin_state(&channel()).unwrap();
    let errand = begun(&mut hub);
    hub.install_state(&channel(), errand, page(&[], 4));
    assert!(matches!(hub.state(&channel()), StateAt::Unread), "the dataset went back");
    let errand = begun(&mut hub);
    hub.install_state(&channel(), errand, None);
    assert!(matches!(hub.state(&channel()), StateAt::Unread));
    let errand = begun(&mut hub);
    pass(&mut hub, &gap(at(7)));
    hub.install_state(&channel(), errand, page(&[retained(5, "a", "1")], 5));
    assert!(matches!(hub.state(&channel()), StateAt::Unread));
    let (old, new) = (begun(&mut hub), begun(&mut hub));
    hub.install_state(&channel(), old, page(&[retained(5, "a", "1")], 7));
    assert!(matches!(hub.state(&channel()), StateAt::Wait(_)), "void: another one is under way");
    hub.install_state(&channel(), new, page(&[retained(5, "a", "1")], 7));
    assert_eq!(state(&mut hub), (vec![("a".into(), 5)], 7));
    pass(&mut hub, &gap(at(9)));
    assert!(matches!(hub.state(&channel()), StateAt::Unread), "after a gap it may be another one");
}

#[test]
fn a_state_that_turns_out_empty_costs_no_further_reading() {
    let mut hub = with_state_at(5);
    let errand = hub.begin_state(&channel()).unwrap();
    pass(&mut hub, &live("e", 6..8));
    hub.install_state(&channel(), errand, page(&[], 6));
    assert!(matches!(hub.state(&channel()), StateAt::None));
    pass(&mut hub, &live("e", 8..9));
    assert!(matches!(hub.state(&channel()), StateAt::None));
}

#[tokio::test(start_paused = true)]
async fn a_state_is_read_anew_after_a_moment_because_keys_end_in_silence() {
    let mut hub = with_state_at(5);
    let errand = hub.begin_state(&channel()).unwrap();
    hub.install_state(&channel(), errand, page(&[retained(5, "a", "1")], 5));
    tokio::time::advance(STATE_TTL - std::time::Duration::from_millis(1)).await;
    hub.forget_stale(tokio::time::Instant::now());
    assert_eq!(state(&mut hub).1, 5);
    tokio::time::advance(std::time::Duration::from_millis(1)).await;
    hub.forget_stale(tokio::time::Instant::now());
    assert!(matches!(hub.state(&channel()), StateAt::Unread));
    assert!(hub.kept.is_empty(), "nothing of it is held");
}
