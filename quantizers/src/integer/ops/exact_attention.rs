//! Attention with exact softmax weights: matrix products around vector kernels, head by head.
//!
//! The integers are those of [`head::HeadAttention::whole`]; see there for formulas and widths. A fast
//! run gets the scores of a head as one 8-bit product (the zero point of the queries leaves
//! `zero_point sum(k)` to take off each key), weights row by row, weighted values as a second
//! product (two for weights of 15 bits: upper and lower part), and one division a value.

use crate::integer::arithmetic::ArithmeticError;
use crate::integer::attention::{self as head, Scores, Sums};
use crate::integer::bounds::{Bounds, expect};
use crate::integer::buffer::{Element, Storage};
use crate::integer::error::OperationError;
use crate::integer::frame::Frame;
use crate::integer::kernel::Mode;
use crate::integer::matmul::{Left, PackedMatrix, fastest, multiply_into};
use crate::integer::operation::{OperationConstants, Step};
use crate::integer::weights::Weights;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExactAttention {
    /// Buffer `[tokens, heads * head_dim]`, 8 bits.
    pub query: usize,
    /// The same shape, 8 bits with sign.
    pub key: usize,
    /// The same shape, 8 bits with sign.
    pub value: usize,
    /// The same shape, 8 bits.
    pub output: usize,
    /// Heads.
    pub heads: usize,
    /// Constants, the same for every head.
    pub head: head::HeadAttention,
}

impl OperationConstants for ExactAttention {
    const KIND: &'static str = "attention.exact";
    const SUMMARY: &'static str =
        "scores, exact softmax weights and weighted values, one rounding each";

    fn inputs(&self) -> Vec<usize> {
        vec![self.query, self.key, self.value]
    }

    fn outputs(&self) -> Vec<usize> {
        vec![self.output]
    }

    fn bounds(&self, bounds: &mut Bounds<'_>) -> Result<(), OperationError> {
        if let Some(invalid) = self.head.invalid() {
            return Err(OperationError::Shape {
                what: "constants".to_owned(),
                expected: "usable ones".to_owned(),
                found: invalid.to_owned(),
            });
        }
        let width = self.heads * self.head.head_dim;
        for buffer in self.inputs() {
            expect("width of an input", width, bounds.buffer(buffer)?.width)?;
        }
        // A type holds no code outside 8 bits, so intervals need no look.
        bounds.typed(self.query, Element::U8)?;
        bounds.typed(self.key, Element::I8)?;
        bounds.typed(self.value, Element::I8)?;
        for buffer in self.inputs() {
            bounds.interval(buffer)?;
        }
        if bounds.max_rows > self.head.most_keys {
            return expect("keys", bounds.max_rows, self.head.most_keys);
        }
        let codes = self.head.bounds()?;
        bounds.write(self.output, width, codes)
    }

    fn prepare(&self, _weights: &BTreeMap<String, Weights>) -> Box<dyn Step> {
        Box::new(ExactStep {
            operation: self.clone(),
            scratch: Mutex::new(Vec::new()),
        })
    }

    fn describe(&self) -> String {
        let (heads, dim) = (self.heads, self.head.head_dim);
        format!(
            "{heads} heads of {dim}, {}-bit weights",
            self.head.weight_bits
        )
    }
}

/// Working memory of one run.
#[derive(Default)]
struct Scratch {
    packed: PackedMatrix,
    scores: Vec<i32>,
    /// `zero_point sum(k)` of each key.
    offsets: Vec<i32>,
    /// Weights, or their upper 8 bits.
    high: Vec<u8>,
    /// Their lower 7 bits, for weights of 15.
    low: Vec<u8>,
    totals: Vec<u32>,
    sums: Vec<i32>,
    kept_keys: Vec<i8>,
    kept_values: Vec<i8>,
}

struct ExactStep {
    operation: ExactAttention,
    scratch: Mutex<Vec<Scratch>>,
}

impl Step for ExactStep {
    fn run(&self, mode: Mode, frame: &mut Frame) -> Result<(), ArithmeticError> {
        let op = &self.operation;
        let tokens = frame.rows(op.query);
        let mut output = frame.take(op.output, tokens);
        let outcome = match (
            frame.buffer(op.query),
            frame.buffer(op.key),
            frame.buffer(op.value),
        ) {
            (Storage::U8(query), Storage::I8(key), Storage::I8(value)) => {
                let width = op.heads * op.head.head_dim;
                let masked = (0..tokens).any(|at| !frame.counts(at));
                let pooled = self.pool(Vec::pop);
                let mut scratch = pooled.unwrap_or_default();
                let (key, value) = if masked {
                    // Masked keys are left out: a shorter sequence of keys.
                    keep(frame, key, width, &mut scratch.kept_keys);
                    keep(frame, value, width, &mut scratch.kept_values);
                    let keys = std::mem::take(&mut scratch.kept_keys);
                    let values = std::mem::take(&mut scratch.kept_values);
                    (keys, values)
                } else {
                    (Vec::new(), Vec::new())
                };
                let buffers = (frame.buffer(op.key), frame.buffer(op.value));
                let (keys, values): (&[i8], &[i8]) = match (masked, buffers) {
                    (false, (Storage::I8(keys), Storage::I8(values))) => (keys, values),
                    _ => (&key, &value),
                };
                let outcome = match (&mut output, mode) {
                    (Storage::U8(codes), Mode::Fast) => {
                        for head in 0..op.heads {
                            fast(
                                op,
                                head,
                                [tokens, width],
                                query,
                                (keys, values),
                                &mut scratch,
                                codes,
                            );
                        }
                        Ok(())
                    }
                    (storage, _) => op.exact(mode, [tokens, width], query, (keys, values), storage),
                };
                (scratch.kept_keys, scratch.kept_values) = (key, value);
                self.pool(|scratches| scratches.push(scratch));
                outcome
            }
            // Types were checked when the program was read.
            _ => Ok(()),
        };
        frame.put(op.output, output);
        outcome
    }
}

impl ExactStep {
    fn pool<R>(&self, body: impl FnOnce(&mut Vec<Scratch>) -> R) -> R {
        body(&mut self.scratch.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ExactAttention {
    /// Head by head through the specification.
    fn exact(
        &self,
        mode: Mode,
        [tokens, width]: [usize; 2],
        query: &[u8],
        (keys, values): (&[i8], &[i8]),
        output: &mut Storage,
    ) -> Result<(), ArithmeticError> {
        let dim = self.head.head_dim;
        let mut codes = vec![0; tokens * dim];
        for head in 0..self.heads {
            let inputs = head::Inputs {
                queries: &columns(query, width, head * dim, dim),
                keys: &columns(keys, width, head * dim, dim),
                values: &columns(values, width, head * dim, dim),
            };
            self.head.whole(mode, inputs, &mut codes)?;
            for (at, row) in codes.chunks_exact(dim).enumerate() {
                output.write(at * width + head * dim, row);
            }
        }
        Ok(())
    }
}

/// The columns of one head.
fn columns<T: Copy>(values: &[T], width: usize, start: usize, dim: usize) -> Vec<T> {
    let rows = values.chunks_exact(width);
    rows.flat_map(|row| row[start..start + dim].iter().copied())
        .collect()
}

/// The rows of tokens that count.
fn keep(frame: &Frame, values: &[i8], width: usize, kept: &mut Vec<i8>) {
    kept.clear();
    for (at, row) in values.chunks_exact(width).enumerate() {
        if frame.counts(at) {
            kept.extend_from_slice(row);
        }
    }
}

/// One head on vectors.
fn fast(
    op: &ExactAttention,
    head: usize,
    [tokens, width]: [usize; 2],
    query: &[u8],
    (keys, values): (&[i8], &[i8]),
    scratch: &mut Scratch,
    output: &mut [u8],
) {
    let dim = op.head.head_dim;
    let start = head * dim;
    let count = keys.len() / width.max(1);
    if count == 0 {
        let nothing = vec![0; dim];
        for row in output.chunks_exact_mut(width) {
            let codes = &mut row[start..start + dim];
            op.head.output.bytes(Sums::plain(&nothing), 0, codes);
        }
        return;
    }
    let kernel = fastest();
    scratch.packed.pack_into(&keys[start..], count, dim, width);
    scratch.scores.resize(tokens * count, 0);
    let left = Left::strided(&query[start..], tokens, dim, width);
    multiply_into(kernel, left, &scratch.packed, &mut scratch.scores, count);
    scratch.offsets.clear();
    let sums = keys.chunks_exact(width).map(|key| {
        let key = &key[start..start + dim];
        key.iter().fold(0, |sum, &code| sum + i32::from(code))
    });
    let zero_point = op.head.query_zero_point;
    scratch.offsets.extend(sums.map(|sum| sum * zero_point));
    scratch.high.resize(tokens * count, 0);
    scratch.totals.clear();
    let wide = op.head.weight_bits > 8;
    if wide {
        scratch.low.resize(tokens * count, 0);
    }
    for (at, products) in scratch.scores.chunks_exact(count).enumerate() {
        let scores = Scores {
            products,
            offsets: &scratch.offsets,
        };
        let place = at * count..(at + 1) * count;
        let high = &mut scratch.high[place.clone()];
        scratch.totals.push(if wide {
            let low = &mut scratch.low[place];
            op.head.weights_wide(scores, high, low)
        } else {
            op.head.weights(scores, high)
        });
    }
    let values = &values[start..];
    scratch
        .packed
        .pack_transposed_into(values, dim, count, width);
    let size = tokens * dim;
    scratch.sums.resize(if wide { 2 * size } else { size }, 0);
    let (sums, low_sums) = scratch.sums.split_at_mut(size);
    let left = Left::new(&scratch.high, tokens, count);
    multiply_into(kernel, left, &scratch.packed, sums, dim);
    if wide {
        let left = Left::new(&scratch.low, tokens, count);
        multiply_into(kernel, left, &scratch.packed, low_sums, dim);
    }
    let rows = output.chunks_exact_mut(width).zip(&scratch.totals);
    for (at, (row, &total)) in rows.enumerate() {
        let place = at * dim..(at + 1) * dim;
        let sums = if wide {
            Sums::planes(&sums[place.clone()], &low_sums[place])
        } else {
            Sums::plain(&sums[place])
        };
        let codes = &mut row[start..start + dim];
        op.head.output.bytes(sums, total, codes);
    }
}
