//! Grids of activations, from what calibration saw.

use super::error::CompileError;
use super::source::{Options, RangeRule};
use super::statistics::{PointStatistics, Samples};
use crate::nonlinear::Grid;

/// Room left above the largest value seen, for 16-bit grids: bits there are plenty of.
const HEADROOM: f64 = 1.5;
/// Bins of a histogram.
const BINS: usize = 4096;
/// Smallest range a grid is made for, as I-BERT has it.
const SMALLEST: f64 = 1e-8;

/// One point with its name, for messages.
pub(super) struct Point<'a> {
    /// Name.
    pub(super) name: &'a str,
    /// What was seen.
    pub(super) statistics: &'a PointStatistics,
}

/// How the channels of a tensor are moved before they share a grid: `x' = (x - offset) / factor`,
/// and what an error in each of them costs.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Channels {
    /// Empty means 1.
    pub(super) factors: Vec<f64>,
    /// Empty means 0.
    pub(super) offsets: Vec<f64>,
    /// Empty means equal.
    pub(super) costs: Vec<f64>,
}

impl Channels {
    pub(super) fn factor(&self, channel: usize) -> f64 {
        self.factors.get(channel).copied().unwrap_or(1.0)
    }

    pub(super) fn offset(&self, channel: usize) -> f64 {
        self.offsets.get(channel).copied().unwrap_or(0.0)
    }

    pub(super) fn cost(&self, channel: usize) -> f64 {
        self.costs.get(channel).copied().unwrap_or(1.0)
    }

    /// Whether anything is moved.
    pub(super) fn moved(&self) -> bool {
        !self.factors.is_empty() || !self.offsets.is_empty()
    }
}

impl Point<'_> {
    fn missing(&self, statistic: &'static str) -> CompileError {
        CompileError::Missing {
            point: self.name.to_owned(),
            statistic,
        }
    }

    /// The range an observer gave.
    pub(super) fn range(&self, observer: &'static str) -> Result<(f64, f64), CompileError> {
        let range = self.statistics.ranges.get(observer);
        let range = range.ok_or_else(|| self.missing(observer))?;
        Ok((f64::from(range.0), f64::from(range.1)))
    }

    /// Kept sequences.
    pub(super) fn samples(&self) -> Result<&Samples, CompileError> {
        let samples = self.statistics.samples.as_ref();
        samples.ok_or_else(|| self.missing("sequence_samples"))
    }

    /// Extremes of all channels after they are moved.
    fn moved_extremes(&self, channels: &Channels) -> Result<(f64, f64), CompileError> {
        if !channels.moved() {
            return self.range("min_max");
        }
        let seen = self.statistics.channels.as_ref();
        let seen = seen.ok_or_else(|| self.missing("channel_range"))?;
        let mut extremes = (0.0_f64, 0.0_f64);
        for (channel, (&min, &max)) in seen.min.iter().zip(&seen.max).enumerate() {
            let at = |x: f32| (f64::from(x) - channels.offset(channel)) / channels.factor(channel);
            extremes = (extremes.0.min(at(min)), extremes.1.max(at(max)));
        }
        Ok(extremes)
    }

    /// Codes `0 ..= 2^bits - 1` with a zero point: for inputs of matrix products.
    pub(super) fn codes(
        &self,
        options: &Options,
        channels: &Channels,
    ) -> Result<Grid, CompileError> {
        let high = (1 << options.activation_bits) - 1;
        let (low, top) = self.chosen(options, channels, options.asymmetric, f64::from(high))?;
        Ok(if options.asymmetric {
            asymmetric(low, top, high)
        } else {
            let reach = (-low).max(top).max(SMALLEST);
            let half = (high + 1) / 2;
            Grid {
                scales: vec![reach / f64::from(half - 1)],
                zero_point: half,
                low: 0,
                high,
            }
        })
    }

    /// Signed codes without zero point, `-(2^(bits-1) - 1)` to the same above.
    pub(super) fn signed_codes(
        &self,
        options: &Options,
        channels: &Channels,
        bits: u32,
    ) -> Result<Grid, CompileError> {
        let high = (1 << (bits - 1)) - 1;
        let levels = f64::from(2 * high);
        let (low, top) = self.chosen(options, channels, false, levels)?;
        let reach = (-low).max(top).max(SMALLEST);
        Ok(Grid {
            scales: vec![reach / f64::from(high)],
            zero_point: 0,
            low: -high,
            high,
        })
    }

    /// A fine symmetric grid with headroom, for residuals.
    pub(super) fn fine(&self, bits: u32) -> Result<Grid, CompileError> {
        let (low, top) = self.range("min_max")?;
        Ok(symmetric((-low).max(top) * HEADROOM, bits))
    }

    /// The range by the rule of the recipe.
    fn chosen(
        &self,
        options: &Options,
        channels: &Channels,
        asymmetric: bool,
        levels: f64,
    ) -> Result<(f64, f64), CompileError> {
        let extremes = self.moved_extremes(channels)?;
        match options.range {
            RangeRule::MinMax => Ok(extremes),
            // Percentiles and averages are of the tensor as it was: they scale the extremes.
            RangeRule::MovingAverage => self.shrunk(extremes, channels, "moving_average"),
            RangeRule::Percentile => self.shrunk(extremes, channels, "percentile"),
            RangeRule::Mse => {
                let histogram = Histogram::of(self.samples()?, channels, extremes);
                Ok(histogram.best(extremes, asymmetric, levels))
            }
        }
    }

    fn shrunk(
        &self,
        extremes: (f64, f64),
        channels: &Channels,
        observer: &'static str,
    ) -> Result<(f64, f64), CompileError> {
        let range = self.range(observer)?;
        if !channels.moved() {
            return Ok((range.0.min(0.0), range.1.max(0.0)));
        }
        let whole = self.range("min_max")?;
        let ratio = |part: f64, all: f64| {
            if all == 0.0 {
                1.0
            } else {
                (part / all).clamp(0.0, 1.0)
            }
        };
        Ok((
            extremes.0 * ratio(range.0, whole.0),
            extremes.1 * ratio(range.1, whole.1),
        ))
    }
}

/// A signed grid that reaches `reach`.
pub(super) fn symmetric(reach: f64, bits: u32) -> Grid {
    let high = (1_i32 << (bits - 1)) - 1;
    Grid {
        scales: vec![reach.max(SMALLEST) / f64::from(high)],
        zero_point: 0,
        low: -high - 1,
        high,
    }
}

/// Codes `0 ..= high` over `low ..= top`, zero among them.
#[expect(clippy::cast_possible_truncation, reason = "between 0 and `high`")]
pub(super) fn asymmetric(low: f64, top: f64, high: i32) -> Grid {
    let (low, top) = (low.min(0.0), top.max(0.0));
    let scale = (top - low).max(SMALLEST) / f64::from(high);
    let zero_point = (-low / scale).round().clamp(0.0, f64::from(high)) as i32;
    Grid {
        scales: vec![scale],
        zero_point,
        low: 0,
        high,
    }
}

/// Weighted counts of moved sample values between the extremes.
struct Histogram {
    counts: Vec<f64>,
    low: f64,
    step: f64,
}

impl Histogram {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the bins"
    )]
    fn of(samples: &Samples, channels: &Channels, (low, top): (f64, f64)) -> Self {
        let step = (top - low).max(SMALLEST) / BINS as f64;
        let mut counts = vec![0.0; BINS];
        for row in samples.values.chunks_exact(samples.width.max(1)) {
            for (channel, &value) in row.iter().enumerate() {
                let moved =
                    (f64::from(value) - channels.offset(channel)) / channels.factor(channel);
                let bin = ((moved - low) / step).clamp(0.0, (BINS - 1) as f64) as usize;
                counts[bin] += channels.cost(channel);
            }
        }
        Self { counts, low, step }
    }

    /// Squared error of rounding to `levels` steps over `low ..= top` and clipping outside.
    fn error(&self, low: f64, top: f64, levels: f64) -> f64 {
        let scale = (top - low).max(SMALLEST) / levels;
        // Zero is a code: the ends move by up to half a step.
        let below = (-low / scale).round();
        let (low, top) = (-below * scale, (levels - below) * scale);
        let mut error = 0.0;
        for (bin, &count) in self.counts.iter().enumerate() {
            if count > 0.0 {
                let value = self.low + (bin as f64 + 0.5) * self.step;
                let miss = if value < low {
                    low - value
                } else if value > top {
                    value - top
                } else {
                    0.0
                };
                // Within the range the error is uniform over a step.
                let inside = if miss == 0.0 {
                    scale * scale / 12.0
                } else {
                    0.0
                };
                error += count * (miss * miss + inside);
            }
        }
        error
    }

    /// The range of least error: both ends together, then each by itself where they may differ.
    fn best(&self, extremes: (f64, f64), asymmetric: bool, levels: f64) -> (f64, f64) {
        let range = |a: f64, b: f64| {
            if asymmetric {
                (extremes.0 * a, extremes.1 * b)
            } else {
                let reach = (-extremes.0).max(extremes.1) * a;
                (-reach, reach)
            }
        };
        let shares = || {
            (10_u32..=100)
                .rev()
                .map(|percent| f64::from(percent) / 100.0)
        };
        let least = |candidates: &mut dyn Iterator<Item = (f64, f64)>| {
            let scored = candidates.map(|(a, b)| {
                let (low, top) = range(a, b);
                (self.error(low, top, levels), (a, b))
            });
            let best = scored.min_by(|x, y| x.0.total_cmp(&y.0));
            best.map_or((1.0, 1.0), |(_, shares)| shares)
        };
        let (a, b) = least(&mut shares().map(|share| (share, share)));
        if !asymmetric {
            return range(a, a);
        }
        let (a, _) = least(&mut shares().map(|share| (share, b)));
        let (a, b) = least(&mut shares().map(|share| (a, share)));
        range(a, b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn point(values: &[f32], width: usize) -> PointStatistics {
        let low = values.iter().copied().fold(f32::MAX, f32::min);
        let high = values.iter().copied().fold(f32::MIN, f32::max);
        PointStatistics {
            ranges: BTreeMap::from([("min_max".to_owned(), (low, high))]),
            channels: None,
            samples: Some(Samples {
                values: values.to_vec(),
                width,
                lengths: vec![values.len() / width],
            }),
        }
    }

    #[test]
    fn a_rare_extreme_is_clipped_by_mse_and_kept_by_min_max() {
        let mut values: Vec<f32> = (0..40_000)
            .map(|i| ((i % 200) as f32 - 100.0) / 100.0)
            .collect();
        values.push(40.0);
        let statistics = point(&values, 1);
        let at = Point {
            name: "x",
            statistics: &statistics,
        };
        let mut options = Options {
            range: RangeRule::MinMax,
            activation_bits: 4,
            ..Options::default()
        };
        let plain = at.codes(&options, &Channels::default()).unwrap();
        assert!((plain.scales[0] - 41.0 / 15.0).abs() < 1e-6);
        options.range = RangeRule::Mse;
        let clipped = at.codes(&options, &Channels::default()).unwrap();
        assert!(clipped.scales[0] < 1.0, "{clipped:?}");
    }

    #[test]
    fn zero_is_a_code_of_every_grid() {
        for (low, top) in [(-1.0, 3.0), (0.5, 2.0), (-3.0, -1.0)] {
            let grid = asymmetric(low, top, 255);
            assert!((grid.low..=grid.high).contains(&grid.zero_point));
            assert!(grid.value(grid.zero_point, 0).abs() < 1e-12);
        }
    }
}
