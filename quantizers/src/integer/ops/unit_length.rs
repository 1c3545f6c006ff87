//! A row to unit length: `out = floor((2^16 x + n) / (2 n))`, `n = floor(sqrt(sum x^2))`, scale
//! 2^-15, saturated. A row of zeros stays zeros.
//!
//! Widths: x 32 bits, as far as the sum of squares stays below 2^63; `2^16 x` 48 bits. The rounded
//! root makes the length too large by less than `1 / n`.

use super::rows::{RowFunction, RowOperation};
use crate::integer::arithmetic::Arithmetic;
use crate::integer::frame::Frame;
use crate::integer::interval::{Interval, WidthError};
use crate::integer::kernel::saturate;
use crate::integer::square_root::square_root;

/// Power of two of the output scale.
pub const FRACTION_BITS: u32 = 15;

/// To a buffer `[rows, width]` of 16 bits.
pub type UnitLength = RowOperation<LengthOfRows>;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LengthOfRows;

impl RowFunction for LengthOfRows {
    const KIND: &'static str = "unit-length";
    const SUMMARY: &'static str = "row divided by its length, scale 2^-15";

    fn bounds(input: Interval, _rows: usize, width: usize) -> Result<Interval, WidthError> {
        let squares = input.squared().times(Interval::new(0, width as i128));
        squares.within(64, "sum of squares")?;
        Ok(Interval::of_bits(FRACTION_BITS + 1, true))
    }

    fn compute<A: Arithmetic>(arithmetic: &A, frame: &Frame, input: usize) -> Vec<i32> {
        let width = frame.width(input);
        let mut rows = frame.buffer(input).to_i32();
        for row in rows.chunks_exact_mut(width.max(1)) {
            let squares = row.iter().fold(0, |sum, &value| {
                let value = i64::from(value);
                arithmetic.add(sum, arithmetic.mul(value, value))
            });
            let length = square_root(arithmetic, squares);
            if length > 0 {
                for value in row {
                    let scaled = arithmetic.shl(i64::from(*value), FRACTION_BITS + 1);
                    let rounded = arithmetic
                        .div_floor(arithmetic.add(scaled, length), arithmetic.shl(length, 1));
                    *value = saturate(arithmetic, rounded, -32768, 32767);
                }
            }
        }
        rows
    }
}
