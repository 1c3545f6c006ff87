//! How many weights of one layer exceed a limit, and the factor all layers share.

use super::order::order_statistics;
use crate::MatrixRef;
use crate::methods::{QuantizeError, require_finite};

/// First and third quartile of a matrix, interpolated linearly between order statistics (numpy's
/// default percentile).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quartiles {
    /// 25th percentile.
    pub first: f64,
    /// 75th percentile.
    pub third: f64,
}

impl Quartiles {
    /// Quartiles of `data`, which must be finite; both 0 where it is empty.
    pub fn of(data: &[f32]) -> Self {
        let Some(last) = data.len().checked_sub(1) else {
            return Self {
                first: 0.0,
                third: 0.0,
            };
        };
        // Position (n - 1) / 4 = whole + rest / 4, and from the other end for the third quartile.
        let (whole, rest) = (last / 4, (last % 4) as f64 / 4.0);
        let ranks = [
            whole,
            (whole + 1).min(last),
            last - whole,
            (last - whole).max(1) - 1,
        ];
        let [low, above, high, below] = order_statistics(data, ranks).map(f64::from);
        Self {
            first: low + (above - low) * rest,
            third: high - (high - below) * rest,
        }
    }

    /// `T = max(|Q1 - r IQR|, |Q3 + r IQR|)` (`SqueezeLLM`): weights with `|w| >= T` are outliers. It never
    /// falls as `r >= 0` rises. Infinite where half of the weights are equal, as quartiles say nothing
    /// about the tails then.
    pub fn threshold(&self, factor: f64) -> f64 {
        let range = self.third - self.first;
        if range <= 0.0 {
            return f64::INFINITY;
        }
        let reach = factor * range;
        (self.first - reach).abs().max((self.third + reach).abs())
    }
}

/// What one matrix says about its large weights.
///
/// Holds the magnitudes from the limit at factor 0 on: each one where they are few, else counts in
/// buckets of 1/2048 of a power of two, which is still each one for weights stored as f16 or bf16. A
/// limit that cuts a bucket counts all of it, so a factor found with such a survey gives slightly
/// fewer outliers than asked for, never more.
#[derive(Debug, Clone)]
pub struct MagnitudeSurvey {
    weights: u64,
    quartiles: Quartiles,
    /// Largest magnitude of each bucket, descending, and how many weights lie in it or above.
    levels: Vec<(f32, u64)>,
}

/// Magnitudes kept one by one, at most.
const KEPT: usize = 1 << 20;
/// Mantissa bits dropped where there are more.
const DROPPED: u32 = 12;

/// Surveys one weight matrix; memory is bounded whatever its size.
///
/// # Errors
/// A weight that is not finite.
pub fn survey(weight: MatrixRef<'_>) -> Result<MagnitudeSurvey, QuantizeError> {
    require_finite(weight)?;
    Ok(MagnitudeSurvey::of(weight.data(), KEPT))
}

impl MagnitudeSurvey {
    fn of(data: &[f32], kept: usize) -> Self {
        let quartiles = Quartiles::of(data);
        let least = quartiles.threshold(0.0);
        let tail = || {
            data.iter()
                .map(|value| value.abs())
                .filter(|v| f64::from(*v) >= least)
        };
        let mut levels: Vec<(f32, u64)> = Vec::new();
        if tail().take(kept + 1).count() <= kept {
            let mut magnitudes: Vec<f32> = tail().collect();
            magnitudes.sort_unstable_by(|a, b| b.total_cmp(a));
            for (count, magnitude) in (1..).zip(magnitudes) {
                match levels.last_mut() {
                    Some(last) if last.0.to_bits() == magnitude.to_bits() => last.1 = count,
                    _ => levels.push((magnitude, count)),
                }
            }
        } else {
            let mut buckets = vec![(0_u32, 0_u64); 1 << (31 - DROPPED)];
            for magnitude in tail() {
                let bucket = &mut buckets[(magnitude.to_bits() >> DROPPED) as usize];
                *bucket = (bucket.0.max(magnitude.to_bits()), bucket.1 + 1);
            }
            let mut above = 0;
            for (largest, count) in buckets.into_iter().rev().filter(|bucket| bucket.1 > 0) {
                above += count;
                levels.push((f32::from_bits(largest), above));
            }
        }
        levels.shrink_to_fit();
        Self {
            weights: data.len() as u64,
            quartiles,
            levels,
        }
    }

    /// Number of weights surveyed.
    pub fn weights(&self) -> u64 {
        self.weights
    }

    /// Quartiles of the matrix.
    pub fn quartiles(&self) -> Quartiles {
        self.quartiles
    }

    /// Weights with `|w| >= T(factor)`, for `factor >= 0` (see the type for large matrices).
    pub fn outliers(&self, factor: f64) -> u64 {
        let threshold = self.quartiles.threshold(factor);
        let reached = self
            .levels
            .partition_point(|(largest, _)| f64::from(*largest) >= threshold);
        reached.checked_sub(1).map_or(0, |last| self.levels[last].1)
    }
}

/// The smallest interquartile-range factor `r >= 0` at which the outliers of all surveyed matrices
/// together are at most `target` (0..=1) of their weights: as close to the target as ties allow, from
/// below. Infinite for a target that allows no outlier.
pub fn shared_factor(surveys: &[MagnitudeSurvey], target: f64) -> f64 {
    let weights: u64 = surveys.iter().map(MagnitudeSurvey::weights).sum();
    let within = |factor: f64| {
        let outliers: u64 = surveys.iter().map(|survey| survey.outliers(factor)).sum();
        outliers as f64 <= target * weights as f64
    };
    if within(0.0) {
        return 0.0;
    }
    let mut high = 1.0;
    while !within(high) {
        if !f64::is_finite(high) {
            return high;
        }
        high *= 2.0;
    }
    let mut low = 0.0;
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return high;
        }
        if within(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn heavy_tailed(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |_| rng.random_range(-1.0_f32..1.0) * rng.random_range(0.1_f32..1.0).recip();
        (0..count).map(&mut draw).collect()
    }

    fn count(data: &[f32], factor: f64) -> u64 {
        let threshold = Quartiles::of(data).threshold(factor);
        data.iter()
            .filter(|v| f64::from(v.abs()) >= threshold)
            .count() as u64
    }

    #[test]
    fn quartiles_interpolate_as_numpy_does() {
        // numpy.percentile([1, 2, 4, 8, 16, 32], [25, 75]) = [2.5, 14.0]
        let quartiles = Quartiles::of(&[32.0, 1.0, 8.0, 2.0, 16.0, 4.0]);
        assert_eq!(
            quartiles,
            Quartiles {
                first: 2.5,
                third: 14.0
            }
        );
        // T(1) = max(|2.5 - 11.5|, |14 + 11.5|)
        assert!((quartiles.threshold(1.0) - 25.5).abs() < 1e-12);
        assert_eq!(
            Quartiles::of(&[3.0]),
            Quartiles {
                first: 3.0,
                third: 3.0
            }
        );
        assert_eq!(
            Quartiles::of(&[1.0, 2.0]),
            Quartiles {
                first: 1.25,
                third: 1.75
            }
        );
    }

    #[test]
    fn one_factor_meets_the_target_over_all_layers_together() {
        let layers = [heavy_tailed(20_000, 1), heavy_tailed(5_000, 2)];
        let narrow: Vec<f32> = layers[1].iter().map(|v| v * 1e-3).collect();
        let surveys = [&layers[0], &narrow].map(|data| MagnitudeSurvey::of(data, KEPT));
        for target in [0.004, 0.05, 0.3] {
            let factor = shared_factor(&surveys, target);
            let found = count(&layers[0], factor) + count(&narrow, factor);
            let allowed = (25_000.0 * target).floor();
            assert!(
                (found as f64 - allowed).abs() < 0.5,
                "{target}: {found} of {allowed}"
            );
        }
        assert!(shared_factor(&surveys, 0.0).is_finite());
        assert_eq!(
            surveys
                .iter()
                .map(|s| s.outliers(shared_factor(&surveys, 0.0)))
                .sum::<u64>(),
            0
        );
        assert!(shared_factor(&surveys, 1.0).abs() < f64::MIN_POSITIVE);
    }

    #[test]
    fn buckets_never_exceed_the_target_and_are_exact_for_half_precision() {
        let data = heavy_tailed(60_000, 3);
        let factor = shared_factor(&[MagnitudeSurvey::of(&data, 10)], 0.01);
        assert!(
            (590..=600).contains(&count(&data, factor)),
            "{}",
            count(&data, factor)
        );
        let half: Vec<f32> = data
            .iter()
            .map(|v| half::bf16::from_f32(*v).to_f32())
            .collect();
        let surveys = [10, KEPT].map(|kept| MagnitudeSurvey::of(&half, kept));
        for factor in [0.0, 0.5, 1.0, 2.0, 3.7, 9.0, 1e6] {
            assert_eq!(surveys[0].outliers(factor), count(&half, factor));
            assert_eq!(surveys[1].outliers(factor), count(&half, factor));
        }
    }

    #[test]
    fn matrices_of_mostly_one_value_have_no_outliers() {
        let mut data = vec![0.0; 100];
        data[..20].fill(1.0);
        let survey = MagnitudeSurvey::of(&data, KEPT);
        assert_eq!((survey.outliers(0.0), survey.outliers(1e9)), (0, 0));
        assert_eq!(MagnitudeSurvey::of(&[], KEPT).outliers(0.0), 0);
        let bad = [0.0, f32::NAN];
        let error = crate::outliers::survey(MatrixRef::new(&bad, 1, 2).unwrap()).unwrap_err();
        assert!(matches!(
            error,
            QuantizeError::NotFinite { row: 0, col: 1, .. }
        ));
    }

    proptest! {
        #[test]
        fn counts_are_exact_and_fall_with_the_factor(
            data in prop::collection::vec(-3.0_f32..5.0, 1..200),
            factors in prop::collection::vec(0.0_f64..4.0, 1..10),
        ) {
            let survey = MagnitudeSurvey::of(&data, KEPT);
            let mut factors = factors;
            factors.sort_by(f64::total_cmp);
            let found: Vec<u64> = factors.iter().map(|factor| survey.outliers(*factor)).collect();
            prop_assert!(found.is_sorted_by(|a, b| a >= b));
            for (found, factor) in found.iter().zip(&factors) {
                prop_assert_eq!(*found, count(&data, *factor));
            }
        }
    }
}
