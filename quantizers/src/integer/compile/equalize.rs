//! Factors and offsets per channel moved from a normalisation into the layers behind it.
//!
//! `W x + b = (W f) ((x - m) / f) + (b + W m)`: with `f` and `m` folded into gamma and beta of the
//! normalisation and into the weights, nothing changes but the grid the channels share. Centres
//! take away what a common zero point cannot; factors are those of the transform
//! [`equalize`](crate::transforms::equalize), with the predicted error of the grids that will run.

use super::builder::Builder;
use super::error::CompileError;
use super::grids::{Channels, Point};
use super::statistics::PointStatistics;
use crate::graph::LinearNode;
use crate::transforms::equalize;

/// Rows of the samples looked at.
const ROWS: usize = 512;

impl Builder<'_> {
    /// How the channels at `point` are moved for `consumers`, all of which read them.
    pub(super) fn equalized(
        &self,
        point: &str,
        consumers: &[&LinearNode],
    ) -> Result<Channels, CompileError> {
        let statistics = self.statistics(point)?;
        let weights = consumers
            .iter()
            .map(|node| self.weight(node))
            .collect::<Result<Vec<_>, _>>()?;
        let Some(width) = consumers.first().map(|node| node.cols) else {
            return Ok(Channels::default());
        };
        let matrix: Vec<f64> = weights.concat();
        let plain = Channels {
            costs: costs(&matrix, width, &Channels::default()),
            ..Channels::default()
        };
        if !self.options.equalize {
            return Ok(plain);
        }
        let seen = statistics
            .channels
            .as_ref()
            .ok_or_else(|| CompileError::Missing {
                point: point.to_owned(),
                statistic: "channel_range",
            })?;
        let offsets: Vec<f64> = if self.options.asymmetric {
            let centre = |(&low, &high): (&f32, &f32)| f64::from(low + high) / 2.0;
            seen.min.iter().zip(&seen.max).map(centre).collect()
        } else {
            Vec::new()
        };
        let reach: Vec<f64> = (0..width)
            .map(|c| {
                let offset = offsets.get(c).copied().unwrap_or(0.0);
                let (low, high) = (f64::from(seen.min[c]), f64::from(seen.max[c]));
                (high - offset).max(offset - low).max(1e-6)
            })
            .collect();
        let largest: Vec<f64> = (0..width)
            .map(|c| {
                let column = matrix.iter().skip(c).step_by(width);
                column.fold(1e-6_f64, |most, value| most.max(value.abs()))
            })
            .collect();
        let moved = |factors: &[f64]| {
            let mut moved = Channels {
                factors: factors.to_vec(),
                offsets: offsets.clone(),
                costs: Vec::new(),
            };
            moved.costs = costs(&matrix, width, &moved);
            moved
        };
        // Exponent 0 moves nothing but the centres.
        let (_, factors) = equalize::least(&reach, &largest, |factors| {
            self.predicted(point, &statistics, &matrix, &moved(factors))
        })?;
        Ok(moved(&factors))
    }

    /// Expected squared error of the outputs: rounding of the inputs through exact weights, and of
    /// the weights through exact inputs.
    pub(super) fn predicted(
        &self,
        name: &str,
        statistics: &PointStatistics,
        matrix: &[f64],
        channels: &Channels,
    ) -> Result<f64, CompileError> {
        let point = Point { name, statistics };
        let grid = point.codes(self.options, channels)?;
        let samples = point.samples()?;
        let width = samples.width.max(1);
        let stride = (samples.rows() / ROWS).max(1);
        let (mut error, mut squares, mut rows) = (0.0, vec![0.0; width], 0.0);
        for row in samples.values.chunks_exact(width).step_by(stride) {
            rows += 1.0;
            for (c, &value) in row.iter().enumerate() {
                let moved = (f64::from(value) - channels.offset(c)) / channels.factor(c);
                let code = (moved / grid.scale(0)).round() + f64::from(grid.zero_point);
                let code = code.clamp(f64::from(grid.low), f64::from(grid.high));
                let kept = (code - f64::from(grid.zero_point)) * grid.scale(0);
                error += channels.cost(c) * (moved - kept).powi(2);
                squares[c] += moved * moved;
            }
        }
        let mut total = error / f64::max(rows, 1.0);
        let squares: f64 = squares.iter().sum();
        // 8 bits; fewer move the same weight between inputs and weights.
        let rounding = equalize::weight_rounding(
            matrix,
            width,
            |c| channels.factor(c),
            squares,
            f64::max(rows, 1.0),
        );
        for error in rounding {
            total += error;
        }
        Ok(total)
    }
}

/// Cost of an error in each input channel: the squared length of its column.
pub(super) fn costs(matrix: &[f64], width: usize, channels: &Channels) -> Vec<f64> {
    let mut costs = vec![0.0; width];
    for row in matrix.chunks_exact(width.max(1)) {
        for (c, (cost, &value)) in costs.iter_mut().zip(row).enumerate() {
            *cost += (value * channels.factor(c)).powi(2);
        }
    }
    costs
}
