//! What came of a scenario, and the table of all of them.

use super::check::{Counts, Records};
use super::is_acknowledged;
use super::ledger::{Outcome, Seen};
use super::load::CLOSING_PUBLISHER;
use super::scenario::{Gaps, Scenario};
use super::stage::Stage;
use crate::Fault;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// What came of one scenario.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Its name.
    pub(crate) name: &'static str,
    /// How long it took.
    pub(crate) took: Duration,
    /// Where the nodes' logs are, if they are kept.
    pub(crate) logs: Option<PathBuf>,
    acknowledged: usize,
    refused: usize,
    unknown: usize,
    delivered: usize,
    gaps: usize,
    back: Option<Duration>,
    counts: Counts,
    complaints: Vec<String>,
}

impl Report {
    /// A scenario that could not be carried through.
    pub(crate) fn of_fault(name: &'static str, fault: &Fault) -> Self {
        Self { name, complaints: vec![fault.to_string()], ..Self::default() }
    }

    /// Compares what came with what was expected.
    pub(crate) fn new(scenario: &Scenario, stage: &Stage, records: &Records, counts: Counts) -> Self {
        let tally = |wanted: fn(&Outcome) -> bool| records.attempts.iter().filter(|a| wanted(&a.outcome)).count();
        let seen = |wanted: fn(&Seen) -> bool| {
            let all = records.witnesses.iter().flat_map(|witness| &witness.observations);
            all.filter(|observation| wanted(&observation.seen)).count()
        };
        let mut report = Self {
            name: scenario.name,
            acknowledged: records.attempts.iter().filter(|attempt| is_acknowledged(attempt)).count(),
            refused: tally(|outcome| matches!(outcome, Outcome::Refused(_))),
            unknown: tally(|outcome| matches!(outcome, Outcome::Unknown)),
            delivered: seen(|seen| matches!(seen, Seen::Publication { .. })),
            gaps: seen(|seen| matches!(seen, Seen::Gap { .. })),
            back: slowest_back(stage, records),
            counts,
            complaints: stage.complaints.clone(),
            ..Self::default()
        };
        report.compare(scenario, stage, records);
        report
    }

    /// Whether all is as it must be.
    pub(crate) fn is_good(&self) -> bool {
        self.counts.are_zero() && self.complaints.is_empty()
    }

    fn compare(&mut self, scenario: &Scenario, stage: &Stage, records: &Records) {
        let expect = &scenario.expect;
        let expected = match expect.gaps {
            Gaps::None => 0,
            Gaps::One => 1,
        };
        for witness in records.witnesses.iter().filter(|witness| witness.channel.is_kept) {
            let gaps = witness.observations.iter().filter(|o| matches!(o.seen, Seen::Gap { .. })).count();
            if gaps != expected {
                let who = (witness.subscriber, witness.channel.name());
                self.complain(format!("subscriber {} in {} was told {gaps} gaps, not {expected}", who.0, who.1));
            }
        }
        for (number, subscriber) in stage.load.subscribers.iter().enumerate() {
            let stats = subscriber.stats();
            if expect.sockets_stay && stats.connections != 1 {
                self.complain(format!("subscriber {number} had {} connections, not 1", stats.connections));
            }
            if stats.duplicates + stats.jumps > 0 {
                self.complain(format!("subscriber {number} was sent repeats or unexplained holes: {stats:?}"));
            }
        }
        self.compare_outcomes(stage, records);
        self.compare_times(scenario, stage, records);
    }

    /// Nothing is refused that what is broken does not concern.
    fn compare_outcomes(&mut self, stage: &Stage, records: &Records) {
        let Some(must_take) = stage.must_take else { return };
        let missed = records.attempts.iter().filter(|attempt| must_take(attempt) && !is_acknowledged(attempt));
        let missed: Vec<_> = missed.collect();
        if let Some(first) = missed.first() {
            self.complain(format!("{} publications should have been taken, such as {first:?}", missed.len()));
        }
    }

    fn compare_times(&mut self, scenario: &Scenario, stage: &Stage, records: &Records) {
        let expect = &scenario.expect;
        let plain = records.attempts.iter().filter(|attempt| !attempt.is_keyed);
        let slowest = plain.map(|attempt| attempt.known_at - attempt.sent_at).max().unwrap_or_default();
        // Short forms run beside others, on machines that are busy: there only the counts are exact.
        let patience = stage.length.pick(4, 1);
        let (answered_within, back_within) = (expect.answered_within * patience, expect.back_within * patience);
        if slowest > answered_within {
            self.complain(format!("an answer took {slowest:.1?}, more than {answered_within:?}"));
        }
        match self.back {
            Some(back) if back <= back_within => {}
            Some(back) => {
                self.complain(format!("it took {back:.1?} to work again, more than {back_within:?}"));
            }
            None if !stage.healed_at.is_empty() => self.complain("it does not work again".to_owned()),
            None => {}
        }
    }

    fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }
}

/// The longest time that it took to work again after a fault; `None` if it did not, or nothing has been broken.
fn slowest_back(stage: &Stage, records: &Records) -> Option<Duration> {
    let times = stage.healed_at.iter().map(|healed_at| back(*healed_at, records));
    times.reduce(|a, b| Some(a?.max(b?))).flatten()
}

/// How long after the healing each publisher had published and each subscriber was delivered what had been sent after it.
fn back(healed_at: Instant, records: &Records) -> Option<Duration> {
    let mut first_of_publisher: HashMap<u32, Option<Instant>> = HashMap::new();
    let mut later = HashSet::new();
    for attempt in &records.attempts {
        let first = first_of_publisher.entry(attempt.stamp.publisher).or_default();
        if attempt.sent_at >= healed_at {
            later.insert(attempt.stamp);
            if is_acknowledged(attempt) {
                *first = Some(first.map_or(attempt.known_at, |first| first.min(attempt.known_at)));
            }
        }
    }
    first_of_publisher.remove(&CLOSING_PUBLISHER);
    let is_later = |seen: &Seen| matches!(seen, Seen::Publication { stamp, .. } if later.contains(stamp));
    let deliveries = records.witnesses.iter().map(|witness| {
        let first = witness.observations.iter().find(|observation| is_later(&observation.seen));
        first.map(|observation| observation.at)
    });
    let mut times = first_of_publisher.into_values().chain(deliveries);
    times.try_fold(Duration::ZERO, |slowest, time| Some(slowest.max(time?.duration_since(healed_at))))
}

/// The columns of the table, as wide as [`table`] fills them.
const HEAD: &str = "\
scenario                     took    acked  refused  unknown  delivered  gaps     back   LOST  DOUBLED  DISORDER  PHANTOM  UNKEPT
";

/// All reports as a table, and beneath it what was found.
pub(crate) fn table(reports: &[Report]) -> String {
    let mut text = HEAD.to_owned();
    for report in reports {
        let counts = &report.counts;
        let back = report.back.map_or("-".to_owned(), |back| format!("{:.2} s", back.as_secs_f64()));
        let verdict = if report.is_good() { "passed" } else { "FAILED" };
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{:<24}{:>7.1} s{:>9}{:>9}{:>9}{:>11}{:>6}{back:>9}{:>7}{:>9}{:>10}{:>9}{:>8}  {verdict}",
            report.name,
            report.took.as_secs_f64(),
            report.acknowledged,
            report.refused,
            report.unknown,
            report.delivered,
            report.gaps,
            counts.lost,
            counts.doubled,
            counts.disordered,
            counts.phantom,
            counts.unkept,
        );
    }
    for report in reports.iter().filter(|report| !report.is_good()) {
        let _ = writeln!(text, "\n{}:", report.name);
        let shown = 12;
        let found = report.complaints.iter().chain(&report.counts.examples);
        found.take(shown).for_each(|line| {
            let _ = writeln!(text, "  {line}");
        });
        let rest = (report.complaints.len() + report.counts.examples.len()).saturating_sub(shown);
        if rest > 0 {
            let _ = writeln!(text, "  and {rest} more");
        }
        if let Some(logs) = &report.logs {
            let _ = writeln!(text, "  logs: {}", logs.display());
        }
    }
    text
}
