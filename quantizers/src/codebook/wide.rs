//! Run costs in twice the precision of `f64`, for rows whose weights or values span so many orders of
//! magnitude that differences of ordinary prefix sums lose the answer.

use super::moments::Runs;
use super::sorted::SortedRow;
use std::ops::{Add, Div, Mul, Sub};

/// Unevaluated sum of two doubles, about 106 bits (Dekker 1971; Knuth's two-sum).
#[derive(Debug, Clone, Copy, Default)]
struct Double {
    high: f64,
    low: f64,
}

impl Double {
    /// `high + low` made non-overlapping; needs `|high| >= |low|` or `high = 0`.
    fn renormalised(high: f64, low: f64) -> Self {
        let sum = high + low;
        Self {
            high: sum,
            low: low - (sum - high),
        }
    }
}

impl From<f64> for Double {
    fn from(high: f64) -> Self {
        Self { high, low: 0.0 }
    }
}

impl Add for Double {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let sum = self.high + other.high;
        let shadow = sum - self.high;
        let error = (self.high - (sum - shadow)) + (other.high - shadow);
        Self::renormalised(sum, error + (self.low + other.low))
    }
}

impl Sub for Double {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + Self {
            high: -other.high,
            low: -other.low,
        }
    }
}

impl Mul for Double {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let product = self.high * other.high;
        let error = self.high.mul_add(other.high, -product);
        Self::renormalised(
            product,
            error + (self.high * other.low + self.low * other.high),
        )
    }
}

impl Div for Double {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        let quotient = self.high / other.high;
        let rest = self - other * Self::from(quotient);
        Self::renormalised(quotient, rest.high / other.high)
    }
}

/// Prefix sums of weight, weighted value and weighted square over sorted points, unshifted.
#[derive(Debug, Default)]
pub(super) struct WideMoments {
    sums: Vec<[Double; 3]>,
}

impl WideMoments {
    /// Sums `row`.
    pub(super) fn load(&mut self, row: &SortedRow) {
        self.sums.clear();
        let mut sums = [Double::default(); 3];
        self.sums.push(sums);
        for (&value, &weight) in row.values.iter().zip(&row.weights) {
            let value = Double::from(f64::from(value));
            let first = Double::from(weight) * value;
            sums = [
                sums[0] + weight.into(),
                sums[1] + first,
                sums[2] + first * value,
            ];
            self.sums.push(sums);
        }
    }

    /// Mean of the run, `None` where it is empty.
    pub(super) fn mean(&self, start: usize, end: usize) -> Option<f64> {
        let [weight, first, _] = self.run(start, end);
        (weight.high > 0.0).then(|| (first / weight).high)
    }

    fn run(&self, start: usize, end: usize) -> [Double; 3] {
        let (before, after) = (self.sums[start], self.sums[end]);
        [
            after[0] - before[0],
            after[1] - before[1],
            after[2] - before[2],
        ]
    }
}

impl Runs for WideMoments {
    fn cost(&self, start: usize, end: usize) -> f64 {
        let [weight, first, second] = self.run(start, end);
        if weight.high > 0.0 {
            (second - first * first / weight).high.max(0.0)
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_a_double_would_lose() {
        // A weight of 1e18 at 0, then 1 and 3 with weight 1: cost of the last two is 2, mean 2.
        let mut row = SortedRow::default();
        row.values.extend([0.0, 1.0, 3.0]);
        row.weights.extend([1e18, 1.0, 1.0]);
        let mut moments = WideMoments::default();
        moments.load(&row);
        assert!((moments.cost(1, 3) - 2.0).abs() < 1e-12);
        assert_eq!(moments.mean(1, 3), Some(2.0));
        assert!(moments.cost(2, 3).abs() < 1e-12);
        assert_eq!((moments.cost(1, 1), moments.mean(1, 1)), (0.0, None));
    }
}
