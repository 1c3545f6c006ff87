//! One tensor closely: its range, moments, distinct values and a histogram in text.

use serde::Serialize;
use std::fmt::Write;

/// Lines of the histogram.
const BINS: usize = 21;
/// Characters of the longest bar.
const BAR_WIDTH: usize = 50;

/// What there is to say about the values of a tensor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Values {
    /// Number of values.
    pub(super) count: usize,
    /// Values that are NaN or infinite.
    pub(super) not_finite: usize,
    /// Values that are 0 or -0.
    pub(super) zeros: usize,
    /// Different values, by bits.
    pub(super) distinct: usize,
    /// Smallest finite value.
    pub(super) min: f32,
    /// Largest finite value.
    pub(super) max: f32,
    /// Mean of the finite values.
    pub(super) mean: f64,
    /// Their standard deviation.
    pub(super) standard_deviation: f64,
    /// Lower edge of the first bin.
    pub(super) low: f64,
    /// Width of a bin.
    pub(super) bin_width: f64,
    /// Finite values in each bin.
    pub(super) bins: Vec<u64>,
}

impl Values {
    /// Surveys `data`; sums in f64, in order.
    pub(super) fn of(data: &[f32]) -> Self {
        let finite = || data.iter().copied().filter(|value| value.is_finite());
        let number = finite().count();
        let min = finite().fold(f32::INFINITY, f32::min);
        let max = finite().fold(f32::NEG_INFINITY, f32::max);
        let divisor = number.max(1) as f64;
        let mean = finite().map(f64::from).sum::<f64>() / divisor;
        let variance = finite().map(|v| (f64::from(v) - mean).powi(2)).sum::<f64>() / divisor;
        let mut bits: Vec<u32> = data.iter().map(|value| value.to_bits()).collect();
        bits.sort_unstable();
        bits.dedup();
        let (low, high) = if number == 0 {
            (0.0, 0.0)
        } else {
            (f64::from(min), f64::from(max))
        };
        let bin_width = if high > low {
            (high - low) / BINS as f64
        } else {
            1.0
        };
        let mut bins = vec![0_u64; BINS];
        for value in finite() {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and the number of bins"
            )]
            let bin = ((f64::from(value) - low) / bin_width) as usize;
            bins[bin.min(BINS - 1)] += 1;
        }
        Self {
            count: data.len(),
            not_finite: data.len() - number,
            zeros: data.iter().filter(|value| **value == 0.0).count(),
            distinct: bits.len(),
            min: if number == 0 { 0.0 } else { min },
            max: if number == 0 { 0.0 } else { max },
            mean,
            standard_deviation: variance.sqrt(),
            low,
            bin_width,
            bins,
        }
    }

    /// As text, the histogram last.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "values    {}, {} distinct, {} zero, {} not finite",
            self.count, self.distinct, self.zeros, self.not_finite
        );
        let _ = writeln!(
            text,
            "range     {:.6} to {:.6}, mean {:.6}, standard deviation {:.6}\n",
            self.min, self.max, self.mean, self.standard_deviation
        );
        let most = self.bins.iter().copied().max().unwrap_or(0).max(1);
        for (index, &count) in self.bins.iter().enumerate() {
            let edge = self.low + index as f64 * self.bin_width;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "at most the width of a bar"
            )]
            let mut length = (count as f64 / most as f64 * BAR_WIDTH as f64).round() as usize;
            if count > 0 {
                length = length.max(1);
            }
            let line = format!("{edge:>12.6} {count:>10} {}", "#".repeat(length));
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_moments_by_hand() {
        let values = Values::of(&[0.0, -0.0, 1.0, 3.0, f32::NAN, f32::INFINITY]);
        assert_eq!(
            (
                values.count,
                values.not_finite,
                values.zeros,
                values.distinct
            ),
            (6, 2, 2, 6)
        );
        assert_eq!((values.min, values.max), (0.0, 3.0));
        assert!((values.mean - 1.0).abs() < 1e-12);
        assert!((values.standard_deviation - 1.5_f64.sqrt()).abs() < 1e-12);
        assert_eq!(values.bins.iter().sum::<u64>(), 4);
        assert_eq!(values.bins[BINS - 1], 1);
    }

    #[test]
    fn constant_and_empty_tensors_have_a_histogram() {
        assert_eq!(Values::of(&[2.0, 2.0]).bins[0], 2);
        assert!(Values::of(&[]).render().contains("values    0"));
    }
}
