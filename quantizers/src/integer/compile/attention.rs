//! Attention: grids of queries, keys and values, the softmax slot, the output projection.

use super::builder::{Builder, Tensor, requantization};
use super::choice::{Contest, Rows};
use super::equalize::costs;
use super::error::CompileError;
use super::graph::Block;
use super::grids::{Channels, asymmetric, symmetric};
use super::linear::Product;
use super::statistics::Samples;
use crate::graph::LinearNode;
use crate::integer::operation::Kernel;
use crate::integer::ops::attention::Attention;
use crate::integer::ops::fused_attention::FusedAttention;
use crate::nonlinear::{Approximation, Grid, InputForm, Nonlinearity, Request, exact};

/// Bits of keys and values.
const KEY_BITS: u32 = 8;
/// Fraction bits of sums that are rescaled; unused by whole rows.
const GUARD_BITS: u32 = 8;
/// Rows of scores a softmax is measured on, at most.
const SCORE_ROWS: usize = 4096;

impl Builder<'_> {
    /// Emits the attention of `block` over `input`; returns its output projection, whose
    /// accumulators the caller adds to the residual.
    pub(super) fn attention(
        &mut self,
        block: &Block<'_>,
        input: &Tensor,
    ) -> Result<Product, CompileError> {
        let width = block.heads * block.head_dim;
        let (query_channels, key_channels) = self.balanced(block)?;
        let query_grid = self.at(&block.query.output_point(), |point| {
            point.codes(self.options, &query_channels)
        })?;
        let bits = KEY_BITS.min(self.options.activation_bits);
        let key_grid = self.at(&block.key.output_point(), |point| {
            point.signed_codes(self.options, &key_channels, bits)
        })?;
        let (grid, channels) = self.attended_grid(block)?;
        let value_grid = self.at(&block.value.output_point(), |point| {
            point.signed_codes(self.options, &channels, bits)
        })?;
        let query = self.projected(block.query, input, "query", &query_grid, &query_channels)?;
        let key = self.projected(block.key, input, "key", &key_grid, &key_channels)?;
        let value = self.projected(block.value, input, "value", &value_grid, &channels)?;

        let scale = query_grid.scale(0) * key_grid.scale(0) * block.scale;
        let sequences = self.scores(block)?;
        let max_rows = self.max_rows;
        let request = |approximation: &dyn Approximation| {
            Ok(Request {
                input: score_grid(approximation.input(), scale, &sequences),
                output: None,
                output_bits: 16,
                width: max_rows,
                gamma: Vec::new(),
                beta: Vec::new(),
                epsilon: 0.0,
                code_variance: None,
            })
        };
        let chosen = self.choose(&Contest {
            slot: format!("{}.softmax", block.output.input_point),
            function: Nonlinearity::Softmax,
            request: &request,
            sequences: &sequences,
        })?;
        let attended = self.buffer("attended", width, &grid);
        if chosen.approximation.published() {
            let scores = &chosen.request.input;
            let codes = !matches!(chosen.approximation.input(), InputForm::Accumulator);
            let weighted = value_grid.scale(0) * chosen.compiled.output.scale(0);
            let operation = Attention {
                query,
                key,
                value,
                output: attended,
                heads: block.heads,
                head_dim: block.head_dim,
                query_zero_point: query_grid.zero_point,
                requantize: codes.then(|| requantization(&[scale], scores)),
                kernel: Kernel(chosen.compiled.kernel),
                output_requantize: requantization(&[weighted], &grid),
            };
            self.push(operation);
        } else {
            let head = exact::attention::Head {
                query: query_grid,
                key_scale: key_grid.scale(0),
                value_scale: value_grid.scale(0),
                factor: block.scale,
                output: grid.clone(),
                head_dim: block.head_dim,
                most_keys: self.max_rows,
                weight_bits: self.options.attention_bits,
                guard_bits: GUARD_BITS,
            };
            let head = head.compile().map_err(|source| CompileError::Refused {
                slot: block.output.input_point.clone(),
                source,
            })?;
            self.push(FusedAttention {
                query,
                key,
                value,
                output: attended,
                heads: block.heads,
                head,
            });
        }
        let attended = Tensor {
            buffer: attended,
            grid,
            channels,
        };
        self.product(block.output, &attended)
    }

    fn projected(
        &mut self,
        node: &LinearNode,
        input: &Tensor,
        role: &str,
        grid: &Grid,
        channels: &Channels,
    ) -> Result<usize, CompileError> {
        let product = self.product(node, input)?;
        let buffer = self.buffer(role, node.rows, grid);
        let scales = (0..node.rows)
            .map(|channel| grid.scale(0) * channels.factor(channel))
            .collect();
        let per_channel = Grid {
            scales,
            ..grid.clone()
        };
        self.push(product.to(buffer, &per_channel));
        Ok(buffer)
    }

    /// Factors that make the reach of a channel equal in queries and keys:
    /// `q k = (q / f) (k f)`, `f = sqrt(max|q| / max|k|)`.
    fn balanced(&self, block: &Block<'_>) -> Result<(Channels, Channels), CompileError> {
        if !self.options.equalize {
            return Ok((Channels::default(), Channels::default()));
        }
        let query = self.reach(&block.query.output_point())?;
        let key = self.reach(&block.key.output_point())?;
        let factors: Vec<f64> = query
            .iter()
            .zip(&key)
            .map(|(q, k)| (q / k).sqrt())
            .collect();
        let inverse = factors.iter().map(|factor| 1.0 / factor).collect();
        let of = |factors| Channels {
            factors,
            ..Channels::default()
        };
        Ok((of(factors), of(inverse)))
    }

    /// Largest magnitude of each channel at `point`.
    pub(super) fn reach(&self, point: &str) -> Result<Vec<f64>, CompileError> {
        let seen = self.statistics(point)?.channels;
        let seen = seen.ok_or_else(|| CompileError::Missing {
            point: point.to_owned(),
            statistic: "channel_range",
        })?;
        let reach = |(low, high): (&f32, &f32)| f64::from(low.abs().max(high.abs())).max(1e-6);
        Ok(seen.min.iter().zip(&seen.max).map(reach).collect())
    }

    /// The grid of attended values and the factors of their channels, which values share: they cost
    /// nothing, the requantization of the values has a factor for each channel anyway.
    fn attended_grid(&self, block: &Block<'_>) -> Result<(Grid, Channels), CompileError> {
        let weight = self.weight(block.output)?;
        let point = &block.output.input_point;
        let mut channels = self.equalized(point, &[block.output])?;
        // Published probabilities do not add up to one, so values cannot be centred.
        channels.offsets = Vec::new();
        channels.costs = costs(&weight, block.output.cols, &channels);
        let grid = self.at(point, |p| p.codes(self.options, &channels))?;
        Ok((grid, channels))
    }

    /// Scores and probabilities of the kept sequences, head by head.
    fn scores(&self, block: &Block<'_>) -> Result<Vec<Rows>, CompileError> {
        let query = self.at(&block.query.output_point(), |p| p.samples().cloned())?;
        let key = self.at(&block.key.output_point(), |p| p.samples().cloned())?;
        let mut sequences = Vec::new();
        let mut start = 0;
        let mut kept = 0;
        for &length in &query.lengths {
            for head in 0..block.heads {
                if kept < SCORE_ROWS {
                    sequences.push(head_scores(block, head, &query, &key, start, length));
                    kept += length;
                }
            }
            start += length;
        }
        Ok(sequences)
    }
}

/// Scores of one head over one sequence, and their softmax.
fn head_scores(
    block: &Block<'_>,
    head: usize,
    query: &Samples,
    key: &Samples,
    start: usize,
    length: usize,
) -> Rows {
    let channels = head * block.head_dim..(head + 1) * block.head_dim;
    let row = |samples: &Samples, at: usize| -> Vec<f64> {
        let begin = (start + at) * samples.width;
        samples.values[begin + channels.start..begin + channels.end]
            .iter()
            .map(|&value| f64::from(value))
            .collect()
    };
    let keys: Vec<Vec<f64>> = (0..length).map(|at| row(key, at)).collect();
    let mut rows = Rows {
        width: length,
        ..Rows::default()
    };
    for at in 0..length {
        let query = row(query, at);
        let scores: Vec<f64> = keys
            .iter()
            .map(|key| block.scale * query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>())
            .collect();
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
        let sum: f64 = weights.iter().sum();
        rows.inputs.extend(&scores);
        rows.outputs
            .extend(weights.iter().map(|weight| weight / sum));
    }
    rows
}

/// The grid a softmax reads its scores on.
fn score_grid(form: InputForm, scale: f64, sequences: &[Rows]) -> Grid {
    let all = || {
        sequences
            .iter()
            .flat_map(|rows| rows.inputs.iter().copied())
    };
    let (low, high) = all().fold((0.0_f64, 0.0_f64), |(low, high), score| {
        (low.min(score), high.max(score))
    });
    match form {
        InputForm::Codes {
            bits,
            symmetric: true,
        } => symmetric((-low).max(high), bits),
        InputForm::Codes { bits, .. } => asymmetric(low, high, (1 << bits) - 1),
        InputForm::PowerOfTwoFactor => asymmetric(low, high, 255),
        InputForm::Accumulator => Grid {
            scales: vec![scale],
            zero_point: 0,
            low: i32::MIN,
            high: i32::MAX,
        },
    }
}
