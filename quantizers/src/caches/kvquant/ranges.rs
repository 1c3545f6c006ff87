//! Ends of vectors, and elements outside of them.

use super::extremes::Extremes;
use crate::caches::halves;
use half::f16;

/// The ends of a vector as they are stored, always in order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ends {
    pub(super) low: f16,
    pub(super) high: f16,
}

/// What brings a vector to -1..1 and back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scaling {
    pub(super) zero: f32,
    pub(super) range: f32,
    pub(super) inverse: f32,
}

impl Ends {
    /// Ends as f16; equal ones are moved apart by a step each, as a constant channel still has to have a range.
    pub(super) fn new(low: f32, high: f32) -> Self {
        let (mut low, mut high) = (halves::to_half(low), halves::to_half(high));
        if low >= high {
            low = step(low, f32::NEG_INFINITY);
            high = step(high, f32::INFINITY);
        }
        Self { low, high }
    }

    pub(super) fn scaling(self) -> Scaling {
        let (low, high) = (self.low.to_f32(), self.high.to_f32());
        let range = 0.5 * (high - low);
        Scaling {
            zero: low + range,
            range,
            inverse: range.recip(),
        }
    }

    /// Whether `value` is outside.
    pub(super) fn excludes(self, value: f32) -> bool {
        value < self.low.to_f32() || value > self.high.to_f32()
    }
}

/// The f16 next to `value` on the way to `end`, but no infinity.
fn step(value: f16, end: f32) -> f16 {
    let bits = value.to_bits();
    let next = if value.to_f32() == 0.0 {
        if end > 0.0 { 0x0001 } else { 0x8001 }
    } else if value.is_sign_positive() == (end > 0.0) {
        bits + 1
    } else {
        bits - 1
    };
    let next = f16::from_bits(next);
    if next.is_finite() { next } else { value }
}

/// The ends of a token, and its outliers: `per_tail` values on either side, `(value, index)`. The next value on each
/// side is the end.
pub(super) fn of_token(
    values: &[f32],
    per_tail: usize,
    extremes: &mut Extremes,
    outliers: &mut Vec<(f32, usize)>,
) -> Ends {
    outliers.clear();
    let mut ends = [0.0; 2];
    for (end, sign) in ends.iter_mut().zip([-1.0, 1.0]) {
        let found = if sign > 0.0 {
            extremes.largest(values, per_tail + 1)
        } else {
            extremes.smallest(values, per_tail + 1)
        };
        let (last, tail) = found.split_last().unwrap_or((&(0.0, 0), &[]));
        *end = sign * last.0;
        outliers.extend(tail.iter().map(|(value, at)| (sign * value, *at)));
    }
    Ends::new(ends[0], ends[1])
}

/// The quantiles `share` and `1 - share` of `values`, which are reordered, between neighbours linearly: what numpy's
/// `percentile` returns.
pub(super) fn quantiles(values: &mut [f32], share: f64) -> (f32, f32) {
    (quantile(values, share), quantile(values, 1.0 - share))
}

fn quantile(values: &mut [f32], share: f64) -> f32 {
    let Some(last) = values.len().checked_sub(1) else {
        return 0.0;
    };
    let place = share * last as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of the indices"
    )]
    let at = (place as usize).min(last);
    let (_, low, above) = values.select_nth_unstable_by(at, f32::total_cmp);
    let low = *low;
    let high = above.iter().copied().fold(f32::INFINITY, f32::min);
    if high.is_finite() {
        #[expect(clippy::cast_possible_truncation, reason = "between two f32")]
        let between =
            (f64::from(low) + (place - at as f64) * (f64::from(high) - f64::from(low))) as f32;
        between
    } else {
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        // numpy.percentile([3, 1, 4, 1, 5, 9, 2, 6], [10, 90]) is [1, 6.9].
        let mut values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0];
        let (low, high) = quantiles(&mut values, 0.1);
        assert!((low - 1.0).abs() < 1e-6 && (high - 6.9).abs() < 1e-6);
        assert_eq!(quantiles(&mut values, 0.0), (1.0, 9.0));
        assert_eq!(quantiles(&mut [7.0], 0.005), (7.0, 7.0));
    }

    #[test]
    fn equal_ends_move_apart_by_one_step_each() {
        for value in [0.0, 1.0, -3.5, 65504.0, -65504.0] {
            let ends = Ends::new(value, value);
            assert!(ends.low < ends.high, "{ends:?}");
            assert!(!ends.excludes(value) && ends.low.is_finite() && ends.high.is_finite());
        }
    }

    #[test]
    fn a_token_has_its_outliers_on_both_sides_of_its_ends() {
        let values = [0.5, -9.0, 1.0, 7.0, -2.0, 3.0];
        let mut outliers = Vec::new();
        let ends = of_token(&values, 1, &mut Extremes::default(), &mut outliers);
        assert_eq!((ends.low.to_f32(), ends.high.to_f32()), (-2.0, 3.0));
        assert_eq!(outliers, [(-9.0, 1), (7.0, 3)]);
        let ends = of_token(&values, 0, &mut Extremes::default(), &mut outliers);
        assert_eq!((ends.low.to_f32(), ends.high.to_f32()), (-9.0, 7.0));
        assert!(outliers.is_empty());
    }
}
