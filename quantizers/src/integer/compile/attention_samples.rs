//! Attention on calibration samples: exact scores and outputs, and what an operation makes of them.

use super::builder::Tensor;
use super::graph::Block;
use super::measure::{Ratio, Sqnr, code};
use super::statistics::Samples;
use crate::integer::buffer::Buffer;
use crate::integer::frame::Frame;
use crate::integer::operation::Operation;
use crate::integer::{ArithmeticError, Mode, Requantization, Wrapping};
use crate::nonlinear::Grid;
use std::collections::BTreeMap;

/// Rows of scores that are looked at, at most.
const SCORE_ROWS: usize = 4096;

/// The tensors of an attention.
pub(super) struct AttentionTensors {
    /// `[tokens, heads * head_dim]`, as the others.
    pub(super) query: Tensor,
    pub(super) key: Tensor,
    pub(super) value: Tensor,
    /// Weighted values.
    pub(super) attended: Tensor,
}

/// A softmax inside the operation that would run.
pub(super) struct AttentionCandidate {
    pub(super) operation: Box<dyn Operation>,
    /// Grid of the scores that the softmax reads.
    pub(super) scores: Grid,
    /// To that grid; without it the softmax reads the products of queries and keys.
    pub(super) requantize: Option<Requantization>,
}

/// Exact attention over the first sequences.
pub(super) struct AttentionSamples {
    head_dim: usize,
    width: usize,
    sequences: Vec<Sequence>,
}

struct Sequence {
    tokens: usize,
    /// Queries, keys and values, `[tokens, width]` each.
    inputs: [Vec<f64>; 3],
    /// The heads that are looked at, from the first on.
    heads: Vec<HeadSamples>,
}

struct HeadSamples {
    /// `[tokens, tokens]`.
    scores: Vec<f64>,
    /// `[tokens, head_dim]`.
    attended: Vec<f64>,
}

impl AttentionSamples {
    /// Of the queries, keys and values seen in calibration, in sequences of at most `most_tokens`: a
    /// program takes no longer ones.
    pub(super) fn new(
        block: &Block,
        [query, key, value]: [&Samples; 3],
        most_tokens: usize,
    ) -> Self {
        let mut sequences = Vec::new();
        let mut kept = 0;
        let inputs = query
            .sequences()
            .zip(key.sequences())
            .zip(value.sequences());
        for (&tokens, ((query, key), value)) in query.lengths.iter().zip(inputs) {
            if kept >= SCORE_ROWS {
                break;
            }
            if tokens > most_tokens {
                continue;
            }
            let inputs = [query, key, value]
                .map(|values| values.iter().copied().map(f64::from).collect::<Vec<f64>>());
            let mut heads = Vec::new();
            for head in 0..block.heads {
                if kept < SCORE_ROWS {
                    heads.push(HeadSamples::new(block, head, tokens, &inputs));
                    kept += tokens;
                }
            }
            sequences.push(Sequence {
                tokens,
                inputs,
                heads,
            });
        }
        Self {
            head_dim: block.head_dim,
            width: block.heads * block.head_dim,
            sequences,
        }
    }

    /// The smallest and the largest score, zero between them.
    pub(super) fn score_range(&self) -> (f64, f64) {
        let heads = self.sequences.iter().flat_map(|sequence| &sequence.heads);
        let scores = heads.flat_map(|head| head.scores.iter().copied());
        scores.fold((0.0_f64, 0.0_f64), |(low, high), score| {
            (low.min(score), high.max(score))
        })
    }

    /// SQNR of the scores that the softmax of `candidate` reads, and of what its operation gives.
    ///
    /// # Errors
    /// A fault of the operation.
    pub(super) fn measure(
        &self,
        candidate: &AttentionCandidate,
        tensors: &AttentionTensors,
        buffers: &[Buffer],
    ) -> Result<Sqnr, ArithmeticError> {
        let step = candidate.operation.prepare(&BTreeMap::new());
        let mut frame = Frame::new(buffers);
        let mut ratios = Vec::new();
        for sequence in &self.sequences {
            let parts = [&tensors.query, &tensors.key, &tensors.value];
            let codes: [Vec<i32>; 3] =
                std::array::from_fn(|at| parts[at].codes(&sequence.inputs[at], self.width));
            for (tensor, codes) in parts.into_iter().zip(&codes) {
                let mut storage = frame.take(tensor.buffer, sequence.tokens);
                storage.write(0, codes);
                frame.put(tensor.buffer, storage);
            }
            step.run(Mode::Fast, &mut frame)?;
            let found = frame.buffer(tensors.attended.buffer).to_i32();
            for (head, exact) in sequence.heads.iter().enumerate() {
                let first = head * self.head_dim;
                let mut of_scores = Ratio::default();
                let mut exact_scores = exact.scores.iter();
                for query in codes[0].chunks_exact(self.width) {
                    for key in codes[1].chunks_exact(self.width) {
                        let channels = first..first + self.head_dim;
                        let pairs = query[channels.clone()].iter().zip(&key[channels]);
                        let zero_point = tensors.query.grid.zero_point;
                        let sum = pairs
                            .map(|(q, k)| i64::from(q - zero_point) * i64::from(*k))
                            .sum();
                        let exact = exact_scores.next().copied().unwrap_or_default();
                        of_scores.add(exact, candidate.score(sum));
                    }
                }
                let mut of_output = Ratio::default();
                let rows = found.chunks_exact(self.width);
                for (row, exact) in rows.zip(exact.attended.chunks_exact(self.head_dim)) {
                    for (channel, exact) in (first..).zip(exact) {
                        of_output.add(*exact, tensors.attended.value(row[channel], channel));
                    }
                }
                ratios.push((of_scores, of_output));
            }
        }
        Ok(Sqnr::of(&ratios))
    }
}

impl HeadSamples {
    /// Scores of one head over one sequence, and the values weighted by their softmax.
    fn new<'a>(block: &Block, head: usize, tokens: usize, inputs: &'a [Vec<f64>; 3]) -> Self {
        let (dim, width) = (block.head_dim, block.heads * block.head_dim);
        let [query, key, value] = inputs;
        let row = |values: &'a [f64], at: usize| &values[at * width + head * dim..][..dim];
        let mut samples = Self {
            scores: Vec::with_capacity(tokens * tokens),
            attended: Vec::with_capacity(tokens * dim),
        };
        for at in 0..tokens {
            let q = row(query, at);
            let scores: Vec<f64> = (0..tokens)
                .map(|other| {
                    let k = row(key, other);
                    block.scale * q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>()
                })
                .collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
            let total: f64 = weights.iter().sum();
            let mut attended = vec![0.0; dim];
            for (other, weight) in weights.iter().enumerate() {
                for (sum, v) in attended.iter_mut().zip(row(value, other)) {
                    *sum += weight / total * v;
                }
            }
            samples.scores.extend(scores);
            samples.attended.extend(attended);
        }
        samples
    }
}

impl AttentionCandidate {
    /// The score that the softmax reads for a product of queries and keys.
    fn score(&self, product: i64) -> f64 {
        match &self.requantize {
            Some(requantize) => {
                let code = requantize.apply(&Wrapping, product, 0);
                self.scores.value(code, 0)
            }
            None => self.scores.scale(0) * product as f64,
        }
    }
}

impl Tensor {
    /// Codes of real values `[rows, width]`.
    fn codes(&self, values: &[f64], width: usize) -> Vec<i32> {
        let each = values.iter().enumerate().map(|(at, value)| {
            let channel = at % width;
            let moved = (value - self.channels.offset(channel)) / self.channels.factor(channel);
            code(&self.grid, moved, channel)
        });
        each.collect()
    }

    /// The real value of a code.
    fn value(&self, code: i32, channel: usize) -> f64 {
        self.grid.value(code, channel) * self.channels.factor(channel)
            + self.channels.offset(channel)
    }
}
