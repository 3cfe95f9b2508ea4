//! One figure of several runs.

use super::plan::Outcome;

/// A figure, once a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    /// A figure of each outcome.
    pub(crate) fn of(outcomes: &[Outcome], figure: impl Fn(&Outcome) -> f64) -> Self {
        Self::new(outcomes.iter().map(figure).collect())
    }

    /// These figures.
    pub(crate) fn new(figures: Vec<f64>) -> Self {
        Self(figures)
    }

    /// How much of another figure this is, run by run.
    pub(crate) fn ratio_to(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(this, other)| if *other == 0.0 { 0.0 } else { this / other }).collect())
    }

    /// The one in the middle, or between the two there.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => 0.0,
            odd if odd % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    /// The lowest and the highest.
    pub(crate) fn range(&self) -> (f64, f64) {
        let low = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        (low, self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_same_run_and_the_median_is_the_one_in_the_middle() {
        let (this, other) = (Sample(vec![10.0, 90.0, 20.0]), Sample(vec![1.0, 10.0, 1.0]));
        let ratio = this.ratio_to(&other);
        assert_eq!(ratio, Sample(vec![10.0, 9.0, 20.0]));
        assert_eq!((ratio.median(), ratio.range()), (10.0, (9.0, 20.0)));
        assert_eq!(Sample(vec![1.0, 2.0]).median(), 1.5);
    }
}
