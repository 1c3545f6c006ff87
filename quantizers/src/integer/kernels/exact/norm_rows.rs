//! Rows of 16-bit codes through a [`Norm`], on vectors: the integers of the generic form.
//!
//! One pass takes the sums; one more divides by the root through its reciprocal, corrected by the
//! remainder, so that it is the quotient of [`Norm::value`] bit for bit. Any number of output grids
//! is then made from the normalised values.

use super::norm::{Spread, VALUE_BITS};
use super::{Affine, Norm};
use crate::integer::Wrapping;
use multiversion::multiversion;

impl Norm {
    /// Normalised values of a row `[width]`, 16 fraction bits.
    ///
    /// # Panics
    /// When the row or the values do not have the width.
    pub fn normalise(&self, row: &[i16], values: &mut [i32]) {
        assert_eq!((row.len(), values.len()), (self.width, self.width), "row");
        if !self.vectorises() {
            return self.normalise_each(row, values);
        }
        let zero = i64::from(self.zero_point);
        let width = self.channels();
        let (sum, squares) = sums(row);
        let plain = sum - width * zero;
        let squares = squares - 2 * zero * sum + width * zero * zero;
        let spread = self.spread_of_sums(&Wrapping, plain, squares);
        let division = Division::by(spread, width, width * zero + spread.centre);
        divide(row, division, values);
    }

    /// As [`Norm::normalise`], value by value.
    #[expect(clippy::cast_possible_truncation, reason = "below 2^31 by its bounds")]
    fn normalise_each(&self, row: &[i16], values: &mut [i32]) {
        let codes: Vec<i32> = row.iter().copied().map(i32::from).collect();
        let spread = self.spread(&Wrapping, &codes);
        for (channel, (value, code)) in values.iter_mut().zip(codes).enumerate() {
            *value = self.value(&Wrapping, code, channel, spread) as i32;
        }
    }

    /// Whether distances, products and values of 16-bit codes fit 32-bit lanes.
    fn vectorises(&self) -> bool {
        let reach = 65_536 + i64::from(self.zero_point).abs();
        self.shifts.is_empty() && self.channels() * reach < 1 << 31
    }

    /// A row `[width]` to 8-bit codes; `values` is working space of the width.
    ///
    /// # Panics
    /// When a slice does not have the width.
    pub fn run_into(&self, row: &[i16], values: &mut [i32], out: &mut [u8]) {
        self.normalise(row, values);
        self.affine.bytes(values, out);
    }

    /// A row `[width]` to 8-bit codes for the layer that follows and, by `residual`, 16-bit codes
    /// of the same values; `values` is working space of the width.
    ///
    /// # Panics
    /// When a slice does not have the width.
    pub fn run_both(
        &self,
        residual: &Affine,
        row: &[i16],
        values: &mut [i32],
        bytes: &mut [u8],
        words: &mut [i16],
    ) {
        self.normalise(row, values);
        self.affine.bytes(values, bytes);
        residual.words(values, words);
    }
}

/// `sum q` and `sum q^2`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl", "x86_64+avx2"))]
fn sums(row: &[i16]) -> (i64, i64) {
    let (mut sum, mut squares) = (0_i64, 0_i64);
    // In 32-bit lanes: 2^15 codes of 2^15, and the halves of their squares, of 2^16 and 2^14.
    for chunk in row.chunks(1 << 15) {
        let (mut part, mut low, mut high) = (0_i32, 0_u32, 0_u32);
        for code in chunk {
            let code = i32::from(*code);
            let square = (code * code).cast_unsigned();
            part += code;
            low += square & 0xffff;
            high += square >> 16;
        }
        sum += i64::from(part);
        squares += (i64::from(high) << 16) + i64::from(low);
    }
    (sum, squares)
}

/// Division of `D 2^(16+g)` by a root, rounded half up, through `floor(2^k / root)`.
///
/// The reciprocal has 30 bits, so the estimate of a value of 2^22 is off by at most one.
#[derive(Clone, Copy)]
struct Division {
    width: i32,
    centre: i32,
    root: i64,
    reciprocal: i32,
    shift: u32,
    scale: u32,
}

impl Division {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the caller has checked that distances fit 32 bits"
    )]
    fn by(spread: Spread, width: i64, centre: i64) -> Self {
        let bits = 64 - spread.root.leading_zeros();
        Self {
            width: width as i32,
            centre: centre as i32,
            root: spread.root,
            reciprocal: ((1_i64 << (29 + bits)) / spread.root) as i32,
            shift: 29 + bits - VALUE_BITS - spread.guard_bits,
            scale: VALUE_BITS + 1 + spread.guard_bits,
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl", "x86_64+avx2"))]
#[expect(clippy::cast_possible_truncation, reason = "values fit 32 bits")]
fn divide(row: &[i16], division: Division, values: &mut [i32]) {
    let Division {
        width,
        centre,
        root,
        reciprocal,
        shift,
        scale,
    } = division;
    let (shift, scale) = (shift & 63, scale & 63);
    let half = (1_i64 << shift) >> 1;
    let doubled = 2 * root;
    for (value, code) in values.iter_mut().zip(row) {
        let distance = i64::from(i32::from(*code) * width - centre);
        let estimate = (distance * i64::from(reciprocal) + half) >> shift;
        let rest = (distance << scale) + root - estimate * doubled;
        let quotient = estimate + i64::from(rest >= doubled) - i64::from(rest < 0);
        *value = quotient as i32;
    }
}
