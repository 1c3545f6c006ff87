//! Mean over the tokens that count, with 8 more fraction bits:
//! `out = floor((2^9 sum + n) / (2 n))`. Widths: sum of `n` 16-bit rows, times 2^9, 64 bits.

use super::rows::{RowFunction, RowOperation};
use crate::integer::arithmetic::Arithmetic;
use crate::integer::frame::Frame;
use crate::integer::interval::{Interval, WidthError};

/// Fraction bits added.
pub const FRACTION_BITS: u32 = 8;

/// To a buffer `[1, width]`.
pub type Mean = RowOperation<MeanOfRows>;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeanOfRows;

impl RowFunction for MeanOfRows {
    const KIND: &'static str = "mean";
    const SUMMARY: &'static str = "mean over the unmasked rows, 8 fraction bits more";

    fn bounds(input: Interval, rows: usize, _width: usize) -> Result<Interval, WidthError> {
        let most = rows as i128;
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
        mean.within(32, "mean")
    }

    #[expect(clippy::cast_possible_truncation, reason = "declared 32 bits")]
    fn compute<A: Arithmetic>(arithmetic: &A, frame: &Frame, input: usize) -> Vec<i32> {
        let width = frame.width(input);
        let mut sums = vec![0_i64; width];
        let mut row = vec![0_i32; width];
        let mut count = 0;
        for at in 0..frame.rows(input) {
            if frame.counts(at) {
                count += 1;
                frame.buffer(input).read(at * width, &mut row);
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
        row
    }
}
