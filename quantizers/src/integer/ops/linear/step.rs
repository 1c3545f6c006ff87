//! Running a linear layer: one specification in either arithmetic, and fused fast paths.

use super::fused::Fused;
use super::layer::Linear;
use crate::integer::arithmetic::{Arithmetic, ArithmeticError, Checked, Wrapping};
use crate::integer::dyadic::Rounding;
use crate::integer::frame::Frame;
use crate::integer::kernel::Mode;
use crate::integer::matmul::{Left, PackedMatrix, fastest, multiply_into};
use crate::integer::operation::Step;
use crate::integer::weights::Weights;

/// A linear layer over packed weights.
pub(super) struct LinearStep {
    linear: Linear,
    weights: Weights,
    packed: PackedMatrix,
    fused: Option<Fused>,
}

impl LinearStep {
    /// Packs the weights.
    pub(super) fn new(linear: Linear, weights: &Weights) -> Self {
        Self {
            packed: PackedMatrix::pack(&weights.codes, weights.rows, weights.cols),
            weights: weights.clone(),
            fused: Fused::of(&linear),
            linear,
        }
    }

    /// Accumulators `[rows, outputs]` with bias, by the packed product.
    fn products(&self, codes: &[u8], rows: usize, sums: &mut Vec<i32>) {
        let outputs = self.weights.rows;
        sums.resize(rows * outputs, 0);
        let left = Left::new(codes, rows, self.weights.cols);
        multiply_into(fastest(), left, &self.packed, sums, outputs);
        for row in sums.chunks_exact_mut(outputs) {
            for (sum, &bias) in row.iter_mut().zip(self.linear.bias.iter()) {
                *sum = sum.wrapping_add(bias);
            }
        }
    }

    /// The same, every addition checked.
    #[expect(clippy::cast_possible_truncation, reason = "declared 32 bits")]
    fn checked_products(
        &self,
        arithmetic: &Checked,
        codes: &[u8],
        rows: usize,
        sums: &mut Vec<i32>,
    ) {
        sums.clear();
        for input in codes.chunks_exact(self.weights.cols).take(rows) {
            for (channel, &bias) in self.linear.bias.iter().enumerate() {
                let mut sum = 0_i64;
                for (&code, &weight) in input.iter().zip(self.weights.row(channel)) {
                    let product = arithmetic.mul(i64::from(code), i64::from(weight));
                    sum = arithmetic.declared(arithmetic.add(sum, product), 32);
                }
                let sum = arithmetic.add(sum, i64::from(bias));
                sums.push(arithmetic.declared(sum, 32) as i32);
            }
        }
    }

    /// What follows the product, row by row.
    fn finish<A: Arithmetic>(
        &self,
        arithmetic: &A,
        mode: Mode,
        frame: &mut Frame,
        sums: &mut [i32],
    ) -> Result<(), ArithmeticError> {
        let linear = &self.linear;
        let outputs = self.weights.rows;
        let rows = sums.len() / outputs.max(1);
        let mut storage = frame.take(linear.output, rows);
        let mut residual = std::mem::take(&mut frame.scratch.other);
        residual.resize(outputs, 0);
        for (at, row) in sums.chunks_exact_mut(outputs).enumerate() {
            if let Some(requantize) = &linear.requantize {
                if let Some(branch) = &linear.residual {
                    frame
                        .buffer(branch.buffer)
                        .read(at * outputs, &mut residual);
                }
                for (channel, value) in row.iter_mut().enumerate() {
                    let added = linear.residual.as_ref().map_or(0, |branch| {
                        let code = i64::from(residual[channel]);
                        let code = arithmetic.sub(code, i64::from(branch.zero_point));
                        branch
                            .factor(channel)
                            .apply(arithmetic, code, Rounding::HalfUp)
                    });
                    let sum = i64::from(*value);
                    *value = requantize.apply_with(arithmetic, sum, added, channel);
                }
            }
            match &linear.kernel {
                Some(kernel) => {
                    kernel.run(mode, row, &mut residual)?;
                    storage.write(at * outputs, &residual);
                }
                None => storage.write(at * outputs, row),
            }
        }
        frame.scratch.other = residual;
        frame.put(linear.output, storage);
        Ok(())
    }
}

impl Step for LinearStep {
    fn run(&self, mode: Mode, frame: &mut Frame) -> Result<(), ArithmeticError> {
        let rows = frame.rows(self.linear.input);
        if let (Mode::Fast, Some(fused)) = (mode, &self.fused) {
            let mut output = frame.take(self.linear.output, rows);
            let codes = frame.bytes(self.linear.input).unwrap_or_default();
            let left = Left::new(codes, rows, self.weights.cols);
            let residual = self.linear.residual_of(frame);
            let done = fused.run(left, &self.packed, residual, &mut output);
            frame.put(self.linear.output, output);
            if done {
                return Ok(());
            }
        }
        let mut sums = std::mem::take(&mut frame.scratch.wide);
        // Types were checked when the program was read.
        let codes = frame.bytes(self.linear.input).unwrap_or_default();
        let outcome = match mode {
            Mode::Fast => {
                self.products(codes, rows, &mut sums);
                self.finish(&Wrapping, mode, frame, &mut sums)
            }
            Mode::Checked => {
                let checked = Checked::default();
                self.checked_products(&checked, codes, rows, &mut sums);
                self.finish(&checked, mode, frame, &mut sums)
                    .and(checked.outcome())
            }
        };
        frame.scratch.wide = sums;
        outcome
    }
}
