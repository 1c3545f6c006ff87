//! Roundings and ranges of one layer while they are learned.

use crate::grid::{Grid, Point};
use crate::methods::{QuantizeError, Quantized, TunedLayer, range};
use crate::tensor::Uniform;
use crate::{Granularity, MatrixRef};
use rayon::prelude::*;

/// How far the parameters move.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// Steps until the rate is 0.
    pub(super) steps: usize,
    /// Of the first step.
    pub(super) rate: f64,
    /// Whether the ends of ranges move, too.
    pub(super) tunes_ranges: bool,
}

/// The range of one group: its ends, and the share of each that is used.
#[derive(Debug, Clone, Copy)]
struct Range {
    lowest: f32,
    highest: f32,
    low_share: f32,
    high_share: f32,
}

/// A layer whose roundings are learned.
pub(super) struct Rounding<'w> {
    grid: Grid,
    granularity: Granularity,
    weight: MatrixRef<'w>,
    group_size: usize,
    groups: usize,
    schedule: Schedule,
    done: usize,
    /// `v` of each weight.
    offsets: Vec<f32>,
    ranges: Vec<Range>,
    codes: Vec<i8>,
    points: Vec<Point>,
    /// What codes and points decode to.
    values: Vec<f32>,
    kept: Option<(Vec<i8>, Vec<Point>)>,
}

impl<'w> Rounding<'w> {
    /// Nearest rounding of finite weights, each row or group in its whole range.
    pub(super) fn new(
        grid: Grid,
        granularity: Granularity,
        weight: MatrixRef<'w>,
        schedule: Schedule,
    ) -> Self {
        let (rows, cols) = (weight.rows(), weight.cols());
        let group_size = match granularity {
            Granularity::Group(size) => size,
            Granularity::Channel | Granularity::Tensor => cols,
        }
        .max(1);
        let groups = granularity.groups_per_row(cols);
        let range = |group: &[f32]| {
            let ends = group.iter().fold((0.0_f32, 0.0_f32), |(low, high), value| {
                (low.min(*value), high.max(*value))
            });
            Range {
                lowest: ends.0,
                highest: ends.1,
                low_share: 1.0,
                high_share: 1.0,
            }
        };
        let of_row = |row: &'w [f32]| row.chunks(group_size).map(range).collect::<Vec<_>>();
        let ranges: Vec<Range> = (0..rows).flat_map(|row| of_row(weight.row(row))).collect();
        let unknown = Point {
            scale: 1.0,
            zero_point: 0,
        };
        let mut rounding = Self {
            grid,
            granularity,
            weight,
            group_size,
            groups,
            schedule,
            done: 0,
            offsets: vec![0.0; rows * cols],
            points: vec![unknown; ranges.len()],
            ranges,
            codes: vec![0; rows * cols],
            values: vec![0.0; rows * cols],
            kept: None,
        };
        rounding.advance(None);
        rounding
    }

    /// Moves by `rate` against a gradient, where there is one, and rounds anew; rows on their own.
    fn advance(&mut self, step: Option<(&[f32], f32)>) {
        let (cols, size) = (self.weight.cols(), self.group_size);
        if cols == 0 {
            return;
        }
        let (grid, tunes_ranges) = (self.grid, self.schedule.tunes_ranges);
        let rows = self
            .weight
            .data()
            .par_chunks(cols)
            .zip(self.offsets.par_chunks_mut(cols))
            .zip(self.codes.par_chunks_mut(cols))
            .zip(self.values.par_chunks_mut(cols))
            .zip(self.ranges.par_chunks_mut(self.groups))
            .zip(self.points.par_chunks_mut(self.groups))
            .enumerate();
        rows.for_each(
            |(row, (((((weights, offsets), codes), values), ranges), points))| {
                for (at, (range, point)) in ranges.iter_mut().zip(points).enumerate() {
                    let here = at * size..((at + 1) * size).min(cols);
                    let mut group = Group {
                        grid,
                        weights: &weights[here.clone()],
                        offsets: &mut offsets[here.clone()],
                        codes: &mut codes[here.clone()],
                        point,
                    };
                    if let Some((gradient, rate)) = step {
                        let gradient = &gradient[row * cols..][here.clone()];
                        let slope = group.moved(gradient, rate);
                        if tunes_ranges {
                            slope.moved(grid, group.point.scale, range, rate);
                        }
                    }
                    group.round(range, &mut values[here]);
                }
            },
        );
    }
}

impl TunedLayer for Rounding<'_> {
    fn weights(&self) -> &[f32] {
        &self.values
    }

    fn step(&mut self, gradient: &[f32]) {
        assert_eq!(
            gradient.len(),
            self.values.len(),
            "a derivative by each weight"
        );
        let Schedule { steps, rate, .. } = self.schedule;
        if self.done >= steps {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a rate of at most 1")]
        let rate = (rate * (1.0 - self.done as f64 / steps as f64)) as f32;
        self.done += 1;
        self.advance(Some((gradient, rate)));
    }

    fn keep(&mut self) {
        self.kept = Some((self.codes.clone(), self.points.clone()));
    }

    fn finish(self: Box<Self>) -> Result<Quantized, QuantizeError> {
        let (codes, points) = self.kept.unwrap_or((self.codes, self.points));
        let uniform = Uniform {
            bits: self.grid.bits,
            granularity: self.granularity,
            codes,
            scales: points.iter().map(|point| point.scale).collect(),
            scale_type: self.grid.scale_type,
            zero_points: (!self.grid.symmetric)
                .then(|| points.iter().map(|point| point.zero_point).collect()),
            float_zero_points: None,
            column_groups: None,
        };
        Ok(range::stored(self.weight, uniform)?.into())
    }
}

/// The weights of one group and what they are rounded to.
struct Group<'g> {
    grid: Grid,
    weights: &'g [f32],
    offsets: &'g mut [f32],
    codes: &'g mut [i8],
    point: &'g mut Point,
}

/// How the error changes with the scale of a group, and with its lowest value while the scale stays.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Slope {
    scale: f32,
    lowest: f32,
}

impl Group<'_> {
    /// Moves the offsets; returns how the error changes with the range.
    ///
    /// Within the range `w' = w + s (v + r)`, `r` what rounding added, which counts as a constant; a weight beyond an end
    /// decodes to that end.
    fn moved(&mut self, gradient: &[f32], rate: f32) -> Slope {
        let (least, most) = self.grid.code_range();
        let (least, most) = (f32::from(least) - 0.5, f32::from(most) + 0.5);
        let Point { scale, zero_point } = *self.point;
        let zero = f32::from(zero_point);
        let mut slope = Slope {
            scale: 0.0,
            lowest: 0.0,
        };
        let weights = self.weights.iter().zip(self.codes.iter()).zip(gradient);
        for (((weight, code), gradient), offset) in weights.zip(self.offsets.iter_mut()) {
            let steps = weight / scale;
            let code = f32::from(*code) - zero;
            let place = steps + *offset + zero;
            if (least..=most).contains(&place) {
                slope.scale += gradient * (code - steps);
                *offset = (*offset - rate * sign(*gradient)).clamp(-0.5, 0.5);
            } else {
                slope.scale += gradient * code;
                slope.lowest += gradient;
            }
        }
        slope
    }

    fn round(&mut self, range: &Range, values: &mut [f32]) {
        *self.point = self.grid.fit(
            range.lowest * range.low_share,
            range.highest * range.high_share,
        );
        let point = *self.point;
        let (least, most) = self.grid.code_range();
        let (least, most) = (f32::from(least), f32::from(most));
        let zero = f32::from(point.zero_point);
        let weights = self.weights.iter().zip(self.offsets.iter());
        for (((weight, offset), code), value) in weights.zip(self.codes.iter_mut()).zip(values) {
            let place = weight / point.scale + offset + zero;
            #[expect(clippy::cast_possible_truncation, reason = "clamped to a code")]
            let rounded = place.clamp(least, most).round_ties_even() as i8;
            *code = rounded;
            *value = point.value(rounded);
        }
    }
}

impl Slope {
    /// Moves the shares of `range`, whose scale now is `scale`. In `n` codes the scale is `(high - low) / n`, or twice the
    /// larger end over `n` where zero stays in the middle.
    fn moved(self, grid: Grid, scale: f32, range: &mut Range, rate: f32) {
        let (low, high) = (range.lowest, range.highest);
        let [low_used, high_used] = [low * range.low_share, high * range.high_share];
        let (by_low, by_high) = if !grid.symmetric {
            let n = f32::from((1_i16 << grid.bits) - 1);
            // A weight beyond an end counts its steps from the lowest value, `s (c - z) = low + s (c - least)`.
            let by_scale = (self.scale - self.lowest * low_used / scale) / n;
            ((self.lowest - by_scale) * low, by_scale * high)
        } else if high_used >= -low_used {
            (0.0, self.scale * high)
        } else {
            (self.scale * -low, 0.0)
        };
        range.low_share = share(range.low_share, by_low, rate);
        range.high_share = share(range.high_share, by_high, rate);
    }
}

fn share(share: f32, slope: f32, rate: f32) -> f32 {
    (share - rate * sign(slope)).clamp(0.0, 1.0)
}

/// The sign, and 0 of 0.
fn sign(value: f32) -> f32 {
    if value == 0.0 { 0.0 } else { value.signum() }
}

#[cfg(test)]
mod tests;
