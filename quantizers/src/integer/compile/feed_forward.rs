//! The feed-forward half: first layer, nonlinear slot, second layer.

use super::builder::{Builder, Tensor, requantization};
use super::choice::{Selection, compiled};
use super::equalize::costs;
use super::error::CompileError;
use super::graph::{Activation, Block};
use super::grids::{Channels, Point, symmetric};
use super::linear::Product;
use super::measure::{self, Rows};
use super::statistics::Samples;
use crate::integer::Requantization;
use crate::integer::operation::Kernel;
use crate::nonlinear::{Approximation, Compiled, Grid, InputForm, Request};

/// A float function.
type Function = fn(f64) -> f64;

/// Bits of the input of a table.
const TABLE_BITS: u32 = 12;
/// Below this GELU is zero at any output grid of 8 bits.
const FLOOR: f64 = -6.0;
/// Largest exponent of a factor between channels.
const MOST_EXPONENT: i32 = 7;
/// Sample rows a slot is measured on.
const ROWS: usize = 1024;

impl Activation {
    /// Its float form.
    fn float(self) -> Function {
        match self {
            Self::Gelu => crate::nonlinear::gelu,
            Self::GeluTanh => crate::nonlinear::gelu_tanh,
            Self::Silu => crate::nonlinear::silu,
            Self::Relu => crate::nonlinear::relu,
        }
    }

    /// Below this its outputs are zero at any grid of 8 bits.
    fn floor(self) -> f64 {
        match self {
            Self::Relu => 0.0,
            Self::Gelu | Self::GeluTanh => FLOOR,
            // x sigmoid(x) fades more slowly: 2e-6 there.
            Self::Silu => 2.75 * FLOOR,
        }
    }
}

impl Builder<'_> {
    /// Emits the feed-forward half of `block` over `input`; returns its second layer, whose
    /// accumulators the caller adds to the residual.
    pub(super) fn feed_forward(
        &mut self,
        block: &Block,
        input: &Tensor,
    ) -> Result<Product, CompileError> {
        let up = self.product(&block.up, input)?;
        let weight = self.weight(&block.down)?;
        let channels = Channels {
            costs: costs(&weight, block.down.cols, &Channels::default()),
            ..Channels::default()
        };
        let output = self.at(&block.down.input_point, |point| {
            point.codes(self.options, &channels)
        })?;
        let function = block.activation.nonlinearity();
        let statistics = self.statistics(&block.up.output_point())?;
        let name = block.up.output_point();
        let samples = self.at(&name, |point| point.samples().cloned())?;
        let sequences = sequences(&samples, block.activation.float());
        let slot = format!("{}.{}", block.up.name, function.name());
        let compile = |approximation: &'static dyn Approximation| {
            let point = Point {
                name: &name,
                statistics: &statistics,
            };
            let (low, high) = point.range("min_max")?;
            let form = approximation.input();
            let input = match form {
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
                    wide(low.max(block.activation.floor()), high, &output)
                }
            };
            let mut inner = (output.clone(), channels.clone());
            if !approximation.published() && self.options.equalize {
                inner = self.by_channel(block)?;
            }
            let (grid, channels) = inner;
            let request = Request {
                input,
                output: Some(per_channel(&grid, &channels, block.up.rows)),
                output_bits: 8,
                width: block.up.rows,
                gamma: Vec::new(),
                beta: Vec::new(),
                epsilon: 0.0,
                code_variance: None,
            };
            Ok(Nonlinear {
                compiled: compiled(approximation, &request, &slot)?,
                requantize: (form != InputForm::Accumulator)
                    .then(|| requantization(&up.scales, &request.input)),
                input: request.input,
                grid,
                channels,
            })
        };
        let selection = Selection {
            slot: &slot,
            function,
            compile: &compile,
            measure: &|candidate: &Nonlinear| {
                measure::rows(&candidate.input, &candidate.compiled, &sequences)
            },
        };
        let (chosen, slot) = selection.choose(self.options)?;
        self.slots.push(slot);
        let buffer = self.buffer("inner", block.up.rows, &chosen.grid);
        let mut linear = up.raw(buffer);
        linear.requantize = chosen.requantize;
        linear.kernel = Some(Kernel(chosen.compiled.kernel));
        self.push(linear);
        let inner = Tensor {
            buffer,
            grid: chosen.grid,
            channels: chosen.channels,
        };
        self.product(&block.down, &inner)
    }
}

/// A candidate of the slot between the two layers.
struct Nonlinear {
    compiled: Compiled,
    /// Grid of its input.
    input: Grid,
    /// From accumulators of the first layer to that grid, unless it reads those.
    requantize: Option<Requantization>,
    /// Grid of its output, before the channels are moved.
    grid: Grid,
    channels: Channels,
}

impl Builder<'_> {
    /// The output of the slot with power-of-two factors between channels, where the predicted error
    /// of the second layer is smaller with them: a table for each factor costs nothing at run time.
    ///
    /// A factor makes the negative end of GELU longer for its channel, so more is not always better:
    /// every largest exponent is tried.
    fn by_channel(&self, block: &Block) -> Result<(Grid, Channels), CompileError> {
        let weight = self.weight(&block.down)?;
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
        let channels = best.map(|(_, channels)| channels).unwrap_or_default();
        let point = Point {
            name: point,
            statistics: &statistics,
        };
        let grid = point.codes(self.options, &channels)?;
        Ok((grid, channels))
    }
}

/// `grid` with a scale for each of `count` channels, where they are moved.
fn per_channel(grid: &Grid, channels: &Channels, count: usize) -> Grid {
    if !channels.moved() {
        return grid.clone();
    }
    let scale = |channel| grid.scale(0) * channels.factor(channel);
    Grid {
        scales: (0..count).map(scale).collect(),
        ..grid.clone()
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

fn sequences(samples: &Samples, float: Function) -> Vec<Rows> {
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
