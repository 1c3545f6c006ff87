//! The feed-forward half: first layer, nonlinear slot, second layer.

use super::builder::{Builder, Tensor, requantization};
use super::choice::{Chosen, Contest, Rows};
use super::equalize::costs;
use super::error::CompileError;
use super::graph::Block;
use super::grids::{Channels, Point, symmetric};
use super::linear::Product;
use super::statistics::Samples;
use crate::integer::operation::Kernel;
use crate::nonlinear::{Approximation, Compiled, Grid, InputForm, Request};

/// Bits of the input of a table.
const TABLE_BITS: u32 = 12;
/// Largest exponent of a factor between channels.
const MOST_EXPONENT: i32 = 7;
/// Sample rows a slot is measured on.
const ROWS: usize = 1024;

impl Builder<'_> {
    /// Emits the feed-forward half of `block` over `input`; returns its second layer, whose
    /// accumulators the caller adds to the residual.
    pub(super) fn feed_forward(
        &mut self,
        block: &Block<'_>,
        input: &Tensor,
    ) -> Result<Product, CompileError> {
        let up = self.product(block.up, input)?;
        let weight = self.weight(block.down)?;
        let channels = Channels {
            costs: costs(&weight, block.down.cols, &Channels::default()),
            ..Channels::default()
        };
        let output = self.at(&block.down.input_point, |point| {
            point.codes(self.options, &channels)
        })?;
        let function = block.activation.nonlinearity;
        let statistics = self.statistics(&block.up.output_point())?;
        let name = block.up.output_point();
        let samples = self.at(&name, |point| point.samples().cloned())?;
        let request = |approximation: &dyn Approximation| {
            let point = Point {
                name: &name,
                statistics: &statistics,
            };
            let (low, high) = point.range("min_max")?;
            let input = match approximation.input() {
                InputForm::Accumulator => Grid {
                    scales: up.scales.clone(),
                    zero_point: 0,
                    low: i32::MIN,
                    high: i32::MAX,
                },
                InputForm::Codes {
                    bits,
                    symmetric: true,
                } => symmetric((-low).max(high), bits),
                InputForm::Codes { .. } | InputForm::PowerOfTwoFactor => {
                    wide(low.max(block.activation.floor), high, &output)
                }
            };
            Ok(Request {
                input,
                output: Some(output.clone()),
                output_bits: 8,
                width: block.up.rows,
                gamma: Vec::new(),
                beta: Vec::new(),
                epsilon: 0.0,
                code_variance: None,
            })
        };
        let chosen = self.choose(&Contest {
            slot: format!("{}.{}", block.up.name, function.name()),
            function,
            request: &request,
            sequences: &sequences(&samples, block.activation.float),
        })?;
        let (compiled, output, channels) = match self.by_channel(block, &chosen)? {
            Some(finer) => finer,
            None => (chosen.compiled, output, channels),
        };
        let buffer = self.buffer("inner", block.up.rows, &output);
        let mut linear = up.raw(buffer);
        if chosen.approximation.input() != InputForm::Accumulator {
            linear.requantize = Some(requantization(&up.scales, &chosen.request.input));
        }
        linear.kernel = Some(Kernel(compiled.kernel));
        self.push(linear);
        let inner = Tensor {
            buffer,
            grid: output,
            channels,
        };
        self.product(block.down, &inner)
    }
}

impl Builder<'_> {
    /// The slot with power-of-two factors between channels, where a table for each costs nothing at
    /// run time and the predicted error of the second layer is smaller with them.
    ///
    /// A factor makes the negative end of GELU longer for its channel, so more is not always better:
    /// every largest exponent is tried.
    fn by_channel(
        &self,
        block: &Block<'_>,
        chosen: &Chosen,
    ) -> Result<Option<(Compiled, Grid, Channels)>, CompileError> {
        let grid = &chosen.compiled.output;
        if chosen.approximation.published() || !self.options.equalize || grid.scales.len() != 1 {
            return Ok(None);
        }
        let weight = self.weight(block.down)?;
        let point = &block.down.input_point;
        let statistics = self.statistics(point)?;
        let reach = self.reach(point)?;
        let most = reach.iter().copied().fold(0.0, f64::max);
        let mut best: Option<(f64, Channels)> = None;
        for exponent in 0..=MOST_EXPONENT {
            let factor = |reach: &f64| {
                let wanted = (most / reach).log2().floor();
                (-wanted.clamp(0.0, f64::from(exponent))).exp2()
            };
            let mut channels = Channels {
                factors: reach.iter().map(factor).collect(),
                ..Channels::default()
            };
            channels.costs = costs(&weight, block.down.cols, &channels);
            let error = self.predicted(point, &statistics, &weight, &channels)?;
            if best.as_ref().is_none_or(|(least, _)| error < *least) {
                best = Some((error, channels));
            }
        }
        let Some((_, channels)) = best else {
            return Ok(None);
        };
        let point = Point {
            name: point,
            statistics: &statistics,
        };
        let grid = point.codes(self.options, &channels)?;
        let request = Request {
            output: Some(Grid {
                scales: (0..block.up.rows)
                    .map(|channel| grid.scale(0) * channels.factor(channel))
                    .collect(),
                ..grid.clone()
            }),
            ..chosen.request.clone()
        };
        let compiled = chosen.approximation.compile(&request);
        let compiled = compiled.map_err(|source| CompileError::Refused {
            slot: block.up.name.clone(),
            source,
        })?;
        Ok(Some((compiled, grid, channels)))
    }
}

/// The input grid of a table from `low`: as fine as its bits allow over what can matter. Above, the
/// output is saturated already.
#[expect(clippy::cast_possible_truncation, reason = "a code of 12 bits")]
fn wide(low: f64, high: f64, output: &Grid) -> Grid {
    let top = output.value(output.high, 0) + output.scale(0);
    let (low, high) = (low.min(0.0), high.clamp(0.0, top.max(0.0)));
    let levels = f64::from((1 << TABLE_BITS) - 1);
    let scale = (high - low).max(1e-8) / levels;
    // The codes are signed: the zero point moves them around zero.
    let half = 1 << (TABLE_BITS - 1);
    let zero_point = (-low / scale).round() as i32 - half;
    Grid {
        scales: vec![scale],
        zero_point,
        low: -half,
        high: half - 1,
    }
}

fn sequences(samples: &Samples, float: fn(f64) -> f64) -> Vec<Rows> {
    let mut kept = 0;
    let mut all = Vec::new();
    for sequence in samples.sequences() {
        if kept < ROWS * samples.width {
            kept += sequence.len();
            let inputs: Vec<f64> = sequence.iter().map(|&value| f64::from(value)).collect();
            all.push(Rows {
                outputs: inputs.iter().map(|&x| float(x)).collect(),
                inputs,
                width: samples.width,
            });
        }
    }
    all
}
