//! What was measured, as a table: beside each number what was promised, and the command that makes it anew.

use super::sample::Sample;
use std::fmt::Write;

/// One figure.
#[derive(Debug)]
pub(crate) struct Row {
    scenario: &'static str,
    figure: String,
    sample: Sample,
    unit: &'static str,
    promise: Option<Promise>,
    command: String,
}

/// What is promised of a median.
#[derive(Debug, Clone, Copy)]
enum Promise {
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    /// A figure of a scenario, without a promise.
    pub(super) fn new(
        scenario: &'static str,
        figure: String,
        sample: Sample,
        unit: &'static str,
        command: String,
    ) -> Self {
        Self { scenario, figure, sample, unit, promise: None, command }
    }

    /// Less would be a promise that is not kept.
    pub(crate) fn at_least(&mut self, bound: f64) {
        self.promise = Some(Promise::AtLeast(bound));
    }

    /// More would be.
    pub(crate) fn at_most(&mut self, bound: f64) {
        self.promise = Some(Promise::AtMost(bound));
    }

    /// Whether a promise is kept; `None` if there is none.
    pub(super) fn is_kept(&self) -> Option<bool> {
        self.promise.map(|promise| match promise {
            Promise::AtLeast(bound) => self.sample.median() >= bound,
            Promise::AtMost(bound) => self.sample.median() <= bound,
        })
    }
}

/// The head of the table.
pub(super) const HEAD: &str = "| scenario | figure | median | lowest – highest | promised | kept | command |\n\
                           |---|---|---:|---:|---:|---|---|\n";

/// The rows of a table in Markdown. In a short run nothing is judged: it says nothing about speed.
pub(super) fn rows(rows: &[Row], judged: bool) -> String {
    let mut text = String::new();
    for row in rows {
        let (low, high) = row.sample.range();
        let promise = row.promise.map_or(String::new(), |promise| match promise {
            Promise::AtLeast(bound) => format!("≥ {}", number(bound)),
            Promise::AtMost(bound) => format!("≤ {}", number(bound)),
        });
        let kept = match row.is_kept() {
            Some(_) if !judged => "not judged",
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} {} | {} – {} | {promise} | {kept} | `{}` |",
            row.scenario,
            row.figure,
            number(row.sample.median()),
            row.unit,
            number(low),
            number(high),
            row.command
        );
    }
    text
}

/// Three digits that count, with thousands set off.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value.abs() < 100.0 {
        let digits = if value.abs() < 1.0 { 3 } else { 2 };
        let text = format!("{value:.digits$}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let whole = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let told: Vec<_> = [0.0, 0.7512, 20.0, 99.994, 139_204.4, -5000.0, f64::INFINITY].map(number).to_vec();
        assert_eq!(told, ["0", "0.751", "20", "99.99", "139,204", "-5,000", "–"]);
    }

    #[test]
    fn a_row_says_whether_its_promise_is_kept_unless_it_is_not_judged() {
        let mut row = Row::new("s", "f".to_owned(), Sample::new(vec![3.0]), "x", "c".to_owned());
        assert_eq!(rows(std::slice::from_ref(&row), true), "| s | f | 3 x | 3 – 3 |  |  | `c` |\n");
        row.at_least(4.0);
        assert!(rows(std::slice::from_ref(&row), true).contains("| ≥ 4 | **no** |"));
        assert!(rows(std::slice::from_ref(&row), false).contains("| ≥ 4 | not judged |"));
        row.at_most(4.0);
        assert!(rows(std::slice::from_ref(&row), true).contains("| ≤ 4 | yes |"));
        let columns = |line: &str| line.matches('|').count();
        assert!(HEAD.lines().all(|line| columns(line) == columns(&rows(std::slice::from_ref(&row), true))));
    }
}
