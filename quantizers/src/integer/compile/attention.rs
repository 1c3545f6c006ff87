//! Attention: grids of queries, keys and values, the softmax slot, the output projection.

use super::attention_samples::{AttentionCandidate, AttentionSamples, AttentionTensors};
use super::builder::{Builder, Tensor, requantization};
use super::choice::{Selection, compiled};
use super::equalize::costs;
use super::error::CompileError;
use super::graph::{Block, LinearNode};
use super::grids::{Channels, asymmetric, symmetric};
use super::linear::Product;
use crate::integer::operation::{Kernel, Operation};
use crate::integer::ops::attention::SoftmaxAttention;
use crate::integer::ops::exact_attention::ExactAttention;
use crate::nonlinear::{Approximation, AttentionRequest, Grid, InputForm, Nonlinearity, Request};

/// Bits of keys and values.
const KEY_BITS: u32 = 8;
/// Fraction bits of sums that are rescaled; unused by whole rows.
const GUARD_BITS: u32 = 8;

impl Builder<'_> {
    /// Emits the attention of `block` over `input`; returns its output projection, whose
    /// accumulators the caller adds to the residual.
    pub(super) fn attention(
        &mut self,
        block: &Block,
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
        let tensors = AttentionTensors {
            query: self.projected(&block.query, input, "query", query_grid, query_channels)?,
            key: self.projected(&block.key, input, "key", key_grid, key_channels)?,
            value: self.projected(&block.value, input, "value", value_grid, channels.clone())?,
            attended: Tensor {
                buffer: self.buffer("attended", width, &grid),
                grid,
                channels,
            },
        };
        let operation = self.softmax(block, &tensors)?;
        self.operations.push(operation);
        self.product(&block.output, &tensors.attended)
    }

    /// Decides the softmax slot of `block`; returns the attention it is part of.
    fn softmax(
        &mut self,
        block: &Block,
        tensors: &AttentionTensors,
    ) -> Result<Box<dyn Operation>, CompileError> {
        let slot = format!("{}.softmax", block.output.input_point);
        let seen = |node: &LinearNode| self.at(&node.output_point(), |p| p.samples().cloned());
        let [query, key, value] = [seen(&block.query)?, seen(&block.key)?, seen(&block.value)?];
        let samples = AttentionSamples::new(block, [&query, &key, &value], self.max_rows);
        let compile = |approximation: &'static dyn Approximation| {
            self.attention_candidate(approximation, block, tensors, &samples, &slot)
        };
        let measure =
            |candidate: &AttentionCandidate| samples.measure(candidate, tensors, &self.buffers);
        let selection = Selection {
            slot: &slot,
            function: Nonlinearity::Softmax,
            compile: &compile,
            measure: &measure,
        };
        let (chosen, slot) = selection.choose(self.options)?;
        self.slots.push(slot);
        Ok(chosen.operation)
    }

    /// The attention of `block` with `approximation` as its softmax.
    fn attention_candidate(
        &self,
        approximation: &dyn Approximation,
        block: &Block,
        tensors: &AttentionTensors,
        samples: &AttentionSamples,
        slot: &str,
    ) -> Result<AttentionCandidate, CompileError> {
        let AttentionTensors {
            query,
            key,
            value,
            attended,
        } = tensors;
        let scale = query.grid.scale(0) * key.grid.scale(0) * block.scale;
        let scores = score_grid(approximation.input(), scale, samples.score_range());
        let whole = approximation.attention(&AttentionRequest {
            query: query.grid.clone(),
            key_scale: key.grid.scale(0),
            value_scale: value.grid.scale(0),
            factor: block.scale,
            output: attended.grid.clone(),
            head_dim: block.head_dim,
            most_keys: self.max_rows,
            weight_bits: self.options.attention_bits,
            guard_bits: GUARD_BITS,
        });
        if let Some(head) = whole {
            let head = head.map_err(|source| CompileError::Approximation {
                slot: slot.to_owned(),
                source,
            })?;
            return Ok(AttentionCandidate {
                operation: Box::new(ExactAttention {
                    query: query.buffer,
                    key: key.buffer,
                    value: value.buffer,
                    output: attended.buffer,
                    heads: block.heads,
                    head,
                }),
                scores,
                requantize: None,
            });
        }
        let request = Request {
            input: scores,
            output: None,
            output_bits: 16,
            width: self.max_rows,
            gamma: Vec::new(),
            beta: Vec::new(),
            epsilon: 0.0,
            code_variance: None,
        };
        let softmax = compiled(approximation, &request, slot)?;
        let codes = !matches!(approximation.input(), InputForm::Accumulator);
        let requantize = codes.then(|| requantization(&[scale], &request.input));
        let weighted = value.grid.scale(0) * softmax.output.scale(0);
        Ok(AttentionCandidate {
            operation: Box::new(SoftmaxAttention {
                query: query.buffer,
                key: key.buffer,
                value: value.buffer,
                output: attended.buffer,
                heads: block.heads,
                head_dim: block.head_dim,
                query_zero_point: query.grid.zero_point,
                requantize: requantize.clone(),
                kernel: Kernel(softmax.kernel),
                output_requantize: requantization(&[weighted], &attended.grid),
            }),
            scores: request.input,
            requantize,
        })
    }

    fn projected(
        &mut self,
        node: &LinearNode,
        input: &Tensor,
        role: &str,
        grid: Grid,
        channels: Channels,
    ) -> Result<Tensor, CompileError> {
        let product = self.product(node, input)?;
        let buffer = self.buffer(role, node.rows, &grid);
        let scales = (0..node.rows)
            .map(|channel| grid.scale(0) * channels.factor(channel))
            .collect();
        let per_channel = Grid {
            scales,
            ..grid.clone()
        };
        self.push(product.to(buffer, &per_channel));
        Ok(Tensor {
            buffer,
            grid,
            channels,
        })
    }

    /// Factors that make the reach of a channel equal in queries and keys:
    /// `q k = (q / f) (k f)`, `f = sqrt(max|q| / max|k|)`.
    fn balanced(&self, block: &Block) -> Result<(Channels, Channels), CompileError> {
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
    fn attended_grid(&self, block: &Block) -> Result<(Grid, Channels), CompileError> {
        let weight = self.weight(&block.output)?;
        let point = &block.output.input_point;
        let mut channels = self.equalized(point, &[&block.output])?;
        // Published probabilities do not add up to one, so values cannot be centred.
        channels.offsets = Vec::new();
        channels.costs = costs(&weight, block.output.cols, &channels);
        let grid = self.at(point, |p| p.codes(self.options, &channels))?;
        Ok((grid, channels))
    }
}

/// The grid a softmax reads its scores on: of products of `scale`, or over what was seen.
fn score_grid(form: InputForm, scale: f64, (low, high): (f64, f64)) -> Grid {
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
