//! Mean over the tokens that count, with 8 more fraction bits:
//! `out = floor((2^9 sum + n) / (2 n))`. Widths: sum of `n` 16-bit rows, times 2^9, 64 bits.

use crate::integer::arithmetic::Arithmetic;
use crate::integer::bounds::Bounds;
use crate::integer::error::OperationError;
use crate::integer::frame::Frame;
use crate::integer::interval::Interval;
use crate::integer::operation::{Generic, OperationConstants, Step};
use crate::integer::weights::Weights;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Fraction bits added.
pub const FRACTION_BITS: u32 = 8;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mean {
    /// Buffer `[tokens, width]`.
    pub input: usize,
    /// Buffer `[1, width]`.
    pub output: usize,
}

impl OperationConstants for Mean {
    const KIND: &'static str = "mean";
    const SUMMARY: &'static str = "mean over the unmasked rows, 8 fraction bits more";

    fn inputs(&self) -> Vec<usize> {
        vec![self.input]
    }

    fn outputs(&self) -> Vec<usize> {
        vec![self.output]
    }

    fn bounds(&self, bounds: &mut Bounds<'_>) -> Result<(), OperationError> {
        let width = bounds.buffer(self.input)?.width;
        let input = bounds.interval(self.input)?;
        let most = bounds.max_rows as i128;
        let sum = input.times(Interval::new(0, most));
        let scaled = sum.times(Interval::new(
            1 << (FRACTION_BITS + 1),
            1 << (FRACTION_BITS + 1),
        ));
        scaled
            .plus(Interval::new(0, most))
            .within(64, "scaled sum")?;
        // Nothing counted gives zero.
        let mean = input.times(Interval::new(0, 1 << FRACTION_BITS));
        bounds.write(self.output, width, mean.within(32, "mean")?)
    }

    fn prepare(&self, _weights: &BTreeMap<String, Weights>) -> Box<dyn Step> {
        Box::new(self.clone())
    }
}

impl Generic for Mean {
    #[expect(clippy::cast_possible_truncation, reason = "declared 32 bits")]
    fn compute<A: Arithmetic>(&self, arithmetic: &A, frame: &mut Frame) {
        let width = frame.width(self.input);
        let mut sums = vec![0_i64; width];
        let mut row = vec![0_i32; width];
        let mut count = 0;
        for at in 0..frame.rows(self.input) {
            if frame.counts(at) {
                count += 1;
                frame.buffer(self.input).read(at * width, &mut row);
                for (sum, &value) in sums.iter_mut().zip(&row) {
                    *sum = arithmetic.add(*sum, i64::from(value));
                }
            }
        }
        for (mean, &sum) in row.iter_mut().zip(&sums) {
            let scaled = arithmetic.add(arithmetic.shl(sum, FRACTION_BITS + 1), count);
            *mean = match count {
                0 => 0,
                _ => arithmetic.declared(arithmetic.div_floor(scaled, 2 * count), 32) as i32,
            };
        }
        let mut output = frame.take(self.output, 1);
        output.write(0, &row);
        frame.put(self.output, output);
    }
}
