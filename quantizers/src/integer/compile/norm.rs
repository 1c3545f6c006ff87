//! Normalisations: the grid of their input, a kernel for each output.

use super::builder::{Builder, Tensor};
use super::choice::{Selection, compiled};
use super::error::CompileError;
use super::grids::{Channels, symmetric};
use super::measure::{self, Rows};
use super::statistics::Samples;
use crate::graph::{NormKind, NormNode};
use crate::integer::operation::Kernel;
use crate::integer::ops::norm::{Norm, NormOutput};
use crate::nonlinear::fq_vit::power_of_two_factor::power_of_two_factors;
use crate::nonlinear::{Approximation, Compiled, Grid, InputForm, Nonlinearity, Request};

/// Bits of a residual that is read by a normalisation without wishes of its own.
const RESIDUAL_BITS: u32 = 16;
/// Bits of a normalised residual (post-norm models).
const NORMED_BITS: u32 = 16;

/// A candidate of a normalisation.
struct Chosen {
    approximation: &'static dyn Approximation,
    request: Request,
    compiled: Compiled,
}

/// A normalisation whose input grid is decided.
pub(super) struct PlannedNorm<'a> {
    node: &'a NormNode,
    chosen: Chosen,
    codes: Option<(Grid, Channels)>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
}

/// What a normalisation gives.
pub(super) struct Normed {
    /// For linear layers.
    pub(super) codes: Option<Tensor>,
    /// For the residual path.
    pub(super) fine: Option<Tensor>,
}

impl PlannedNorm<'_> {
    /// The grid its input has to be on.
    pub(super) fn input(&self) -> &Grid {
        &self.chosen.request.input
    }
}

impl Builder<'_> {
    /// Decides how `node` is computed; its codes will be on the grid of `codes`, moved as that says.
    pub(super) fn plan_norm<'n>(
        &mut self,
        node: &'n NormNode,
        width: usize,
        codes: Option<(Grid, Channels)>,
    ) -> Result<PlannedNorm<'n>, CompileError> {
        let gamma = match node.weight() {
            Some(weight) => self.tensor(&weight.name, width)?,
            None => vec![1.0; width],
        };
        let beta = match node.bias() {
            Some(bias) => self.tensor(&bias.name, width)?,
            None => vec![0.0; width],
        };
        let function = match node.kind {
            NormKind::Layer => Nonlinearity::LayerNorm,
            NormKind::Rms => Nonlinearity::RmsNorm,
        };
        let statistics = self.statistics(&node.input_point())?;
        let samples = self.at(&node.input_point(), |point| point.samples().cloned())?;
        let fine = self.at(&node.output_point(), |point| point.fine(NORMED_BITS))?;
        // Moved channels are another normalisation: `(y - m) / f` has gamma / f and (beta - m) / f.
        let plain = Channels::default();
        let (output, channels) = match &codes {
            Some((grid, channels)) => (grid.clone(), channels),
            None => (fine, &plain),
        };
        let moved_gamma = moved(&gamma, &[], channels);
        let moved_beta = moved(&beta, &channels.offsets, channels);
        let compile = |approximation: &'static dyn Approximation| {
            let point = super::grids::Point {
                name: &node.input_point(),
                statistics: &statistics,
            };
            let input = match approximation.input() {
                InputForm::Codes { bits, .. } if bits >= RESIDUAL_BITS => point.fine(bits)?,
                InputForm::Codes { bits, .. } => {
                    let (low, high) = point.range("min_max")?;
                    symmetric((-low).max(high), bits)
                }
                InputForm::Accumulator => point.fine(RESIDUAL_BITS)?,
                InputForm::PowerOfTwoFactor => {
                    let (scales, zero_point) = power_of_two_factors(&samples.values, width);
                    Grid {
                        scales,
                        zero_point,
                        low: 0,
                        high: 255,
                    }
                }
            };
            let request = Request {
                code_variance: Some(code_variance(&input, &samples)),
                input,
                output: Some(output.clone()),
                output_bits: 8,
                width,
                gamma: moved_gamma.clone(),
                beta: moved_beta.clone(),
                epsilon: node.epsilon,
            };
            Ok(Chosen {
                approximation,
                compiled: compiled(approximation, &request, &node.name)?,
                request,
            })
        };
        let sequences = sequences(&samples, function, &moved_gamma, &moved_beta, node.epsilon);
        let selection = Selection {
            slot: &node.name,
            function,
            compile: &compile,
            measure: &|chosen: &Chosen| {
                measure::rows(&chosen.request.input, &chosen.compiled, &sequences)
            },
        };
        let (chosen, slot) = selection.choose(self.options)?;
        self.slots.push(slot);
        Ok(PlannedNorm {
            node,
            chosen,
            codes,
            gamma,
            beta,
        })
    }

    /// Emits the normalisation of `input`.
    pub(super) fn norm(
        &mut self,
        planned: PlannedNorm<'_>,
        input: &Tensor,
        role: &str,
        fine: bool,
    ) -> Result<Normed, CompileError> {
        let width = planned.gamma.len();
        let mut outputs = Vec::new();
        let mut normed = Normed {
            codes: None,
            fine: None,
        };
        let as_fine = if fine || planned.codes.is_none() {
            let grid = self.at(&planned.node.output_point(), |p| p.fine(NORMED_BITS))?;
            let request = Request {
                output: Some(grid.clone()),
                gamma: planned.gamma.clone(),
                beta: planned.beta.clone(),
                ..planned.chosen.request.clone()
            };
            let approximation = planned.chosen.approximation;
            let fine = compiled(approximation, &request, &planned.node.name)?;
            Some((grid, fine.kernel))
        } else {
            None
        };
        if let Some((grid, channels)) = planned.codes {
            let buffer = self.buffer(&format!("{role}.codes"), width, &grid);
            outputs.push(NormOutput {
                buffer,
                kernel: Kernel(planned.chosen.compiled.kernel),
            });
            normed.codes = Some(Tensor {
                buffer,
                grid,
                channels,
            });
        }
        if let Some((grid, kernel)) = as_fine {
            let buffer = self.buffer(&format!("{role}.fine"), width, &grid);
            outputs.push(NormOutput {
                buffer,
                kernel: Kernel(kernel),
            });
            normed.fine = Some(Tensor::plain(buffer, grid));
        }
        self.push(Norm {
            input: input.buffer,
            outputs,
        });
        Ok(normed)
    }
}

/// `(values - offsets) / factors`.
fn moved(values: &[f64], offsets: &[f64], channels: &Channels) -> Vec<f64> {
    let offset = |channel: usize| offsets.get(channel).copied().unwrap_or(0.0);
    values
        .iter()
        .enumerate()
        .map(|(channel, value)| (value - offset(channel)) / channels.factor(channel))
        .collect()
}

/// The float normalisation of each sample row, in f64.
fn sequences(
    samples: &Samples,
    function: Nonlinearity,
    gamma: &[f64],
    beta: &[f64],
    epsilon: f64,
) -> Vec<Rows> {
    let width = samples.width.max(1);
    let mut all = Vec::new();
    for head in samples.sequences() {
        let mut rows = Rows {
            inputs: head.iter().map(|&value| f64::from(value)).collect(),
            outputs: Vec::with_capacity(head.len()),
            width,
        };
        for row in rows.inputs.chunks_exact(width) {
            let mean = match function {
                Nonlinearity::RmsNorm => 0.0,
                _ => row.iter().sum::<f64>() / width as f64,
            };
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
            let scale = 1.0 / (variance + epsilon).sqrt();
            let normed = row.iter().zip(gamma).zip(beta);
            rows.outputs
                .extend(normed.map(|((x, gamma), beta)| (x - mean) * scale * gamma + beta));
        }
        all.push(rows);
    }
    all
}

/// Largest variance of the codes of a sample row.
fn code_variance(grid: &Grid, samples: &Samples) -> f64 {
    let width = samples.width.max(1);
    samples
        .values
        .chunks_exact(width)
        .map(|row| {
            let codes = || {
                row.iter()
                    .enumerate()
                    .map(|(channel, &value)| f64::from(value) / grid.scale(channel))
            };
            let mean = codes().sum::<f64>() / width as f64;
            codes().map(|code| (code - mean).powi(2)).sum::<f64>() / width as f64
        })
        .fold(0.0, f64::max)
}
