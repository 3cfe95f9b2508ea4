//! The rows that most scenarios write: each contender's own figures, and the gateway beside each of the others.

use crate::speed::plan::Outcome;
use crate::speed::sample::Sample;
use crate::speed::stage::{Runs, Stage};

/// What is promised of the gateway beside a contender of this name.
pub(super) type Promised<'a> = &'a [(&'a str, f64)];

/// Deliveries, what they cost and how long they took; then how many more a second of processor buys.
pub(super) fn throughput(stage: &mut Stage, runs: &[Runs], promised: Promised<'_>) {
    for one in runs {
        stage.row(format!("{}, deliveries/s", one.name), one.per_second(), "/s");
        if let Some(sample) = one.per_server_second() {
            stage.row(format!("{}, deliveries for a second of processor", one.name), sample, "/CPU s");
        }
        stage.row(format!("{}, p99", one.name), one.sample(p99_ms), "ms");
    }
    ratios(stage, runs, "for a second of processor", Runs::per_server_second, promised);
}

/// How long half and nearly all deliveries took.
pub(super) fn delays(stage: &mut Stage, runs: &[Runs]) {
    for one in runs {
        stage.row(format!("{}, p50", one.name), one.sample(p50_ms), "ms");
        stage.row(format!("{}, p99", one.name), one.sample(p99_ms), "ms");
    }
}

/// A figure of the gateway as a multiple of everybody else's; where it is promised, at least so much.
pub(super) fn ratios(
    stage: &mut Stage,
    runs: &[Runs],
    figure: &str,
    of: impl Fn(&Runs) -> Option<Sample>,
    at_least: Promised<'_>,
) {
    for (name, ratio) in multiples(runs, of) {
        let row = stage.row(format!("gateway / {name}, {figure}"), ratio, "x");
        if let Some((_, bound)) = at_least.iter().find(|(of, _)| *of == name) {
            row.at_least(*bound);
        }
    }
}

/// The same where less is better; where it is promised, at most so much.
pub(super) fn shares(
    stage: &mut Stage,
    runs: &[Runs],
    figure: &str,
    of: impl Fn(&Runs) -> Option<Sample>,
    at_most: Promised<'_>,
) {
    for (name, ratio) in multiples(runs, of) {
        let row = stage.row(format!("gateway / {name}, {figure}"), ratio, "x");
        if let Some((_, bound)) = at_most.iter().find(|(of, _)| *of == name) {
            row.at_most(*bound);
        }
    }
}

fn multiples(runs: &[Runs], of: impl Fn(&Runs) -> Option<Sample>) -> Vec<(&'static str, Sample)> {
    let Some(own) = runs.iter().find(|one| one.is_own()).and_then(&of) else { return Vec::new() };
    let others = runs.iter().filter(|one| !one.is_own());
    others.filter_map(|other| Some((other.name, own.ratio_to(&of(other)?)))).collect()
}

/// Half of the first group's deliveries took no longer.
pub(super) fn p50_ms(outcome: &Outcome) -> f64 {
    outcome.groups[0].p50_us / 1000.0
}

/// 99 of 100 took no longer.
pub(super) fn p99_ms(outcome: &Outcome) -> f64 {
    outcome.groups[0].p99_us / 1000.0
}
