//! Who may begin what while something else is under way, and how it is told.

use super::*;
use Occasion::{Isolation, Rebalance, Rest, Stop};

const WINDOW: Duration = Duration::from_secs(20);

fn node_with(open: &[usize]) -> Shedding {
    let shedding = Shedding::new(DrainConfig { window: WINDOW, returns_per_second: 2000.0 }, open.len());
    for (worker, count) in open.iter().enumerate() {
        (0..*count).for_each(|_| shedding.opened(worker));
    }
    shedding
}

fn begin(shedding: &Shedding, wanted: Wanted) -> Arc<Shed> {
    match shedding.begin(wanted) {
        Ok(Begun::New(shed, _)) => shed,
        other => panic!("it does not begin: {other:?}"),
    }
}

fn rebalance(percent: u8) -> Wanted {
    Wanted { percent, ..Wanted::all(Rebalance, WINDOW) }
}

#[test]
fn one_at_a_time_and_the_stronger_takes_the_place_of_the_weaker() {
    use Answer::{Already, Begin, Conflict};
    let cases = [
        (Mode::Serving, None, [Begin, Begin, Begin, Begin]),
        (Mode::Serving, Some(Rebalance), [Begin, Begin, Conflict, Conflict]),
        (Mode::Serving, Some(Isolation), [Begin, Begin, Conflict, Conflict]),
        (Mode::Resting, Some(Rest), [Begin, Already, Conflict, Conflict]),
        (Mode::Resting, None, [Begin, Already, Conflict, Conflict]),
        (Mode::Stopping, Some(Stop), [Already, Conflict, Conflict, Conflict]),
        (Mode::Stopping, None, [Already, Conflict, Conflict, Conflict]),
    ];
    for (mode, running, expected) in cases {
        let answers = [Stop, Rest, Isolation, Rebalance].map(|wanted| answer(mode, running, wanted));
        assert_eq!(answers, expected, "{mode:?}, {running:?}");
    }
}

#[tokio::test]
async fn a_share_is_divided_among_the_workers_and_is_at_least_one() {
    let shares = |open: &[usize], percent| match node_with(open).begin(rebalance(percent)) {
        Ok(Begun::New(_, shares)) => shares,
        other => panic!("{other:?}"),
    };
    assert_eq!(shares(&[10, 30], 50), [5, 15]);
    assert_eq!(shares(&[3, 3, 3], 50).iter().sum::<usize>(), 5);
    assert_eq!(shares(&[0, 1], 1), [0, 1]);
    assert_eq!(shares(&[0, 0], 100), [0, 0]);
    assert_eq!(shares(&[7, 9], 100), [7, 9]);
}

#[tokio::test]
async fn what_takes_the_place_of_another_ends_it() {
    let shedding = node_with(&[100]);
    let rebalance = begin(&shedding, rebalance(10));
    assert_eq!(shedding.mode(), Mode::Serving);
    let rest = begin(&shedding, Wanted::all(Rest, WINDOW));
    assert!(rebalance.over.is_cancelled() && !rest.over.is_cancelled());
    assert_eq!((rest.total, shedding.mode()), (100, Mode::Resting));
    let refused = shedding.begin(Wanted::all(Rebalance, WINDOW)).expect_err("a conflict");
    assert!(refused.to_string().contains("draining: 100 of 100"), "{refused}");
    assert!(matches!(shedding.resume(), Ok(Some(resumed)) if Arc::ptr_eq(&resumed, &rest)));
    assert!(rest.over.is_cancelled());
    assert_eq!(shedding.mode(), Mode::Serving);
    assert!(matches!(shedding.resume(), Ok(None)), "it serves already");
}

#[tokio::test]
async fn a_stop_is_not_taken_back() {
    let shedding = node_with(&[1]);
    begin(&shedding, Wanted::all(Stop, WINDOW));
    assert!(matches!(shedding.begin(Wanted::all(Stop, WINDOW)), Ok(Begun::Already)));
    assert!(shedding.resume().is_err() && shedding.begin(Wanted::all(Rest, WINDOW)).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_signal_counts_on_its_window_whatever_is_under_way() {
    let signal = Wanted { insists: true, ..Wanted::all(Stop, WINDOW) };
    let shedding = node_with(&[1]);
    let by_hand = begin(&shedding, Wanted::all(Stop, Duration::from_secs(600)));
    let signalled = begin(&shedding, signal);
    assert!(by_hand.over.is_cancelled());
    assert_eq!(signalled.window, WINDOW);
    tokio::time::advance(Duration::from_secs(15)).await;
    let again = begin(&shedding, signal);
    assert_eq!(again.window, Duration::from_secs(5), "and does not take longer for being told twice");
}

#[tokio::test(start_paused = true)]
async fn it_says_how_far_it_is() {
    let shedding = node_with(&[30, 10]);
    assert_eq!(shedding.describe(), "serving");
    let shed = begin(&shedding, rebalance(50));
    shed.set_left(0, 5);
    tokio::time::advance(Duration::from_secs(8)).await;
    assert_eq!(shedding.describe(), "rebalancing: 10 of 20 connections have yet to go, 12 s left");
    let under_way = UnderWay { occasion: Rebalance, total: 20, left: 10, window_ms: 20_000, elapsed_ms: 8000 };
    let progress = Progress { mode: Mode::Serving, open: 40, under_way: Some(under_way) };
    assert_eq!(shedding.progress(), progress);
    shed.over.cancel();
    assert_eq!(shedding.progress().under_way, None);
    begin(&shedding, Wanted::all(Rest, WINDOW)).over.cancel();
    assert!(shedding.describe().contains("POST /resume"), "{}", shedding.describe());
}
