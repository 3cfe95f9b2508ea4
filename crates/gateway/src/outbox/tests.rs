//! The outbox as a socket sees it.

use super::*;
use protocol::Channel;
use protocol::dialect::Encoding;
use serde_json::{Value, json};

/// A socket that takes so much and then no more.
pub(super) fn flush_taking(outbox: &mut Outbox, at_most: usize, out: &mut Vec<u8>) -> Flushed {
    let mut room = at_most;
    let write = |slices: &[IoSlice<'_>]| {
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut taken = 0;
        for slice in slices {
            let n = slice.len().min(room);
            out.extend_from_slice(&slice[..n]);
            taken += n;
            room -= n;
        }
        Ok(taken)
    };
    outbox.flush(0, write).expect("a flush")
}

fn shared(bytes: &[u8]) -> Rc<Shared> {
    Shared::new(bytes.to_vec(), None, &Meter::default())
}

fn push(outbox: &mut Outbox, frames: &Rc<Shared>, limit: usize) -> Result<(), Full> {
    outbox.push_shared(frames, frames.whole(), limit)
}

/// A text frame as the gateway sends them.
pub(super) fn frame(text: &[u8]) -> Vec<u8> {
    let mut frame = match text.len() {
        0..126 => vec![0x81, text.len() as u8],
        126..65536 => [&[0x81, 126][..], &(text.len() as u16).to_be_bytes()].concat(),
        _ => [&[0x81, 127][..], &(text.len() as u64).to_be_bytes()].concat(),
    };
    frame.extend_from_slice(text);
    frame
}

/// The texts of whole frames.
pub(super) fn texts(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let end = end_of_frame(bytes, 1);
        let header = match bytes[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        assert_eq!(bytes[0], 0x81, "not the beginning of a frame");
        texts.push(String::from_utf8(bytes[header..end].to_vec()).expect("a text"));
        bytes = &bytes[end..];
    }
    texts
}

/// One turn of a channel: publications with offsets (or none) and keys, each as a frame that says which it is.
pub(super) fn turn(
    name: &str,
    slow: Slow,
    is_positioned: bool,
    publications: &[(Option<u64>, Option<&str>)],
    padding: usize,
    meter: &Meter,
) -> Rc<Shared> {
    let (mut frames, mut list) = (Vec::new(), Vec::new());
    for (offset, retain) in publications {
        let start = frames.len();
        let text = json!({"channel": name, "offset": offset, "retain": retain, "padding": "x".repeat(padding)});
        frames.extend(frame(text.to_string().as_bytes()));
        list.push(Mark { start, end: frames.len(), offset: *offset, retain: retain.map(Into::into) });
    }
    let channel = Channel::new(name).expect("a channel");
    let (epoch, encoding) = (is_positioned.then(|| "e".into()), Encoding::Json);
    let marks = Marks { channel, is_positioned, epoch, slow, encoding, from: 0, list };
    Shared::new(frames, (slow != Slow::Close).then_some(marks), meter)
}

/// What a client reads, in short: offsets, `gap 2-5`, or the word of a frame of its own.
pub(super) fn read(bytes: &[u8]) -> Vec<String> {
    let word = |text: String| match serde_json::from_str::<Value>(&text) {
        Ok(it) if it["type"] == "gap" => match it["from"].as_u64() {
            Some(from) => format!("gap {from}-{}", it["to"]),
            None => "gap".to_owned(),
        },
        Ok(it) if it["offset"].is_u64() => it["offset"].to_string(),
        Ok(it) if it["channel"].is_string() => "volatile".to_owned(),
        _ => text,
    };
    texts(bytes).into_iter().map(word).collect()
}

/// Positioned publications of `c` without keys, each a turn of its own.
fn push_each(outbox: &mut Outbox, slow: Slow, offsets: std::ops::RangeInclusive<u64>) {
    for offset in offsets {
        let turn = turn("c", slow, true, &[(Some(offset), None)], 0, &Meter::default());
        push(outbox, &turn, usize::MAX).expect("room");
    }
}

/// A socket that has taken nothing of this first frame.
fn behind() -> Outbox {
    let mut outbox = Outbox::default();
    outbox.push_own(&frame(b"first"), usize::MAX).expect("room");
    assert_eq!(flush_taking(&mut outbox, 0, &mut Vec::new()), Flushed::Blocked);
    outbox
}

fn drain(outbox: &mut Outbox) -> Vec<String> {
    let mut out = Vec::new();
    assert_eq!(flush_taking(outbox, usize::MAX, &mut out), Flushed::All);
    assert_eq!((outbox.bytes(), outbox.is_behind()), (0, false));
    read(&out)
}

#[test]
fn frames_leave_in_the_order_they_came_whatever_the_kernel_takes_at_a_time() {
    for at_most in 1..20 {
        let mut outbox = Outbox::default();
        outbox.push_own(b"one", 1000).expect("room");
        outbox.push_own(b"two", 1000).expect("room");
        push(&mut outbox, &shared(b"three"), 1000).expect("room");
        outbox.push_own(b"four", 1000).expect("room");
        let mut out = Vec::new();
        while flush_taking(&mut outbox, at_most, &mut out) == Flushed::Blocked {}
        assert_eq!(out, b"onetwothreefour");
        assert!(outbox.is_empty());
        assert_eq!(outbox.bytes(), 0);
    }
}

#[test]
fn all_that_waits_leaves_in_one_write() {
    let mut outbox = Outbox::default();
    for _ in 0..10 {
        push(&mut outbox, &shared(b"frame"), 10_000).expect("room");
    }
    let mut writes = 0;
    let flushed = outbox.flush(0, |slices| {
        writes += 1;
        Ok(slices.iter().map(|s| s.len()).sum())
    });
    assert_eq!((flushed.expect("a flush"), writes), (Flushed::All, 1));
}

#[test]
fn a_consumer_that_does_not_read_costs_its_bound_and_no_more() {
    let mut outbox = Outbox::default();
    let frame = shared(&[0; 100]);
    let mut queued = 0;
    while push(&mut outbox, &frame, 10_000).is_ok() {
        queued += 1;
    }
    assert_eq!(queued, 10_000 / (100 + CHUNK_OVERHEAD_BYTES));
    assert!(outbox.bytes() <= 10_000);
    assert_eq!(outbox.push_own(&[0; 200], 10_000), Err(Full));
}

#[test]
fn the_last_word_follows_the_frame_that_has_begun_to_leave() {
    for length in [5, 125, 126, 300, 70_000] {
        let begun = frame(&vec![1; length]);
        let chunk = [begun.clone(), frame(&[2; 40]), frame(&[3; 200])].concat();
        for taken in [1, 2, begun.len() - 1, begun.len()] {
            let mut outbox = Outbox::default();
            push(&mut outbox, &shared(&chunk), usize::MAX).expect("room");
            push(&mut outbox, &shared(b"dropped"), usize::MAX).expect("room");
            let mut out = Vec::new();
            flush_taking(&mut outbox, taken, &mut out);
            outbox.replace_by(b"close");
            flush_taking(&mut outbox, usize::MAX, &mut out);
            assert_eq!(out, [&begun[..], b"close"].concat(), "{taken} of {length}");
            assert_eq!(outbox.bytes(), 0);
        }
    }
}

#[test]
fn shared_bytes_are_counted_once_however_many_wait_for_them_and_own_ones_for_each() {
    let meter = Meter::default();
    let frames = Shared::new(vec![0; 1000], None, &meter);
    let mut outboxes = [behind(), behind(), behind()];
    let own = behind().held().1;
    for outbox in &mut outboxes {
        push(outbox, &frames, usize::MAX).expect("room");
        let (waits, held) = outbox.held();
        assert_eq!((waits, held), (own + 1000 + CHUNK_OVERHEAD_BYTES, own + CHUNK_OVERHEAD_BYTES));
    }
    drop(frames);
    assert_eq!(meter.bytes(), 1000);
    drop(outboxes);
    assert_eq!(meter.bytes(), 0);
}

#[test]
fn a_socket_that_is_behind_remembers_when_it_last_took_anything() {
    let mut outbox = Outbox::default();
    push(&mut outbox, &shared(&[0; 100]), usize::MAX).expect("room");
    assert_eq!(outbox.stalled_since(), None);
    let mut blocked = |now, room: usize| {
        let mut room = room;
        let flushed = outbox.flush(now, |_| match std::mem::take(&mut room) {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        });
        assert_eq!(flushed.expect("a flush"), Flushed::Blocked);
        outbox.stalled_since()
    };
    assert_eq!([blocked(5, 0), blocked(7, 0), blocked(9, 10), blocked(12, 0)], [Some(5), Some(5), Some(9), Some(9)]);
    drain_bytes(&mut outbox);
    assert_eq!(outbox.stalled_since(), None);
}

fn drain_bytes(outbox: &mut Outbox) {
    assert_eq!(flush_taking(outbox, usize::MAX, &mut Vec::new()), Flushed::All);
}

#[test]
fn the_oldest_go_and_one_gap_tells_which() {
    let mut outbox = behind();
    push_each(&mut outbox, Slow::DropOldest, 1..=10);
    let limit = outbox.bytes() - 1;
    let (dropped, fits) = outbox.shed(limit);
    assert_eq!(fits, Ok(()));
    let lost = dropped.drop_oldest;
    assert!((2..5).contains(&lost) && outbox.bytes() <= limit, "about a quarter: {lost}");
    let expected =
        ["first".to_owned(), format!("gap 1-{lost}")].into_iter().chain((lost + 1..=10).map(|o| o.to_string()));
    assert_eq!(drain(&mut outbox), expected.collect::<Vec<_>>());
}

#[test]
fn a_gap_grows_as_long_as_it_waits() {
    let mut outbox = behind();
    for round in 0..5 {
        push_each(&mut outbox, Slow::DropOldest, round * 2 + 1..=round * 2 + 2);
        assert_eq!(outbox.shed_all().drop_oldest, 2);
    }
    push_each(&mut outbox, Slow::DropOldest, 11..=11);
    assert_eq!(outbox.dropped().drop_oldest, 10);
    assert_eq!(drain(&mut outbox), ["first", "gap 1-10", "11"]);
}

#[test]
fn a_gap_that_has_begun_to_leave_is_told_as_it_is() {
    let mut outbox = behind();
    push_each(&mut outbox, Slow::DropOldest, 1..=2);
    outbox.shed_all();
    let mut out = Vec::new();
    assert_eq!(flush_taking(&mut outbox, frame(b"first").len() + 3, &mut out), Flushed::Blocked);
    push_each(&mut outbox, Slow::DropOldest, 3..=4);
    outbox.shed_all();
    flush_taking(&mut outbox, usize::MAX, &mut out);
    assert_eq!(read(&out), ["first", "gap 1-2", "gap 3-4"]);
}

#[test]
fn a_gap_reaches_across_nothing_of_the_socket_s_own() {
    let mut outbox = behind();
    push_each(&mut outbox, Slow::DropOldest, 1..=2);
    outbox.push_own(&frame(b"unsubscribed"), usize::MAX).expect("room");
    push_each(&mut outbox, Slow::DropOldest, 3..=4);
    outbox.shed_all();
    assert_eq!(drain(&mut outbox), ["first", "gap 1-2", "unsubscribed", "gap 3-4"]);
}

#[test]
fn only_the_newest_of_each_key_waits_and_the_holes_are_told_in_their_places() {
    let mut outbox = behind();
    let keys = [Some("a"), Some("b"), None, Some("a"), None, Some("c"), Some("b"), Some("b")];
    for (offset, key) in (1..).zip(keys) {
        let turn = turn("c", Slow::Latest, true, &[(Some(offset), key)], 0, &Meter::default());
        push(&mut outbox, &turn, usize::MAX).expect("room");
    }
    assert_eq!(outbox.conflate().latest, 4);
    assert_eq!(outbox.conflate(), Dropped::default(), "nothing has come since");
    let turn = turn("c", Slow::Latest, true, &[(Some(9), Some("c")), (Some(10), None)], 0, &Meter::default());
    push(&mut outbox, &turn, usize::MAX).expect("room");
    assert_eq!(outbox.conflate().latest, 2);
    assert_eq!(drain(&mut outbox), ["first", "gap 1-3", "4", "gap 5-7", "8", "9", "10"]);
}

#[test]
fn a_volatile_one_stands_for_no_other_and_is_missed_by_nobody() {
    let mut outbox = behind();
    let one = |offset| turn("c", Slow::Latest, true, &[(offset, None)], 0, &Meter::default());
    for offset in [Some(1), None, Some(2), None, None] {
        push(&mut outbox, &one(offset), usize::MAX).expect("room");
    }
    assert_eq!(outbox.conflate().latest, 3);
    assert_eq!(drain(&mut outbox), ["first", "gap 1-1", "2", "volatile"]);
}

#[test]
fn where_there_are_no_positions_a_gap_says_only_that_something_is_missing() {
    let mut outbox = behind();
    for _ in 0..4 {
        let turn = turn("c", Slow::Latest, false, &[(None, None)], 0, &Meter::default());
        push(&mut outbox, &turn, usize::MAX).expect("room");
    }
    assert_eq!(outbox.conflate().latest, 3);
    assert_eq!(drain(&mut outbox), ["first", "gap", "volatile"]);
}

#[test]
fn what_may_not_go_stays_and_is_too_much_in_the_end() {
    let mut outbox = behind();
    push_each(&mut outbox, Slow::Close, 1..=10);
    push_each(&mut outbox, Slow::DropOldest, 11..=11);
    let (dropped, fits) = outbox.shed(500);
    assert_eq!((dropped.drop_oldest, fits), (1, Err(Full)));
    outbox.replace_by(&frame(b"close"));
    assert_eq!(drain(&mut outbox), ["close"]);
}

#[test]
fn what_is_left_of_a_large_turn_does_not_keep_all_of_it() {
    let meter = Meter::default();
    let mut outbox = behind();
    let publications: Vec<_> = (1..=100).map(|offset| (Some(offset), None)).collect();
    push(&mut outbox, &turn("c", Slow::Latest, true, &publications, 1000, &meter), usize::MAX).expect("room");
    assert!(meter.bytes() > 100_000);
    assert_eq!(outbox.conflate().latest, 99);
    assert!((1000..1200).contains(&meter.bytes()), "{} bytes are held", meter.bytes());
    assert_eq!(drain(&mut outbox), ["first", "gap 1-99", "100"]);
    assert_eq!(meter.bytes(), 0);
}

#[test]
fn an_outbox_that_nothing_waits_in_holds_next_to_nothing() {
    assert!(size_of::<Outbox>() <= 64, "{} bytes for each idle connection", size_of::<Outbox>());
    assert!(size_of::<Chunk>() <= 32, "{} bytes", size_of::<Chunk>());
}
