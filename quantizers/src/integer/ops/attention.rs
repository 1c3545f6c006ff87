//! Attention by a softmax kernel over whole rows of scores, for any kernel of the registry.
//!
//! `score = sum((q - zero_point) k)` over a head, requantized if the kernel wants codes;
//! probabilities `p` of all keys that count; `out = requantize(sum(p v))`. Keys that are masked are
//! left out of the row, so nothing is ever added to a score.
//!
//! Widths: scores 32 bits; `p` 16 bits without sign, sums of `p v` 64 bits, requantized through 128.

use crate::integer::arithmetic::{Arithmetic, ArithmeticError};
use crate::integer::bounds::{Bounds, expect, require};
use crate::integer::dyadic::Rounding;
use crate::integer::error::OperationError;
use crate::integer::frame::Frame;
use crate::integer::interval::Interval;
use crate::integer::kernel::{Mode, saturate};
use crate::integer::operation::{Generic, Kernel, OperationConstants, Step, run_generic};
use crate::integer::requantize::Requantization;
use crate::integer::weights::Weights;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftmaxAttention {
    /// Buffer `[tokens, heads * head_dim]`, 8 bits.
    pub query: usize,
    /// The same shape, 8 bits with sign.
    pub key: usize,
    /// The same shape, 8 bits with sign.
    pub value: usize,
    /// The same shape.
    pub output: usize,
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Code of zero in the queries.
    pub query_zero_point: i32,
    /// From scores to the kernel's input codes; without it the kernel reads the scores.
    pub requantize: Option<Requantization>,
    /// Softmax.
    pub kernel: Kernel,
    /// From weighted sums to the output, per channel or one for all.
    pub output_requantize: Requantization,
}

impl OperationConstants for SoftmaxAttention {
    const KIND: &'static str = "attention";
    const SUMMARY: &'static str = "scores, a softmax kernel over whole rows, weighted values";

    fn inputs(&self) -> Vec<usize> {
        vec![self.query, self.key, self.value]
    }

    fn outputs(&self) -> Vec<usize> {
        vec![self.output]
    }

    fn bounds(&self, bounds: &mut Bounds<'_>) -> Result<(), OperationError> {
        let width = self.heads * self.head_dim;
        for buffer in self.inputs() {
            expect("width of an input", width, bounds.buffer(buffer)?.width)?;
        }
        let zero_point = i128::from(self.query_zero_point);
        let query = bounds
            .interval(self.query)?
            .plus(Interval::new(-zero_point, -zero_point));
        let products = query.times(bounds.interval(self.key)?);
        let dim = self.head_dim as i128;
        let scores = products
            .times(Interval::new(dim, dim))
            .within(32, "scores")?;
        let input = match &self.requantize {
            None => scores,
            Some(requantize) => {
                require(
                    "one factor or one a channel, shifts of 1 to 62, a range of codes",
                    requantize.is_valid(1),
                )?;
                requantize.unclamped(scores, 0)?;
                requantize.codes()
            }
        };
        let keys = bounds.max_rows;
        let weights = self.kernel.bounds(input, keys)?;
        let most = Interval::new(0, keys as i128);
        let sums = weights.times(bounds.interval(self.value)?).times(most);
        sums.within(48, "weighted sums")?;
        let valid = self.output_requantize.is_valid(width);
        require(
            "one output factor or one a channel, shifts of 1 to 62, a range of codes",
            valid,
        )?;
        bounds.write(self.output, width, self.output_requantize.codes())
    }

    fn prepare(&self, _weights: &BTreeMap<String, Weights>) -> Box<dyn Step> {
        Box::new(self.clone())
    }

    fn describe(&self) -> String {
        let (heads, dim) = (self.heads, self.head_dim);
        format!("{heads} heads of {dim}, {}", self.kernel.kind())
    }
}

impl Step for SoftmaxAttention {
    fn run(&self, mode: Mode, frame: &mut Frame) -> Result<(), ArithmeticError> {
        let body = Body {
            attention: self,
            mode,
            fault: Cell::new(None),
        };
        run_generic(&body, mode, frame)?;
        body.fault.get().map_or(Ok(()), Err)
    }
}

/// One run; kernels report their faults by themselves.
struct Body<'a> {
    attention: &'a SoftmaxAttention,
    mode: Mode,
    fault: Cell<Option<ArithmeticError>>,
}

impl Generic for Body<'_> {
    fn compute<A: Arithmetic>(&self, arithmetic: &A, frame: &mut Frame) {
        let op = self.attention;
        let tokens = frame.rows(op.query);
        let width = op.heads * op.head_dim;
        let mut output = frame.take(op.output, tokens);
        let query = frame.buffer(op.query).to_i32();
        let key = frame.buffer(op.key).to_i32();
        let value = frame.buffer(op.value).to_i32();
        let kept: Vec<usize> = (0..tokens).filter(|&at| frame.counts(at)).collect();
        let mut scores = vec![0; kept.len()];
        let mut weights = vec![0; kept.len()];
        let mut row = vec![0; width];
        let zero_point = i64::from(op.query_zero_point);
        for at in 0..tokens {
            for head in 0..op.heads {
                let channels = head * op.head_dim..(head + 1) * op.head_dim;
                for (score, &other) in scores.iter_mut().zip(&kept) {
                    let sum = channels.clone().fold(0, |sum, channel| {
                        let q = i64::from(query[at * width + channel]);
                        let k = i64::from(key[other * width + channel]);
                        let product = arithmetic.mul(arithmetic.sub(q, zero_point), k);
                        arithmetic.add(sum, product)
                    });
                    *score = self.code(arithmetic, sum);
                }
                if let Err(fault) = op.kernel.run(self.mode, &scores, &mut weights) {
                    self.fault.set(Some(fault));
                }
                for channel in channels {
                    let sum = weights.iter().zip(&kept).fold(0, |sum, (&p, &other)| {
                        let v = i64::from(value[other * width + channel]);
                        arithmetic.add(sum, arithmetic.mul(i64::from(p), v))
                    });
                    row[channel] = self.finished(arithmetic, sum, channel);
                }
            }
            output.write(at * width, &row);
        }
        frame.put(op.output, output);
    }
}

impl Body<'_> {
    #[expect(clippy::cast_possible_truncation, reason = "declared 32 bits")]
    fn code<A: Arithmetic>(&self, arithmetic: &A, sum: i64) -> i32 {
        match &self.attention.requantize {
            Some(requantize) => requantize.apply(arithmetic, sum, 0),
            None => arithmetic.declared(sum, 32) as i32,
        }
    }

    fn finished<A: Arithmetic>(&self, arithmetic: &A, sum: i64, channel: usize) -> i32 {
        let to = &self.attention.output_requantize;
        let sum = arithmetic.declared(sum, 48);
        let rounded = to
            .factor(channel)
            .apply_wide(arithmetic, sum, Rounding::HalfUp);
        let code = arithmetic.add(rounded, i64::from(to.zero_point));
        saturate(arithmetic, code, to.low, to.high)
    }
}
