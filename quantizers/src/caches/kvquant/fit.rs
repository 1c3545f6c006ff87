//! Ranges and tables from calibration data.

use super::codec::{Channels, PartCodec};
use super::extremes::Extremes;
use super::ranges::{Ends, Scaling, of_token, quantiles};
use super::settings::{ErrorWeights, Settings};
use crate::MatrixRef;
use crate::caches::samples::CacheSamples;
use crate::caches::shape::{CacheShape, Part};
use crate::caches::table::Table;
use crate::codebook::{Row, Solver};
use rayon::prelude::*;

/// Cells of -1..1 in which points are gathered before they are clustered: clusters begin and end at their borders,
/// the means are those of the points.
const CELLS: usize = 1 << 16;

/// A token of calibration data, and its gradient.
type Token<'a> = (&'a [f32], Option<&'a [f32]>);

/// Fits `part`; samples have been checked.
pub(super) fn fit(
    settings: &Settings,
    shape: CacheShape,
    part: Part,
    samples: &CacheSamples<'_>,
) -> PartCodec {
    let gradients = samples.gradients(part);
    let mut fit = Fit {
        settings,
        samples: samples.of(part),
        gradients,
        width: shape.channels(part),
        weights: match gradients {
            Some(_) => settings.weights,
            None => settings.weights.without_gradients(),
        },
        channels: None,
    };
    if !settings.is_per_token(part) {
        fit.channels = Some(fit.ranges());
    }
    let table = if settings.is_uniform {
        let last = (1_u16 << settings.bits) - 1;
        (0..=last)
            .map(|at| f32::from(2 * at) / f32::from(last) - 1.0)
            .collect()
    } else {
        fit.table()
    };
    let table = Table::new(table);
    PartCodec {
        part,
        settings: *settings,
        width: fit.width,
        q_norm: settings.q_norm.then(|| fit.q_norm(&table)),
        weights: if settings.is_uniform {
            "none"
        } else {
            fit.weights.name()
        },
        channels: fit.channels,
        table,
    }
}

struct Fit<'a> {
    settings: &'a Settings,
    samples: &'a [MatrixRef<'a>],
    gradients: Option<&'a [MatrixRef<'a>]>,
    width: usize,
    weights: ErrorWeights,
    channels: Option<Channels>,
}

impl<'a> Fit<'a> {
    /// All tokens but the sinks of each sequence.
    fn tokens(&self) -> impl Iterator<Item = Token<'a>> {
        let (samples, gradients, sinks) = (self.samples, self.gradients, self.settings.sinks);
        samples
            .iter()
            .enumerate()
            .flat_map(move |(sequence, sample)| {
                let sample = *sample;
                (sinks..sample.rows()).map(move |token| {
                    let gradient = gradients.map(|gradients| gradients[sequence].row(token));
                    (sample.row(token), gradient)
                })
            })
    }

    /// The quantiles of each channel. With a cap, the ends of what is left when each token's outliers beyond them
    /// are taken away, as many as the cap allows.
    fn ranges(&self) -> Channels {
        let share = 0.5 * self.settings.outlier_fraction;
        let ends = |channel: usize| {
            let mut values: Vec<f32> = self.tokens().map(|(token, _)| token[channel]).collect();
            let (low, high) = quantiles(&mut values, share);
            Ends::new(low, high)
        };
        let quantiles: Vec<Ends> = (0..self.width).into_par_iter().map(ends).collect();
        if !self.settings.caps || self.settings.outlier_fraction == 0.0 {
            return Channels::new(quantiles);
        }
        let per_tail = self.settings.per_tail(self.width);
        let ranges: Vec<Scaling> = quantiles.iter().map(|ends| ends.scaling()).collect();
        let mut left = vec![(f32::INFINITY, f32::NEG_INFINITY); self.width];
        let mut extremes = Extremes::default();
        let mut taken = Vec::new();
        for (token, _) in self.tokens() {
            let scaled = token.iter().zip(&ranges);
            let scaled: Vec<f32> = scaled.map(|(a, r)| (a - r.zero) * r.inverse).collect();
            of_token(&scaled, per_tail, &mut extremes, &mut taken);
            let mut is_taken = vec![false; self.width];
            for (_, at) in &taken {
                is_taken[*at] = quantiles[*at].excludes(token[*at]);
            }
            for ((left, value), is_taken) in left.iter_mut().zip(token).zip(is_taken) {
                if !is_taken {
                    *left = (left.0.min(*value), left.1.max(*value));
                }
            }
        }
        let ends = left.into_iter().zip(quantiles);
        let ends = ends.map(|((low, high), quantiles)| {
            if low <= high {
                Ends::new(low, high)
            } else {
                quantiles
            }
        });
        Channels::new(ends.collect())
    }

    /// Calls `take` with `x` from -1 to 1 and its weight, for every element that is no outlier.
    fn inliers(&self, mut take: impl FnMut(f32, f64)) {
        let per_tail = self.settings.per_tail(self.width);
        let mut extremes = Extremes::default();
        let mut outliers = Vec::new();
        let mut is_outlier = vec![false; self.width];
        let ranges: Vec<Scaling> = match &self.channels {
            Some(channels) => channels.ends().iter().map(|ends| ends.scaling()).collect(),
            None => Vec::new(),
        };
        for (token, gradient) in self.tokens() {
            let own = if let Some(channels) = &self.channels {
                for ((is_outlier, ends), value) in
                    is_outlier.iter_mut().zip(channels.ends()).zip(token)
                {
                    *is_outlier = self.settings.outlier_fraction > 0.0 && ends.excludes(*value);
                }
                None
            } else {
                let ends = of_token(token, per_tail, &mut extremes, &mut outliers);
                is_outlier.fill(false);
                for (_, at) in &outliers {
                    is_outlier[*at] = true;
                }
                Some(ends.scaling())
            };
            for (at, value) in token.iter().enumerate().filter(|(at, _)| !is_outlier[*at]) {
                let Scaling {
                    zero,
                    range,
                    inverse,
                } = own.unwrap_or_else(|| ranges[at]);
                let fisher = || gradient.map_or(1.0, |gradient| f64::from(gradient[at]).powi(2));
                let weight = match self.weights {
                    ErrorWeights::FisherRange => fisher() * f64::from(range).powi(2),
                    ErrorWeights::Fisher => fisher(),
                    ErrorWeights::Range => f64::from(range).powi(2),
                    ErrorWeights::Equal => 1.0,
                };
                take(((value - zero) * inverse).clamp(-1.0, 1.0), weight);
            }
        }
    }

    /// The weighted k-means of all inliers.
    fn table(&self) -> Vec<f32> {
        #[derive(Clone, Copy, Default)]
        struct Cell {
            count: f64,
            sum: f64,
            weight: f64,
            weighted: f64,
        }
        let mut cells = vec![Cell::default(); CELLS];
        self.inliers(|x, weight| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "x is from -1 to 1"
            )]
            let at = ((0.5 * (x + 1.0) * CELLS as f32) as usize).min(CELLS - 1);
            let cell = &mut cells[at];
            cell.count += 1.0;
            cell.sum += f64::from(x);
            cell.weight += weight;
            cell.weighted += weight * f64::from(x);
        });
        // Where nothing has a weight, everything counts alike.
        let heaviest = cells.iter().map(|cell| cell.weight).fold(0.0, f64::max);
        if heaviest == 0.0 {
            for cell in &mut cells {
                (cell.weight, cell.weighted) = (cell.count, cell.sum);
            }
        }
        cells.retain(|cell| cell.weight > 0.0);
        let heaviest = cells
            .iter()
            .map(|cell| cell.weight)
            .fold(f64::MIN_POSITIVE, f64::max);
        #[expect(clippy::cast_possible_truncation, reason = "f32 is what is clustered")]
        let narrow = |value: f64| value as f32;
        let values: Vec<f32> = cells
            .iter()
            .map(|cell| narrow(cell.weighted / cell.weight))
            .collect();
        let weights: Vec<f32> = cells
            .iter()
            .map(|cell| narrow(cell.weight / heaviest))
            .collect();
        let mut solver = Solver::default();
        let row = Row {
            values: &values,
            weights: Some(&weights),
            removed: None,
        };
        let entries = 1 << self.settings.bits;
        let found = solver.solve(row, entries).centroids;
        let mut table: Vec<f32> = found.iter().copied().map(narrow).collect();
        table.resize(entries, table.last().copied().unwrap_or(0.0));
        table
    }

    /// Scale and offset that give what is read back the mean and the deviation of what was there.
    fn q_norm(&self, table: &Table) -> [f32; 2] {
        let mut before = Moments::default();
        let mut after = Moments::default();
        let mut code = [0];
        let mut entry = [0.0];
        self.inliers(|x, _| {
            table.nearest(&[x], &mut code);
            table.look_up(&code, &mut entry);
            before.add(x);
            after.add(entry[0]);
        });
        let (mean, deviation) = before.mean_and_deviation();
        let (own_mean, own_deviation) = after.mean_and_deviation();
        let scale = if own_deviation > 0.0 {
            deviation / own_deviation
        } else {
            1.0
        };
        #[expect(clippy::cast_possible_truncation, reason = "stored as f32")]
        let pair = [scale as f32, (mean - own_mean * scale) as f32];
        pair
    }
}

#[derive(Debug, Default)]
struct Moments {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, x: f32) {
        let x = f64::from(x);
        self.count += 1.0;
        self.sum += x;
        self.squares += x * x;
    }

    fn mean_and_deviation(&self) -> (f64, f64) {
        let mean = self.sum / self.count.max(1.0);
        let variance = self.squares / self.count.max(1.0) - mean * mean;
        (mean, variance.max(0.0).sqrt())
    }
}
