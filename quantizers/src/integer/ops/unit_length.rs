//! A row to unit length: `out = floor((2^16 x + n) / (2 n))`, `n = floor(sqrt(sum x^2))`, scale
//! 2^-15, saturated. A row of zeros stays zeros.
//!
//! Widths: x 32 bits, as far as the sum of squares stays below 2^63; `2^16 x` 48 bits. The rounded
//! root makes the length too large by less than `1 / n`.

use crate::integer::arithmetic::Arithmetic;
use crate::integer::bounds::Bounds;
use crate::integer::error::OperationError;
use crate::integer::frame::Frame;
use crate::integer::interval::Interval;
use crate::integer::kernel::saturate;
use crate::integer::operation::{Generic, OperationConstants, Step};
use crate::integer::square_root::square_root;
use crate::integer::weights::Weights;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Power of two of the output scale.
pub const FRACTION_BITS: u32 = 15;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitLength {
    /// Buffer `[rows, width]`.
    pub input: usize,
    /// Buffer `[rows, width]`, 16 bits.
    pub output: usize,
}

impl OperationConstants for UnitLength {
    const KIND: &'static str = "unit-length";
    const SUMMARY: &'static str = "row divided by its length, scale 2^-15";

    fn inputs(&self) -> Vec<usize> {
        vec![self.input]
    }

    fn outputs(&self) -> Vec<usize> {
        vec![self.output]
    }

    fn bounds(&self, bounds: &mut Bounds<'_>) -> Result<(), OperationError> {
        let width = bounds.buffer(self.input)?.width;
        let input = bounds.interval(self.input)?;
        let squares = input.squared().times(Interval::new(0, width as i128));
        squares.within(64, "sum of squares")?;
        bounds.write(
            self.output,
            width,
            Interval::of_bits(FRACTION_BITS + 1, true),
        )
    }

    fn prepare(&self, _weights: &BTreeMap<String, Weights>) -> Box<dyn Step> {
        Box::new(self.clone())
    }
}

impl Generic for UnitLength {
    fn compute<A: Arithmetic>(&self, arithmetic: &A, frame: &mut Frame) {
        let width = frame.width(self.input);
        let rows = frame.rows(self.input);
        let mut output = frame.take(self.output, rows);
        let mut row = vec![0_i32; width];
        for at in 0..rows {
            frame.buffer(self.input).read(at * width, &mut row);
            let squares = row.iter().fold(0, |sum, &value| {
                let value = i64::from(value);
                arithmetic.add(sum, arithmetic.mul(value, value))
            });
            let length = square_root(arithmetic, squares);
            if length > 0 {
                for value in &mut row {
                    let scaled = arithmetic.shl(i64::from(*value), FRACTION_BITS + 1);
                    let rounded = arithmetic
                        .div_floor(arithmetic.add(scaled, length), arithmetic.shl(length, 1));
                    *value = saturate(arithmetic, rounded, -32768, 32767);
                }
            }
            output.write(at * width, &row);
        }
        frame.put(self.output, output);
    }
}
